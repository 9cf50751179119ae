"""The point mazes of OGBench, and data sets of them as its public generation script makes them (Park et al. 2025).

The script itself is not in the package ``ogbench``, and moves one point at a time. Here all episodes of a data set run
side by side, and MuJoCo computes only the steps in which a ball is near a wall: elsewhere a step adds the action to the
position and nothing else.
"""

from functools import cached_property
from typing import Any

import gymnasium
import mujoco
import numpy as np
from jaxtyping import Bool, Float, Int
from tqdm import trange

from dfplan.envs.demonstrations import Dataset
from dfplan.envs.demonstrator import find_next_cells, find_path_lengths
from dfplan.envs.layouts import Layout
from dfplan.envs.ogbench_names import MAZES, SPEED, OGBenchName
from dfplan.ground.errors import InputError, unknown_name

CELL, ORIGIN = 4.0, 4.0  # side of a cell; the centre of cell (i, j) is at x = 4 j - 4, y = 4 i - 4
BALL_RADIUS, MARGIN = 0.7, 0.01  # MuJoCo computes steps that end nearer to a wall
PHYSICS_STEPS = 5  # of MuJoCo in one step of the environment
GOAL_RADIUS = 1.0
PLACE_SPREAD = 1.0  # starts and goals are drawn uniformly within this distance, along each axis, of a cell's centre
TELEPORT_RADIUS = 1.5  # a ball nearer to the centre of a teleporter is carried away
NOISE = 0.5  # standard deviation of the noise of the demonstrator's actions
STITCHED_CELLS = 4  # length of the ways in the data sets ``stitch``
VALIDATION = 10  # a data set has one validation episode for so many training episodes

Positions = Float[np.ndarray, "batch 2"]


class OGBenchMaze:
    """A point maze of OGBench for any number of balls at once.

    Attributes:
        layout: the walls; the lines of the layout are the rows i of OGBench's map.
        teleporters: centres of the cells from which balls are carried away; empty in most mazes.
        exits: where they are carried to, at random.

    Raises:
        InputError: if ogbench is not installed, or there is no such maze.
    """

    def __init__(self, maze: str) -> None:
        try:
            import ogbench  # noqa: F401 (registers the environments)
        except ImportError as error:
            raise InputError("ogbench is needed for its mazes: pip install 'dfplan[ogbench]'.") from error
        if maze not in MAZES:
            raise unknown_name("maze of OGBench", maze, MAZES)
        env: Any = gymnasium.make(f"pointmaze-{maze}-v0").unwrapped
        lines = ("".join("#" if is_wall else "O" for is_wall in line) for line in env.maze_map)
        self.layout = Layout("\n".join(lines), f"ogbench-{maze}")
        places = env._teleport_info or {"teleport_in_xys": [], "teleport_out_xys": []}
        self.teleporters = np.array(places["teleport_in_xys"], dtype=float).reshape(-1, 2)
        self.exits = np.array(places["teleport_out_xys"], dtype=float).reshape(-1, 2)
        self._model, self._data = env.model, mujoco.MjData(env.model)

    @cached_property
    def lengths(self) -> Float[np.ndarray, "goal_i goal_j i j"]:
        """Number of steps from cell to cell on a shortest way to a goal; infinite without a way."""
        return find_path_lengths(self.layout).T.reshape(2 * self.layout.size)

    @cached_property
    def next_cells(self) -> Int[np.ndarray, "goal_i goal_j i j 2"]:
        """The next cell on a shortest way to a goal; the own cell at the goal, and without a way."""
        own = np.moveaxis(np.indices(self.layout.size), 0, -1)  # (i, j, 2)
        return np.where(np.isinf(self.lengths)[..., None], own, find_next_cells(self.layout))

    def cell_of(self, positions: Float[np.ndarray, "*batch 2"]) -> Int[np.ndarray, "*batch 2"]:
        """Return the cell (i, j) in which each position (x, y) lies."""
        return np.floor((positions[..., ::-1] + ORIGIN) / CELL + 0.5).astype(np.int64)

    def centre_of(self, cells: Int[np.ndarray, "*batch 2"]) -> Float[np.ndarray, "*batch 2"]:
        """Return the centre (x, y) of each cell (i, j)."""
        return cells[..., ::-1] * CELL - ORIGIN

    def find_next_centres(self, positions: Positions, goals: Positions) -> Positions:
        """Return the centres of the next cells on the ways to the goals."""
        (i, j), (goal_i, goal_j) = self.cell_of(positions).T, self.cell_of(goals).T
        return self.centre_of(self.next_cells[goal_i, goal_j, i, j])

    def step(self, positions: Positions, actions: Positions) -> tuple[Positions, Positions]:
        """Return positions and velocities after one step, without teleporters.

        Velocities are those that contacts with walls have left; the next step begins at rest.
        """
        after, velocities = positions + SPEED * actions, np.zeros_like(positions)
        for ball in np.flatnonzero(self._is_near_wall(after)):
            mujoco.mj_resetData(self._model, self._data)
            self._data.qpos[:] = after[ball]
            mujoco.mj_step(self._model, self._data, PHYSICS_STEPS)
            after[ball], velocities[ball] = self._data.qpos, self._data.qvel
        return after, velocities

    def teleport(self, positions: Positions, random: np.random.Generator) -> Positions:
        """Return the positions, those of balls at a teleporter replaced by a random exit."""
        if not len(self.teleporters):
            return positions
        distances = np.linalg.norm(positions[:, None] - self.teleporters, axis=-1)  # (batch, teleporter)
        exits = self.exits[random.integers(len(self.exits), size=len(positions))]
        return np.where((distances.min(axis=1) <= TELEPORT_RADIUS)[:, None], exits, positions)

    def _is_near_wall(self, positions: Positions) -> Bool[np.ndarray, " batch"]:
        """Return whether balls may touch a wall: whether the cells into which they reach are walls."""
        cells, walls = self.cell_of(positions), self.layout.walls
        offsets = (positions - self.centre_of(cells))[:, ::-1]  # along i and j
        reach = np.sign(offsets).astype(np.int64) * (np.abs(offsets) > CELL / 2 - BALL_RADIUS - MARGIN)
        (i, j), (next_i, next_j) = cells.T, (cells + reach).T
        return walls[next_i, j] | walls[i, next_j] | walls[next_i, next_j]


def generate_ogbench(
    name: OGBenchName, seed: int = 0, validation: bool = False, episodes: int | None = None, progress: bool = False
) -> Dataset:
    """Return a data set with OGBench's columns: ``observations``, ``actions``, ``terminals``, ``qpos`` and ``qvel``.

    The demonstrator walks to the centre of the next cell on a shortest path to its goal, with noise. In ``navigate`` it
    starts in any cell, and a new goal is drawn on arrival, in a cell that is no corridor. In ``stitch`` its goal is 4
    cells away, and it stays there. As in the original data, an observation next to a teleporter is recorded before the
    ball is carried away, ``qpos`` afterwards.

    Args:
        name: of the data set.
        seed: of all random numbers.
        validation: whether to make the validation set, which has a tenth of the episodes and other random numbers.
        episodes: number of episodes; None for OGBench's.
        progress: whether to show a progress bar.

    Raises:
        InputError: if ogbench is not installed.
    """
    maze, random = OGBenchMaze(name.maze), np.random.default_rng([seed, int(validation)])
    number = episodes or name.episodes // (VALIDATION if validation else 1)
    places = _Places(maze, name.kind, random)
    starts, goal_cells = places.draw_ways(number)
    positions, goals = places.draw_near(starts), places.draw_near(goal_cells)
    observed, velocities = positions, np.zeros((number, 2))
    shape = (number, name.episode_rows, 2)
    columns = {key: np.empty(shape, np.float32) for key in ("observations", "actions", "qpos", "qvel")}
    for row in trange(name.episode_rows, desc=str(name), unit="step", disable=not progress):
        ways = maze.find_next_centres(positions, goals) - positions
        directions = ways / (np.linalg.norm(ways, axis=1, keepdims=True) + 1e-6)
        actions = np.clip(directions + random.normal(0, NOISE, (number, 2)), -1, 1)
        for column, values in zip(columns.values(), (observed, actions, positions, velocities), strict=True):
            column[:, row] = values
        observed, velocities = maze.step(positions, actions)
        has_arrived = np.linalg.norm(observed - goals, axis=1) <= GOAL_RADIUS
        positions = maze.teleport(observed, random)
        if name.kind == "navigate":
            goals = np.where(has_arrived[:, None], places.draw_near(places.draw_goals(number)), goals)
    dataset = {key: column.reshape(-1, 2) for key, column in columns.items()}
    return dataset | {"terminals": np.tile(np.arange(name.episode_rows) == name.episode_rows - 1, number)}


class _Places:
    """Draws starts and goals.

    Args:
        maze: the maze.
        kind: of the data set.
        random: draws all places.
    """

    def __init__(self, maze: OGBenchMaze, kind: str, random: np.random.Generator):
        self.maze, self.kind, self.random = maze, kind, random
        self.cells = maze.layout.free_cells
        self.crossings = self.cells[~_find_corridors(maze.layout.walls)[tuple(self.cells.T)]]

    def draw_goals(self, number: int) -> Int[np.ndarray, "number 2"]:
        """Return cells that are no corridors."""
        return self.crossings[self.random.integers(len(self.crossings), size=number)]

    def draw_ways(self, number: int) -> tuple[Int[np.ndarray, "number 2"], Int[np.ndarray, "number 2"]]:
        """Return the cells where ways start and where they lead to; a way that would lead nowhere stays."""
        starts = self.cells[self.random.integers(len(self.cells), size=number)]
        if self.kind == "navigate":
            return starts, self.draw_goals(number)
        ends = [np.argwhere(self.maze.lengths[tuple(start)] == STITCHED_CELLS) for start in starts]
        drawn = [
            found[self.random.integers(len(found))] if len(found) else start
            for found, start in zip(ends, starts, strict=True)
        ]
        return starts, np.array(drawn)

    def draw_near(self, cells: Int[np.ndarray, "number 2"]) -> Positions:
        """Return positions near the centres of cells."""
        return self.maze.centre_of(cells) + self.random.uniform(-PLACE_SPREAD, PLACE_SPREAD, cells.shape)


def _find_corridors(walls: Bool[np.ndarray, "i j"]) -> Bool[np.ndarray, "i j"]:
    """Return the free cells with two free neighbours that lie opposite each other, and two walls."""
    up, down, left, right = (np.roll(walls, shift, axis) for shift, axis in ((1, 0), (-1, 0), (1, 1), (-1, 1)))
    along, across = ~up & ~down & left & right, up & down & ~left & ~right
    return ~walls & (along | across)
