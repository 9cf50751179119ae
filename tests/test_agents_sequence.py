from dataclasses import replace

import numpy as np
import pytest
import torch

from dfplan.agents.config import PlannerConfig
from dfplan.agents.history import Belief, Past
from dfplan.agents.sequence import (
    arrival,
    candidate_scales,
    first_row,
    guidance_of,
    level_matrix,
    num_known,
    sequence_length,
)
from dfplan.diffusion_forcing import DiffusionForcing
from dfplan.envs.errors import InputError
from dfplan.guidance import goal_distance
from dfplan.tokens import GOAL, START, Trajectories

CLEAN = Belief()


def stream():
    return [torch.Generator().manual_seed(0)]


def past(*beliefs):
    """One episode with as many history tokens, of two steps each, as there are beliefs beyond the start's."""
    steps = 2 * (len(beliefs) - 1)
    parts = (torch.ones(1, steps, 4), torch.zeros(1, steps, 2), torch.zeros(1, steps))
    return Past(np.array([[1.0, 2, 3, 4]]), Trajectories(*parts) if steps else None, beliefs)


def test_levels_are_those_of_goal_start_history_plan_and_what_lies_beyond(tiny_config):
    config = PlannerConfig(sampling_steps=2)
    matrix = level_matrix(tiny_config, config, True, (CLEAN, Belief(0.3, inferred=True)), num_tokens=2)
    assert matrix.tolist() == [[0, 0, 30, 100, 100, 100], [0, 0, 30, 50, 50, 100], [0, 0, 0, 0, 0, 100]]
    unknown = level_matrix(tiny_config, config, False, (Belief(0.02),), num_tokens=4)
    assert (unknown[:, GOAL] == 100).all() and (unknown[:, START] == 2).all()


@pytest.mark.parametrize("guide", [None, "goal_distance"])
def test_a_causal_models_sequence_ends_with_the_plan_and_any_others_is_as_long_as_in_training(tiny_config, guide):
    config, beliefs = PlannerConfig(in_paint_goal=True, guide=guide), (CLEAN, CLEAN)
    for model_config, length in ((replace(tiny_config, causal=True), 5), (tiny_config, 6)):
        assert sequence_length(model_config, stop=5) == length
        assert level_matrix(model_config, config, True, beliefs, num_tokens=2).shape[1] == length
        guidance = guidance_of(config, DiffusionForcing(model_config), torch.zeros(1, 2), None, slice(3, 5), 1)
        assert guidance.in_painting.mask.shape[0] == length


def test_a_short_sequence_begins_as_a_long_one_does(tiny_model):
    levels, goal = torch.tensor([0, 0, 100, 100, 100, 100]), torch.zeros(1, 2)
    long, short = (first_row(tiny_model, levels[:length], goal, past(CLEAN), stream()) for length in (6, 3))
    assert torch.equal(short, long[:, :3])


def test_what_is_given_is_scaled_to_its_level_and_the_rest_is_noise(tiny_model):
    levels = torch.tensor([100, 50, 20, 100, 100, 100])
    given = past(Belief(0.5), Belief(0.2))
    tokens = first_row(tiny_model, levels, None, given, stream())
    expected = tiny_model.alpha_bar[levels[1:3]].sqrt()[:, None] * given.tokens(tiny_model.codec)
    torch.testing.assert_close(tokens[:, 1:3], expected)
    assert 0.5 < tokens[:, 3:].std() < 1.5
    assert not tokens[:, GOAL, tiny_model.config.goal_dim :].any()


def test_of_a_missing_observation_nothing_is_left(tiny_model):
    levels = torch.tensor([0, 100, 100, 100, 100, 100])
    goal = torch.tensor([[1.0, 1.0]])
    here, there = past(Belief(1.0, inferred=True)), Past(np.full((1, 4), 9.0), None, (Belief(1.0, inferred=True),))
    tokens = first_row(tiny_model, levels, goal, here, stream())
    assert torch.equal(tokens, first_row(tiny_model, levels, goal, there, stream()))
    assert tokens[:, START, :4].any() and not tokens[:, START, 4:].any()


@pytest.mark.parametrize(
    ("beliefs", "known"),
    [
        ((CLEAN, CLEAN, CLEAN), 4),
        ((Belief(0.1), CLEAN, Belief(0.2)), 4),
        ((CLEAN, Belief(0.2, inferred=True), CLEAN), 2),
        ((Belief(0.2, inferred=True), CLEAN, CLEAN), 1),
    ],
)
def test_a_memory_can_hold_what_stands_before_the_first_token_to_be_inferred(tiny_config, beliefs, known):
    matrix = level_matrix(tiny_config, PlannerConfig(), True, beliefs, num_tokens=1)
    assert num_known(matrix, first_planned=1 + len(beliefs)) == known


def test_the_goal_is_painted_into_one_token_as_a_state_of_rest(tiny_model):
    painted = arrival(tiny_model.codec, torch.tensor([[2.0, 3.0]]), time=4, length=6)
    tokens = painted.into(torch.full((1, 6, tiny_model.config.token_dim), 9.0))
    frames = tiny_model.codec.decode(tokens[:, 4:5])
    torch.testing.assert_close(frames.observations, torch.tensor([[[2.0, 3.0, 0.0, 0.0]] * 2]))
    assert (tokens[:, [0, 1, 2, 3, 5]] == 9).all() and painted.mask.sum() == 8


def test_only_what_is_planned_is_guided_and_painted(tiny_model):
    goal = torch.tensor([[2.0, 3.0]])
    config = PlannerConfig(guide="goal_distance", guidance_scale=0.5, num_futures=3, in_paint_goal=True)
    guidance = guidance_of(config, tiny_model, goal, goal_distance(goal), slice(3, 5), len(goal))
    assert (guidance.scale, guidance.num_futures, guidance.first_planned, guidance.end) == (0.5, 3, 3, 5)
    assert guidance.in_painting.mask.any(dim=1).tolist() == [False] * 4 + [True, False]
    with pytest.raises(InputError, match="in_paint_goal needs a goal"):
        guidance_of(PlannerConfig(in_paint_goal=True), tiny_model, None, None, slice(3, 5), 1)


def test_the_solver_is_the_configurations_and_a_misspelt_one_is_answered_with_its_near_match(tiny_model):
    guidance = guidance_of(PlannerConfig(solver="multistep"), tiny_model, None, None, slice(2, 4), 1)
    assert guidance.solver == "multistep"
    with pytest.raises(InputError, match="did you mean multistep"):
        PlannerConfig(solver="multi_step")


def test_a_goal_that_is_not_known_is_zeros_in_every_plan(tiny_model):
    tokens = first_row(tiny_model, torch.tensor([100, 0, 100, 100]), torch.ones(1, 2), past(CLEAN), stream())
    assert not tokens[:, GOAL].any() and tokens[:, START].any()


def test_the_bound_of_the_shift_is_the_configurations(tiny_model):
    assert guidance_of(PlannerConfig(max_shift=0.5), tiny_model, None, None, slice(2, 4), 1).max_shift == 0.5
    assert guidance_of(PlannerConfig(), tiny_model, None, None, slice(2, 4), 1).max_shift is None
    with pytest.raises(InputError, match="above 0 standard deviations"):
        PlannerConfig(max_shift=0.0)


def test_the_candidates_of_every_episode_have_the_scales_in_turn():
    num_plans, device = 6, torch.device("cpu")  # of two episodes with three candidates each
    config = PlannerConfig(candidates=3, guidance_scale=(0.5, 2.0))
    assert candidate_scales(config, num_plans, device).tolist() == [0.5, 2.0, 0.5] * 2
    assert (
        candidate_scales(replace(config, guidance_scale=(1.0, 2.0, 3.0)), num_plans, device).tolist() == [1, 2, 3] * 2
    )
    assert candidate_scales(replace(config, guidance_scale=0.5), num_plans, device) == 0.5


@pytest.mark.parametrize(("scales", "candidates"), [((0.5, 2.0), 1), ((1.0, 2.0, 3.0, 4.0), 3)])
def test_more_scales_than_candidates_are_refused(scales, candidates):
    with pytest.raises(InputError, match=f"{len(scales)} guidance scales need as many candidates, not {candidates}"):
        PlannerConfig(candidates=candidates, guidance_scale=scales)
