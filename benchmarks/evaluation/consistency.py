"""Measures how physically consistent imagined motion is: with MuJoCo, with the walls, with the data (§3.3, §4.2).

A path is a sequence of states (x, y, vx, vy) in environment units. It has one state more than it has actions.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.spatial.distance import cdist

from dfplan.benchmarks.evaluation.statistics import Estimate, bootstrap, estimate_proportion
from dfplan.envs.layouts import CELL_CENTRE_OFFSET, Layout
from dfplan.envs.maze_task import VELOCITY_BOUND
from dfplan.envs.physics import BALL_RADIUS, PointMassPhysics

Paths = Float[np.ndarray, "path time 4"]
PerStep = Float[np.ndarray, "path step"]
ENERGY_RESAMPLES = 2_000  # bootstrap resamples; each one costs a quadratic form over the paths
STATE_STRIDE = 10  # steps between the states whose distribution is compared; neighbouring states are almost equal


def measure_one_step_errors(
    layout: Layout, paths: Paths, actions: Float[np.ndarray, "path step 2"]
) -> tuple[PerStep, PerStep]:
    """Return how far each state lies from the state that MuJoCo computes from the state and the action before it.

    Returns:
        The distance of the positions (environment units), and that of the velocities (environment units per second).
    """
    after = PointMassPhysics(layout).step(paths[:, :-1].reshape(-1, 4), actions.reshape(-1, 2))
    error = after.reshape(*actions.shape[:2], 4) - paths[:, 1:]  # (path, step, 4)
    return np.linalg.norm(error[..., :2], axis=-1), np.linalg.norm(error[..., 2:], axis=-1)


def measure_wall_distance(layout: Layout, positions: Float[np.ndarray, "*batch 2"]) -> Float[np.ndarray, "*batch"]:
    """Return the distance from each position to the nearest wall; it is 0 inside a wall and outside the maze."""
    squares = np.argwhere(layout.walls) + CELL_CENTRE_OFFSET  # centres, (wall, 2)
    outside = np.abs(positions[..., None, :] - squares) - 0.5  # from the walls' faces along x and y, (*batch, wall, 2)
    distance = np.linalg.norm(np.maximum(outside, 0), axis=-1).min(axis=-1)
    return np.where(layout.is_free(positions), distance, 0.0)


def find_diverged(layout: Layout, paths: Paths) -> Bool[np.ndarray, " path"]:
    """Return which paths leave the maze's rectangle, or have a velocity that no ball can reach."""
    low = CELL_CENTRE_OFFSET - 0.5
    inside = ((paths[..., :2] >= low) & (paths[..., :2] <= low + np.array(layout.size))).all(axis=(1, 2))
    slow = (np.abs(paths[..., 2:]) <= VELOCITY_BOUND).all(axis=(1, 2))
    return ~(inside & slow)


class Judge:
    """Computes the columns of a table about paths through one maze.

    Args:
        layout: the maze.
        reference: paths from the data; the states of other paths are compared with theirs.
        frame_stack: environment steps of a token; every path begins with the first step of a token.
    """

    def __init__(self, layout: Layout, reference: Paths, frame_stack: int):
        self.layout, self.frame_stack = layout, frame_stack
        self._spread = reference.std(axis=(0, 1))
        self._reference = reference[:, 1::STATE_STRIDE] / self._spread

    def measure(self, paths: Paths, actions: Float[np.ndarray, "path step 2"], first: int = 0) -> dict[str, Estimate]:
        """Return each measure over the steps from ``first`` on (``diverged``: over all steps), with 95% intervals."""
        end, actions = paths[:, first:], actions[:, first:]
        position, velocity = measure_one_step_errors(self.layout, end, actions)
        joints = slice(-first % self.frame_stack, None, self.frame_stack)  # first steps of tokens
        distance = measure_wall_distance(self.layout, end[:, 1:, :2])
        states = end[:, 1::STATE_STRIDE] / self._spread
        return {
            "position error": bootstrap(position.mean(axis=1)),
            "position error, joints": bootstrap(position[:, joints].mean(axis=1)),
            "velocity error": bootstrap(velocity.mean(axis=1)),
            "velocity error, median": bootstrap(np.median(velocity, axis=1)),
            "velocity error, joints": bootstrap(velocity[:, joints].mean(axis=1)),
            "in a wall": bootstrap((distance == 0).mean(axis=1)),
            "touching": bootstrap((distance < BALL_RADIUS).mean(axis=1)),
            "state distance": EnergyCoefficient.from_paths(states, self._reference).estimate(),
            "diverged": estimate_proportion(find_diverged(self.layout, paths)),
        }


@dataclass(frozen=True)
class EnergyCoefficient:
    """The difference between the state distributions of two groups of paths (Székely & Rizzo 2013).

    It is the energy distance 2 E|X - Y| - E|X - X'| - E|Y - Y'| divided by its first term. It is 0 for equal
    distributions, and 1 if each group has a single state and the two states differ. X and X' are states of different
    paths, because the states of one path resemble each other; therefore the estimate may be slightly below 0 by chance.

    Attributes:
        between: mean distance between the states of each path and the states of the reference.
        within: mean distance between the states of every pair of paths.
        reference: mean distance between the states of two different paths of the reference.
    """

    between: Float[np.ndarray, " path"]
    within: Float[np.ndarray, "path path"]
    reference: float

    @classmethod
    def from_paths(cls, paths: Paths, reference: Paths) -> "EnergyCoefficient":
        """Return the coefficient of paths and reference paths, whose states are in the same (normalised) units."""
        between = _measure_mean_distances(paths, reference).mean(axis=1)
        return cls(
            between,
            _measure_mean_distances(paths, paths),
            float(_average_off_diagonal(_measure_mean_distances(reference, reference))),
        )

    def estimate(self) -> Estimate:
        """Return the coefficient with its 95% bootstrap interval over the paths; the reference is not resampled."""
        return bootstrap(np.arange(len(self.between), dtype=float), self._compute_resamples, ENERGY_RESAMPLES)

    def _compute_resamples(
        self, sample: Float[np.ndarray, "*resample path"], axis: int
    ) -> Float[np.ndarray, "*resample"]:
        """Return the coefficient of each resample: path numbers along the last axis. ``axis`` is ignored."""
        count = sample.shape[-1]
        times = (
            (sample[..., None] == np.arange(count)).sum(axis=-2).astype(float)
        )  # how often each path was drawn, (*resample, path)
        between = 2 * times @ self.between / count
        total = ((times @ self.within) * times).sum(axis=-1) - times**2 @ np.diag(self.within)
        pairs = count**2 - (times**2).sum(axis=-1)  # pairs of different paths; 0 if a resample holds one path only
        within = np.where(pairs > 0, total / np.maximum(pairs, 1), _average_off_diagonal(self.within))
        return np.asarray((between - within - self.reference) / between)


def _measure_mean_distances(one: Paths, other: Paths) -> Float[np.ndarray, "path reference"]:
    """Return the mean Euclidean distance between the states of every path of one group and every path of the other."""
    shape = (len(one), one.shape[1], len(other), other.shape[1])
    return cdist(one.reshape(-1, one.shape[2]), other.reshape(-1, other.shape[2])).reshape(shape).mean(axis=(1, 3))


def _average_off_diagonal(square: Float[np.ndarray, "path path"]) -> np.floating:
    return (square.sum() - np.trace(square)) / (len(square) * (len(square) - 1))
