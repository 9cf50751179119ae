import json
import math
from functools import partial

import numpy as np
import pytest
from scipy.stats import binomtest

from dfplan.benchmarks.evaluation.statistics import (
    Estimate,
    average_trainings,
    bootstrap,
    compute_quantiles,
    estimate_proportion,
    fill_missing_arrivals,
    make_json_safe,
    pool_trainings,
)


def test_the_interval_of_a_mean_of_many_samples_is_that_of_the_normal_distribution():
    sample = np.random.default_rng(0).normal(3.0, 2.0, size=400)
    estimate = bootstrap(sample)
    half_width = 1.96 * sample.std() / math.sqrt(400)
    assert estimate.value == pytest.approx(sample.mean())
    assert estimate.low == pytest.approx(sample.mean() - half_width, abs=0.02)
    assert estimate.high == pytest.approx(sample.mean() + half_width, abs=0.02)


def test_the_same_sample_gives_the_same_interval():
    sample = np.arange(10.0)
    assert bootstrap(sample) == bootstrap(sample)


def test_the_median_ignores_one_outlier_where_the_mean_does_not():
    sample = np.array([1.0, 2.0, 3.0, 4.0, 1000.0])
    assert bootstrap(sample, np.median).value == 3.0
    assert bootstrap(sample).value == 202.0


def test_equal_samples_have_an_interval_of_width_0():
    assert bootstrap(np.ones(5)) == Estimate(1.0, 1.0, 1.0)


def test_a_sample_of_one_number_has_a_value_and_no_interval():
    estimate = bootstrap(np.array([7.0]))
    assert estimate.value == 7.0 and math.isnan(estimate.low) and math.isnan(estimate.high)
    assert f"{estimate:.1f}" == "7.0"


def test_an_empty_sample_has_no_value():
    assert math.isnan(bootstrap(np.array([], dtype=float)).value)
    assert f"{bootstrap(np.array([], dtype=float)):.1f}" == "-"


def test_nan_in_a_sample_is_an_error():
    with pytest.raises(ValueError, match="NaN"):
        bootstrap(np.array([1.0, math.nan]))


def test_resampling_in_parts_gives_as_many_resamples_as_asked():
    counts = []

    def counting(values, axis):
        counts.append(values.shape[axis - 1])
        return np.mean(values, axis=axis)

    bootstrap(np.arange(10.0), counting, resamples=1200)
    assert counts[1:] == [500, 500, 200]  # the first call is the sample itself


@pytest.mark.parametrize(
    ("successes", "episodes", "low", "high"), [(100, 100, 0.9630, 1.0), (0, 100, 0.0, 0.0370), (8, 10, 0.4902, 0.9433)]
)
def test_a_share_has_wilsons_interval(successes, episodes, low, high):
    estimate = estimate_proportion(np.arange(episodes) < successes)
    assert estimate.value == successes / episodes
    assert (estimate.low, estimate.high) == pytest.approx((low, high), abs=1e-4)
    scipys = binomtest(successes, episodes).proportion_ci(method="wilson")
    assert (estimate.low, estimate.high) == pytest.approx((scipys.low, scipys.high), abs=1e-6)


MEDIAN = partial(bootstrap, statistic=np.median)


def test_one_training_seed_has_the_interval_of_its_episodes():
    sample = np.random.default_rng(0).normal(size=50)
    assert pool_trainings([sample], MEDIAN) == bootstrap(sample, np.median)
    assert pool_trainings([sample > 0], estimate_proportion) == estimate_proportion(sample > 0)


def test_the_value_over_training_seeds_is_the_mean_of_each_ones_statistic():
    samples = [np.array([1.0, 2.0, 30.0]), np.array([4.0, 5.0, 60.0])]
    assert pool_trainings(samples, bootstrap).value == pytest.approx((11 + 23) / 2)
    assert pool_trainings(samples, MEDIAN).value == pytest.approx((2 + 5) / 2)


def test_differences_between_training_seeds_widen_the_interval_of_all_episodes():
    samples = [np.full(100, 0.0), np.full(100, 10.0), np.full(100, 20.0)]
    estimate, half_width = pool_trainings(samples, bootstrap), 4.3027 * 10 / math.sqrt(3)
    expected = (10, 10 - half_width, 10 + half_width)
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx(expected, abs=1e-3)
    assert bootstrap(np.concatenate(samples)).low > 9


def test_training_seeds_that_agree_have_the_interval_of_all_episodes():
    sample = np.random.default_rng(0).normal(size=50)
    estimate, together = pool_trainings([sample, sample, sample], bootstrap), bootstrap(np.tile(sample, 3))
    assert (estimate.low, estimate.high) == (together.low, together.high)


def test_the_interval_over_three_trainings_holds_the_truth_in_95_of_100_studies():
    random = np.random.default_rng(0)
    for seeds_std, episodes_std in ((1.0, 0.1), (1.0, 5.0), (0.0, 1.0)):
        held = 0
        for _ in range(400):
            trainings = seeds_std * random.normal(size=(3, 1)) + episodes_std * random.normal(size=(3, 30))
            estimate = pool_trainings(list(trainings), lambda sample: bootstrap(sample, resamples=100))
            held += estimate.low <= 0 <= estimate.high
        assert held / 400 > 0.92


def test_training_seeds_with_nan_are_an_error():
    with pytest.raises(ValueError, match="no interval"):
        pool_trainings([np.ones(2), np.array([1.0, math.nan])], bootstrap)


def test_no_episodes_of_several_training_seeds_have_no_value():
    assert math.isnan(pool_trainings([np.zeros(0), np.zeros(0)], bootstrap).value)


def test_a_share_over_training_seeds_is_at_least_as_uncertain_as_wilsons_of_all_episodes():
    all_succeed = pool_trainings([np.ones(50, bool), np.ones(50, bool)], estimate_proportion)
    assert (all_succeed.low, all_succeed.high) == pytest.approx((0.9630, 1.0), abs=1e-4)


def test_the_share_of_no_outcomes_has_no_value():
    assert f"{estimate_proportion(np.zeros(0, bool)):.1f}" == "-"


def test_an_estimate_prints_its_interval_in_brackets():
    assert f"{Estimate(1.25, 1.0, 2.0):.2f}" == "1.25 [1.00, 2.00]"


def test_an_episode_that_never_arrives_counts_its_full_length():
    assert fill_missing_arrivals(np.array([12.0, math.nan]), num_steps=300).tolist() == [12.0, 300.0]


def test_quantiles_of_no_calls_are_nan_and_of_calls_are_percentiles():
    assert all(math.isnan(value) for value in compute_quantiles(np.array([], dtype=float)).values())
    assert compute_quantiles(np.arange(101.0)) == {"p50": 50.0, "p95": 95.0}


def test_json_has_null_for_nan_and_text_for_objects_of_unknown_types():
    value = {"a": np.float32("nan"), 2: [math.inf, np.int64(3), np.bool_(True)], "c": ("x", None, 1.5), "d": {1j}}
    assert make_json_safe(value) == {"a": None, "2": [None, 3, True], "c": ["x", None, 1.5], "d": "{1j}"}
    json.dumps(make_json_safe(value), allow_nan=False)


def test_the_mean_of_trainings_has_students_interval_where_they_differ():
    found = average_trainings([Estimate(value, value - 0.1, value + 0.1) for value in (1.0, 2.0, 3.0)])
    half_width = 4.3027 * 1 / math.sqrt(3)
    assert (found.value, found.low, found.high) == pytest.approx((2.0, 2 - half_width, 2 + half_width), abs=1e-3)


def test_trainings_that_agree_have_the_interval_of_a_mean_of_independent_estimates():
    found = average_trainings([Estimate(2.0, 1.7, 2.3)] * 3)
    assert (found.low, found.high) == pytest.approx((2 - 0.3 / math.sqrt(3), 2 + 0.3 / math.sqrt(3)))


def test_an_asymmetric_interval_stays_asymmetric():
    found = average_trainings([Estimate(0.0, 0.0, 0.06)] * 3)
    assert (found.low, found.high) == pytest.approx((0.0, 0.06 / math.sqrt(3)))


def test_the_mean_of_one_training_is_its_estimate():
    assert average_trainings([Estimate(2.0, 1.0, 4.0)]) == Estimate(2.0, 1.0, 4.0)
