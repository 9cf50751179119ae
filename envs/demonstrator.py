"""The waypoint controller that recorded D4RL's maze data, for many balls at once.

It follows the shortest path of cells to the cell of the goal. Each waypoint is the position of a cell plus a random
offset; the last waypoint is the cell of the goal itself. A PD law drives the ball to the waypoint. Every ball has its
own stream of random numbers, so its actions do not depend on the number of balls.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra

from dfplan.envs.layouts import Layout

POSITION_GAIN = 10.0  # action per environment unit
VELOCITY_GAIN = 1.0  # action per environment unit per second
REACH_DISTANCE = 0.1  # a waypoint, or the goal's cell, counts as reached within this distance
WAYPOINT_SPREAD = 0.2  # a waypoint is the position of its cell minus U(0, this) in each direction
# D4RL's order of moves. If several paths are equally short, the first move that lies on one of them is chosen.
MOVES = np.array([(0, -1), (0, 1), (-1, 0), (1, 0)])


class WaypointController:
    """Drives ``num_envs`` balls to their goals, as the controller of D4RL's recordings does.

    Args:
        layout: the maze.
        num_envs: number of balls.
        seeds: one seed for each ball, or one number; ball i then has the seed ``seeds + i`` (Gymnasium's convention).

    Raises:
        ValueError: if the number of seeds differs from ``num_envs``.
    """

    def __init__(self, layout: Layout, num_envs: int, seeds: int | Sequence[int | Sequence[int]] = 0) -> None:
        seeds = range(seeds, seeds + num_envs) if isinstance(seeds, int) else seeds
        if len(seeds) != num_envs:
            raise ValueError(f"there are {len(seeds)} seeds for {num_envs} environments; give one seed for each.")
        self.layout = layout
        self._generators = [np.random.default_rng(seed) for seed in seeds]
        self._next_cell = find_next_cells(layout)
        self._goal_cell = np.zeros((num_envs, 2), dtype=np.int64)
        self._waypoint_cell = np.zeros((num_envs, 2), dtype=np.int64)
        self._waypoint = np.full((num_envs, 2), np.nan)  # environment units
        self._needs_path = np.zeros(num_envs, dtype=bool)

    def reset(self, goals: Float[np.ndarray, "batch 2"], mask: Bool[np.ndarray, " batch"] | None = None) -> None:
        """Set new goals for the balls in ``mask`` (all by default); their paths start at their positions in ``act``."""
        mask = np.ones(len(goals), dtype=bool) if mask is None else mask
        self._goal_cell[mask] = self.layout.cell_of(goals[mask])
        self._needs_path |= mask

    def has_reached_goal(self, positions: Float[np.ndarray, "batch 2"]) -> Bool[np.ndarray, " batch"]:
        """Return whether each ball is at the cell of its goal, where D4RL's script draws a new goal."""
        return _measure_distance(positions, self._goal_cell) < REACH_DISTANCE

    def act(
        self, positions: Float[np.ndarray, "batch 2"], velocities: Float[np.ndarray, "batch 2"]
    ) -> Float[np.ndarray, "batch 2"]:
        """Return actions within ±1 towards the current waypoints, then replace the waypoints that are reached."""
        if self._needs_path.any():
            self._waypoint_cell[self._needs_path] = self.layout.cell_of(positions[self._needs_path])
            self._advance(self._needs_path)
            self._needs_path[:] = False
        actions = POSITION_GAIN * (self._waypoint - positions) - VELOCITY_GAIN * velocities
        arrived = _measure_distance(positions, self._waypoint) < REACH_DISTANCE
        self._advance(arrived & (self._waypoint_cell != self._goal_cell).any(axis=1))
        return np.clip(actions, -1.0, 1.0)

    def _advance(self, mask: Bool[np.ndarray, " batch"]) -> None:
        """Set the waypoint of the balls in ``mask`` to the next cell of their paths."""
        for env in np.flatnonzero(mask):
            goal, cell = self._goal_cell[env], self._waypoint_cell[env]
            cell = self._next_cell[goal[0], goal[1], cell[0], cell[1]]
            self._waypoint_cell[env] = self._waypoint[env] = cell
            if cell[0] != goal[0] or cell[1] != goal[1]:
                self._waypoint[env] -= self._generators[env].uniform(0.0, WAYPOINT_SPREAD, size=2)


def _measure_distance(a: np.ndarray, b: np.ndarray) -> Float[np.ndarray, " batch"]:
    """Return the Euclidean distances between the rows (x, y) of two arrays."""
    offset = a - b
    return np.sqrt(offset[:, 0] ** 2 + offset[:, 1] ** 2)


def find_next_cells(layout: Layout) -> Int[np.ndarray, "x y x y 2"]:
    """Return the next cell on a shortest path, for each goal cell (first two axes) and each current cell.

    At the goal, the next cell is the goal. Without a path it is the goal too, and the ball moves straight towards it.
    """
    width, height = layout.size
    distance = find_path_lengths(layout)  # (cell, goal)
    cells = np.stack(np.divmod(np.arange(width * height), height), axis=1)  # (cell, 2)
    best_length = distance.copy()
    best = np.broadcast_to(np.arange(width * height), distance.shape).copy()  # (cell, goal) -> the goal itself
    best_length[np.isfinite(distance)] += 0.5  # a neighbour must be one step nearer to replace the goal
    best_length[np.diag_indices(len(cells))] = 0.0
    for move in MOVES:
        neighbours = np.clip(cells + move, 0, (width - 1, height - 1))
        neighbour = neighbours[:, 0] * height + neighbours[:, 1]  # (cell,)
        length = distance[neighbour] + 1.0
        nearer = length < best_length
        best = np.where(nearer, neighbour[:, None], best)
        best_length = np.where(nearer, length, best_length)
    return cells[best.T].reshape(width, height, width, height, 2)


def find_path_lengths(layout: Layout) -> Float[np.ndarray, "cell goal"]:
    """Return the number of moves on a shortest path between free cells; it is infinite without a path."""
    height = layout.size[1]
    free = [tuple(cell) for cell in layout.free_cells]
    edges = [
        (x * height + y, (x + dx) * height + (y + dy))
        for x, y in free
        for dx, dy in MOVES
        if not layout.walls[x + dx, y + dy]
    ]
    sources, targets = np.array(edges, dtype=np.int64).reshape(-1, 2).T
    cells = layout.walls.size
    graph = coo_array((np.ones(len(sources)), (sources, targets)), shape=(cells, cells))
    return dijkstra(graph.tocsr(), unweighted=True)
