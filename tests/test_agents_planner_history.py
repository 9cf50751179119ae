"""What the agent does with its past, and with observations that are not to be trusted."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from dfplan.agents import DFPlanner, PlannerConfig
from dfplan.ground.errors import InputError
from dfplan.model.diffusion_forcing import DiffusionForcing

START = np.array([1.0, 1.0, 0.0, 0.0])
GOAL = np.array([2.0, 3.0])


@pytest.fixture
def agent(tiny_model):
    return DFPlanner(tiny_model, PlannerConfig(open_loop_horizon=4))


def walked(agent, steps, seed=0, observation_levels=()):
    """Act along a straight line; return the actions. ``observation_levels`` are told for the last steps."""
    agent.reset(goal=GOAL, seed=seed)
    told = [None] * (steps - len(observation_levels)) + list(observation_levels)
    path = START + np.arange(steps)[:, None] * np.array([0.1, 0.05, 0.0, 0.0])
    return np.stack([agent.act(observation, level) for observation, level in zip(path, told)])


@pytest.mark.parametrize(("steps", "planned"), [(1, 8), (2, 6), (3, 6), (4, 4), (5, 4), (9, 4)])
def test_the_history_grows_to_its_limit_and_takes_its_room_from_the_plan(tiny_model, steps, planned):
    agent = DFPlanner(tiny_model, PlannerConfig(history=2))
    walked(agent, steps)
    assert agent.plan(START).observations.shape == (planned, 4)


@pytest.mark.parametrize(("history", "heeded"), [(0, False), (2, True)])
def test_a_plan_heeds_the_executed_past_only_with_a_history(tiny_model, history, heeded):
    plans = []
    for direction in (1, -1):
        agent = DFPlanner(tiny_model, PlannerConfig(history=history))
        agent.reset(goal=GOAL, seed=0)
        for step in range(4):
            agent.act(START + direction * 0.1 * step)
        agent._streams = [torch.Generator().manual_seed(0)]
        plans.append(agent.plan(START, horizon=4).observations)
    assert np.allclose(*plans) != heeded


def test_the_first_plan_with_a_history_is_the_one_without(tiny_model):
    plans = []
    for history in (0, 2):
        agent = DFPlanner(tiny_model, PlannerConfig(history=history))
        agent.reset(goal=GOAL, seed=0)
        plans.append(agent.plan(START).observations)
    np.testing.assert_array_equal(*plans)


@pytest.mark.parametrize("settings", [{}, {"goal_strength": 1.5}, {"goal_token": False}, {"observation_level": 0.1}])
def test_a_causal_model_plans_the_same_with_and_without_its_memory(tiny_config, settings, monkeypatch):
    torch.manual_seed(0)
    model = DiffusionForcing(replace(tiny_config, causal=True)).eval().requires_grad_(False)
    agent = DFPlanner(model, PlannerConfig(history=3, open_loop_horizon=2, **settings))
    remembering = walked(agent, 11)
    monkeypatch.setattr(agent, "_memory", lambda *arguments: None)
    np.testing.assert_allclose(remembering, walked(agent, 11), rtol=1e-4, atol=1e-5)


def test_a_history_that_leaves_no_room_for_a_plan_is_refused(tiny_model):
    with pytest.raises(InputError, match="history of 4 tokens leaves a model of 4 no room"):
        DFPlanner(tiny_model, PlannerConfig(history=4))


def test_a_trusted_observation_is_the_start_of_its_plan(agent):
    agent.reset(goal=GOAL, seed=0)
    for level in (None, 0.0):
        np.testing.assert_allclose(agent.plan(START, observation_level=level).start, START, atol=1e-5)


def test_a_missing_observation_plays_no_part_and_is_made_up(agent):
    agent.reset(goal=GOAL, seed=0)
    plans = [agent.plan(observation, observation_level=1.0) for observation in (START, START + 3)]
    np.testing.assert_array_equal(plans[0].observations, plans[1].observations)
    np.testing.assert_array_equal(plans[0].start, plans[1].start)
    assert not np.allclose(plans[0].start, START)


@pytest.mark.parametrize("history", [0, 2])
def test_a_doubted_observation_is_inferred_together_with_the_plan(tiny_model, history):
    agent = DFPlanner(tiny_model, PlannerConfig(history=history))
    walked(agent, 4)
    trusted, doubted = (agent.plan(START, observation_level=level) for level in (0.0, 0.4))
    np.testing.assert_allclose(trusted.start, START, atol=1e-5)
    assert not np.allclose(doubted.start, START) and not np.allclose(doubted.observations, trusted.observations)


def test_the_configurations_level_keeps_the_observation_as_it_is(tiny_model):
    agent = DFPlanner(tiny_model, PlannerConfig(observation_level=0.3))
    agent.reset(goal=GOAL, seed=0)
    plan = agent.plan(START)
    np.testing.assert_allclose(plan.start, START, atol=1e-5)
    assert not np.allclose(plan.observations, agent.plan(START, observation_level=0.0).observations)


def test_the_plans_own_action_is_executed_while_the_observation_is_doubted(agent):
    walked(agent, 3)
    plan = agent._executions.running[0].plan
    np.testing.assert_array_equal(agent.act(START + 5, 1.0), np.clip(plan.actions[0, 3], -1, 1).astype(np.float32))


@pytest.mark.parametrize("level", [-0.1, 1.5, float("nan")])
def test_a_level_that_is_no_share_is_answered_in_a_sentence(agent, level):
    agent.reset(goal=GOAL, seed=0)
    with pytest.raises(InputError, match=r"\[0, 1\]"):
        agent.act(START, level)


@pytest.mark.parametrize("goal_token", [True, False])
def test_a_memory_is_extended_from_plan_to_plan_whether_or_not_the_goal_is_known(tiny_config, goal_token):
    torch.manual_seed(0)
    model = DiffusionForcing(replace(tiny_config, causal=True)).eval().requires_grad_(False)
    remembered, remember = [], model.remember
    model.remember = lambda tokens, *rest: remembered.append(tokens.shape[1]) or remember(tokens, *rest)
    agent = DFPlanner(model, PlannerConfig(history=3, open_loop_horizon=2, goal_token=goal_token))
    walked(agent, 7)  # four plans: after 0, 1, 2 and 3 whole tokens
    assert remembered == [2, 1, 1, 1]
