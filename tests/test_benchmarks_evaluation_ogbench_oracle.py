import numpy as np
import pytest

from dfplan.benchmarks.evaluation.contenders import ContenderOptions, make_contenders
from dfplan.benchmarks.evaluation.episodes import Conditions, evaluate
from dfplan.envs.ogbench_names import parse_ogbench_name
from dfplan.ground.errors import InputError

pytest.importorskip("ogbench", reason="ogbench is not installed")
NAME = parse_ogbench_name("pointmaze-medium-stitch-v0")


@pytest.fixture
def oracle():
    options = ContenderOptions(NAME.env_id, data=NAME)
    return make_contenders(["oracle"], options)["oracle"]


def test_it_solves_the_tasks_of_ogbench(oracle):
    conditions = Conditions(NAME.env_id, episodes=3, goal=None, tasks=(1, 2))
    evaluation = evaluate(oracle, conditions, timed=False)
    assert evaluation.scores["success"].all() and (evaluation.scores["length"] < 300).all()


def test_it_goes_to_the_goal_itself_in_the_goals_cell(oracle):
    oracle.reset(goal=[[0.9, -0.9], [3.0, 0.0]])
    first, second = oracle.act(np.array([[0.8, -0.9], [0.0, 0.0]]))
    np.testing.assert_allclose(first, [0.5, 0.0], atol=1e-5)
    np.testing.assert_allclose(second, [1.0, 0.0], atol=1e-5)


def test_what_it_cannot_use_is_answered_in_a_sentence(oracle):
    with pytest.raises(InputError, match="the oracle needs a goal"):
        oracle.reset()
    oracle.reset(goal=np.zeros((2, 2)))
    with pytest.raises(InputError, match="3 observations do not fit 2 goals"):
        oracle.act(np.zeros((3, 2)))
    with pytest.raises(InputError, match="knows its way in OGBench's point mazes only"):
        make_contenders(["oracle"], ContenderOptions("Pendulum-v1"))
