"""What a world is: everything that a model and an agent must know of an environment, in one frozen dataclass.

A ``Task`` is read from a Gymnasium environment (``read_task``) or written by hand. Every checkpoint holds one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from dfplan.ground.errors import InputError, unknown_name

if TYPE_CHECKING:
    import gymnasium

REWARD_OF = ("state", "transition")
NOT_SUPPORTED = "dfplan plans with vectors of numbers: observations and actions must be Box spaces with one axis"


@dataclass(frozen=True)
class Task:
    """A world with vector observations and bounded vector actions.

    Attributes:
        observation_dim: number of observation channels.
        action_dim: number of action channels.
        action_low: lowest action, one number per channel; empty for -1 in every channel.
        action_high: highest action, one number per channel; empty for 1 in every channel.
        goal: observation channels for which a goal gives values; empty for a task without a goal.
        position: observation channels that are positions, one for each action that pushes along it; empty if unknown.
        velocity: observation channels that are the velocities of ``position``; empty if unknown.
        rests: whether an agent that has arrived at its goal stands still there with velocity 0 and action 0. Training
            windows are then continued after their goal by standing still.
        reward_of: ``state`` if the reward in a row of a recording is about the observation of the same row,
            ``transition`` if it is about the step from this row to the next one, which is Gymnasium's convention.
        max_episode_steps: length of an episode in steps; None if it is not limited.

    Raises:
        InputError: if sizes, bounds and channels contradict each other.
    """

    observation_dim: int
    action_dim: int
    action_low: tuple[float, ...] = ()
    action_high: tuple[float, ...] = ()
    goal: tuple[int, ...] = ()
    position: tuple[int, ...] = ()
    velocity: tuple[int, ...] = ()
    rests: bool = False
    reward_of: str = "transition"
    max_episode_steps: int | None = None

    def __post_init__(self):
        for name in ("action_low", "action_high"):  # NumPy's numbers are no JSON
            object.__setattr__(self, name, tuple(map(float, getattr(self, name))))
        for name in ("goal", "position", "velocity"):
            object.__setattr__(self, name, tuple(map(int, getattr(self, name))))
        if self.observation_dim < 1 or self.action_dim < 1:
            sizes = f"{self.observation_dim} and {self.action_dim}"
            raise InputError(f"a task needs at least 1 channel of observation and 1 of action, not {sizes}.")
        self._check_bounds()
        self._check_channels()
        if self.reward_of not in REWARD_OF:
            raise unknown_name("reward_of", self.reward_of, REWARD_OF)
        if self.rests and not self.goal:
            raise InputError("rests=True says how an agent stands at its goal, so the task needs goal channels.")
        if self.max_episode_steps is not None and self.max_episode_steps < 1:
            raise InputError(f"an episode has at least 1 step, not {self.max_episode_steps}.")

    @property
    def goal_dim(self) -> int:
        """Number of goal channels."""
        return len(self.goal)

    @property
    def has_motion(self) -> bool:
        """Whether position and velocity are known, so that controllers can track plans."""
        return bool(self.position and self.velocity)

    @property
    def bounds(self) -> tuple[Float[np.ndarray, " action"], Float[np.ndarray, " action"]]:
        """The lowest and the highest action."""
        low = self.action_low or (-1.0,) * self.action_dim
        high = self.action_high or (1.0,) * self.action_dim
        return np.array(low), np.array(high)

    def clip(self, actions: Float[np.ndarray, "*batch action"]) -> Float[np.ndarray, "*batch action"]:
        """Return the actions within the bounds."""
        return np.clip(actions, *self.bounds)

    def take_goal(self, goal: Any) -> Any:
        """Return the goal channels of a goal that is given as a whole observation; anything else as it is."""
        try:
            shape = np.shape(goal)
        except ValueError:  # lists of different lengths
            return goal
        is_whole = len(shape) > 0 and shape[-1] == self.observation_dim != self.goal_dim
        return np.asarray(goal)[..., list(self.goal)] if is_whole else goal

    def _check_bounds(self) -> None:
        for bounds in (self.action_low, self.action_high):
            if bounds and len(bounds) != self.action_dim:
                raise InputError(f"{self.action_dim} actions need as many lower and upper bounds, not {len(bounds)}.")
        low, high = self.bounds
        if not (np.isfinite(low).all() and np.isfinite(high).all()):
            raise InputError(
                f"actions need finite bounds, not {self.action_low} to {self.action_high}; wrap the environment in "
                "gymnasium.wrappers.RescaleAction or ClipAction, or give action_low and action_high."
            )
        if not (low < high).all():
            raise InputError(f"lower bounds of actions must be below the upper ones, not {low} and {high}.")

    def _check_channels(self) -> None:
        for name in ("goal", "position", "velocity"):
            channels = getattr(self, name)
            if len(set(channels)) != len(channels) or not all(0 <= one < self.observation_dim for one in channels):
                last = self.observation_dim - 1
                raise InputError(f"the channels of {name} must be different ones of 0 to {last}, not {channels}.")
        if self.position or self.velocity:
            if not len(self.position) == len(self.velocity) == self.action_dim:
                raise InputError(
                    f"position and velocity need one channel for each of the {self.action_dim} actions, not "
                    f"{self.position} and {self.velocity}."
                )
            if set(self.position) & set(self.velocity):
                raise InputError(f"position {self.position} and velocity {self.velocity} share a channel.")


# D4RL's ball in a maze: the observation is (x, y, vx, vy), and actions within -1 and 1 push along x and y.
MAZE = Task(
    observation_dim=4,
    action_dim=2,
    goal=(0, 1),
    position=(0, 1),
    velocity=(2, 3),
    rests=True,
    reward_of="state",
)
FACTS = tuple(field.name for field in fields(Task))


def index_channels(channels: Sequence[int]) -> slice | list[int]:
    """Return an index of channels along an axis: a slice if they follow each other, so that no copy is made."""
    first = channels[0] if channels else 0
    if list(channels) == list(range(first, first + len(channels))):
        return slice(first, first + len(channels))
    return list(channels)


def task_from_dict(saved: Mapping[str, Any]) -> Task:
    """Return the task that ``dataclasses.asdict`` has turned into a dictionary.

    Raises:
        InputError: if it is not a dictionary of a task.
    """
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in saved.items()}
    try:
        return Task(**values)
    except (TypeError, ValueError) as error:
        raise InputError(f"the task cannot be read: {error}.") from error


def read_task(env: "gymnasium.Env | gymnasium.vector.VectorEnv", **facts: Any) -> Task:
    """Return the task of an environment, or of the single environments of a vector environment.

    An environment that has an attribute ``dfplan_task`` says by it what its task is. Of any other environment the
    sizes, the action bounds and the episode length are read. The goal of a goal environment, whose observations are
    dictionaries with ``desired_goal``, stands for the first channels of ``observation``.

    Args:
        env: the environment.
        facts: fields of ``Task`` that replace what is read, such as ``goal=(0, 1)``.

    Raises:
        InputError: if there is no such fact, or observations or actions are of a kind that is not supported.
    """
    for name in facts:
        if name not in FACTS:
            raise unknown_name("field of a task", name, FACTS)
    base = getattr(env, "unwrapped", env)
    own = getattr(base, "dfplan_task", None)
    if own is not None:
        return replace(own, **facts)
    return Task(**(_read_spaces(env) | facts))


def _read_spaces(env: Any) -> dict[str, Any]:
    """Return the facts that spaces and specification tell."""
    from gymnasium import spaces  # imported here, because it is slow

    observations = getattr(env, "single_observation_space", None) or env.observation_space
    actions = getattr(env, "single_action_space", None) or env.action_space
    goal: tuple[int, ...] = ()
    if isinstance(observations, spaces.Dict):
        if "observation" not in observations.spaces:
            raise InputError(f"{NOT_SUPPORTED}; a dictionary needs 'observation', {_describe(observations)} has none.")
        if "desired_goal" in observations.spaces:
            desired = observations["desired_goal"]
            goal = tuple(range(_check_box("goal", desired)))
        observations = observations["observation"]
    _check_box("observation", observations)
    _check_box("action", actions)
    return {
        "observation_dim": observations.shape[0],
        "action_dim": actions.shape[0],
        "action_low": tuple(actions.low.tolist()),
        "action_high": tuple(actions.high.tolist()),
        "goal": goal,
        "max_episode_steps": getattr(getattr(env, "spec", None), "max_episode_steps", None),
    }


def _check_box(name: str, space: Any) -> int:
    """Return the number of channels of a space of vectors.

    Raises:
        InputError: if it is another space.
    """
    from gymnasium import spaces

    if not isinstance(space, spaces.Box) or len(space.shape) != 1:
        raise InputError(f"{NOT_SUPPORTED}; the {name} space {_describe(space)} is not supported yet.")
    return space.shape[0]


def _describe(space: Any) -> str:
    """Return a space as text of one line."""
    text = " ".join(str(space).split())
    return text if len(text) <= 80 else f"{text[:77]}..."
