import numpy as np
import pytest

from dfplan.agents.config import PlannerConfig
from dfplan.agents.plans import Execution, Plan


def plan(steps=4):
    """Move by one in x with each step, from 0; the action of step t is t / 10, its reward t."""
    observations = np.zeros((2, steps, 4))
    observations[..., 0] = 1 + np.arange(steps)
    actions = np.broadcast_to(np.arange(steps)[:, None] / 10, (2, steps, 2))
    rewards = np.broadcast_to(np.arange(steps, dtype=float), (2, steps))
    return Plan(observations, actions, rewards, np.zeros(steps, int), np.zeros((2, 4)))


def test_the_first_plan_of_a_batch_has_no_batch_axis():
    first = plan().first()
    assert first.observations.shape == (4, 4) and first.start.shape == (4,) and first.levels.shape == (4,)


@pytest.mark.parametrize(("open_loop_horizon", "steps"), [(3, 3), (4, 4), (9, 4)])
def test_a_plan_is_followed_for_the_open_loop_horizon_and_not_beyond_its_end(open_loop_horizon, steps):
    execution = Execution(plan(), PlannerConfig(open_loop_horizon=open_loop_horizon))
    for _ in range(steps):
        assert not execution.finished
        execution.act(np.zeros((2, 4)), doubted=False)
    assert execution.finished


def test_without_an_open_loop_horizon_the_end_of_the_plan_is_held():
    execution = Execution(plan(), PlannerConfig(open_loop_horizon=None, controller="pd"))
    for _ in range(9):
        actions, rewards = execution.act(np.array([[4.0, 0, 0, 0]] * 2), doubted=False)
    assert not execution.finished
    np.testing.assert_allclose(actions, 0)
    np.testing.assert_allclose(rewards, 3)


def test_each_step_tells_the_reward_that_the_plan_expects_of_it():
    execution = Execution(plan(), PlannerConfig())
    rewards = [execution.act(np.zeros((2, 4)), doubted=False)[1][0] for _ in range(4)]
    assert rewards == [0, 1, 2, 3]


def test_a_doubted_observation_has_the_plans_own_action_whatever_it_shows():
    execution = Execution(plan(), PlannerConfig(controller="pd"))
    actions = [execution.act(np.full((2, 4), 99.0), doubted=True)[0][0, 0] for _ in range(3)]
    np.testing.assert_allclose(actions, [0.0, 0.1, 0.2], atol=1e-7)


@pytest.mark.parametrize("controller", ["diffused", "pd", "pursuit"])
def test_after_doubted_steps_a_controller_goes_on_as_if_all_had_gone_as_planned(controller):
    doubting, trusting = (Execution(plan(80), PlannerConfig(controller=controller)) for _ in range(2))
    for step in range(5):
        as_planned = np.zeros((2, 4)) if step == 0 else plan(80).observations[:, step - 1]
        doubting.act(np.full((2, 4), 99.0), doubted=True)
        trusting.act(as_planned, doubted=False)
    now = np.array([[4.5, 0.2, 0, 0]] * 2)
    np.testing.assert_array_equal(doubting.act(now, doubted=False)[0], trusting.act(now, doubted=False)[0])
