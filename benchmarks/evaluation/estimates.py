"""What an agent did, and its scores and times with intervals, as tables, reports and ``results.json`` show them."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
from jaxtyping import Float

from dfplan.benchmarks.evaluation.conditions import Conditions
from dfplan.benchmarks.evaluation.episode_scores import SCORES
from dfplan.benchmarks.evaluation.statistics import (
    Estimate,
    bootstrap,
    estimate_proportion,
    fill_missing_arrivals,
    pool_trainings,
)
from dfplan.envs.layouts import Layout

Row = dict[str, Any]  # row of a table: column title -> text, number or estimate
SHOWN = {"return": ".1f", "normalized": ".1f", "success": ".2f", "length": ".0f"}  # means in ``str(evaluation)``


@dataclass(frozen=True, eq=False)  # arrays cannot be compared by ==, so that two evaluations are never equal
class Evaluation:
    """What one agent did. Scores, tables and pictures are made from it; episodes are in the order of ``cases``.

    Attributes:
        conditions: of the episodes.
        goals: goal of each episode, environment units; None for a world without goals.
        paths: positions before the first and after every step, environment units; None if they do not lie in a plane.
            After the end of a shorter episode they are NaN, and so are rewards.
        rewards: reward of each step.
        scores: one array over the episodes for each name in ``SCORES``; NaN where the world does not tell.
        plan_seconds: wall seconds of single planning calls at batch 1; empty without plans, or if not timed.
        act_seconds: wall seconds of single ``act`` calls at batch 1, including calls that plan; empty if not timed.
        layout: of a maze; None for other worlds.
        num_steps: length of the longest possible episode; None if it is not known.
    """

    conditions: Conditions
    goals: Float[np.ndarray, "episode goal"] | None
    paths: Float[np.ndarray, "episode time_and_start 2"] | None
    rewards: Float[np.ndarray, "episode time"]
    scores: dict[str, np.ndarray]
    plan_seconds: Float[np.ndarray, " plan"]
    act_seconds: Float[np.ndarray, " act"]
    layout: Layout | None = None
    num_steps: int | None = None

    def __str__(self) -> str:
        """Return the mean scores with their 95% intervals, in one line."""
        estimates = estimate_scores(self)
        shown = [f"{name} {estimates[name]:{spec}}" for name, spec in SHOWN.items() if has_value(estimates, name)]
        episodes = f"{len(self.rewards)} episode{'s' if len(self.rewards) > 1 else ''}"
        return f"{self.conditions.env_id}, {episodes}: {', '.join(shown)} (mean [95% interval])"


@cache  # table, report and results.json show the same intervals, and each costs a bootstrap
def estimate_scores(*evaluations: Evaluation) -> dict[str, Estimate]:
    """Return the value and the 95% interval of each column: the median of ``first_reach``, the mean of all others.

    Several evaluations belong to networks of the same recipe, one per training seed, each in other episodes. The
    intervals of scores are then over training seeds and episodes, and those of seconds over all calls. A score that
    does not exist is NaN.
    """
    means = {
        name: _estimate([one.scores[name] for one in evaluations], bootstrap)
        for name in SCORES
        if name not in ("success", "first_reach") and all(name in one.scores for one in evaluations)
    }
    success = [one.scores["success"] for one in evaluations]
    shares = {"success": _estimate(success, lambda sample: estimate_proportion(sample.astype(bool)))}
    median = partial(bootstrap, statistic=np.median)
    medians = {"first_reach": _estimate([count_steps_to_arrival(one) for one in evaluations], median)}
    timed = ("plan_seconds", "act_seconds")
    seconds = {name: bootstrap(np.concatenate([getattr(one, name) for one in evaluations])) for name in timed}
    return means | shares | medians | seconds


def has_value(estimates: dict[str, Estimate], name: str) -> bool:
    """Return whether a score exists."""
    return name in estimates and not math.isnan(estimates[name].value)


def _estimate(samples: list[np.ndarray], estimate: Callable[[np.ndarray], Estimate]) -> Estimate:
    """Return the estimate of a score; NaN if no episode has this score."""
    numbers = [sample.astype(float) for sample in samples]
    if all(np.isnan(sample).all() for sample in numbers):
        return Estimate(math.nan, math.nan, math.nan)
    return pool_trainings(numbers, estimate)


def count_steps_to_arrival(evaluation: Evaluation) -> Float[np.ndarray, " episode"]:
    """Return the steps until the first arrival of each episode; NaN if the world does not tell successes.

    An episode without arrival counts the full length, also if it has ended early, by a fall for example.
    """
    if np.isnan(evaluation.scores["success"].astype(float)).all():
        return np.full(len(evaluation.rewards), np.nan)
    longest = evaluation.num_steps or evaluation.rewards.shape[1]
    return fill_missing_arrivals(evaluation.scores["first_reach"].astype(float), longest)


def estimate_by_seed(evaluation: Evaluation, score: str = "normalized") -> dict[int, Estimate]:
    """Return the mean score of the episodes of each seed, with its 95% interval."""
    seeds = np.array([seed for seed, _ in evaluation.conditions.cases])
    return {int(seed): _estimate([evaluation.scores[score][seeds == seed]], bootstrap) for seed in dict.fromkeys(seeds)}


def estimate_by_task(evaluation: Evaluation) -> dict[int, Estimate]:
    """Return the share of successful episodes of each task, with Wilson's 95% interval; nothing without tasks."""
    conditions = evaluation.conditions
    tasks = np.array(conditions.task_of_cases)
    success = evaluation.scores["success"].astype(bool)
    return {task: estimate_proportion(success[tasks == task]) for task in conditions.tasks}


def choose_main_score(evaluation: Evaluation) -> str:
    """Return ``normalized`` if the world has reference scores, else ``return``."""
    return "return" if np.isnan(evaluation.scores["normalized"]).all() else "normalized"
