from dataclasses import replace

import numpy as np
import pytest
import torch

from dfplan.agents.candidates import (
    SELECTIONS,
    choose_best,
    score_arrival,
    score_by_guide,
    score_consistency,
    score_shortness,
)
from dfplan.agents.named_guides import make_guide
from dfplan.agents.planner_config import PlannerConfig
from dfplan.agents.plans import Plan
from dfplan.data.cost_to_go import JUMP_WEIGHT, LONGEST_MOVE, OFF_RECORDING_WEIGHT
from dfplan.data.trajectories import Trajectories
from dfplan.data.value import Value
from dfplan.ground.errors import InputError
from dfplan.task import Task

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


def guide_to(goals, model):
    return make_guide("cost_to_go", model, torch.as_tensor(goals, dtype=torch.float32))


def walks():
    """Two ways to x = 1 and a goal there: straight on, and first a step to the side."""
    straight = np.stack([np.linspace(0, 1, 6), np.zeros(6)], axis=-1)
    aside = straight + np.array([0, 0.5]) * (np.arange(6) == 2)[:, None]
    return np.stack([straight, aside]), np.array([[1.0, 0.0]] * 2)


def test_the_sooner_a_plan_is_near_its_goal_the_better_it_arrives(tiny_model):
    fast = np.stack([np.minimum(np.arange(6) / 3, 1), np.zeros(6)], axis=-1)
    slow = np.stack([np.arange(6) / 5, np.zeros(6)], axis=-1)
    scores = score_arrival(plan_of([fast, slow]), np.array([[1.0, 0.0]] * 2), None, tiny_model)
    np.testing.assert_allclose(scores, [-(2 / 3 + 1 / 3) / 5, -(0.8 + 0.6 + 0.4 + 0.2) / 5])


def test_a_plan_that_its_velocities_lead_along_is_entirely_consistent_whatever_the_time_of_a_step(tiny_model):
    positions, goal = walks()
    np.testing.assert_allclose(score_consistency(plan_of(positions), goal, None, tiny_model), 0, atol=1e-12)
    np.testing.assert_allclose(score_consistency(plan_of(3 * positions), goal, None, tiny_model), 0, atol=1e-12)


def test_a_jump_that_no_velocity_explains_is_inconsistent_and_counts_from_the_present_on(tiny_model):
    positions, goal = walks()
    velocities = np.diff(positions, axis=1) / SECONDS
    for step in range(5):
        torn = positions.copy()
        torn[1, step + 1 :, 1] += 0.5
        scores = score_consistency(plan_of(torn, velocities), goal, None, tiny_model)
        assert scores[0] == pytest.approx(0) and scores[1] < -0.05


def test_plans_that_stand_still_are_consistent(tiny_model):
    np.testing.assert_array_equal(score_consistency(plan_of(np.ones((1, 4, 2))), None, None, tiny_model), [0])


def test_the_shortness_of_a_plan_counts_its_way_and_what_is_missing_to_the_goal(tiny_model):
    positions, goal = walks()
    np.testing.assert_allclose(score_shortness(plan_of(positions), goal, None, tiny_model)[0], -1)
    np.testing.assert_allclose(score_shortness(plan_of(positions[:, :4]), goal, None, tiny_model)[0], -1)
    assert score_shortness(plan_of(positions), goal, None, tiny_model)[1] < -1.5


@pytest.mark.parametrize("selection", SELECTIONS)
def test_a_score_depends_on_the_plan_alone(selection, knowing_model):
    random = np.random.default_rng(0)
    plan, goals = plan_of(random.normal(size=(5, 7, 2)), random.normal(size=(5, 6, 2))), random.normal(size=(5, 2))
    scores = [
        SELECTIONS[selection].score(plan.select(rows), goals[rows], guide_to(goals[rows], knowing_model), knowing_model)
        for rows in ([0, 1, 2, 3, 4], [0], [1], [2], [3], [4])
    ]
    together, alone = scores[0], np.concatenate(scores[1:])
    np.testing.assert_array_equal(together, alone)


def test_each_episode_gets_the_best_of_its_own_candidates(tiny_model):
    positions, goal = walks()
    plan = plan_of(positions[[1, 0, 0, 1]])  # straight on: the second candidate of the first episode, then the first
    best = choose_best(plan, goal[[0] * 4], candidates=2, selection="shortness", guide=None, model=tiny_model)
    np.testing.assert_allclose(best.observations[:, :, 1], 0)
    assert best.observations.shape == (2, 5, 4)


def make_flat_value():
    """Return a value of 0 everywhere, in a world with returns from -50 to 50."""
    shapes = ((1, 2, 4), (1, 1, 2), (1, 2, 2), (1, 1, 2), (1, 1, 2), (1, 1, 1))
    layers = (torch.zeros(shape) for shape in shapes)
    return Value(torch.zeros(4), torch.ones(4), *layers, *map(torch.tensor, (-50.0, 50.0, 2.0, 1.0)))


@pytest.mark.parametrize(("better", "chosen"), [(0.0, 0), (0.09, 0), (0.11, 1), (-0.11, 0)])
def test_by_the_return_a_later_candidate_must_be_better_by_a_thousandth_of_the_range(tiny_model, better, chosen):
    plan = plan_of(walks()[0])
    plan.rewards[1] = [better, *[0.0] * (plan.rewards.shape[1] - 1)]  # it belongs to the returns of all lengths
    tiny_model.value = make_flat_value()
    best = choose_best(plan, None, candidates=2, selection="return", guide=None, model=tiny_model)
    np.testing.assert_array_equal(best.observations[0], plan.observations[chosen])


def test_to_choose_by_the_goal_there_must_be_one(tiny_model):
    with pytest.raises(InputError, match="needs a goal"):
        score_arrival(plan_of(walks()[0]), None, None, tiny_model)


# In the recording of ``knowing_model``, the square from 0 to 8, a step at full speed is 0.25.
STEP = 0.25
FAR_GOAL = np.array([[6.0, 2.0]])


def straight(*steps):
    """A plan from (2, 2) to the right that is so many steps at full speed further on after each of its own."""
    x = 2.0 + STEP * np.cumsum([0, *steps])
    return np.stack([x, np.full(len(x), 2.0)], axis=-1)


def guided(ways, goal, model):
    """Scores of plans through positions by the guide that leads along the cost to go."""
    goals = goal.repeat(len(ways), axis=0)
    return score_by_guide(plan_of(ways), goals, guide_to(goals, model), model)


def test_by_the_cost_to_go_the_plan_that_gets_there_sooner_is_better(knowing_model):
    scores = guided([straight(*[speed] * 12) for speed in (1, 0.5, -0.5)], FAR_GOAL, knowing_model)
    # On average the fast plan is 6.5 steps nearer than its start, the slow one 3.25, and the other 3.25 farther.
    assert (-np.diff(scores) > [0.75 * 3.25, 0.75 * 6.5]).all()


def test_the_score_of_a_believable_plan_is_the_guides_score_per_step(knowing_model):
    way = straight(1, 1, 1, 1)
    plan = plan_of([way])
    observations = torch.tensor(plan.observations, dtype=torch.float32)
    score = guide_to(FAR_GOAL, knowing_model)(Trajectories(observations, torch.zeros(1, 4, 2), torch.zeros(1, 4)))
    np.testing.assert_allclose(guided([way], FAR_GOAL, knowing_model), score / 4, rtol=1e-5)


def test_a_plan_that_leaves_the_recording_or_jumps_is_charged_if_the_model_has_a_recording(knowing_model):
    def flat(plan):
        return torch.zeros(len(plan.rewards))

    ways = [straight(1, 1, 1), straight(1, 6, 1), straight(6, 1, 1), straight(1, 1, 1) + np.array([0, 9.0])]
    scores = score_by_guide(plan_of(ways), None, flat, knowing_model)
    jumped = JUMP_WEIGHT * (6 - LONGEST_MOVE) / 3
    np.testing.assert_allclose(scores[:3], [0, -jumped, -jumped], rtol=1e-4)
    assert scores[3] < -OFF_RECORDING_WEIGHT
    knowing_model.cost_to_go = None
    assert not score_by_guide(plan_of(ways), None, flat, knowing_model).any()


def test_to_choose_by_the_guide_there_must_be_one():
    with pytest.raises(InputError, match="the selection 'guide' needs a guide"):
        PlannerConfig(candidates=2, selection="guide")


def test_where_actions_move_positions_a_plan_is_consistent_with_its_actions(tiny_model):
    task = Task(4, 2, (-2.0, -2.0), (2.0, 2.0), position=(0, 1), step_length=(0.2, 0.8))
    tiny_model.config = replace(tiny_model.config, task=task)
    actions = np.array([[[1.0, 1.0], [2.0, -1.0]]])
    positions = np.cumsum(actions / 2 * [0.2, 0.8], axis=1)
    plan = replace(plan_of(np.concatenate([np.zeros((1, 1, 2)), positions], axis=1)), actions=actions)
    assert score_consistency(plan, None, None, tiny_model) == pytest.approx([0.0])
    assert score_consistency(replace(plan, actions=-actions), None, None, tiny_model)[0] < -0.5
