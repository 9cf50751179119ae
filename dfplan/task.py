"""What a world is: everything that a model and an agent must know of an environment, in one frozen dataclass.

A ``Task`` is read from a Gymnasium environment (``dfplan.spaces``) or written by hand. Every checkpoint holds one.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import Any

import numpy as np
from jaxtyping import Float

from dfplan.ground.errors import InputError, unknown_name

REWARD_OF = ("state", "transition")


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
        what = "channel numbers, such as (0, 1) or () for none" if kind is int else "numbers"
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
        step_length: by how much the highest action changes each position in one step, in a world where actions move
            positions directly and nothing keeps moving; empty in any other world.
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
    step_length: tuple[float, ...] = ()
    rests: bool = False
    reward_of: str = "transition"
    max_episode_steps: int | None = None

    def __post_init__(self):
        sizes = self.observation_dim, self.action_dim
        if not all(_is_number(size, Integral) and size >= 1 for size in sizes):
            raise InputError(
                f"a task needs at least 1 channel of observation and 1 of action, not {sizes[0]} and {sizes[1]}."
            )
        steps = self.max_episode_steps
        if steps is not None and not (_is_number(steps, Integral) and steps >= 1):
            raise InputError(f"an episode has at least 1 step, not {steps!r}.")
        if not isinstance(self.rests, bool | np.bool_):
            raise InputError(f"rests must be True or False, not {self.rests!r}.")
        self._convert_numbers()
        self._check_bounds()
        self._check_channels()
        if self.reward_of not in REWARD_OF:
            raise unknown_name("reward_of", self.reward_of, REWARD_OF)
        if self.rests and not self.goal:
            raise InputError("rests=True says how an agent stands at its goal, so the task needs goal channels.")

    @property
    def goal_dim(self) -> int:
        """Number of goal channels."""
        return len(self.goal)

    @property
    def has_motion(self) -> bool:
        """Whether it is known how actions move positions, so that controllers can track plans."""
        return bool(self.position and (self.velocity or self.step_length))

    @property
    def bounds(self) -> tuple[Float[np.ndarray, " action"], Float[np.ndarray, " action"]]:
        """The lowest and the highest action."""
        low = self.action_low or (-1.0,) * self.action_dim
        high = self.action_high or (1.0,) * self.action_dim
        return np.array(low), np.array(high)

    def clip(self, actions: Float[np.ndarray, "*batch action"]) -> Float[np.ndarray, "*batch action"]:
        """Return the actions within the bounds, also after they are rounded to float32."""
        return np.clip(actions, *round_inwards(*self.bounds))

    def take_goal(self, goal: Any) -> Any:
        """Return the goal channels of a goal that is given as a whole observation; anything else as it is."""
        try:
            shape = np.shape(goal)
        except ValueError:  # lists of different lengths
            return goal
        is_whole = len(shape) > 0 and shape[-1] == self.observation_dim != self.goal_dim
        return np.asarray(goal)[..., list(self.goal)] if is_whole else goal

    def _convert_numbers(self) -> None:
        """Turn NumPy's numbers into Python's, which JSON can hold."""
        for name in ("action_low", "action_high", "step_length"):
            object.__setattr__(self, name, read_numbers(name, getattr(self, name), float))
        for name in ("goal", "position", "velocity"):
            object.__setattr__(self, name, read_numbers(name, getattr(self, name), int))
        for name in ("observation_dim", "action_dim", "max_episode_steps"):
            number = getattr(self, name)
            object.__setattr__(self, name, None if number is None else int(number))
        object.__setattr__(self, "rests", bool(self.rests))

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
        if self.position or self.velocity or self.step_length:
            moved_by = self.velocity or self.step_length
            if (self.velocity and self.step_length) or not len(self.position) == len(moved_by) == self.action_dim:
                raise InputError(
                    f"position and either velocity or step_length need one number for each of the {self.action_dim} "
                    f"actions, not {self.position}, {self.velocity} and {self.step_length}."
                )
            if not all(0 < length < math.inf for length in self.step_length):
                raise InputError(f"lengths of steps must be above 0 and finite, not {self.step_length}.")
            if self.step_length and not (self.bounds[1] > 0).all():
                raise InputError(
                    f"step_length is that of the highest action, which must be above 0, not {self.bounds[1].tolist()}."
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


def round_inwards(
    low: Float[np.ndarray, " action"], high: Float[np.ndarray, " action"]
) -> tuple[Float[np.ndarray, " action"], Float[np.ndarray, " action"]]:
    """Return the numbers of float32 nearest to two bounds and within them, so that rounded actions stay within.

    Raises:
        InputError: if there is no such number.
    """
    lowest, highest = low.astype(np.float32), high.astype(np.float32)
    lowest = np.where(lowest < low, np.nextafter(lowest, np.float32(np.inf)), lowest)
    highest = np.where(highest > high, np.nextafter(highest, np.float32(-np.inf)), highest)
    if (lowest > highest).any():
        raise InputError(
            f"actions are float32, and no number of float32 lies between {low.tolist()} and {high.tolist()}."
        )
    return lowest.astype(np.float64), highest.astype(np.float64)


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
