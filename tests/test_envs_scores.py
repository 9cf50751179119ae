import numpy as np
import pytest

from dfplan.envs.scores import REFERENCE_SCORES, normalize_score, score_episodes
from dfplan.ground.errors import InputError

REWARDS = np.array([[0, 0, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1]], dtype=np.float64)


def test_the_references_are_zero_and_one_hundred():
    for maze in ("umaze", "medium", "large"):
        np.testing.assert_allclose(normalize_score(maze, np.array(REFERENCE_SCORES[maze])), [0.0, 100.0])


def test_published_references_of_the_three_mazes():
    expected = {"umaze": (23.85, 161.86), "medium": (13.13, 277.39), "large": (6.7, 273.99)}
    assert {maze: REFERENCE_SCORES[maze] for maze in expected} == expected


def test_scores_of_three_short_episodes_by_hand():
    scores = score_episodes("maze2d-large-v1", REWARDS)
    span = 273.99 - 6.7
    np.testing.assert_allclose(scores["return"], [1, 0, 4])
    np.testing.assert_allclose(scores["normalized"], [100 * (r - 6.7) / span for r in (1, 0, 4)])
    np.testing.assert_allclose(scores["normalized_if_stay"], [100 * (r - 6.7) / span for r in (2, 0, 4)])
    assert scores["success"].tolist() == [True, False, True]
    np.testing.assert_array_equal(scores["first_reach"], [3, np.nan, 1])


def test_a_maze_without_references_has_no_normalized_score():
    scores = score_episodes(None, REWARDS)
    assert np.isnan(scores["normalized"]).all() and np.isnan(scores["normalized_if_stay"]).all()
    np.testing.assert_allclose(scores["return"], [1, 0, 4])


def test_unknown_mazes_and_dense_rewards_are_input_errors():
    with pytest.raises(InputError, match="did you mean"):
        normalize_score("maze2d-larg", np.zeros(1))
    with pytest.raises(InputError, match="sparse"):
        score_episodes("large", np.full((1, 2), 0.5))
