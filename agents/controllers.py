"""Controllers: from a plan and what is observed to an action. One is made for each plan and follows it step by step.

The trackers know the point mass as far as any engineer would: the first half of an observation is a position, the
second its velocity, and an action pushes along the axes of the position. They know nothing of the maze.
"""

from collections.abc import Callable
from typing import Protocol

import numpy as np
from jaxtyping import Float

Actions = Float[np.ndarray, "batch action"]
Observations = Float[np.ndarray, "batch observation"]

POSITION_GAIN = 10.0  # action per unit of distance, the demonstrator's
VELOCITY_GAIN = 1.0  # action per unit of velocity, the demonstrator's
LOOKAHEAD = 40  # steps of the plan by which the pursued point is ahead of the nearest one
SEARCH_WINDOW = 30  # steps of the plan searched for the nearest point; the plan's way may come back near itself later


class Controller(Protocol):
    """Follows one batch of plans."""

    def __init__(
        self, observations: Float[np.ndarray, "batch step observation"], actions: Float[np.ndarray, "batch step action"]
    ):
        """Take the planned observations, each after a step, and the planned actions, in environment units."""

    def act(self, observation: Observations) -> Actions:
        """Return the next actions, within [-1, 1]."""


class Diffused:
    """Executes the plan's own actions, the paper's claim (§4.2); holds the last planned state when they are over."""

    def __init__(self, observations, actions):
        self.last_observation, self.actions, self.step = observations[:, -1], actions, 0

    def act(self, observation: Observations) -> Actions:
        """Return the planned actions of this step."""
        if self.step >= self.actions.shape[1]:
            return _push_towards(self.last_observation, observation)
        self.step += 1
        return np.clip(self.actions[:, self.step - 1], -1, 1)


class ProportionalDerivative:
    """Tracks the planned positions and velocities on the plan's own clock."""

    def __init__(self, observations, actions):
        self.observations, self.step = observations, 0

    def act(self, observation: Observations) -> Actions:
        """Return the push towards the planned state of this step."""
        target = self.observations[:, min(self.step, self.observations.shape[1] - 1)]
        self.step += 1
        return _push_towards(target, observation)


class Pursuit:
    """Chases the planned state ``LOOKAHEAD`` steps ahead of the nearest one, as fast as the actuators allow.

    The demonstrations, and so the plans, are slower than the actuators; the way is what the plan is needed for, not
    its clock.
    Source: pure pursuit (Coulter 1992), with progress along the way that never goes back.
    """

    def __init__(self, observations, actions):
        self.observations = observations
        self.positions = observations[..., : observations.shape[-1] // 2]
        self.progress = np.zeros(len(observations), dtype=np.int64)

    def act(self, observation: Observations) -> Actions:
        """Return the push towards the pursued position and velocity."""
        position = observation[:, : self.positions.shape[-1]]
        last = self.positions.shape[1] - 1
        batch = np.arange(len(position))[:, None]
        window = np.minimum(self.progress[:, None] + np.arange(SEARCH_WINDOW), last)  # (batch, window)
        distance = np.square(self.positions[batch, window] - position[:, None]).sum(axis=-1)
        self.progress = window[batch[:, 0], distance.argmin(axis=1)]
        return _push_towards(self.observations[batch[:, 0], np.minimum(self.progress + LOOKAHEAD, last)], observation)


def _push_towards(target: Observations, observation: Observations) -> Actions:
    """Return the PD law's action from an observed towards a planned state, within [-1, 1]."""
    position, velocity = np.split(target - observation, 2, axis=-1)
    return np.clip(POSITION_GAIN * position + VELOCITY_GAIN * velocity, -1, 1)


CONTROLLERS: dict[str, Callable[..., Controller]] = {
    "diffused": Diffused,
    "pd": ProportionalDerivative,
    "pursuit": Pursuit,
}
