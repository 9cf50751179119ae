"""Turns per-episode scores into a number with an interval, and NaN into JSON's null.

Where networks are compared that were trained from several seeds, intervals are over both: seeds and episodes.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import t as student

NUM_RESAMPLES = 10_000  # bootstrap resamples; the interval's ends move by less than 1% of its width between generators
RESAMPLES_AT_ONCE = 500  # bounds the memory: 10,000 resamples of 1,000 episodes would be 80 MB, twice
NORMAL_975 = 1.959964  # the normal law's 97.5% point
BOOTSTRAP_SEED = 0  # fixed, so that the same episodes always print the same interval


@dataclass(frozen=True)
class Estimate:
    """A statistic of a sample and its 95% interval; ``low`` and ``high`` are NaN where there is none."""

    value: float
    low: float
    high: float

    def __format__(self, spec: str) -> str:
        """Return ``value [low, high]``, each number in the given format, or a dash where nothing was measured."""
        if math.isnan(self.value):
            return "-"
        interval = "" if math.isnan(self.low) else f" [{self.low:{spec}}, {self.high:{spec}}]"
        return f"{self.value:{spec}}{interval}"


def bootstrap(
    sample: Float[np.ndarray, " sample"], statistic: Callable[..., np.ndarray] = np.mean, resamples: int = NUM_RESAMPLES
) -> Estimate:
    """Return ``statistic`` of the sample with its 95% percentile-bootstrap interval.

    Args:
        sample: one number per episode, all finite.
        statistic: a NumPy reduction with an ``axis`` argument, such as ``np.mean`` or ``np.median``.
        resamples: how many samples of the same size are drawn with replacement.

    Raises:
        ValueError: if the sample holds NaN or infinity, which would spread silently into the interval.
    """
    if not np.isfinite(sample).all():
        raise ValueError("no interval for a sample that holds NaN or infinity")
    if len(sample) == 0:
        return Estimate(math.nan, math.nan, math.nan)
    value = float(statistic(sample, axis=0))
    if len(sample) < 2:  # resampling one number would claim certainty
        return Estimate(value, math.nan, math.nan)
    random = np.random.default_rng(BOOTSTRAP_SEED)
    statistics = []
    for first in range(0, resamples, RESAMPLES_AT_ONCE):
        size = (min(RESAMPLES_AT_ONCE, resamples - first), len(sample))
        statistics.append(statistic(sample[random.integers(len(sample), size=size)], axis=1))
    low, high = np.percentile(np.concatenate(statistics), [2.5, 97.5])
    return Estimate(value, float(low), float(high))


def over_trainings(samples: Sequence[np.ndarray], estimate: Callable[[np.ndarray], Estimate]) -> Estimate:
    """Return the mean over training seeds of each one's estimate, with a 95% interval over seeds and episodes.

    It is Student's interval of the seeds' values, which differ by training and by episodes alike. It is at least as
    wide as the interval of all episodes taken together: a few values that happen to agree claim no certainty. With one
    seed it is the estimate of that seed. A two-level bootstrap of three seeds would be too narrow: where episodes
    hardly differ, it ends at the least and the greatest value, which enclose the median of trainings in 3 of 4 studies.

    Args:
        samples: one array per training seed. The episodes differ between seeds; were they the same, their starts would
            count several times, and the interval would be too narrow.
        estimate: ``bootstrap`` or ``proportion``, of one sample.
    """
    if len(samples) == 1:
        return estimate(samples[0])
    values = np.array([estimate(sample).value for sample in samples])
    everything = estimate(np.concatenate(samples))
    half_width = student.ppf(0.975, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values))
    value = values.mean()
    low, high = min(value - half_width, everything.low), max(value + half_width, everything.high)
    if estimate is proportion:
        low, high = max(low, 0.0), min(high, 1.0)
    return Estimate(float(value), float(low), float(high))


def mean_of_trainings(estimates: Sequence[Estimate]) -> Estimate:
    """Return the mean of one estimate for each training seed, with a 95% interval over seeds and samples.

    It is Student's interval of the values. It is at least as wide as that of a mean of independent estimates with the
    intervals given. For measures that are no means of a sample; others have ``over_trainings``.
    """
    if len(estimates) == 1:
        return estimates[0]
    values = np.array([one.value for one in estimates])
    below = math.sqrt(sum((one.value - one.low) ** 2 for one in estimates)) / len(values)
    above = math.sqrt(sum((one.high - one.value) ** 2 for one in estimates)) / len(values)
    student_width = student.ppf(0.975, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values))
    value = float(values.mean())
    return Estimate(value, value - max(student_width, below), value + max(student_width, above))


def proportion(outcomes: Bool[np.ndarray, " sample"]) -> Estimate:
    """Return the share of true outcomes with its 95% Wilson interval (Wilson 1927).

    The bootstrap of 100 successes in 100 episodes is [1, 1], which claims certainty; this interval is [0.96, 1].
    """
    count = len(outcomes)
    if count == 0:
        return Estimate(math.nan, math.nan, math.nan)
    share, z2 = float(np.mean(outcomes)), NORMAL_975**2
    centre = (share + z2 / (2 * count)) / (1 + z2 / count)
    half_width = math.sqrt(z2 * (share * (1 - share) / count + z2 / (4 * count**2))) / (1 + z2 / count)
    return Estimate(share, max(0.0, centre - half_width), min(1.0, centre + half_width))


def arrival_steps(first_reach: Float[np.ndarray, " episode"], num_steps: int) -> Float[np.ndarray, " episode"]:
    """Return the steps spent before arrival, counting an episode that never arrives as its full length.

    Dropping such episodes would reward an agent for failing on the far starts, and infinity has no mean. The median is
    the same as with infinity as long as more than half of the episodes arrive.
    """
    return np.where(np.isnan(first_reach), float(num_steps), first_reach)


def quantiles(seconds: Float[np.ndarray, " call"]) -> dict[str, float]:
    """Return the median and the 95th percentile of wall times, NaN for no call at all."""
    p50, p95 = np.percentile(seconds, [50, 95]) if len(seconds) else (math.nan, math.nan)
    return {"p50": float(p50), "p95": float(p95)}


def json_safe(value: Any) -> Any:
    """Return ``value`` in JSON's own types: NaN and infinity become null, unknown objects their text."""
    if isinstance(value, dict):
        return {str(key): json_safe(item) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [json_safe(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, np.integer | np.bool_):
        return value.item()
    return value if value is None or isinstance(value, bool | int | str) else str(value)
