"""What lies between the agent and its caller: arrays that each keeps to itself, and calls that are refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from dfplan.agents import DFPlanner, PlannerConfig
from dfplan.agents.controllers import CONTROLLERS, ProportionalDerivative
from dfplan.ground.errors import InputError
from dfplan.model.diffusion_forcing import DiffusionForcing

START = np.array([1.0, 1.0, 0.0, 0.0])
GOAL = np.array([2.0, 3.0])
BOTH, GOALS = np.stack([START, START]), np.stack([GOAL, GOAL])
PATH = START + np.arange(9)[:, None] * np.array([0.1, 0.05, 0.0, 0.0])  # (step, observation)


@pytest.fixture
def agent(tiny_model):
    return DFPlanner(tiny_model, PlannerConfig(history=2, open_loop_horizon=3))


def walked(agent, path=PATH):
    """Act along a path, single or batched; return the actions."""
    return np.stack([agent.act(observation) for observation in path])


def test_an_observation_may_be_overwritten_after_it_was_acted_on(agent):
    agent.reset(goal=GOAL, seed=0)
    expected = walked(agent)
    agent.reset(goal=GOAL, seed=0)
    buffer, acted = np.empty(4), []
    for observation in PATH:
        buffer[:] = observation
        acted.append(agent.act(buffer))
        buffer[:] = 99.0
    np.testing.assert_array_equal(acted, expected)


@pytest.mark.parametrize("shape", [(2,), (1, 2)])
def test_goal_and_seeds_may_be_overwritten_after_the_reset(agent, shape):
    agent.reset(goal=GOAL, seed=0)
    expected = walked(agent)
    goal, seeds = GOAL.reshape(shape).copy(), np.array([0])
    agent.reset(goal=goal, seed=seeds)
    goal[:], seeds[:] = 1.0, 7
    np.testing.assert_array_equal(walked(agent, PATH[:, None])[:, 0], expected)


def test_a_goal_that_changes_in_the_same_buffer_is_a_new_goal(agent):
    agent.reset(seed=0)
    goal = GOAL.copy()
    agent.act({"observation": START, "desired_goal": goal})
    goal += 1
    agent.act({"observation": START, "desired_goal": goal})
    assert len(agent.plan_seconds) == 2


def test_one_goal_that_stays_for_a_whole_batch_is_no_new_goal(agent):
    agent.reset(seed=0)
    for _ in range(3):
        agent.act({"observation": BOTH, "desired_goal": GOAL})
    assert len(agent.plan_seconds) == 1


@pytest.mark.parametrize("batched", [False, True])
def test_actions_and_plans_may_be_overwritten(agent, batched):
    path = np.stack([PATH, PATH], axis=1) if batched else PATH
    agent.reset(goal=GOAL, seed=0)
    expected = walked(agent, path)
    agent.reset(goal=GOAL, seed=0)
    for observation, action in zip(path, expected):
        plan = agent.plan(observation, keep_rows=True)
        for part in (plan.observations, plan.actions, plan.rewards, plan.levels, plan.start, *plan.rows[-1]):
            part[...] = 99
        acted = agent.act(observation)
        np.testing.assert_array_equal(acted, action)
        acted[...] = 99.0


# Calls that are wrong for an agent of two episodes, whose goals are set.
REFUSED = {
    "another batch": {"observation": np.stack([START] * 3)},
    "another size": {"observation": BOTH[:, :3]},
    "NaN": {"observation": BOTH * np.nan},
    "no level": {"observation": BOTH, "observation_level": 2.0},
    "new goals, another batch": {"observation": {"observation": START, "desired_goal": GOALS + 1}},
    "new goals, another size": {"observation": {"observation": BOTH[:, :3], "desired_goal": GOALS + 1}},
    "new goals, no level": {
        "observation": {"observation": BOTH, "desired_goal": GOALS + 1},
        "observation_level": 2.0,
    },
    "goals of another size": {"observation": {"observation": BOTH, "desired_goal": GOALS[:, :1]}},
    "goals of another batch": {"observation": {"observation": BOTH, "desired_goal": np.stack([GOAL + 1] * 3)}},
}


@pytest.mark.parametrize("refused", REFUSED.values(), ids=REFUSED.keys())
@pytest.mark.parametrize("call", ["act", "plan"])
def test_a_refused_call_changes_nothing(agent, call, refused):
    path = np.stack([PATH, PATH], axis=1)
    agent.reset(goal=GOALS, seed=0)
    expected = walked(agent, path)
    agent.reset(goal=GOALS, seed=0)
    for observation, actions in zip(path, expected):
        with pytest.raises(InputError):
            getattr(agent, call)(**refused)
        np.testing.assert_array_equal(agent.act(observation), actions)
    assert len(agent.plan_seconds) == 3


def test_a_refused_batch_leaves_the_seeds_to_the_right_one(agent):
    agent.reset(goal=GOALS, seed=[3, 4])
    expected = agent.act(BOTH)
    agent.reset(goal=GOALS, seed=[3, 4])
    for wrong in (START, np.stack([START] * 3)):
        with pytest.raises(InputError, match=r"call reset\(\) when the batch changes"):
            agent.act(wrong)
    np.testing.assert_array_equal(agent.act(BOTH), expected)


def test_a_plan_that_cannot_be_made_moves_no_random_stream_and_keeps_the_goal(tiny_model):
    def failing(plan):
        raise RuntimeError("no score")

    agent = DFPlanner(tiny_model, PlannerConfig(open_loop_horizon=2))
    agent.reset(goal=GOAL, seed=0)
    expected = walked(agent)
    agent.reset(goal=GOAL, seed=0)
    config = agent.config
    for observation, action in zip(PATH, expected):
        agent.config = replace(config, guide=failing)
        with pytest.raises(RuntimeError, match="no score"):
            agent.act({"observation": observation, "desired_goal": GOAL + 1})
        agent.config = config
        np.testing.assert_array_equal(agent.act(observation), action)


@pytest.mark.parametrize("seed", [0, None])
def test_looking_at_plans_for_other_batches_and_goals_changes_nothing(agent, seed):
    agent.reset(goal=GOAL, seed=seed)
    plan = agent.plan(START)
    agent.plan(np.stack([START] * 3))
    agent.plan({"observation": START, "desired_goal": GOAL + 1})
    np.testing.assert_array_equal(agent.plan(START).observations, plan.observations)


def test_a_causal_models_memory_is_moved_by_acting_only(tiny_config):
    torch.manual_seed(0)
    model = DiffusionForcing(replace(tiny_config, causal=True)).eval().requires_grad_(False)
    agent = DFPlanner(model, PlannerConfig(history=2, open_loop_horizon=2))
    agent.reset(goal=GOAL, seed=0)
    walked(agent, PATH[:4])
    remembered = dict(vars(agent._memory))
    assert remembered["memory"].time > 0
    agent.plan(PATH[4])
    assert all(value is remembered[name] for name, value in vars(agent._memory).items())


class Broken(ProportionalDerivative):
    """Gives an action that is no number at its third step."""

    def act(self, observation):
        actions = super().act(observation)
        return actions if self.step != 3 else actions * np.nan


@pytest.mark.parametrize("hold", [False, True])
def test_an_action_that_is_not_finite_is_never_returned_and_changes_nothing(tiny_model, hold, monkeypatch):
    monkeypatch.setitem(CONTROLLERS, "broken", Broken)
    agent = DFPlanner(tiny_model, PlannerConfig(controller="broken", hold=hold, open_loop_horizon=8))
    agent.reset(goal=GOAL, seed=0)
    walked(agent, PATH[:2])
    for _ in range(2):
        with pytest.raises(InputError, match="an action is not finite; choose another controller than 'broken'"):
            agent.act(START)
    assert agent._executions.running[0].step == 2


@pytest.mark.parametrize("controller", ["diffused", "pd", "pursuit"])
@pytest.mark.parametrize("large", [3e38, np.inf])
def test_a_plan_beyond_all_numbers_is_an_error(tiny_model, controller, large):
    tiny_model.codec.std[:] = large
    agent = DFPlanner(tiny_model, PlannerConfig(controller=controller))
    agent.reset(goal=GOAL, seed=0)
    for call in (agent.act, agent.plan):
        with pytest.raises(InputError, match="the plan is not finite; check the units"):
            call(START)


def test_a_guide_that_pulls_beyond_all_numbers_is_told_to_pull_less(tiny_model):
    settings = {"guide": "goal_distance", "guidance_scale": 1e38, "sampling_steps": 5, "schedule": "pyramid"}
    agent = DFPlanner(tiny_model, PlannerConfig(**settings))
    agent.reset(goal=GOAL, seed=0)
    with pytest.raises(InputError, match=r"the scores of a guide are not finite; .* choose a smaller guidance_scale"):
        agent.act(START)


def test_a_schedule_that_the_caller_changes_later_stays_as_it_was_given(tiny_model):
    own = np.array([[100] * 4, [50] * 4, [0] * 4])
    config = PlannerConfig(schedule=own)
    own[1] = 90
    assert config.sampling.schedule[1].tolist() == [50] * 4
