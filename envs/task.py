"""What an episode in a point maze is: where it starts, where its goal lies, what is rewarded.

The single and the vectorised environment share this module, so that they cannot differ.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.spaces import Box
from jaxtyping import Bool, Float

from dfplan.envs.errors import InputError, choose, unknown_name
from dfplan.envs.layouts import Layout
from dfplan.envs.physics import MAX_VELOCITY

GOAL_RADIUS = 0.5  # environment units; within it the sparse reward is 1
POSITION_SPREAD = 0.1  # starts and random goals lie at a cell plus U(-this, this) in each direction
VELOCITY_SPREAD = 0.1  # standard deviation of each component of the velocity at the start
# Velocities are clipped before a step, so one step's push, and a bounce off a wall, may carry them somewhat further.
VELOCITY_BOUND = 2 * MAX_VELOCITY
RESET_OPTIONS = ("location", "goal")

Goal = str | np.ndarray | list | tuple  # "fixed", "random", or a position


def distance_to_goal(
    positions: Float[np.ndarray, "*batch 2"], goals: Float[np.ndarray, "*#batch 2"]
) -> Float[np.ndarray, "*batch"]:
    """Return the Euclidean distance in environment units."""
    offset = positions - goals
    return np.asarray(np.sqrt(offset[..., 0] ** 2 + offset[..., 1] ** 2))


def is_success(
    positions: Float[np.ndarray, "*batch 2"], goals: Float[np.ndarray, "*#batch 2"]
) -> Bool[np.ndarray, "*batch"]:
    """Return whether the ball is within 0.5 of the goal now."""
    return np.asarray(distance_to_goal(positions, goals) <= GOAL_RADIUS)


def sparse_reward(
    positions: Float[np.ndarray, "*batch 2"], goals: Float[np.ndarray, "*#batch 2"]
) -> Float[np.ndarray, "*batch"]:
    """Return 1 within 0.5 of the goal, else 0."""
    return is_success(positions, goals).astype(np.float64)


def dense_reward(
    positions: Float[np.ndarray, "*batch 2"], goals: Float[np.ndarray, "*#batch 2"]
) -> Float[np.ndarray, "*batch"]:
    """Return exp(-distance)."""
    return np.asarray(np.exp(-distance_to_goal(positions, goals)))


REWARDS = {"sparse": sparse_reward, "dense": dense_reward}


def random_locations(layout: Layout, count: int, random: np.random.Generator) -> Float[np.ndarray, "count 2"]:
    """Return positions around free cells drawn uniformly, as D4RL draws starts and random goals."""
    cells = layout.free_cells[random.integers(len(layout.free_cells), size=count)]
    return cells + random.uniform(-POSITION_SPREAD, POSITION_SPREAD, size=(count, 2))


@dataclass(frozen=True, eq=False)
class MazeTask:
    """A maze with its kind of reward and of goal.

    Args:
        layout: the maze.
        reward: ``sparse`` or ``dense``.
        goal: ``fixed`` (the layout's), ``random`` (a new one each episode, the "Multi2D" of Diffuser), or a position.

    Raises:
        InputError: if the reward's name or the goal is unknown or cannot be used.
    """

    layout: Layout
    reward: str = "sparse"
    goal: Goal = "fixed"

    def __post_init__(self) -> None:
        choose("reward", self.reward, REWARDS)
        self._check_goal(self.goal)

    @property
    def observation_space(self) -> Box:
        """Position and velocity (x, y, vx, vy) in environment units."""
        high = np.array([*self.layout.size, VELOCITY_BOUND, VELOCITY_BOUND], dtype=np.float64)
        low = np.array([-1.0, -1.0, -VELOCITY_BOUND, -VELOCITY_BOUND])
        return Box(low, high, dtype=np.float64)

    @property
    def action_space(self) -> Box:
        """Force along x and y; 1 accelerates the ball by 23.9 environment units per second squared."""
        return Box(-1.0, 1.0, (2,), dtype=np.float32)

    @property
    def fixed_goal(self) -> Float[np.ndarray, "2"]:
        """The goal that data are labelled with: the layout's, unless another position was chosen for all episodes."""
        return self._fixed_position(self.goal)

    def rewards(
        self, states: Float[np.ndarray, "*batch 4"], goals: Float[np.ndarray, "*batch 2"]
    ) -> Float[np.ndarray, "*batch"]:
        """Return the reward for being in each state."""
        return REWARDS[self.reward](states[..., :2], goals)

    def start(
        self, random: np.random.Generator, options: Mapping[str, Any] | None = None
    ) -> tuple[Float[np.ndarray, "4"], Float[np.ndarray, "2"]]:
        """Return a state to start from and a goal.

        The position is a free cell plus U(-0.1, 0.1), the velocity N(0, 0.1²), as in D4RL. ``options`` may have a
        ``location``, the exact position to start from, and a ``goal`` for this episode alone.

        Raises:
            InputError: if an option is unknown or cannot be used.
        """
        options = options or {}
        for name in options:
            if name not in RESET_OPTIONS:
                raise unknown_name("reset option", str(name), RESET_OPTIONS)
        position = random_locations(self.layout, 1, random)[0]
        velocity = random.normal(0.0, VELOCITY_SPREAD, size=2)
        if options.get("location") is not None:
            position = self.checked_position("location", options["location"])
        goal = self.goal if options.get("goal") is None else options["goal"]
        self._check_goal(goal)
        if isinstance(goal, str) and goal == "random":
            return np.concatenate([position, velocity]), random_locations(self.layout, 1, random)[0]
        return np.concatenate([position, velocity]), self._fixed_position(goal)

    def checked_position(self, name: str, position: Any) -> Float[np.ndarray, "2"]:
        """Return a position given by the user as an array, once it is known to lie in a free cell."""
        array = checked_array(name, position, (2,))
        if not self.layout.is_free(array):
            raise InputError(f"the {name} {array.tolist()} lies in a wall or outside the maze; choose a free cell.")
        return array

    def _check_goal(self, goal: Goal) -> None:
        if not isinstance(goal, str):
            self.checked_position("goal", goal)
        elif goal not in ("fixed", "random"):
            raise unknown_name("goal", goal, ("fixed", "random"))

    def _fixed_position(self, goal: Goal) -> Float[np.ndarray, "2"]:
        return self.layout.goal if isinstance(goal, str) else np.array(goal, dtype=np.float64)


def checked_array(name: str, values: Any, shape: tuple[int, ...]) -> Float[np.ndarray, "..."]:
    """Return numbers given by the user as a float64 array, once shape and finiteness are as they must be.

    Raises:
        InputError: if they are not.
    """
    try:
        array = np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"the {name} must be numbers of the shape {shape}, not {values!r}.") from error
    if array.shape != shape:
        raise InputError(f"the {name} must have the shape {shape}, not {array.shape}.")
    if not np.isfinite(array).all():
        raise InputError(f"the {name} has numbers that are not finite.")
    return array
