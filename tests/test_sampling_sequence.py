from dataclasses import replace

import pytest
import torch

from dfplan.model.tokens import GOAL, START
from dfplan.sampling.guidance import paint_goal
from dfplan.sampling.schedules import make_full_sequence
from dfplan.sampling.sequence import DISGUISES, build_sequence, count_constant_tokens, sequence_length

K = 100  # levels of the tiny model


def stream():
    return [torch.Generator().manual_seed(0)]


def given(model, history=0):
    """One start token and some history tokens, all clean."""
    tokens = torch.full((1, 1 + history, model.config.token_dim), 0.5)
    return tokens * model.codec.used_channels(history)[START : START + 1 + history]


def build(model, levels=(0,), num_tokens=2, goal=None, **more):
    """The sequences of plans in two steps, whose given tokens keep these levels."""
    plan_levels = make_full_sequence(num_tokens, 2, K)
    given_levels = torch.tensor(levels).expand(len(plan_levels), -1)
    return build_sequence(model, given(model, len(levels) - 1), given_levels, plan_levels, stream(), goal, **more)


def test_the_matrix_has_the_levels_of_goal_start_history_plan_and_the_tokens_beyond(tiny_model):
    sequence = build(tiny_model, levels=(0, 30), goal=torch.zeros(1, 2))
    assert sequence.matrix.tolist() == [[0, 0, 30, K, K, K], [0, 0, 30, 50, 50, K], [0, 0, 30, 0, 0, K]]
    assert sequence.planned == slice(3, 5)
    assert (build(tiny_model).matrix[:, GOAL] == K).all(), "without a goal its token is masked"


def test_a_given_token_may_be_inferred_together_with_the_plan(tiny_model):
    plan_levels = make_full_sequence(2, 2, K)
    inferred = plan_levels[:, :1].clamp(max=30)
    sequence = build_sequence(tiny_model, given(tiny_model), inferred, plan_levels, stream())
    assert sequence.matrix[:, START].tolist() == [30, 30, 0]


def test_a_causal_models_sequence_ends_with_the_plan_and_any_others_is_as_long_as_in_training(tiny_model):
    for causal, length in ((True, 4), (False, 6)):
        tiny_model.config = replace(tiny_model.config, causal=causal)
        assert sequence_length(tiny_model.config, stop=4) == length
        assert build(tiny_model).tokens.shape[1] == build(tiny_model).matrix.shape[1] == length


def test_a_short_sequence_begins_with_the_same_noise_as_a_long_one(tiny_model):
    tiny_model.config = replace(tiny_model.config, causal=True)
    long, short = (build(tiny_model, num_tokens=number).tokens for number in (4, 1))
    assert torch.equal(short, long[:, :3])


def test_given_tokens_are_scaled_to_their_level_and_the_others_are_noise(tiny_model):
    sequence = build(tiny_model, levels=(50, 20))
    expected = tiny_model.alpha_bar[torch.tensor([50, 20])].sqrt()[:, None] * given(tiny_model, 1)
    torch.testing.assert_close(sequence.tokens[:, 1:3], expected)
    assert 0.5 < sequence.tokens[:, 3:].std() < 1.5


def test_the_values_of_a_missing_observation_play_no_part(tiny_model):
    plan_levels, missing = make_full_sequence(2, 2, K), torch.full((3, 1), K)
    one, other = (
        build_sequence(tiny_model, factor * given(tiny_model), missing, plan_levels, stream()).tokens
        for factor in (1.0, 9.0)
    )
    assert torch.equal(one, other)
    assert one[:, START, :4].any() and not one[:, START, 4:].any()


@pytest.mark.parametrize("name", DISGUISES)
def test_tokens_at_level_zero_are_shown_as_they_are_in_every_disguise(tiny_model, name):
    sequence = build(tiny_model, disguise=DISGUISES[name])
    torch.testing.assert_close(sequence.tokens[:, START], given(tiny_model)[:, 0])


def test_a_goal_that_is_not_given_is_zeros_in_every_plan_and_a_given_one_is_encoded(tiny_model):
    assert not build(tiny_model).tokens[:, GOAL].any() and build(tiny_model).tokens[:, START].any()
    goal = torch.tensor([[2.0, 3.0]])
    shown = build(tiny_model, goal=goal).tokens[:, GOAL]
    torch.testing.assert_close(shown, tiny_model.codec.encode_goal(goal)[:, 0])


@pytest.mark.parametrize(("moving", "known"), [((), 4), ((2,), 2), ((1,), 1)])
def test_a_memory_can_hold_the_tokens_before_the_first_one_to_be_inferred(moving, known):
    matrix = torch.tensor([[0, 20, 20, 20, K], [0, 20, 20, 20, 0]])
    matrix[1, list(moving)] = 0
    assert count_constant_tokens(matrix, first_planned=4) == known


def test_the_goal_is_painted_into_the_last_planned_token_as_a_state_of_rest(tiny_model):
    sequence = build(tiny_model, levels=(0, 0))
    painted = paint_goal(tiny_model, torch.tensor([[2.0, 3.0]]), sequence)
    tokens = painted.paint(torch.full((1, 6, tiny_model.config.token_dim), 9.0))
    frames = tiny_model.codec.decode(tokens[:, 4:5])
    torch.testing.assert_close(frames.observations, torch.tensor([[[2.0, 3.0, 0.0, 0.0]] * 2]))
    assert (tokens[:, [0, 1, 2, 3, 5]] == 9).all() and painted.mask.sum() == 8
