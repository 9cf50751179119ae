import numpy as np
import pytest
import torch

from dfplan.ground.errors import InputError
from dfplan.sampling import schedules


@pytest.mark.parametrize("name", schedules.SCHEDULES)
@pytest.mark.parametrize("num_tokens", [1, 2, 5])
@pytest.mark.parametrize("uncertainty_scale", [0.0, 0.4, 1.0, 3.0])
def test_every_schedule_goes_from_pure_noise_to_clean_without_rising(name, num_tokens, uncertainty_scale):
    matrix = schedules.SCHEDULES[name](num_tokens, 3, 30, uncertainty_scale)
    assert (matrix[0] == 30).all() and (matrix[-1] == 0).all()
    assert (matrix.diff(dim=0) <= 0).all()
    assert (matrix.diff(dim=0) < 0).any(dim=1).all(), "no row is spent on nothing"


def test_a_pyramid_lets_each_token_lag_behind_its_predecessor():
    expected = [[8, 8, 8], [4, 8, 8], [0, 4, 8], [0, 0, 4], [0, 0, 0]]
    assert schedules.make_pyramid(3, 2, 8, 1.0).tolist() == expected


def test_a_lag_of_a_part_of_a_sampling_step_is_that_part_of_its_levels():
    expected = [[8, 8, 8], [4, 5, 6], [0, 1, 2], [0, 0, 0]]
    assert schedules.make_pyramid(3, 2, 8, 0.25).tolist() == expected
    assert len(schedules.make_pyramid(10, 5, 1000, 0.1)[3].unique()) == 10, "no two tokens move as one"


def test_lags_of_whole_steps_have_the_levels_of_the_full_sequence():
    flat = schedules.make_full_sequence(1, 7, 1000)[:, 0].tolist()
    matrix = schedules.make_pyramid(4, 7, 1000, 3.0)
    assert [column.unique().tolist() for column in matrix.T] == [flat[::-1]] * 4


def test_full_sequence_moves_all_tokens_together():
    assert schedules.make_full_sequence(2, 2, 8).tolist() == [[8, 8], [4, 4], [0, 0]]


def test_autoregressive_finishes_a_token_before_it_begins_the_next():
    assert schedules.make_autoregressive(2, 2, 8).tolist() == [[8, 8], [4, 8], [0, 8], [0, 4], [0, 0]]


def test_a_trapezoid_cleans_both_ends_before_the_middle():
    assert schedules.make_trapezoid(3, 2, 8, 1.0).tolist() == [[8, 8, 8], [4, 8, 4], [0, 4, 0], [0, 0, 0]]


@pytest.mark.parametrize(
    ("num_tokens", "steps", "scale"), [(0, 3, 1.0), (3, 0, 1.0), (3, 10, 1.0), (3, 3, -1.0), (3, 3, float("nan"))]
)
def test_impossible_sizes_are_refused(num_tokens, steps, scale):
    with pytest.raises(ValueError, match="no pyramid"):
        schedules.make_pyramid(num_tokens, steps, 9, scale)


def test_more_sampling_steps_than_levels_are_refused_in_a_sentence():
    with pytest.raises(InputError, match="11 sampling steps are more than the model's 10 levels"):
        schedules.scheduling_matrix("pyramid", 3, 11, 10, 1.0)


def test_sampling_levels_are_spread_over_the_levels_of_the_model():
    matrix = schedules.scheduling_matrix("full_sequence", 2, sampling_steps=4, num_levels=1000, uncertainty_scale=1.0)
    assert matrix[:, 0].tolist() == [1000, 750, 500, 250, 0]


def test_a_matrix_of_the_users_own_is_taken_as_it_is():
    own = np.array([[9, 9], [4, 9], [0, 0]])
    assert torch.equal(schedules.scheduling_matrix(own, 2, 1, 9, 0.0), torch.tensor(own))


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ([[9, 9], [0, 0]], "does not fit"),
        ([[9, 9, 9], [0, 0, 1]], "must fall"),
        ([[8, 9, 9], [0, 0, 0]], "must fall"),
        ([[9, 9, 9], [1, 2, 3], [2, 0, 0], [0, 0, 0]], "must fall"),
        ([[9.0, 9.0, 9.0], [0.0, 0.0, 0.0]], "integers"),
    ],
)
def test_an_array_that_is_no_scheduling_matrix_is_refused_in_a_sentence(own, message):
    with pytest.raises(InputError, match=message):
        schedules.scheduling_matrix(np.array(own), 3, 1, 9, 0.0)


def test_a_misspelt_schedule_is_answered_with_the_near_match():
    with pytest.raises(InputError, match="did you mean pyramid"):
        schedules.scheduling_matrix("pyramide", 3, 2, 10, 1.0)


def test_a_shorter_plan_takes_the_first_columns_of_a_matrix_of_the_users_own():
    own = np.array([[9, 9, 9], [4, 9, 9], [0, 4, 9], [0, 0, 0]])
    assert schedules.scheduling_matrix(own, 2, 1, 9, 0.0).tolist() == [[9, 9], [4, 9], [0, 4], [0, 0]]
