"""The task of a point maze: starts, goals and rewards. The single and the vector environment share it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.spaces import Box
from jaxtyping import Bool, Float

from dfplan.envs.layouts import Layout
from dfplan.envs.physics import MAX_VELOCITY
from dfplan.ground.errors import InputError, choose, unknown_name

GOAL_RADIUS = 0.5  # environment units; the sparse reward is 1 within this distance
POSITION_SPREAD = 0.1  # environment units; starts and random goals are at a cell plus U(-this, this) in each direction
VELOCITY_SPREAD = 0.1  # environment units per second; standard deviation of each velocity component at the start
# Velocities are clipped before a step. Afterwards they may be somewhat larger, because of the push in the step or a
# bounce off a wall.
VELOCITY_BOUND = 2 * MAX_VELOCITY
RESET_OPTIONS = ("location", "goal")

Goal = str | np.ndarray | list | tuple  # "fixed", "random", or a position


def distance_to_goal(
    positions: Float[np.ndarray, "*batch 2"], goals: Float[np.ndarray, "*#batch 2"]
) -> Float[np.ndarray, "*batch"]:
    """Return the Euclidean distance of each position to its goal, in environment units."""
    offset = positions - goals
    return np.asarray(np.sqrt(offset[..., 0] ** 2 + offset[..., 1] ** 2))


def is_success(
    positions: Float[np.ndarray, "*batch 2"], goals: Float[np.ndarray, "*#batch 2"]
) -> Bool[np.ndarray, "*batch"]:
    """Return whether each position is within ``GOAL_RADIUS`` of its goal."""
    return np.asarray(distance_to_goal(positions, goals) <= GOAL_RADIUS)


def sparse_reward(
    positions: Float[np.ndarray, "*batch 2"], goals: Float[np.ndarray, "*#batch 2"]
) -> Float[np.ndarray, "*batch"]:
    """Return 1 within ``GOAL_RADIUS`` of the goal, and 0 elsewhere."""
    return is_success(positions, goals).astype(np.float64)


def dense_reward(
    positions: Float[np.ndarray, "*batch 2"], goals: Float[np.ndarray, "*#batch 2"]
) -> Float[np.ndarray, "*batch"]:
    """Return exp(-distance to the goal)."""
    return np.asarray(np.exp(-distance_to_goal(positions, goals)))


REWARDS = {"sparse": sparse_reward, "dense": dense_reward}


def draw_locations(layout: Layout, count: int, random: np.random.Generator) -> Float[np.ndarray, "count 2"]:
    """Draw positions near uniformly drawn free cells, as D4RL draws starts and random goals."""
    cells = layout.free_cells[random.integers(len(layout.free_cells), size=count)]
    return cells + random.uniform(-POSITION_SPREAD, POSITION_SPREAD, size=(count, 2))


@dataclass(frozen=True, eq=False)
class MazeTask:
    """A maze with a kind of reward and a kind of goal.

    Args:
        layout: the maze.
        reward: ``sparse`` or ``dense``.
        goal: ``fixed`` (that of the layout), ``random`` (a new one for each episode, "Multi2D" in the Diffuser paper),
            or a position in environment units.

    Raises:
        InputError: if the reward or the goal is unknown, or if the goal is not in a free cell.
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
        """Forces along x and y; a force of 1 accelerates the ball by 23.9 environment units per second squared."""
        return Box(-1.0, 1.0, (2,), dtype=np.float32)

    @property
    def fixed_goal(self) -> Float[np.ndarray, "2"]:
        """The goal for the rewards of data: that of the layout, or the position that was chosen for all episodes."""
        return self._find_fixed_position(self.goal)

    def compute_rewards(
        self, states: Float[np.ndarray, "*batch 4"], goals: Float[np.ndarray, "*batch 2"]
    ) -> Float[np.ndarray, "*batch"]:
        """Return the reward of each state."""
        return REWARDS[self.reward](states[..., :2], goals)

    def draw_start(
        self, random: np.random.Generator, options: Mapping[str, Any] | None = None
    ) -> tuple[Float[np.ndarray, "4"], Float[np.ndarray, "2"]]:
        """Draw the initial state and the goal of an episode.

        As in D4RL, the position is a free cell plus U(-0.1, 0.1), and the velocity is N(0, 0.1²).

        Args:
            random: source of all random numbers.
            options: may contain ``location``, the exact initial position, and ``goal``, the goal of this episode.

        Raises:
            InputError: if an option is unknown or cannot be used.
        """
        options = options or {}
        for name in options:
            if name not in RESET_OPTIONS:
                raise unknown_name("reset option", str(name), RESET_OPTIONS)
        position = draw_locations(self.layout, 1, random)[0]
        velocity = random.normal(0.0, VELOCITY_SPREAD, size=2)
        if options.get("location") is not None:
            position = self.check_position("location", options["location"])
        goal = self.goal if options.get("goal") is None else options["goal"]
        self._check_goal(goal)
        if isinstance(goal, str) and goal == "random":
            return np.concatenate([position, velocity]), draw_locations(self.layout, 1, random)[0]
        return np.concatenate([position, velocity]), self._find_fixed_position(goal)

    def check_position(self, name: str, position: Any) -> Float[np.ndarray, "2"]:
        """Return a user's position as an array.

        Raises:
            InputError: if it is not two finite numbers, or not in a free cell.
        """
        array = check_array(name, position, (2,))
        if not self.layout.is_free(array):
            raise InputError(f"the {name} {array.tolist()} is in a wall or outside the maze; choose a free cell.")
        return array

    def _check_goal(self, goal: Goal) -> None:
        if not isinstance(goal, str):
            self.check_position("goal", goal)
        elif goal not in ("fixed", "random"):
            raise unknown_name("goal", goal, ("fixed", "random"))

    def _find_fixed_position(self, goal: Goal) -> Float[np.ndarray, "2"]:
        return self.layout.goal if isinstance(goal, str) else np.array(goal, dtype=np.float64)


def check_array(name: str, values: Any, shape: tuple[int, ...]) -> Float[np.ndarray, "..."]:
    """Return a user's numbers as a float64 array.

    Raises:
        InputError: if they are not finite numbers of the given shape.
    """
    try:
        array = np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"the {name} must be an array of numbers of the shape {shape}, not {values!r}.") from error
    if array.shape != shape:
        raise InputError(f"the {name} must have the shape {shape}, not {array.shape}.")
    if not np.isfinite(array).all():
        raise InputError(f"the {name} must have finite numbers, but has NaN or infinity.")
    return array
