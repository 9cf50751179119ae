"""Measures of imagined motion against the world: MuJoCo's next step, the maze's walls, the data's states (§3.3, §4.2).

Paths are arrays (path, time, 4) of states (x, y, vx, vy) in environment units, one longer than their actions.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.spatial.distance import cdist

from dfplan.benchmarks.statistics import Estimate, bootstrap
from dfplan.envs.layouts import CELL_CENTRE_OFFSET, Layout
from dfplan.envs.physics import PointMassPhysics
from dfplan.envs.task import VELOCITY_BOUND

Paths = Float[np.ndarray, "path time 4"]
PerStep = Float[np.ndarray, "path step"]
ENERGY_RESAMPLES = 2_000  # of the bootstrap; each costs a quadratic form over the paths
OUTLIER = 95  # percentile of a path's one-step errors


def one_step_errors(layout: Layout, paths: Paths, actions: Float[np.ndarray, "path step 2"]) -> tuple[PerStep, PerStep]:
    """Return how far each next state lies from where MuJoCo takes the ball from this state by this action.

    The errors of the position (environment units) and of the velocity (units per second).
    """
    after = PointMassPhysics(layout).step(paths[:, :-1].reshape(-1, 4), actions.reshape(-1, 2))
    error = after.reshape(*actions.shape[:2], 4) - paths[:, 1:]  # (path, step, 4)
    return np.linalg.norm(error[..., :2], axis=-1), np.linalg.norm(error[..., 2:], axis=-1)


def wall_distance(layout: Layout, positions: Float[np.ndarray, "*batch 2"]) -> Float[np.ndarray, "*batch"]:
    """Return the distance from each position to the nearest wall's square; 0 inside of one, and outside of the maze."""
    squares = np.argwhere(layout.walls) + CELL_CENTRE_OFFSET  # middles, (wall, 2)
    outside = np.abs(positions[..., None, :] - squares) - 0.5  # beyond the faces along x and y, (*batch, wall, 2)
    distance = np.linalg.norm(np.maximum(outside, 0), axis=-1).min(axis=-1)
    return np.where(layout.is_free(positions), distance, 0.0)


def diverged(layout: Layout, paths: Paths) -> Bool[np.ndarray, " path"]:
    """Return which paths leave the maze's rectangle or become faster than any ball can be."""
    low = CELL_CENTRE_OFFSET - 0.5
    inside = ((paths[..., :2] >= low) & (paths[..., :2] <= low + np.array(layout.size))).all(axis=(1, 2))
    slow = (np.abs(paths[..., 2:]) <= VELOCITY_BOUND).all(axis=(1, 2))
    return ~(inside & slow)


@dataclass(frozen=True)
class EnergyCoefficient:
    """How differently two groups of paths are distributed over the states: 0 for equally, 1 for constants apart.

    The energy distance 2 E|X - Y| - E|X - X'| - E|Y - Y'| over its first term (Székely & Rizzo 2013), of states drawn
    from different paths, those of one being alike. It may fall slightly below 0 by chance.

    Attributes:
        between: mean distance of each path's states to those of the reference.
        within: mean distances between the states of every two paths.
        reference: mean distance between the states of two paths of the reference.
    """

    between: Float[np.ndarray, " path"]
    within: Float[np.ndarray, "path path"]
    reference: float

    @classmethod
    def of(cls, paths: Paths, reference: Paths) -> "EnergyCoefficient":
        """Return the coefficient's parts for paths and reference paths in the same (normalised) units."""
        between = _mean_distances(paths, reference).mean(axis=1)
        return cls(
            between, _mean_distances(paths, paths), float(_off_diagonal_mean(_mean_distances(reference, reference)))
        )

    def estimate(self) -> Estimate:
        """Return the coefficient with its 95% interval over resampled paths, the reference being given."""
        return bootstrap(np.arange(len(self.between), dtype=float), self._of_resamples, ENERGY_RESAMPLES)

    def _of_resamples(self, sample: Float[np.ndarray, "*resample path"], axis: int) -> Float[np.ndarray, "*resample"]:
        """Return the coefficient of each sample of path numbers, which stand along the last axis whatever ``axis``."""
        count = sample.shape[-1]
        times = (
            (sample[..., None] == np.arange(count)).sum(axis=-2).astype(float)
        )  # a path was drawn, (*resample, path)
        between = 2 * times @ self.between / count
        same = (times**2 @ np.diag(self.within), (times**2).sum(axis=-1))  # pairs of one path: distances, number
        within = (((times @ self.within) * times).sum(axis=-1) - same[0]) / (count**2 - same[1])
        return np.asarray((between - within - self.reference) / between)


def _mean_distances(one: Paths, other: Paths) -> Float[np.ndarray, "path reference"]:
    """Return the mean Euclidean distance between the states of every path of one group and every path of the other."""
    shape = (len(one), one.shape[1], len(other), other.shape[1])
    return cdist(one.reshape(-1, one.shape[2]), other.reshape(-1, other.shape[2])).reshape(shape).mean(axis=(1, 3))


def _off_diagonal_mean(square: Float[np.ndarray, "path path"]) -> np.floating:
    return (square.sum() - np.trace(square)) / (len(square) * (len(square) - 1))
