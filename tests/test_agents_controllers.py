import numpy as np
import pytest

from dfplan.agents.controllers import LOOKAHEAD, Diffused, Hold, ProportionalDerivative, Pursuit
from dfplan.data.pursuit import POSITION_GAIN
from dfplan.task import MAZE, Task


def straight_plan(steps=100, speed=0.02):
    """A walk along x from the origin, ``speed`` a step."""
    observations = np.zeros((1, steps, 4))
    observations[0, :, 0] = speed * np.arange(1, steps + 1)
    return observations


def test_diffused_executes_the_planned_actions_in_order_within_the_limits():
    actions = np.array([[[0.1, 0.2], [3.0, -3.0], [0.0, 0.0]]])
    controller = Diffused(np.array([[[0.0, 0, 0, 0], [1, 0, 0, 0], [2, 0, 0, 0]]]), actions, MAZE)
    assert controller.act(np.zeros((1, 4))).tolist() == [[0.1, 0.2]]
    assert controller.act(np.zeros((1, 4))).tolist() == [[1.0, -1.0]]


def test_pd_pushes_towards_the_planned_position_and_velocity_of_the_step():
    plan = np.array([[[0.05, 0.0, 0.1, 0.0], [0.0, -1.0, 0.0, 0.0]]])
    controller = ProportionalDerivative(plan, None, MAZE)
    np.testing.assert_allclose(controller.act(np.zeros((1, 4))), [[0.6, 0.0]])
    np.testing.assert_allclose(controller.act(np.zeros((1, 4))), [[0.0, -1.0]])


def test_pursuit_aims_at_the_point_ahead_of_the_nearest_one_of_the_way():
    controller = Pursuit(straight_plan(), None, MAZE)
    at_the_tenth = np.array([[0.2, 0.0, 0.0, 0.0]])
    action = controller.act(at_the_tenth)
    assert controller.progress.tolist() == [9]
    np.testing.assert_allclose(action, np.clip([[POSITION_GAIN * 0.02 * LOOKAHEAD, 0.0]], -1, 1))


def test_pursuit_never_goes_back_on_its_way():
    controller = Pursuit(straight_plan(), None, MAZE)
    controller.act(np.array([[0.4, 0.0, 0.0, 0.0]]))
    controller.act(np.array([[0.0, 0.0, 0.0, 0.0]]))
    assert controller.progress.tolist() == [19]


def test_pursuit_holds_at_the_end_of_the_plan():
    controller = Pursuit(straight_plan(steps=20), None, MAZE)
    for _ in range(3):
        action = controller.act(np.array([[0.4, 0.0, 0.0, 0.0]]))
    np.testing.assert_allclose(action, [[0.0, 0.0]], atol=1e-9)


def test_each_episode_is_pursued_on_its_own():
    plans = np.concatenate([straight_plan(), -straight_plan()])
    states = np.array([[0.2, 0, 0, 0], [-0.1, 0, 0, 0]])
    together = Pursuit(plans, None, MAZE).act(states)
    alone = [Pursuit(plans[row : row + 1], None, MAZE).act(states[row : row + 1])[0] for row in range(2)]
    np.testing.assert_array_equal(together, alone)


def test_pursuit_follows_the_planned_velocity_too():
    plan = straight_plan(steps=1)
    plan[0, 0, 2:] = [0.5, 0.0]
    action = Pursuit(plan, None, MAZE).act(np.array([[0.02, 0.0, 0.0, 0.0]]))
    np.testing.assert_allclose(action, [[0.5, 0.0]], atol=1e-9)


def test_pursuit_aims_as_far_ahead_as_it_is_told():
    actions = [
        Pursuit(straight_plan(), None, MAZE, lookahead).act(np.array([[0.2, 0.0, 0.0, 0.0]])) for lookahead in (1, 4)
    ]
    np.testing.assert_allclose(np.concatenate(actions)[:, 0], [POSITION_GAIN * 0.02, POSITION_GAIN * 0.08])


@pytest.mark.parametrize("controller", [Diffused, ProportionalDerivative])
def test_followers_of_the_clock_are_where_the_plan_is_after_as_many_steps(controller):
    follower = controller(straight_plan(steps=3), np.zeros((1, 3, 2)), MAZE)
    for index in (-1, 0, 1, 2, 2):
        place, distance = follower.locate(np.array([[0.06, 0.3, 9.0, 9.0]]))
        assert place.tolist() == [index]
        follower.act(np.zeros((1, 4)))
    np.testing.assert_allclose(distance, [0.3])


def test_pursuit_is_at_the_nearest_point_of_the_way_and_looking_there_changes_nothing():
    controller = Pursuit(straight_plan(), None, MAZE)
    for _ in range(2):
        place, distance = controller.locate(np.array([[0.2, 0.4, 0.0, 0.0]]))
        assert place.tolist() == [9] and controller.progress.tolist() == [0]
        np.testing.assert_allclose(distance, [0.4])


@pytest.mark.parametrize("controller", [Diffused, ProportionalDerivative, Pursuit])
def test_a_controller_goes_on_with_some_of_its_plans_as_if_nothing_had_happened(controller):
    random = np.random.default_rng(0)
    plans, actions, states = (random.normal(size=(3, 9, size)) for size in (4, 2, 4))
    every, some, kept = (
        controller(plans, actions, MAZE),
        controller(plans, actions, MAZE),
        np.array([True, False, True]),
    )
    for step in range(4):
        np.testing.assert_array_equal(some.act(states[:, step]), every.act(states[:, step]))
    some.keep(kept)
    for step in range(4, 9):
        np.testing.assert_array_equal(some.act(states[kept, step]), every.act(states[:, step])[kept])


@pytest.mark.parametrize(("observation", "action"), [(1, 2), (3, 1), (4, 2)])
def test_diffused_executes_the_planned_actions_whatever_is_observed_and_repeats_the_last(observation, action):
    random = np.random.default_rng(0)
    actions = random.normal(size=(2, 3, action))
    controller = Diffused(np.zeros((2, 3, observation)), actions, Task(observation, action))  # a plan that stands still
    taken = [controller.act(random.normal(size=(2, observation))) for _ in range(5)]
    np.testing.assert_array_equal(np.stack(taken, axis=1), actions[:, [0, 1, 2, 2, 2]].clip(-1, 1))


def test_hold_pushes_towards_the_end_of_a_plan_from_where_it_stands_still_and_follows_it_before():
    observations = np.zeros((2, 4, 4))
    observations[0, :, 0] = [1.0, 1.0, 1.2, 1.2]  # within 0.25 of its end from the first step on
    observations[0, 0, 2] = 0.6  # but moving in it
    actions = np.full((2, 4, 2), 0.5)
    hold = Hold(Diffused(observations, actions, MAZE), observations, MAZE)
    off = np.array([[1.25, 0.0, 0.0, 0.0], [0.05, 0.0, 0.1, 0.0]])
    np.testing.assert_allclose(hold.act(off), [[0.5, 0.5], [-0.6, 0.0]])
    np.testing.assert_allclose(hold.act(off), [[-0.5, 0.0], [-0.6, 0.0]], atol=1e-9)
    hold.keep(np.array([True, False]))
    for _ in range(3):  # on to the end of the plan and beyond
        np.testing.assert_allclose(hold.act(off[:1]), [[-0.5, 0.0]], atol=1e-9)


def test_a_plan_that_moves_to_its_end_is_never_held():
    observations = np.zeros((1, 5, 4))
    observations[0, :, 0] = 0.02 * np.arange(5)  # always within 0.25 of its end,
    observations[0, :, 2] = 2.0  # at 2 units per second
    hold = Hold(Diffused(observations, np.full((1, 5, 2), 0.5), MAZE), observations, MAZE)
    assert [hold.act(np.ones((1, 4))).tolist() for _ in range(7)] == [[[0.5, 0.5]]] * 7
