"""Turns per-episode scores into a number with an interval, and NaN into JSON's null."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

NUM_RESAMPLES = 10_000  # bootstrap resamples; the interval's ends move by less than 1% of its width between generators
BOOTSTRAP_SEED = 0  # fixed, so that the same episodes always print the same interval


@dataclass(frozen=True)
class Estimate:
    """A statistic of a sample and its 95% interval; ``low`` and ``high`` are NaN below two samples."""

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
    draws = np.random.default_rng(BOOTSTRAP_SEED).integers(len(sample), size=(resamples, len(sample)))
    low, high = np.percentile(statistic(sample[draws], axis=1), [2.5, 97.5])
    return Estimate(value, float(low), float(high))


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
