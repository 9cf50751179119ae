"""The score that no agent can pass: ``python -m dfplan.benchmarks.kinematic_limit``.

The environment clips each velocity component to ±5 before a step, so that the ball moves 0.05 a step along either axis,
and no path is faster than the shortest one in the maximum norm at that speed. The bound is generous: it lets the ball
start at full speed, turn at once and graze walls. The step that follows the clipping may add up to 0.23 to the
velocity; on every path of these mazes that gains less than the 21 steps of acceleration cost which the bound ignores.
"""

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.ndimage import distance_transform_edt

from dfplan.envs.layouts import CELL_CENTRE_OFFSET, LAYOUTS, Layout, episode_steps
from dfplan.envs.physics import BALL_RADIUS, MAX_VELOCITY, TIMESTEP
from dfplan.envs.scores import episode_scores
from dfplan.envs.task import GOAL_RADIUS, POSITION_SPREAD

STEP_LENGTH = MAX_VELOCITY * TIMESTEP  # environment units, 0.05
POINTS_PER_STEP = 2  # grid points in a step; twice as many move no limit by 0.2 normalized
SPACING = STEP_LENGTH / POINTS_PER_STEP
POINTS_PER_CELL = round(1 / SPACING)
MAZES = ("umaze", "medium", "large")


def kinematic_limit(maze: str, goal: str = "fixed") -> float:
    """Return the highest possible mean normalized score over the reset distribution.

    Args:
        maze: a key of ``LAYOUTS`` that has reference scores.
        goal: ``fixed``, or ``random`` for a goal drawn uniformly over the free cells.
    """
    layout = LAYOUTS[maze]
    goals = layout.goal[None] if goal == "fixed" else layout.free_cells.astype(float)  # (goal, 2)
    return float(np.mean([_limit_for_goal(layout, position) for position in goals]))


def free_points(layout: Layout) -> Bool[np.ndarray, "x y"]:
    """Return on which points of a fine grid the ball fits: those a ball's radius away from every wall's box."""
    walls = np.kron(layout.walls, np.ones((POINTS_PER_CELL, POINTS_PER_CELL), dtype=bool))
    # The transform measures to the middle of the nearest wall point; the wall's face is half a point nearer.
    return (distance_transform_edt(~walls) - 0.5) * SPACING >= BALL_RADIUS


def steps_to_goal(free: Bool[np.ndarray, "x y"], goal: Float[np.ndarray, "2"]) -> Int[np.ndarray, "x y"]:
    """Return the fewest steps from each grid point to within the goal's radius, -1 where no path leads there.

    Moves to the eight neighbours all cost the same, which is the maximum norm, so a breadth-first search finds the
    distances.
    """
    x, y = (np.abs(_coordinates(length) - centre) for length, centre in zip(free.shape, goal))
    rings = np.full(free.shape, -1)
    rings[(x[:, None] ** 2 + y[None, :] ** 2 <= GOAL_RADIUS**2) & free] = 0
    width = free.shape[1]
    neighbours = np.array([-width - 1, -width, -width + 1, -1, 1, width - 1, width, width + 1])
    flat, flat_free = rings.ravel(), free.ravel()  # views, (point,)
    frontier = np.flatnonzero(flat == 0)
    while frontier.size:
        ring = flat[frontier[0]] + 1
        reached = (frontier[:, None] + neighbours).ravel()  # inside the grid, because the border is wall
        frontier = np.unique(reached[flat_free[reached] & (flat[reached] < 0)])
        flat[frontier] = ring
    return np.where(rings < 0, -1, -(-rings // POINTS_PER_STEP))


def _limit_for_goal(layout: Layout, goal: Float[np.ndarray, " 2"]) -> float:
    steps = steps_to_goal(free_points(layout), goal)
    x, y = (_coordinates(length) for length in steps.shape)
    starts = [
        steps[np.ix_(np.abs(x - cell[0]) <= POSITION_SPREAD, np.abs(y - cell[1]) <= POSITION_SPREAD)].ravel()
        for cell in layout.free_cells
    ]
    first_reward = np.maximum(np.concatenate(starts), 1)  # the step whose state is rewarded first; (start,)
    rewards = (np.arange(1, episode_steps(layout) + 1) >= first_reward[:, None]).astype(float)  # (start, time)
    return float(episode_scores(layout.name, rewards)["normalized"].mean())


def _coordinates(length: int) -> Float[np.ndarray, " point"]:
    """Return the environment coordinates of the grid points along one axis; the first cell's square begins at -0.7."""
    return (np.arange(length) + 0.5) * SPACING + CELL_CENTRE_OFFSET - 0.5


def main() -> None:
    """Print the limits of the three mazes."""
    print("kinematic limit, normalized      fixed goal  random goal")
    for maze in MAZES:
        print(f"maze2d-{maze:<25} {kinematic_limit(maze):10.1f}  {kinematic_limit(maze, 'random'):11.1f}")


if __name__ == "__main__":
    main()
