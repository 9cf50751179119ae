import numpy as np
import pytest

from dfplan.agents.seeds import assign_seeds, copy_seeds
from dfplan.ground.errors import InputError


@pytest.mark.parametrize("seed", [3, np.int64(3), np.uint32(3), np.array(3), [3, 4], (3, 4), np.array([3, 4])])
def test_one_seed_counts_up_over_the_batch_and_several_are_taken_as_they_are(seed):
    seeds = assign_seeds(seed, batch=2)
    assert seeds == [3, 4] and all(type(one) is int for one in seeds)


def test_a_seed_near_the_end_of_its_integer_type_does_not_overflow():
    assert assign_seeds(np.uint32(2**32 - 1), batch=2) == [2**32 - 1, 2**32]


def test_no_seed_is_another_one_each_time():
    assert assign_seeds(None, batch=3) != assign_seeds(None, batch=3)


def test_seeds_of_another_count_than_episodes_are_an_error_with_both_numbers():
    with pytest.raises(InputError, match="3 observations do not fit 2 seeds"):
        assign_seeds([1, 2], batch=3)


def test_own_seeds_are_a_copy_and_fixed_once_there_are_none():
    given = np.array([1, 2])
    kept = copy_seeds(given)
    given[:] = 9
    assert kept.tolist() == [1, 2] and copy_seeds(3) == 3
    fresh = copy_seeds(None)
    assert assign_seeds(fresh, 2) == assign_seeds(fresh, 2) and fresh != copy_seeds(None)


@pytest.mark.parametrize("seed", [-1, [3, -1], np.array([2.5]), np.array([[1]])])
def test_a_seed_that_is_no_whole_number_of_at_least_0_is_refused(seed):
    with pytest.raises(InputError, match="a seed is a whole number of at least 0"):
        copy_seeds(seed)
