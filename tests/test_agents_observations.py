import numpy as np
import pytest

from dfplan.agents.observations import check_array, check_share, unpack_observation
from dfplan.ground.errors import InputError


def test_one_observation_gets_a_batch_axis_and_a_batch_keeps_its_own():
    assert check_array([1, 2, 3], 3, "observation").shape == (1, 3)
    assert check_array(np.zeros((2, 3), np.float32), 3, "observation").shape == (2, 3)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.zeros(2), r"expects observations of shape \(3,\)"),
        ([1, np.inf, 0], "not finite"),
        ([1, 1e39, 0], "too large for float32"),
        ("north", "not an array"),
    ],
)
def test_what_is_no_observation_is_answered_in_a_sentence(value, message):
    with pytest.raises(InputError, match=message):
        check_array(value, 3, "observation")


def test_what_is_checked_is_a_copy_whatever_its_type():
    for given in (np.zeros((2, 3)), np.zeros(3), np.zeros(3, np.float32)):
        assert not np.shares_memory(check_array(given, 3, "observation"), given)


def test_a_dictionary_is_taken_apart_and_anything_else_has_no_goal():
    assert unpack_observation({"observation": 1, "desired_goal": 2, "achieved_goal": 3}) == (1, 2)
    assert unpack_observation({"observation": 1}) == (1, None)
    assert unpack_observation(5) == (5, None)
    with pytest.raises(InputError, match="lacks 'observation'"):
        unpack_observation({})


def test_a_share_lies_between_nothing_and_all():
    assert check_share(0, "level") == 0.0 and check_share(1, "level") == 1.0
    for value in (-0.1, 1.1, float("nan"), "half", np.array([0.1, 0.2])):
        with pytest.raises(InputError, match=r"level must be one number in \[0, 1\]"):
            check_share(value, "level")
