"""Controllers: from a plan and what is observed to an action. One is made for each plan and follows it step by step.

It also knows how far its plan is followed: what is left of it when it is time to plan anew, and whether the world is
where the plan has it.

The trackers know the point mass as far as any engineer would: the first half of an observation is a position, the
second its velocity, and an action pushes along the axes of the position. They know nothing of the maze.
"""

from collections.abc import Callable
from copy import copy
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

Actions = Float[np.ndarray, "batch action"]
Observations = Float[np.ndarray, "batch observation"]

POSITION_GAIN = 10.0  # action per unit of distance, the demonstrator's
VELOCITY_GAIN = 1.0  # action per unit of velocity, the demonstrator's
LOOKAHEAD = 20  # steps of the plan by which the pursued point is ahead of the nearest one, unless told otherwise
# A plan stands still from where it stays within this distance of its end, below this speed.
HOLD_RADIUS, HOLD_SPEED = 0.25, 0.5  # environment units, and those per second
SEARCH_WINDOW = 30  # steps of the plan searched for the nearest point; the plan's way may come back near itself later


@runtime_checkable
class Controller(Protocol):
    """Follows one batch of plans."""

    def __init__(
        self,
        observations: Float[np.ndarray, "batch step observation"],
        actions: Float[np.ndarray, "batch step action"],
        lookahead: int,
    ):
        """Take the planned observations, each after a step, and the planned actions, in environment units.

        ``lookahead`` is for those that pursue a point ahead, in steps of the plan.
        """

    def act(self, observation: Observations) -> Actions:
        """Return the next actions, within [-1, 1]."""

    def place(self, observation: Observations) -> tuple[Int[np.ndarray, " batch"], Float[np.ndarray, " batch"]]:
        """Return which planned observation each episode is at, and how far it is from that position.

        It changes nothing. Before the first ``act`` there may be none: -1.
        """

    def keep(self, kept) -> None:
        """Go on with some of the plans: an index array or mask over the batch."""


class _Clocked:
    """Follows plans on their own clock: one planned step after the other, whatever is observed."""

    def __init__(self, observations, actions, lookahead: int = LOOKAHEAD):
        self.observations, self.actions, self.step = observations, actions, 0

    def place(self, observation: Observations) -> tuple[Int[np.ndarray, " batch"], Float[np.ndarray, " batch"]]:
        """Return the planned step that is just over."""
        last = min(self.step, self.observations.shape[1]) - 1
        offset = _square_distance(self.observations[:, max(last, 0)], observation)
        return np.full(len(observation), last), np.sqrt(offset)

    def keep(self, kept) -> None:
        """Go on with some of the plans."""
        self.observations, self.actions = self.observations[kept], self.actions[kept]


class Diffused(_Clocked):
    """Executes the plan's own actions (§4.2) and nothing else, whatever an observation is."""

    def act(self, observation: Observations) -> Actions:
        """Return the planned actions of this step, within [-1, 1]."""
        planned = self.actions[:, min(self.step, self.actions.shape[1] - 1)]
        self.step += 1
        return np.clip(planned, -1, 1)


class ProportionalDerivative(_Clocked):
    """Tracks the planned positions and velocities on the plan's own clock."""

    def act(self, observation: Observations) -> Actions:
        """Return the push towards the planned state of this step."""
        target = self.observations[:, min(self.step, self.observations.shape[1] - 1)]
        self.step += 1
        return _push_towards(target, observation)


class Pursuit:
    """Chases the planned state ``lookahead`` steps ahead of the nearest one, as fast as the actuators allow.

    The demonstrations, and so the plans, are slower than the actuators; the way is what the plan is needed for, not
    its clock.
    Source: pure pursuit (Coulter 1992), with progress along the way that never goes back.
    """

    def __init__(self, observations, actions, lookahead: int = LOOKAHEAD):
        self.observations, self.lookahead = observations, lookahead
        self.progress = np.zeros(len(observations), dtype=np.int64)

    def act(self, observation: Observations) -> Actions:
        """Return the push towards the pursued position and velocity."""
        self.progress, _ = self.place(observation)
        ahead = np.minimum(self.progress + self.lookahead, self.observations.shape[1] - 1)
        return _push_towards(self.observations[np.arange(len(observation)), ahead], observation)

    def place(self, observation: Observations) -> tuple[Int[np.ndarray, " batch"], Float[np.ndarray, " batch"]]:
        """Return the nearest planned position, not far ahead of the last one that was."""
        last = self.observations.shape[1] - 1
        batch = np.arange(len(observation))
        window = np.minimum(self.progress[:, None] + np.arange(SEARCH_WINDOW), last)  # (batch, window)
        offset = _square_distance(self.observations[batch[:, None], window], observation[:, None])
        nearest = offset.argmin(axis=1)
        return window[batch, nearest], np.sqrt(offset[batch, nearest])

    def keep(self, kept) -> None:
        """Go on with some of the plans."""
        self.observations, self.progress = self.observations[kept], self.progress[kept]


class Hold:
    """Holds the end of a plan by the PD law once the plan stands still there; until then, another controller acts.

    At rest, a planned action near 0 keeps the agent in place only if it is exactly where planned.

    Args:
        controller: follows the plans while they move.
        observations: the planned ones.
    """

    def __init__(self, controller: Controller, observations: Float[np.ndarray, "batch step observation"]):
        self.controller, self.ends = controller, observations[:, -1]
        speed = np.linalg.norm(np.split(observations, 2, axis=-1)[1], axis=-1)  # (batch, step)
        is_far = _square_distance(observations, observations[:, -1:]) > HOLD_RADIUS**2
        moves, steps = is_far | (speed > HOLD_SPEED), observations.shape[1]
        # The step after the last one that moves; of a plan that moves to its end, one that never comes.
        after = np.where(moves.any(axis=1), steps - moves[:, ::-1].argmax(axis=1), 0)
        self.still_from = np.where(after < steps, after, np.iinfo(np.int64).max)

    def act(self, observation: Observations) -> Actions:
        """Return the other controller's actions, or the push towards the ends of the plans that stand still."""
        next_step = self.place(observation)[0] + 1
        followed = self.controller.act(observation)
        held = _push_towards(self.ends, observation)
        return np.where((next_step >= self.still_from)[:, None], held, followed)

    def __copy__(self) -> "Hold":
        """Return one that goes on from here with a controller of its own."""
        twin = object.__new__(Hold)
        vars(twin).update(vars(self), controller=copy(self.controller))
        return twin

    def place(self, observation: Observations) -> tuple[Int[np.ndarray, " batch"], Float[np.ndarray, " batch"]]:
        """Return what the other controller says."""
        return self.controller.place(observation)

    def keep(self, kept) -> None:
        """Go on with some of the plans."""
        self.controller.keep(kept)
        self.ends, self.still_from = self.ends[kept], self.still_from[kept]


def _square_distance(planned: Float[np.ndarray, "*batch observation"], observation) -> Float[np.ndarray, "*batch"]:
    """Return the squared distance between planned and observed positions, the first halves of observations."""
    position = slice(0, planned.shape[-1] // 2)
    return np.square(planned[..., position] - observation[..., position]).sum(axis=-1)


def _push_towards(target: Observations, observation: Observations) -> Actions:
    """Return the PD law's action from an observed towards a planned state, within [-1, 1]."""
    position, velocity = np.split(target - observation, 2, axis=-1)
    return np.clip(POSITION_GAIN * position + VELOCITY_GAIN * velocity, -1, 1)


CONTROLLERS: dict[str, Callable[..., Controller]] = {
    "diffused": Diffused,
    "pd": ProportionalDerivative,
    "pursuit": Pursuit,
}
MOTION_CONTROLLERS = ("pd", "pursuit")  # those that take an observation for a position and its velocity
