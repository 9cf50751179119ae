import math
from dataclasses import replace

import numpy as np
import pytest

from dfplan.benchmarks.evaluation.conditions import Conditions
from dfplan.benchmarks.evaluation.episode_scores import score_episodes
from dfplan.benchmarks.evaluation.estimates import (
    Evaluation,
    choose_main_score,
    count_steps_to_arrival,
    estimate_by_seed,
    estimate_scores,
    has_value,
)
from dfplan.benchmarks.evaluation.slots import Episode

NOTHING = np.empty(0)


def evaluated(successes, reference=None, seeds=1):
    """An evaluation of episodes with a reward of 1 in each step; ``successes`` has a list for each episode."""
    episodes = [Episode(None, None, np.ones(len(told)), np.array(told, float)) for told in successes]
    rewards = np.full((len(episodes), max(map(len, successes))), np.nan)
    for row, episode in zip(rewards, episodes, strict=True):
        row[: len(episode.rewards)] = episode.rewards
    conditions = Conditions("World-v0", len(episodes) // seeds, goal=None, seeds=seeds)
    return Evaluation(conditions, None, None, rewards, score_episodes(episodes, reference), NOTHING, NOTHING)


def test_estimates_of_uneven_episodes_equal_those_computed_by_hand():
    estimates = estimate_scores(evaluated([[0, 1], [0, 0, 0, 0]]))
    assert estimates["return"].value == 3 and estimates["length"].value == 3 and estimates["success"].value == 0.5
    assert not has_value(estimates, "normalized") and not has_value(estimates, "plan_seconds")


def test_success_that_nobody_tells_has_no_estimate():
    estimates = estimate_scores(evaluated([[math.nan], [math.nan]]))
    assert not has_value(estimates, "success") and not has_value(estimates, "first_reach")


@pytest.mark.parametrize(("num_steps", "expected"), [(None, 4), (9, 9)])
def test_an_episode_that_fails_early_counts_the_full_length(num_steps, expected):
    evaluation = replace(evaluated([[0, 1], [0], [0, 0, 0, 1]]), num_steps=num_steps)
    assert count_steps_to_arrival(evaluation).tolist() == [2, expected, 4]


def test_the_main_score_is_the_normalized_one_where_it_exists():
    assert choose_main_score(evaluated([[0]])) == "return"
    assert choose_main_score(evaluated([[0]], (0.0, 2.0))) == "normalized"


def test_returns_are_estimated_by_seed():
    by_seed = estimate_by_seed(evaluated([[0], [0, 0, 0]], seeds=2), "return")
    assert {seed: estimate.value for seed, estimate in by_seed.items()} == {0: 1, 1: 3}
