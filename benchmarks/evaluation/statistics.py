"""Estimates with 95% intervals: of means, medians and proportions, over episodes and over training seeds."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import t as student

NUM_RESAMPLES = 10_000  # bootstrap resamples; another seed moves the ends of an interval by less than 1% of its width
RESAMPLES_AT_ONCE = 500  # limits the memory; 10,000 resamples of 1,000 episodes at once would need 160 MB
NORMAL_975 = 1.959964  # 97.5% quantile of the standard normal distribution
BOOTSTRAP_SEED = 0  # fixed, so that the same episodes always have the same interval


@dataclass(frozen=True)
class Estimate:
    """A statistic of a sample and its 95% interval; ``low`` and ``high`` are NaN if there is no interval."""

    value: float
    low: float
    high: float

    def __format__(self, spec: str) -> str:
        """Return ``value [low, high]`` with each number in the format ``spec``, or a dash if the value is NaN."""
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
        resamples: number of samples of the same size that are drawn with replacement.

    Returns:
        NaN as the value of an empty sample, and NaN as the interval of fewer than two numbers.

    Raises:
        ValueError: if the sample holds NaN or infinity.
    """
    if not np.isfinite(sample).all():
        raise ValueError("no interval for a sample that holds NaN or infinity")
    if len(sample) == 0:
        return Estimate(math.nan, math.nan, math.nan)
    value = float(statistic(sample, axis=0))
    if len(sample) < 2:  # resampling a single number would give an interval of width 0
        return Estimate(value, math.nan, math.nan)
    random = np.random.default_rng(BOOTSTRAP_SEED)
    statistics = []
    for first in range(0, resamples, RESAMPLES_AT_ONCE):
        size = (min(RESAMPLES_AT_ONCE, resamples - first), len(sample))
        statistics.append(statistic(sample[random.integers(len(sample), size=size)], axis=1))
    low, high = np.percentile(np.concatenate(statistics), [2.5, 97.5])
    return Estimate(value, float(low), float(high))


def pool_trainings(samples: Sequence[np.ndarray], estimate: Callable[[np.ndarray], Estimate]) -> Estimate:
    """Return the mean of the estimates of several trainings, with a 95% interval over training seeds and episodes.

    The interval is Student's t interval of the trainings' values. These values differ both by training and by episodes.
    The interval is widened to contain the interval of all episodes together, because a few values may agree by chance.
    With one training it is the estimate of that training. A two-level bootstrap is no alternative for three trainings:
    if episodes hardly differ, its interval goes from the lowest to the highest value, which contains the median of the
    distribution of trainings with probability 3/4 only.

    Args:
        samples: one array per training seed. Every training must have its own episodes: if trainings shared episodes,
            the same starts would count several times, and the interval would be too narrow.
        estimate: ``bootstrap`` or ``estimate_proportion``; makes the estimate of one sample.
    """
    if len(samples) == 1:
        return estimate(samples[0])
    values = np.array([estimate(sample).value for sample in samples])
    everything = estimate(np.concatenate(samples))
    half_width = student.ppf(0.975, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values))
    value = values.mean()
    low, high = min(value - half_width, everything.low), max(value + half_width, everything.high)
    if estimate is estimate_proportion:
        low, high = max(low, 0.0), min(high, 1.0)
    return Estimate(float(value), float(low), float(high))


def average_trainings(estimates: Sequence[Estimate]) -> Estimate:
    """Return the mean of one estimate per training seed, with a 95% interval over training seeds and samples.

    Use it for measures that are not the mean of a sample, and ``pool_trainings`` for all others. The interval is
    Student's t interval of the values. Each of its sides is at least as long as that of the mean of independent
    estimates with the given intervals.
    """
    if len(estimates) == 1:
        return estimates[0]
    values = np.array([one.value for one in estimates])
    below = math.sqrt(sum((one.value - one.low) ** 2 for one in estimates)) / len(values)
    above = math.sqrt(sum((one.high - one.value) ** 2 for one in estimates)) / len(values)
    student_width = student.ppf(0.975, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values))
    value = float(values.mean())
    return Estimate(value, value - max(student_width, below), value + max(student_width, above))


def estimate_proportion(outcomes: Bool[np.ndarray, " sample"]) -> Estimate:
    """Return the share of true outcomes with its 95% Wilson interval (Wilson 1927).

    For 100 successes in 100 episodes the bootstrap interval has width 0, whereas Wilson's is [0.96, 1].
    """
    count = len(outcomes)
    if count == 0:
        return Estimate(math.nan, math.nan, math.nan)
    share, z2 = float(np.mean(outcomes)), NORMAL_975**2
    centre = (share + z2 / (2 * count)) / (1 + z2 / count)
    half_width = math.sqrt(z2 * (share * (1 - share) / count + z2 / (4 * count**2))) / (1 + z2 / count)
    return Estimate(share, max(0.0, centre - half_width), min(1.0, centre + half_width))


def fill_missing_arrivals(first_reach: Float[np.ndarray, " episode"], num_steps: int) -> Float[np.ndarray, " episode"]:
    """Return ``first_reach`` (steps) with NaN, which marks episodes that never arrive, replaced by ``num_steps``.

    If such episodes were left out, an agent would gain by failing at far starts; if they counted as infinite, there
    would be no mean. The median is the same as with infinity if more than half of the episodes arrive.
    """
    return np.where(np.isnan(first_reach), float(num_steps), first_reach)


def compute_quantiles(seconds: Float[np.ndarray, " call"]) -> dict[str, float]:
    """Return the median and the 95th percentile of wall times (seconds); both are NaN if there is no call."""
    p50, p95 = np.percentile(seconds, [50, 95]) if len(seconds) else (math.nan, math.nan)
    return {"p50": float(p50), "p95": float(p95)}


def make_json_safe(value: Any) -> Any:
    """Return ``value`` in types that JSON has. NaN and infinity become None; objects of unknown types become text."""
    if isinstance(value, dict):
        return {str(key): make_json_safe(item) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [make_json_safe(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, np.integer | np.bool_):
        return value.item()
    return value if value is None or isinstance(value, bool | int | str) else str(value)
