"""Measures of imagined motion against the world: MuJoCo's next step, the maze's walls, the data's states (§3.3, §4.2).

Paths are arrays (path, time, 4) of states (x, y, vx, vy) in environment units, one longer than their actions.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.spatial.distance import cdist

from dfplan.benchmarks.statistics import Estimate, bootstrap, proportion
from dfplan.envs.layouts import CELL_CENTRE_OFFSET, Layout
from dfplan.envs.physics import BALL_RADIUS, PointMassPhysics
from dfplan.envs.task import VELOCITY_BOUND

Paths = Float[np.ndarray, "path time 4"]
PerStep = Float[np.ndarray, "path step"]
ENERGY_RESAMPLES = 2_000  # of the bootstrap; each costs a quadratic form over the paths
STATE_STRIDE = 10  # steps between the states whose distribution is compared; nearer ones are nearly the same


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


class Judge:
    """Measures paths through a maze, for tables.

    Args:
        layout: the maze.
        reference: paths of the data, whose distribution of states is the right one.
        frame_stack: steps of a token; the paths' first step is the first of one.
    """

    def __init__(self, layout: Layout, reference: Paths, frame_stack: int):
        self.layout, self.frame_stack = layout, frame_stack
        self._spread = reference.std(axis=(0, 1))
        self._reference = reference[:, 1::STATE_STRIDE] / self._spread

    def measures(self, paths: Paths, actions: Float[np.ndarray, "path step 2"], first: int = 0) -> dict[str, Estimate]:
        """Return each measure over the steps from ``first`` on (``diverged``: over all), with 95% intervals."""
        end, actions = paths[:, first:], actions[:, first:]
        position, velocity = one_step_errors(self.layout, end, actions)
        joints = slice(-first % self.frame_stack, None, self.frame_stack)  # first steps of tokens
        distance = wall_distance(self.layout, end[:, 1:, :2])
        states = end[:, 1::STATE_STRIDE] / self._spread
        return {
            "position error": bootstrap(position.mean(axis=1)),
            "position error, joints": bootstrap(position[:, joints].mean(axis=1)),
            "velocity error": bootstrap(velocity.mean(axis=1)),
            "velocity error, median": bootstrap(np.median(velocity, axis=1)),
            "velocity error, joints": bootstrap(velocity[:, joints].mean(axis=1)),
            "in a wall": bootstrap((distance == 0).mean(axis=1)),
            "touching": bootstrap((distance < BALL_RADIUS).mean(axis=1)),
            "state distance": EnergyCoefficient.of(states, self._reference).estimate(),
            "diverged": proportion(diverged(self.layout, paths)),
        }


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
        times = (sample[..., None] == np.arange(count)).sum(axis=-2).astype(float)  # drawn, (*resample, path)
        between = 2 * times @ self.between / count
        total = ((times @ self.within) * times).sum(axis=-1) - times**2 @ np.diag(self.within)
        pairs = count**2 - (times**2).sum(axis=-1)  # of different paths; none if one path fills the resample
        within = np.where(pairs > 0, total / np.maximum(pairs, 1), _off_diagonal_mean(self.within))
        return np.asarray((between - within - self.reference) / between)


def _mean_distances(one: Paths, other: Paths) -> Float[np.ndarray, "path reference"]:
    """Return the mean Euclidean distance between the states of every path of one group and every path of the other."""
    shape = (len(one), one.shape[1], len(other), other.shape[1])
    return cdist(one.reshape(-1, one.shape[2]), other.reshape(-1, other.shape[2])).reshape(shape).mean(axis=(1, 3))


def _off_diagonal_mean(square: Float[np.ndarray, "path path"]) -> np.floating:
    return (square.sum() - np.trace(square)) / (len(square) * (len(square) - 1))
