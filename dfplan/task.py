"""What a world is: everything that a model and an agent must know of an environment, in one frozen dataclass.

A ``Task`` is read from a Gymnasium environment (``read_task``) or written by hand. Every checkpoint holds one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from dfplan.ground.errors import InputError, unknown_name

if TYPE_CHECKING:
    import gymnasium

REWARD_OF = ("state", "transition")
GOAL_SAMPLES = 3  # episodes in which the goal channels are looked for
GOAL_TOLERANCE = 1e-6  # by which an observation may differ there from the achieved goal
NOT_SUPPORTED = "dfplan plans with vectors of numbers: observations and actions must be Box spaces with one axis"


def _is_number(value: Any, kind: type) -> bool:
    """Return whether a value is a number of this kind, and no truth value."""
    return isinstance(value, kind) and not isinstance(value, bool | np.bool_)


def read_numbers(name: str, values: Any, kind: type[int] | type[float]) -> tuple:
    """Return several numbers of this kind as a tuple; whole numbers are channels.

    Raises:
        InputError: if they are something else.
    """
    values = list(np.atleast_1d(values)) if isinstance(values, np.ndarray) else values
    expected = Integral if kind is int else Real
    if not isinstance(values, list | tuple) or not all(_is_number(value, expected) for value in values):
        what = "channel numbers" if kind is int else "numbers"
        raise InputError(f"{name} must be a list of {what}, not {values!r}.")
    return tuple(map(kind, values))


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
            object.__setattr__(self, name, read_numbers(name, getattr(self, name), float))
        for name in ("goal", "position", "velocity"):
            object.__setattr__(self, name, read_numbers(name, getattr(self, name), int))
        sizes = self.observation_dim, self.action_dim
        if not all(_is_number(size, Integral) and size >= 1 for size in sizes):
            raise InputError(
                f"a task needs at least 1 channel of observation and 1 of action, not {sizes[0]} and {sizes[1]}."
            )
        self._check_bounds()
        self._check_channels()
        if self.reward_of not in REWARD_OF:
            raise unknown_name("reward_of", self.reward_of, REWARD_OF)
        if self.rests and not self.goal:
            raise InputError("rests=True says how an agent stands at its goal, so the task needs goal channels.")
        steps = self.max_episode_steps
        if steps is not None and not (_is_number(steps, Integral) and steps >= 1):
            raise InputError(f"an episode has at least 1 step, not {steps}.")

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
                f"actions need finite bounds, not {low.tolist()} to {high.tolist()}; give them as action_low and "
                "action_high, or --set task.action_low=[-1] --set task.action_high=[1]."
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


@dataclass(frozen=True)
class Spaces:
    """What the spaces of an environment tell.

    Attributes:
        observation_dim: number of observation channels.
        action_dim: number of action channels.
        action_low: lowest action, one number per channel; may be infinite.
        action_high: highest action, one number per channel; may be infinite.
        goal_dim: size of a goal; 0 if the environment does not tell of goals.
    """

    observation_dim: int
    action_dim: int
    action_low: tuple[float, ...]
    action_high: tuple[float, ...]
    goal_dim: int = 0

    @property
    def bounds(self) -> tuple[Float[np.ndarray, " action"], Float[np.ndarray, " action"]]:
        """The lowest and the highest action."""
        return np.array(self.action_low), np.array(self.action_high)

    def check(self, task: Task, whose: str, name: str) -> None:
        """Check that a task has the sizes of these spaces, and their bounds of actions where these are finite.

        Args:
            task: what a model was trained for.
            whose: task it is, for the message, such as ``the agent``.
            name: of the environment.

        Raises:
            InputError: if it has not.
        """
        tells_goal = bool(task.goal and self.goal_dim)  # an environment need not tell that it has goals
        what = "observations, actions and goals" if tells_goal else "observations and actions"
        given, expected = (
            (one.observation_dim, one.action_dim, one.goal_dim)[: 3 if tells_goal else 2] for one in (task, self)
        )
        if given != expected:
            raise InputError(f"{whose} has {what} of sizes {given}, but {name} has {expected}.")
        bounds, limits = np.array(task.bounds), np.array(self.bounds)
        is_limited = np.isfinite(limits)
        if not np.allclose(bounds[is_limited], limits[is_limited]):
            own, its = (" to ".join(str(one.round(4).tolist()) for one in pair) for pair in (bounds, limits))
            raise InputError(f"{whose} has actions from {own}, but {name} has actions from {its}.")


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
    try:
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in saved.items()
        }
        return Task(**values)
    except (AttributeError, TypeError) as error:
        raise InputError(f"the task cannot be read: {error}.") from error


def read_task(env: "gymnasium.Env | gymnasium.vector.VectorEnv", **facts: Any) -> Task:
    """Return the task of an environment, or of the single environments of a vector environment.

    An environment that has an attribute ``dfplan_task`` says by it what its task is. Of any other environment the
    sizes, the action bounds and the episode length are read. In a goal environment, whose observations are dictionaries
    with ``desired_goal``, the goal channels are those of ``observation`` that are always equal to ``achieved_goal``.
    To find them, the environment is reset and makes a few steps.

    Args:
        env: the environment.
        facts: fields of ``Task`` that replace what is read, such as ``goal=(0, 1)``.

    Raises:
        InputError: if there is no such fact, observations or actions are of a kind that is not supported, or the goal
            channels cannot be found.
    """
    for name in facts:
        if name not in FACTS:
            raise unknown_name("field of a task", name, FACTS)
    own = find_own_task(env)
    if own is not None:
        return replace(own, **facts)
    spaces = read_spaces(env)
    read = {name: getattr(spaces, name) for name in ("observation_dim", "action_dim", "action_low", "action_high")}
    read["max_episode_steps"] = getattr(getattr(env, "spec", None), "max_episode_steps", None)
    if spaces.goal_dim and "goal" not in facts:
        read["goal"] = _find_goal_channels(env, spaces)
    return Task(**(read | facts))


def find_own_task(env: Any) -> Task | None:
    """Return the task that an environment says itself, by its attribute ``dfplan_task``; None if it says none."""
    return getattr(getattr(env, "unwrapped", env), "dfplan_task", None)


def read_spaces(env: "gymnasium.Env | gymnasium.vector.VectorEnv") -> Spaces:
    """Return what the spaces of an environment tell, or those of the single environments of a vector environment.

    ``gymnasium.wrappers.ClipAction`` allows all actions and clips them; the bounds are those at which it clips.

    Raises:
        InputError: if observations or actions are of a kind that is not supported.
    """
    from gymnasium import spaces  # imported here, because it is slow

    observations = getattr(env, "single_observation_space", None) or env.observation_space
    own, goal_dim = find_own_task(env), 0
    if isinstance(observations, spaces.Dict):
        if "observation" not in observations.spaces:
            raise InputError(f"{NOT_SUPPORTED}; a dictionary needs 'observation', {_describe(observations)} has none.")
        if "desired_goal" in observations.spaces:
            goal_dim = _check_box("goal", observations["desired_goal"]).shape[0]
        observations = observations["observation"]
    observations, actions = _check_box("observation", observations), _check_box("action", _find_action_space(env))
    if not np.issubdtype(actions.dtype, np.floating):
        raise InputError(f"{NOT_SUPPORTED}; the action space {_describe(actions)} has whole numbers.")
    bounds = tuple(actions.low.tolist()), tuple(actions.high.tolist())
    return Spaces(observations.shape[0], actions.shape[0], *bounds, own.goal_dim if own else goal_dim)


def _find_action_space(env: Any) -> Any:
    """Return the space of the actions of a single environment, within which ``ClipAction`` clips them."""
    from gymnasium.wrappers import ClipAction

    wrapper = env
    while hasattr(wrapper, "env"):
        if isinstance(wrapper, ClipAction):
            return wrapper.env.action_space
        wrapper = wrapper.env
    return getattr(env, "single_action_space", None) or env.action_space


def _find_goal_channels(env: Any, spaces: Spaces) -> tuple[int, ...]:
    """Return the observation channels in a row that are equal to ``achieved_goal`` in a few observations.

    Raises:
        InputError: if there are none.
    """
    samples = _sample_goal_observations(env, spaces)
    if samples:
        observed, achieved = (np.concatenate(column) for column in zip(*samples, strict=True))
        size = achieved.shape[1]
        for first in range(observed.shape[1] - size + 1):
            if np.allclose(observed[:, first : first + size], achieved, atol=GOAL_TOLERANCE):
                return tuple(range(first, first + size))
    raise InputError(
        "the environment has goals, but no observation channels that are equal to achieved_goal; name them, such as "
        "goal=(0, 1) or --goal 0,1, or plan without a goal: goal=() or --goal none."
    )


def _sample_goal_observations(env: Any, spaces: Spaces) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return observations and achieved goals, each (slot, channel), at the beginning of a few episodes."""
    low, high = (np.nan_to_num(bound, posinf=1, neginf=-1) for bound in spaces.bounds)
    slots, random, seen = getattr(env, "num_envs", ()), np.random.default_rng(0), []
    for seed in range(GOAL_SAMPLES):
        seen.append(env.reset(seed=seed)[0])
        actions = random.uniform(low, high, np.broadcast_shapes(low.shape, (slots, 1) if slots else ()))
        seen.append(env.step(actions.astype(np.float32))[0])
    return [
        (np.atleast_2d(one["observation"]), np.atleast_2d(one["achieved_goal"]))
        for one in seen
        if "achieved_goal" in one
    ]


def _check_box(name: str, space: Any) -> Any:
    """Return a space of vectors.

    Raises:
        InputError: if it is another space.
    """
    from gymnasium import spaces

    if not isinstance(space, spaces.Box) or len(space.shape) != 1:
        raise InputError(f"{NOT_SUPPORTED}; the {name} space {_describe(space)} is not supported yet.")
    return space


def _describe(space: Any) -> str:
    """Return a space as text of one line."""
    text = " ".join(str(space).split())
    return text if len(text) <= 80 else f"{text[:77]}..."
