"""The scores and times of an evaluation with their intervals, as tables, reports and ``results.json`` show them."""

import math
from functools import cache, partial
from typing import Any

import numpy as np
from jaxtyping import Float

from dfplan.benchmarks.evaluation.episodes import Evaluation
from dfplan.benchmarks.evaluation.statistics import (
    Estimate,
    bootstrap,
    estimate_proportion,
    fill_missing_arrivals,
    pool_trainings,
)

Row = dict[str, Any]  # row of a table: column title -> text, number or estimate
SCORES = ("return", "normalized", "normalized_if_stay", "success", "first_reach")


@cache  # table, report and results.json show the same intervals, and each costs a bootstrap
def estimate_scores(*evaluations: Evaluation) -> dict[str, Estimate]:
    """Return the value and the 95% interval of each column: the median of ``first_reach``, the mean of all others.

    Several evaluations belong to networks of the same recipe, one per training seed, each in other episodes. The
    intervals of scores are then over training seeds and episodes, and those of seconds over all calls.
    """
    means = {name: _estimate_mean([one.scores[name].astype(float) for one in evaluations]) for name in SCORES[:3]}
    shares = {
        "success": pool_trainings([one.scores["success"].astype(bool) for one in evaluations], estimate_proportion)
    }
    median = partial(bootstrap, statistic=np.median)
    medians = {"first_reach": pool_trainings([count_steps_to_arrival(one) for one in evaluations], median)}
    timed = ("plan_seconds", "act_seconds")
    seconds = {name: bootstrap(np.concatenate([getattr(one, name) for one in evaluations])) for name in timed}
    return means | shares | medians | seconds


def _estimate_mean(samples: list[Float[np.ndarray, " episode"]]) -> Estimate:
    """Return the mean score; NaN if the maze has no reference scores, so that no episode has a normalized score."""
    if all(np.isnan(sample).all() for sample in samples):
        return Estimate(math.nan, math.nan, math.nan)
    return pool_trainings(samples, bootstrap)


def count_steps_to_arrival(evaluation: Evaluation) -> np.ndarray:
    """Return the steps until the first arrival of each episode; an episode without arrival counts its full length."""
    return fill_missing_arrivals(evaluation.scores["first_reach"].astype(float), evaluation.rewards.shape[1])


def estimate_by_seed(evaluation: Evaluation) -> dict[int, Estimate]:
    """Return the mean normalized score of the episodes of each seed, with its 95% interval."""
    conditions = evaluation.conditions
    scores = evaluation.scores["normalized"].reshape(conditions.seeds, conditions.episodes)
    return {conditions.seed + number: _estimate_mean([of_seed.astype(float)]) for number, of_seed in enumerate(scores)}
