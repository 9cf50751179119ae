import pytest

from dfplan.benchmarks.evaluation.conditions import Conditions, draw_episode_seeds

UMAZE = "maze2d-umaze-v1"


def test_seeds_of_neighbouring_runs_and_episodes_are_all_different():
    seeds = {draw_episode_seeds(seed, episode) for seed in range(3) for episode in range(50)}
    assert len({number for pair in seeds for number in pair}) == 2 * 150


def test_cases_are_all_episodes_seed_by_seed():
    assert Conditions(UMAZE, episodes=2, seed=7, seeds=2).cases == [(7, 0), (7, 1), (8, 0), (8, 1)]


@pytest.mark.parametrize("wrong", [{"episodes": 0}, {"side_by_side": 0}, {"seed": -1}, {"seeds": 0}])
def test_conditions_refuse_impossible_counts(wrong):
    with pytest.raises(ValueError, match="cannot run"):
        Conditions(UMAZE, **wrong)
