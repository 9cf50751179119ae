import numpy as np
import pytest

from dfplan.agents.execution import Execution, Executions
from dfplan.agents.planner_config import ExecutionSettings
from dfplan.agents.plans import Plan
from dfplan.task import MAZE

BOTH = np.arange(2)


def plan(steps=4, batch=2):
    """Move by one in x with each step, from 0; the action of step t is t / 10, its reward t."""
    observations = np.zeros((batch, steps, 4))
    observations[..., 0] = 1 + np.arange(steps)
    actions = np.broadcast_to(np.arange(steps)[:, None] / 10, (batch, steps, 2))
    rewards = np.broadcast_to(np.arange(steps, dtype=float), (batch, steps))
    return Plan(observations, actions, rewards, np.zeros(steps, int), np.zeros((batch, 4)))


def execution(steps=4, episodes=BOTH, **settings):
    return Execution(plan(steps, len(episodes)), ExecutionSettings(**settings), episodes, MAZE)


def states(*x):
    """Observations at rest at these x."""
    return np.pad(np.array(x, dtype=float)[:, None], ((0, 0), (0, 3)))


@pytest.mark.parametrize(("open_loop_horizon", "steps"), [(3, 3), (4, 4), (9, 4)])
def test_a_plan_is_followed_for_the_open_loop_horizon_and_not_beyond_its_end(open_loop_horizon, steps):
    followed = execution(open_loop_horizon=open_loop_horizon)
    for _ in range(steps):
        assert not followed.is_due(states(0, 0), doubted=False).any()
        followed.act(states(0, 0), doubted=False)
    assert followed.is_due(states(0, 0), doubted=False).all()


def test_without_an_open_loop_horizon_the_end_of_the_plan_is_held():
    followed = execution(open_loop_horizon=None, controller="pd")
    for _ in range(9):
        actions, rewards = followed.act(states(4, 4), doubted=False)
    assert not followed.is_due(states(4, 4), doubted=False).any()
    np.testing.assert_allclose(actions, 0)
    np.testing.assert_allclose(rewards, 3)


def test_the_controller_is_told_how_far_to_look_ahead():
    assert execution(pursuit_lookahead=7).controller.lookahead == 7


def test_each_step_tells_the_reward_that_the_plan_expects_of_it():
    followed = execution()
    rewards = [followed.act(states(0, 0), doubted=False)[1][0] for _ in range(4)]
    assert rewards == [0, 1, 2, 3]


def test_a_doubted_observation_has_the_plans_own_action_whatever_it_shows():
    followed = execution(controller="pd")
    actions = [followed.act(np.full((2, 4), 99.0), doubted=True)[0][0, 0] for _ in range(3)]
    np.testing.assert_allclose(actions, [0.0, 0.1, 0.2], atol=1e-7)


@pytest.mark.parametrize("controller", ["diffused", "pd", "pursuit"])
def test_after_doubted_steps_a_controller_goes_on_as_if_all_had_gone_as_planned(controller):
    doubting, trusting = (execution(80, controller=controller) for _ in range(2))
    for step in range(5):
        as_planned = np.zeros((2, 4)) if step == 0 else plan(80).observations[:, step - 1]
        doubting.act(np.full((2, 4), 99.0), doubted=True)
        trusting.act(as_planned, doubted=False)
    now = np.array([[4.5, 0.2, 0, 0]] * 2)
    np.testing.assert_array_equal(doubting.act(now, doubted=False)[0], trusting.act(now, doubted=False)[0])


@pytest.mark.parametrize("controller", ["diffused", "pd", "pursuit"])
def test_a_plan_is_given_up_by_the_episodes_that_are_far_from_it(controller):
    followed = execution(80, controller=controller, open_loop_horizon=80, replan_error=0.3)
    followed.act(states(0, 0), doubted=False)
    beside = np.array([[1, 0.2, 0, 0], [1, 0.4, 0, 0]])
    assert followed.is_due(beside, doubted=False).tolist() == [False, True]
    assert followed.is_due(beside, doubted=True).tolist() == [False, False]
    assert not execution(80).is_due(beside, doubted=False).any()


def test_being_behind_the_plans_clock_is_an_error_only_to_those_who_follow_the_clock():
    for controller, late in (("pd", True), ("diffused", True), ("pursuit", False)):
        followed = execution(80, controller=controller, open_loop_horizon=80, replan_error=0.3)
        for _ in range(5):
            followed.act(states(1, 1), doubted=False)
        assert followed.is_due(states(1, 1), doubted=False).tolist() == [late, late]


def test_what_is_left_of_a_plan_goes_on_from_the_clock_or_from_the_place_and_then_lasts():
    for controller, left in (("pd", [3, 4, 4]), ("pursuit", [4, 4, 4])):
        followed = execution(controller=controller)
        for _ in range(2):
            followed.act(states(1, 1), doubted=False)
        observations, actions, rewards = followed.get_remaining(states(3, 3), doubted=False, num_steps=3)
        assert observations[0, :, 0].tolist() == left
        assert actions.shape == (2, 3, 2) and (rewards[1] + 1).tolist() == left


def test_at_first_everybody_is_due_and_later_those_whose_time_is_over():
    executions = Executions()
    assert executions.find_due(states(0, 0), doubted=False).tolist() == [0, 1]
    executions.add(execution(open_loop_horizon=2))
    for _ in range(2):
        assert executions.find_due(states(0, 0), doubted=False).tolist() == []
        executions.act(states(0, 0), doubted=False)
    assert executions.find_due(states(0, 0), doubted=False).tolist() == [0, 1]


@pytest.mark.parametrize("controller", ["diffused", "pd", "pursuit"])
def test_one_episode_plans_anew_and_the_others_go_on_undisturbed(controller):
    def followed(renewed):
        executions, acted = Executions(), []
        executions.add(execution(80, np.arange(3), controller=controller))
        for step in range(6):
            if step == 3 and renewed:
                executions.add(execution(80, np.array([1]), controller=controller))
            acted.append(executions.act(states(step, step, step), doubted=False))
        return acted, executions

    (alone, _), (beside, executions) = followed(False), followed(True)
    for one, other in zip(alone, beside):
        np.testing.assert_array_equal(one[0][[0, 2]], other[0][[0, 2]])
        np.testing.assert_array_equal(one[1][[0, 2]], other[1][[0, 2]])
    assert [reward[1] for _, reward in beside] == [0, 1, 2, 0, 1, 2]
    assert [running.episodes.tolist() for running in executions.running] == [[0, 2], [1]]
    observations, _, _ = executions.get_remaining(states(5, 5, 5), doubted=False, num_steps=1)
    assert observations[:, 0, 0].tolist() == ([6, 6, 6] if controller == "pursuit" else [7, 4, 7])


def test_plans_that_nobody_follows_any_more_are_forgotten():
    executions = Executions()
    for episodes in ([0, 1], [0], [1]):
        executions.add(execution(episodes=np.array(episodes)))
    assert [running.episodes.tolist() for running in executions.running] == [[0], [1]]


@pytest.mark.parametrize(("hold", "held"), [(False, [0.0, 0.1, 0.2]), (True, [0.0, 0.1, -1.0])])
def test_the_end_of_a_plan_is_held_only_if_asked_for(hold, held):
    still = plan(steps=3)
    still.observations[:, 1:] = still.observations[:, 1:2]  # stands still after its second step
    followed = Execution(still, ExecutionSettings(controller="diffused", hold=hold), BOTH, MAZE)
    actions = [followed.act(states(9, 9), doubted=False)[0][0, 0] for _ in range(3)]
    np.testing.assert_allclose(actions[2], held[2], atol=1e-6)
