import numpy as np
import pytest

from dfplan.agents.candidates import SELECTIONS, arrival, best_of, consistency, shortness
from dfplan.agents.plans import Plan
from dfplan.envs.errors import InputError

SECONDS = 0.05  # between two steps


def plan_of(positions, velocities=None):
    """Plans through positions (plan, step and start, 2), by default with the velocities that lead there."""
    positions = np.asarray(positions, dtype=float)
    if velocities is None:
        velocities = np.diff(positions, axis=1) / SECONDS
    observations = np.concatenate([positions[:, 1:], velocities], axis=-1)
    start = np.concatenate([positions[:, 0], np.zeros((len(positions), 2))], axis=-1)
    shape = observations.shape[:2]
    return Plan(observations, np.zeros((*shape, 2)), np.zeros(shape), np.zeros(shape[1], int), start)


def walks():
    """Two ways to x = 1 and a goal there: straight on, and first a step to the side."""
    straight = np.stack([np.linspace(0, 1, 6), np.zeros(6)], axis=-1)
    aside = straight + np.array([0, 0.5]) * (np.arange(6) == 2)[:, None]
    return np.stack([straight, aside]), np.array([[1.0, 0.0]] * 2)


def test_the_sooner_a_plan_is_near_its_goal_the_better_it_arrives():
    fast = np.stack([np.minimum(np.arange(6) / 3, 1), np.zeros(6)], axis=-1)
    slow = np.stack([np.arange(6) / 5, np.zeros(6)], axis=-1)
    scores = arrival(plan_of([fast, slow]), np.array([[1.0, 0.0]] * 2))
    np.testing.assert_allclose(scores, [-(2 / 3 + 1 / 3) / 5, -(0.8 + 0.6 + 0.4 + 0.2) / 5])


def test_a_plan_that_its_velocities_lead_along_is_entirely_consistent_whatever_the_time_of_a_step():
    positions, goal = walks()
    np.testing.assert_allclose(consistency(plan_of(positions), goal), 0, atol=1e-12)
    np.testing.assert_allclose(consistency(plan_of(3 * positions), goal), 0, atol=1e-12)


def test_a_jump_that_no_velocity_explains_is_inconsistent_and_counts_from_the_present_on():
    positions, goal = walks()
    velocities = np.diff(positions, axis=1) / SECONDS
    for step in range(5):
        torn = positions.copy()
        torn[1, step + 1 :, 1] += 0.5
        scores = consistency(plan_of(torn, velocities), goal)
        assert scores[0] == pytest.approx(0) and scores[1] < -0.05


def test_plans_that_stand_still_are_consistent():
    np.testing.assert_array_equal(consistency(plan_of(np.ones((1, 4, 2))), None), [0])


def test_the_shortness_of_a_plan_counts_its_way_and_what_is_missing_to_the_goal():
    positions, goal = walks()
    np.testing.assert_allclose(shortness(plan_of(positions), goal)[0], -1)
    np.testing.assert_allclose(shortness(plan_of(positions[:, :4]), goal)[0], -1)
    assert shortness(plan_of(positions), goal)[1] < -1.5


@pytest.mark.parametrize("selection", SELECTIONS)
def test_a_score_depends_on_the_plan_alone(selection):
    random = np.random.default_rng(0)
    plan, goals = plan_of(random.normal(size=(5, 7, 2)), random.normal(size=(5, 6, 2))), random.normal(size=(5, 2))
    together = SELECTIONS[selection](plan, goals)
    alone = [SELECTIONS[selection](plan.of([row]), goals[[row]])[0] for row in range(5)]
    np.testing.assert_array_equal(together, alone)


def test_each_episode_gets_the_best_of_its_own_candidates():
    positions, goal = walks()
    plan = plan_of(positions[[1, 0, 0, 1]])  # straight on: the second candidate of the first episode, then the first
    best = best_of(plan, goal[[0] * 4], candidates=2, selection="shortness")
    np.testing.assert_allclose(best.observations[:, :, 1], 0)
    assert best.observations.shape == (2, 5, 4)


def test_to_choose_by_the_goal_there_must_be_one():
    with pytest.raises(InputError, match="needs a goal"):
        arrival(plan_of(walks()[0]), None)
