"""An upper bound on the score of any agent, from the highest velocity of the ball.

The environment clips each velocity component to ±5 before a step, so that the ball moves 0.05 per step along each axis.
No path is faster than the shortest path in the maximum norm at this speed. The bound ignores acceleration, which costs
21 steps, the time of turns, and the contact with walls. The step after the clipping may add up to 0.23 to the velocity;
on every path of these mazes this gains less time than the acceleration costs.
"""

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.ndimage import distance_transform_edt

from dfplan.envs.layouts import CELL_CENTRE_OFFSET, LAYOUTS, Layout, find_episode_steps
from dfplan.envs.maze_task import GOAL_RADIUS, POSITION_SPREAD
from dfplan.envs.physics import BALL_RADIUS, MAX_VELOCITY, TIMESTEP
from dfplan.envs.scores import REFERENCE_SCORES, score_episodes
from dfplan.ground.errors import InputError, choose

STEP_LENGTH = MAX_VELOCITY * TIMESTEP  # environment units, 0.05
POINTS_PER_STEP = 2  # grid points per step; 4 instead of 2 change every limit by less than 0.2 normalized
SPACING = STEP_LENGTH / POINTS_PER_STEP
POINTS_PER_CELL = round(1 / SPACING)


def compute_kinematic_limit(maze: str, goal: str = "fixed") -> float:
    """Return the highest possible mean normalized score over the reset distribution.

    Args:
        maze: a key of ``LAYOUTS`` with reference scores.
        goal: ``fixed``, or ``random`` for a goal drawn uniformly over the free cells.

    Raises:
        InputError: if there is no such maze, or it has no reference scores.
    """
    if choose("maze", maze, LAYOUTS).name not in REFERENCE_SCORES:
        raise InputError(f"the maze {maze} has no reference scores, so its limit cannot be normalized.")
    layout = LAYOUTS[maze]
    goals = layout.goal[None] if goal == "fixed" else layout.free_cells.astype(float)  # (goal, 2)
    return float(np.mean([_compute_limit_for_goal(layout, position) for position in goals]))


def find_free_points(layout: Layout) -> Bool[np.ndarray, "x y"]:
    """Return the points of a fine grid at which the ball fits: those at least its radius away from every wall."""
    walls = np.kron(layout.walls, np.ones((POINTS_PER_CELL, POINTS_PER_CELL), dtype=bool))
    # The transform measures the distance to the centre of the nearest wall point; the wall begins half a point before.
    return (distance_transform_edt(~walls) - 0.5) * SPACING >= BALL_RADIUS


def count_steps_to_goal(free: Bool[np.ndarray, "x y"], goal: Float[np.ndarray, "2"]) -> Int[np.ndarray, "x y"]:
    """Return the fewest steps from each grid point to the goal's disc (radius 0.5), or -1 if there is no path.

    In the maximum norm all eight neighbours of a point have the same distance, so a breadth-first search is exact.
    """
    x, y = (np.abs(_compute_coordinates(length) - centre) for length, centre in zip(free.shape, goal))
    rings = np.full(free.shape, -1)
    rings[(x[:, None] ** 2 + y[None, :] ** 2 <= GOAL_RADIUS**2) & free] = 0
    width = free.shape[1]
    neighbours = np.array([-width - 1, -width, -width + 1, -1, 1, width - 1, width, width + 1])
    flat, flat_free = rings.ravel(), free.ravel()  # views, (point,)
    frontier = np.flatnonzero(flat == 0)
    while frontier.size:
        ring = flat[frontier[0]] + 1
        reached = (frontier[:, None] + neighbours).ravel()  # inside the grid, because the border is all walls
        frontier = np.unique(reached[flat_free[reached] & (flat[reached] < 0)])
        flat[frontier] = ring
    return np.where(rings < 0, -1, -(-rings // POINTS_PER_STEP))


def _compute_limit_for_goal(layout: Layout, goal: Float[np.ndarray, " 2"]) -> float:
    steps = count_steps_to_goal(find_free_points(layout), goal)
    x, y = (_compute_coordinates(length) for length in steps.shape)
    starts = [
        steps[np.ix_(np.abs(x - cell[0]) <= POSITION_SPREAD, np.abs(y - cell[1]) <= POSITION_SPREAD)].ravel()
        for cell in layout.free_cells
    ]
    first_reward = np.maximum(np.concatenate(starts), 1)  # number of the first step with a reward, (start,)
    rewards = (np.arange(1, find_episode_steps(layout) + 1) >= first_reward[:, None]).astype(float)  # (start, time)
    return float(score_episodes(layout.name, rewards)["normalized"].mean())


def _compute_coordinates(length: int) -> Float[np.ndarray, " point"]:
    """Return the coordinates of the grid points along one axis (environment units); the first cell begins at -0.7."""
    return (np.arange(length) + 0.5) * SPACING + CELL_CENTRE_OFFSET - 0.5
