import pytest

from dfplan.benchmarks.evaluation.conditions import Conditions, draw_episode_seeds, make_conditions

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


def test_every_task_has_all_episodes_and_each_episode_its_own_start():
    conditions = Conditions("Line-v0", episodes=2, seed=7, goal=None, tasks=(1, 3))
    assert conditions.cases == [(7, 0), (7, 1)] * 2 and conditions.task_of_cases == [1, 1, 3, 3]
    assert [seed for seed, _ in conditions.episode_seeds] == [7, 8, 9, 10]
    (first, of_first), (second, of_second) = conditions.parts
    assert (first, second) == ({"task_id": 1}, {"task_id": 3})
    assert of_first + of_second == conditions.episode_seeds


def test_without_tasks_all_episodes_have_the_same_options():
    for goal, options in (("random", {"goal": "random"}), ("fixed", None), (None, None)):
        conditions = Conditions(UMAZE, episodes=3, goal=goal)
        assert conditions.parts == [(options, conditions.episode_seeds)]
        assert conditions.task_of_cases == [None] * 3


def test_a_model_of_a_data_set_of_ogbench_is_evaluated_in_its_tasks():
    conditions = make_conditions("ogbench:pointmaze-giant-v0", 20, 1000, "pointmaze-giant-stitch-v0")
    assert conditions.tasks == (1, 2, 3, 4, 5) and conditions.episodes == 4 and conditions.goal is None
    assert make_conditions(UMAZE, 20, 1000) == Conditions(UMAZE, 20, 1000, "fixed")
