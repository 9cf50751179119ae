from dataclasses import replace

import numpy as np
import pytest
import torch

from dfplan.agents.history import Belief, HistoryMemory, HistoryWindow
from dfplan.agents.planner import DFPlanner
from dfplan.agents.planner_config import PlannerConfig
from dfplan.agents.planning import PlanRequest, _build_sequence, _choose_guidance, candidate_scales, make_plans
from dfplan.data.trajectories import Trajectories
from dfplan.ground.errors import InputError
from dfplan.model.tokens import GOAL, START
from dfplan.sampling.guides import goal_distance

CLEAN, START_STATE = Belief(), np.array([[1.0, 2.0, 3.0, 4.0]])
GOAL_POSITION = np.array([[2.0, 3.0]])


def window(*beliefs):
    """One episode with as many history tokens, of two steps each, as there are beliefs after the start's."""
    steps = 2 * (len(beliefs) - 1)
    parts = (torch.ones(1, steps, 4), torch.zeros(1, steps, 2), torch.zeros(1, steps))
    return HistoryWindow(START_STATE, Trajectories(*parts) if steps else None, beliefs)


def request(*beliefs, num_tokens=2, goals=GOAL_POSITION, **more):
    generators = [torch.Generator().manual_seed(0)]
    return PlanRequest(window(*beliefs), goals, None, num_tokens, generators, HistoryMemory(), **more)


def steering(model, config, wanted):
    return _choose_guidance(model, config, wanted, _build_sequence(model, config, wanted))


def test_levels_are_those_of_goal_beliefs_plan_and_the_tokens_beyond(tiny_model):
    config = PlannerConfig(sampling_steps=2)
    matrix = _build_sequence(tiny_model, config, request(CLEAN, Belief(0.3, inferred=True))).matrix
    assert matrix.tolist() == [[0, 0, 30, 100, 100, 100], [0, 0, 30, 50, 50, 100], [0, 0, 0, 0, 0, 100]]
    masked = _build_sequence(tiny_model, replace(config, goal_token=False), request(Belief(0.02), num_tokens=4)).matrix
    assert (masked[:, GOAL] == 100).all() and (masked[:, START] == 2).all()


def test_guidance_has_the_settings_of_the_configuration(tiny_model):
    settings = {"guidance_scale": 0.5, "num_futures": 3, "future_steps": 2, "max_shift": 0.5, "goal_strength": 1.5}
    guidance = steering(tiny_model, PlannerConfig(**settings), request(CLEAN))
    assert (guidance.scale, guidance.num_futures, guidance.future_steps) == (0.5, 3, 2)
    assert (guidance.max_shift, guidance.goal_strength, guidance.in_painting) == (0.5, 1.5, None)
    assert steering(tiny_model, PlannerConfig(), request(CLEAN)).max_shift is None


def test_the_goal_is_painted_into_the_last_planned_token_and_needs_a_goal(tiny_model):
    config = PlannerConfig(in_paint_goal=True)
    painted = steering(tiny_model, config, request(CLEAN, CLEAN)).in_painting
    assert painted.mask.any(dim=1).tolist() == [False] * 4 + [True, False]
    with pytest.raises(InputError, match="in_paint_goal needs a goal"):
        steering(tiny_model, config, request(CLEAN, goals=None))


def test_the_solver_of_the_configuration_is_used_and_a_misspelt_one_is_answered_with_its_near_match(tiny_model):
    plans = [
        make_plans(tiny_model, PlannerConfig(solver=solver, sampling_steps=4), request(CLEAN)).observations
        for solver in ("ddim", "multistep")
    ]
    assert not np.allclose(*plans)
    with pytest.raises(InputError, match="did you mean multistep"):
        PlannerConfig(solver="multi_step")


def test_candidates_have_the_guidance_scales_in_turn():
    device, num_plans = torch.device("cpu"), 6
    config = PlannerConfig(candidates=3, guidance_scale=(0.5, 2.0), selection="consistency")
    assert candidate_scales(config, num_plans, device).tolist() == [0.5, 2.0, 0.5] * 2
    three = replace(config, guidance_scale=(1.0, 2.0, 3.0))
    assert candidate_scales(three, num_plans, device).tolist() == [1, 2, 3] * 2
    assert candidate_scales(replace(config, guidance_scale=0.5), num_plans, device) == 0.5


def test_the_plans_guide_sees_planned_tokens_only(tiny_model):
    seen = []

    def watching(plan):
        seen.append(plan.rewards.shape[1])
        return goal_distance(torch.zeros(1, 2))(plan)

    wanted = replace(request(CLEAN, CLEAN), guide=watching)
    make_plans(tiny_model, PlannerConfig(guide=watching), wanted)
    assert set(seen) == {2 * tiny_model.config.frame_stack}


def test_a_guide_of_scale_0_steers_no_plan(knowing_model):
    sampled = []
    for settings in ({"guide": "cost_to_go", "guidance_scale": 0.0}, {}):
        agent = DFPlanner(knowing_model, PlannerConfig(**settings))
        agent.reset(goal=[6.0, 6.0], seed=0)
        sampled.append(agent.plan(np.array([1.0, 1.0, 0.0, 0.0])).observations)
    np.testing.assert_array_equal(*sampled)
