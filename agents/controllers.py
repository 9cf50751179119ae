"""Controllers turn a plan and an observation into an action. Each controller follows one batch of plans.

A controller also tells which step of its plan is reached, and how far the observation is from that step.

``diffused`` executes the plan's own actions and suits every task. The trackers ``pd`` and ``pursuit`` are for a point
mass: the task must name positions and velocities, and an action pushes along the positions. They do not know the maze.
"""

from collections.abc import Callable
from copy import copy
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from dfplan.data.pursuit import advance, push_towards
from dfplan.ground.errors import InputError
from dfplan.task import Task, index_channels

Actions = Float[np.ndarray, "batch action"]
Observations = Float[np.ndarray, "batch observation"]

LOOKAHEAD = 20  # steps of the plan by which the pursued point is ahead of the nearest one, unless told otherwise
# A plan stands still from where it stays within this distance of its end, below this speed.
HOLD_RADIUS, HOLD_SPEED = 0.25, 0.5  # environment units, and those per second


@runtime_checkable
class Controller(Protocol):
    """Follows one batch of plans."""

    def __init__(
        self,
        observations: Float[np.ndarray, "batch step observation"],
        actions: Float[np.ndarray, "batch step action"],
        task: Task,
        lookahead: int,
    ):
        """Take the planned observations, each after a step, and the planned actions, in environment units.

        ``task`` has the bounds of actions and the channels of positions and velocities. ``lookahead`` is for
        controllers that pursue a point ahead, in steps of the plan.
        """

    def act(self, observation: Observations) -> Actions:
        """Return the next actions, within the bounds of the task."""

    def locate(self, observation: Observations) -> tuple[Int[np.ndarray, " batch"], Float[np.ndarray, " batch"]]:
        """Return the planned step that each episode has reached, and its distance from that step in environment units.

        The distance is that of the positions, or of whole observations if the task names no positions. The controller
        does not change. Before the first ``act`` the step may be -1, for none.
        """

    def keep(self, kept) -> None:
        """Drop all other plans; ``kept`` is an index array or a mask over the batch."""


class _Clocked:
    """Follows plans on their own clock: one planned step after the other, independent of the observation."""

    def __init__(self, observations, actions, task: Task, lookahead: int = LOOKAHEAD):
        self.observations, self.actions, self.task, self.step = observations, actions, task, 0

    def locate(self, observation: Observations) -> tuple[Int[np.ndarray, " batch"], Float[np.ndarray, " batch"]]:
        """Return the last planned step, and the distance from it."""
        last = min(self.step, self.observations.shape[1]) - 1
        offset = _square_distance(self.observations[:, max(last, 0)], observation, self.task)
        return np.full(len(observation), last), np.sqrt(offset)

    def keep(self, kept) -> None:
        """Drop all other plans."""
        self.observations, self.actions = self.observations[kept], self.actions[kept]


class Diffused(_Clocked):
    """Executes the plan's own actions (§4.2), independent of the observation."""

    def act(self, observation: Observations) -> Actions:
        """Return the planned actions of this step, within the bounds of the task."""
        planned = self.actions[:, min(self.step, self.actions.shape[1] - 1)]
        self.step += 1
        return self.task.clip(planned)


class ProportionalDerivative(_Clocked):
    """Tracks the planned positions and velocities on the plan's own clock."""

    def act(self, observation: Observations) -> Actions:
        """Return the push towards the planned state of this step."""
        target = self.observations[:, min(self.step, self.observations.shape[1] - 1)]
        self.step += 1
        return push_towards(target, observation, self.task)


class Pursuit:
    """Chases the planned state ``lookahead`` steps ahead of the nearest one, as fast as the actuators allow.

    The demonstrations, and therefore the plans, are slower than the actuators, so the plan is used for its path and not
    for its clock.
    Source: pure pursuit (Coulter 1992), with progress along the way that never goes back.
    """

    def __init__(self, observations, actions, task: Task, lookahead: int = LOOKAHEAD):
        self.observations, self.task, self.lookahead = observations, task, lookahead
        self.progress = np.zeros(len(observations), dtype=np.int64)

    def act(self, observation: Observations) -> Actions:
        """Return the push towards the pursued position and velocity."""
        self.progress, _ = self.locate(observation)
        ahead = np.minimum(self.progress + self.lookahead, self.observations.shape[1] - 1)
        return push_towards(self.observations[np.arange(len(observation)), ahead], observation, self.task)

    def locate(self, observation: Observations) -> tuple[Int[np.ndarray, " batch"], Float[np.ndarray, " batch"]]:
        """Return the nearest planned position within a search window ahead of the last one."""
        batch, steps, size = self.observations.shape
        first = steps * np.arange(batch)  # row of each plan's first step, where the plans stand one below another
        position = index_channels(self.task.position)
        path = self.observations.reshape(batch * steps, size)[:, position]
        row, distance = advance(path, first + self.progress, first + steps - 1, observation[:, position])
        return row - first, distance

    def keep(self, kept) -> None:
        """Drop all other plans."""
        self.observations, self.progress = self.observations[kept], self.progress[kept]


class Hold:
    """Holds the end of a plan by the PD law once the plan stands still there; before that, another controller acts.

    At rest the planned actions are near 0. They keep the agent in place only if it is exactly at the planned position.

    Args:
        controller: follows the plans while they move.
        observations: the planned ones.
        task: names positions and velocities.
    """

    def __init__(self, controller: Controller, observations: Float[np.ndarray, "batch step observation"], task: Task):
        self.controller, self.ends, self.task = controller, observations[:, -1], task
        speed = np.linalg.norm(observations[..., index_channels(task.velocity)], axis=-1)  # (batch, step)
        is_far = _square_distance(observations, observations[:, -1:], task) > HOLD_RADIUS**2
        moves, steps = is_far | (speed > HOLD_SPEED), observations.shape[1]
        # The step after the last one that moves; of a plan that moves to its end, one that never comes.
        after = np.where(moves.any(axis=1), steps - moves[:, ::-1].argmax(axis=1), 0)
        self.still_from = np.where(after < steps, after, np.iinfo(np.int64).max)

    def act(self, observation: Observations) -> Actions:
        """Return the other controller's actions, or the push towards the ends of the plans that stand still."""
        next_step = self.locate(observation)[0] + 1
        followed = self.controller.act(observation)
        held = push_towards(self.ends, observation, self.task)
        return np.where((next_step >= self.still_from)[:, None], held, followed)

    def __copy__(self) -> "Hold":
        """Return a copy that continues from here with its own controller."""
        twin = object.__new__(Hold)
        vars(twin).update(vars(self), controller=copy(self.controller))
        return twin

    def locate(self, observation: Observations) -> tuple[Int[np.ndarray, " batch"], Float[np.ndarray, " batch"]]:
        """Return the place that the other controller tells."""
        return self.controller.locate(observation)

    def keep(self, kept) -> None:
        """Drop all other plans."""
        self.controller.keep(kept)
        self.ends, self.still_from = self.ends[kept], self.still_from[kept]


class Custom(_Clocked):
    """Executes the actions that a user's function computes from the plan, the observation and the step of the plan.

    Args:
        compute: takes the plan's observations (batch, step, observation) and actions (batch, step, action), the present
            observations (batch, observation), and the number of the present step of the plan from 0 on; returns actions
            (batch, action).
        observations, actions, task, lookahead: see ``Controller``.
    """

    def __init__(self, compute: Callable[..., Actions], observations, actions, task: Task, lookahead: int = LOOKAHEAD):
        super().__init__(observations, actions, task, lookahead)
        self.compute = compute

    def act(self, observation: Observations) -> Actions:
        """Return the actions of the user's function, within the bounds of the task.

        Raises:
            InputError: if they have another shape.
        """
        step = min(self.step, self.actions.shape[1] - 1)
        actions = np.asarray(self.compute(self.observations, self.actions, observation, step))
        expected = len(observation), self.task.action_dim
        if actions.shape != expected:
            raise InputError(f"the controller must return actions of shape {expected}, not {actions.shape}.")
        self.step += 1
        return self.task.clip(actions)


def _square_distance(
    planned: Float[np.ndarray, "*batch observation"], observation, task: Task
) -> Float[np.ndarray, "*batch"]:
    """Return the squared distance of positions, or of whole observations if the task names no positions."""
    position = index_channels(task.position or range(task.observation_dim))
    return np.square(planned[..., position] - observation[..., position]).sum(axis=-1)


CONTROLLERS: dict[str, Callable[..., Controller]] = {
    "diffused": Diffused,
    "pd": ProportionalDerivative,
    "pursuit": Pursuit,
}
MOTION_CONTROLLERS = ("pd", "pursuit")  # they need a task that names positions and velocities


def make_controller(
    chosen: str | Callable[..., Actions] | None,
    observations: Float[np.ndarray, "batch step observation"],
    actions: Float[np.ndarray, "batch step action"],
    task: Task,
    lookahead: int = LOOKAHEAD,
) -> Controller:
    """Return a controller that follows planned observations and actions.

    Args:
        chosen: a name in ``CONTROLLERS``, or a function as ``Custom`` takes it, or None for the controller that suits
            the task (``default_controller``).
        observations, actions, task, lookahead: see ``Controller``.
    """
    chosen = default_controller(task) if chosen is None else chosen
    if callable(chosen):
        return Custom(chosen, observations, actions, task, lookahead)
    return CONTROLLERS[chosen](observations, actions, task, lookahead)


def default_controller(task: Task) -> str:
    """Return the name of the controller that suits a task: ``pursuit`` if it names motion, otherwise ``diffused``."""
    return "pursuit" if task.has_motion else "diffused"
