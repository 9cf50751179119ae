"""Episodes of a batch that begin anew while the others go on."""

import numpy as np
import pytest

from dfplan.agents import DFPlanner, PlannerConfig
from dfplan.agents.random_agent import RandomAgent
from dfplan.ground.errors import InputError

GOAL = np.array([2.0, 3.0])
STARTS = np.array([[1.0, 1.0, 0.0, 0.0], [2.0, 1.0, 0.0, 0.0], [1.0, 2.0, 0.0, 0.0]])
SETTINGS = [{}, {"open_loop_horizon": 2}, {"candidates": 2}, {"guide": "goal_distance", "num_futures": 2}]


def alone(agent, start, seed, steps, goal=GOAL, num_steps=None):
    """The actions of one episode that is run alone."""
    agent.reset(goal=goal, seed=seed, num_steps=num_steps)
    return np.stack([agent.act(start) for _ in range(steps)])


@pytest.mark.parametrize("settings", SETTINGS)
def test_an_episode_that_begins_anew_and_those_that_go_on_are_as_if_alone(tiny_model, settings):
    agent = DFPlanner(tiny_model, PlannerConfig(**settings))
    expected = [alone(agent, STARTS[0], 5, 7), alone(agent, STARTS[1], 6, 3), alone(agent, STARTS[1], 9, 4, GOAL + 1)]
    agent.reset(goal=GOAL, seed=[5, 6])
    first = np.stack([agent.act(STARTS[:2]) for _ in range(3)], axis=1)
    agent.reset(goal=GOAL + 1, seed=9, episodes=[1])
    then = np.stack([agent.act(STARTS[:2]) for _ in range(4)], axis=1)
    np.testing.assert_allclose(np.concatenate([first[0], then[0]]), expected[0], atol=1e-5)
    np.testing.assert_allclose(first[1], expected[1], atol=1e-5)
    np.testing.assert_allclose(then[1], expected[2], atol=1e-5)


def test_no_episode_of_a_batch_is_planned_beyond_its_own_end(tiny_model):
    agent = DFPlanner(tiny_model, PlannerConfig(open_loop_horizon=2))
    agent.reset(goal=GOAL, seed=[0, 1], num_steps=8)
    for _ in range(4):
        agent.act(STARTS[:2])
    agent.reset(goal=GOAL, seed=7, num_steps=8, episodes=[1])
    agent.act(STARTS[:2])
    lengths = {int(running.episodes[0]): running.plan.actions.shape[1] for running in agent._executions.running}
    assert lengths == {0: 4, 1: 8}


def test_a_mask_says_the_same_as_the_numbers(tiny_model):
    agent, acted = DFPlanner(tiny_model), []
    for episodes in ([0, 2], np.array([True, False, True])):
        agent.reset(seed=3)
        agent.act(STARTS)
        agent.reset(seed=[8, 9], episodes=episodes)
        acted.append(agent.act(STARTS))
    np.testing.assert_array_equal(*acted)


@pytest.mark.parametrize("make", [DFPlanner, lambda model: RandomAgent()], ids=["planner", "random"])
@pytest.mark.parametrize("episodes", [[3], [-1], [0, 0], np.array([True, False]), np.array(["one"])])
def test_episodes_that_are_not_in_the_batch_are_answered_in_a_sentence(tiny_model, make, episodes):
    agent = make(tiny_model)
    agent.reset(seed=0)
    with pytest.raises(InputError, match="no batch has begun"):
        agent.reset(seed=0, episodes=[0])
    agent.act(STARTS)
    with pytest.raises(InputError, match="different numbers from 0 to 2, or a mask of 3"):
        agent.reset(seed=0, episodes=episodes)


def test_a_batch_has_goals_for_all_episodes_or_for_none(tiny_model):
    agent = DFPlanner(tiny_model)
    agent.reset(goal=GOAL, seed=0)
    agent.act(STARTS)
    with pytest.raises(InputError, match="either all episodes of a batch have a goal or none has"):
        agent.reset(seed=0, episodes=[0])
    with pytest.raises(InputError, match="do not fit 2 goals"):
        agent.reset(goal=[GOAL, GOAL], seed=0, episodes=[0])


def test_with_a_history_episodes_begin_together(tiny_model):
    agent = DFPlanner(tiny_model, PlannerConfig(history=1, open_loop_horizon=2))
    agent.reset(goal=GOAL, seed=0)
    agent.act(STARTS)
    with pytest.raises(InputError, match="with a history the episodes of a batch begin together"):
        agent.reset(goal=GOAL, seed=0, episodes=[0])


def test_random_actions_of_an_episode_that_begins_anew_are_those_of_its_seed():
    agent = RandomAgent()
    agent.reset(seed=4)
    expected = agent.act(STARTS[0])
    agent.reset(seed=0)
    agent.act(STARTS)
    agent.reset(seed=4, episodes=[2])
    np.testing.assert_array_equal(agent.act(STARTS)[2], expected)
