import numpy as np
import pytest

from dfplan.benchmarks.evaluation.episode_scores import SCORES, score_episodes
from dfplan.benchmarks.evaluation.slots import Episode
from dfplan.envs.scores import REFERENCE_SCORES
from dfplan.envs.scores import score_episodes as score_mazes


def episode(rewards, successes=None):
    told = np.full(len(rewards), np.nan) if successes is None else np.array(successes, float)
    return Episode(None, None, np.array(rewards, float), told)


def test_scores_of_episodes_of_different_lengths_equal_those_computed_by_hand():
    scores = score_episodes([episode([0.5, -2.0], [0, 0]), episode([1.0, 1.5, 2.0], [0, 1, 0])], None)
    assert set(scores) == set(SCORES)
    assert scores["return"].tolist() == [-1.5, 4.5] and scores["length"].tolist() == [2, 3]
    assert scores["success"].tolist() == [False, True]
    np.testing.assert_array_equal(scores["first_reach"], [np.nan, 2.0])
    assert np.isnan(scores["normalized"]).all() and np.isnan(scores["normalized_if_stay"]).all()


def test_success_does_not_exist_if_no_episode_tells_it():
    scores = score_episodes([episode([1.0]), episode([0.0])], None)
    assert np.isnan(scores["success"]).all() and np.isnan(scores["first_reach"]).all()


def test_an_episode_that_does_not_tell_success_has_none_if_others_tell_it():
    scores = score_episodes([episode([1.0]), episode([0.0], [1])], None)
    assert scores["success"].tolist() == [False, True]


@pytest.mark.parametrize("maze", ["umaze", "large"])
def test_scores_of_a_maze_are_bit_equal_to_those_of_its_own_module(maze):
    rewards = np.random.default_rng(0).integers(0, 2, (20, 300)).astype(float) * (np.arange(20) > 2)[:, None]
    found = score_episodes([episode(row, row) for row in rewards], REFERENCE_SCORES[maze])
    for name, expected in score_mazes(maze, rewards).items():
        np.testing.assert_array_equal(found[name], expected)


def test_rewards_other_than_0_and_1_have_no_score_of_staying():
    scores = score_episodes([episode([0.5, 0.5])], (0.0, 2.0))
    assert scores["normalized"].tolist() == [50.0] and np.isnan(scores["normalized_if_stay"]).all()
