"""The scores of episodes in any environment. What an environment does not tell is NaN."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from dfplan.benchmarks.evaluation.slots import Episode

# ``dfplan.envs.scores`` explains the normalized scores, and why there are two.
SCORES = ("return", "normalized", "normalized_if_stay", "success", "first_reach", "length")


def score_episodes(episodes: Sequence[Episode], reference: tuple[float, float] | None) -> dict[str, np.ndarray]:
    """Return the scores of each episode by their names, ``SCORES``.

    Args:
        episodes: of one environment.
        reference: returns with the normalized scores 0 and 100; None if there are none.

    Returns:
        ``return``: sum of rewards.
        ``normalized``: the same on the scale of ``reference``.
        ``normalized_if_stay``: the same if every step from the first reward of 1 on counted 1; only for rewards of 0
        and 1.
        ``success``: whether a step was a success.
        ``first_reach``: number of steps until the first success, at least 1.
        ``length``: number of steps.
    """
    rewards = [episode.rewards for episode in episodes]
    returns = np.array([of_one.sum() for of_one in rewards])
    is_sparse = all(np.isin(of_one, (0.0, 1.0)).all() for of_one in rewards)
    if_stay = np.array([float(len(of_one) - of_one.argmax()) if of_one.any() else 0.0 for of_one in rewards])
    successes = [episode.successes for episode in episodes]
    first_reach = np.array([_find_first(of_one == 1) for of_one in successes])
    is_told = any(not np.isnan(of_one).all() for of_one in successes)
    unknown = np.full(len(episodes), np.nan)
    return {
        "return": returns,
        "normalized": unknown if reference is None else _normalize(returns, *reference),
        "normalized_if_stay": _normalize(if_stay, *reference) if reference and is_sparse else unknown,
        "success": ~np.isnan(first_reach) if is_told else unknown,
        "first_reach": first_reach,
        "length": np.array([float(len(of_one)) for of_one in rewards]),
    }


def _normalize(returns: Float[np.ndarray, " episode"], low: float, high: float) -> Float[np.ndarray, " episode"]:
    return 100.0 * (returns - low) / (high - low)


def _find_first(is_success: Bool[np.ndarray, " time"]) -> float:
    """Return the number of steps until the first success; NaN without any."""
    return is_success.argmax() + 1.0 if is_success.any() else np.nan
