"""The numbers that tables, reports and ``results.json`` show of an evaluation, with their intervals."""

from functools import cache, partial

import numpy as np

from dfplan.benchmarks.evaluation import Evaluation
from dfplan.benchmarks.statistics import Estimate, arrival_steps, bootstrap, over_trainings, proportion

SCORES = ("return", "normalized", "normalized_if_stay", "success", "first_reach")


@cache  # table, report and results.json show the same intervals
def estimates(*evaluations: Evaluation) -> dict[str, Estimate]:
    """Return the value and 95% interval of each column: means, and for ``first_reach`` the median.

    Several evaluations are those of one network for each training seed, of other episodes each; the intervals of scores
    are then over seeds and episodes, those of seconds over all calls.
    """
    means = {
        name: over_trainings([one.scores[name].astype(float) for one in evaluations], bootstrap) for name in SCORES[:3]
    }
    shares = {"success": over_trainings([one.scores["success"].astype(bool) for one in evaluations], proportion)}
    median = partial(bootstrap, statistic=np.median)
    medians = {"first_reach": over_trainings([arrivals(one) for one in evaluations], median)}
    timed = ("plan_seconds", "act_seconds")
    seconds = {name: bootstrap(np.concatenate([getattr(one, name) for one in evaluations])) for name in timed}
    return means | shares | medians | seconds


def arrivals(evaluation: Evaluation) -> np.ndarray:
    """Return the steps to the first arrival, the full length for an episode without one."""
    return arrival_steps(evaluation.scores["first_reach"].astype(float), evaluation.rewards.shape[1])


def normalized_by_seed(evaluation: Evaluation) -> dict[int, Estimate]:
    """Return the mean normalized score of each seed's episodes and its 95% interval."""
    conditions = evaluation.conditions
    scores = evaluation.scores["normalized"].reshape(conditions.seeds, conditions.episodes)
    return {conditions.seed + number: bootstrap(of_seed.astype(float)) for number, of_seed in enumerate(scores)}
