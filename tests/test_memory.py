from dataclasses import replace

import pytest
import torch

from dfplan.diffusion_forcing import DiffusionForcing
from dfplan.envs.errors import InputError
from dfplan.guidance import goal_distance
from dfplan.memory import RememberingModel
from dfplan.sampler import Guidance, sample
from dfplan.schedules import scheduling_matrix
from dfplan.tokens import FIRST_PLANNED, GOAL

HISTORY, PLANNED = 3, 4  # tokens executed, tokens to plan
KNOWN = FIRST_PLANNED + HISTORY


@pytest.fixture(params=["transformer", "rnn"])
def model(request, tiny_config):
    torch.manual_seed(0)
    config = replace(tiny_config, num_tokens=8, depth=2, causal=True, backbone=request.param)
    return DiffusionForcing(config).eval().requires_grad_(False)


def sequences(model, batch=2):
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randn(batch, KNOWN + PLANNED, model.config.token_dim, generator=generator)
    return tokens * model.codec.used_channels(HISTORY + PLANNED)


def scheduled(model):
    planned = scheduling_matrix("pyramid", PLANNED, 4, model.config.num_levels, 1.0)
    return torch.cat([torch.zeros(len(planned), KNOWN, dtype=torch.long), planned], dim=1)


def known_levels(tokens, time=KNOWN):
    return torch.zeros(len(tokens), time, dtype=torch.long)


def remembered(model, tokens):
    return model.remember(tokens[:, :KNOWN], known_levels(tokens))


def rows_run(model, time_axis):
    """Shapes that the backbone is run on from now on, along one axis."""
    seen = []
    model.backbone.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0].shape[time_axis]))
    return seen


@pytest.mark.parametrize("goal_strength", [1.0, 2.0])
@pytest.mark.parametrize("num_futures", [None, 1, 2])
def test_a_plan_with_memory_is_the_plan_without(model, num_futures, goal_strength):
    tokens, matrix = sequences(model), scheduled(model)
    guide = None if num_futures is None else goal_distance(torch.ones(2, 2), 2)
    guidance = Guidance(guide, scale=3.0, num_futures=num_futures or 1, goal_strength=goal_strength)

    def plan(model):
        return sample(model, tokens, matrix, [torch.Generator().manual_seed(row) for row in range(2)], guidance)

    without = plan(model)
    torch.testing.assert_close(plan(RememberingModel(model, remembered(model, tokens))), without, rtol=1e-4, atol=1e-4)
    unguided = sample(model, tokens, matrix, [], replace(guidance, guide=None))
    assert (guide is None) == torch.equal(without, unguided)


def test_only_the_tokens_after_the_remembered_ones_are_run_and_those_come_back_as_given(model):
    tokens, levels = sequences(model), scheduled(model)[2].expand(2, -1)
    remembering, seen = RememberingModel(model, remembered(model, tokens)), rows_run(model, time_axis=1)
    x0 = remembering.predict_x0(tokens, levels)
    assert seen == [PLANNED]
    assert torch.equal(x0[:, :KNOWN], tokens[:, :KNOWN])
    torch.testing.assert_close(x0[:, KNOWN:], model.predict_x0(tokens, levels)[:, KNOWN:], rtol=0, atol=1e-5)


def test_a_memory_grows_token_by_token_to_what_it_is_when_all_are_seen_at_once(model):
    tokens = sequences(model)
    memory = None
    for time in range(KNOWN):
        memory = model.remember(tokens[:, time : time + 1], known_levels(tokens, 1), memory)
    at_once = remembered(model, tokens)
    assert memory.time == at_once.time == KNOWN
    assert torch.equal(memory.tokens, at_once.tokens) and torch.equal(memory.levels, at_once.levels)
    for grown, whole in zip(memory.state, at_once.state, strict=True):
        torch.testing.assert_close(grown, whole, rtol=0, atol=1e-5)


def test_copies_of_a_remembered_sequence_stand_next_to_each_other(model):
    tokens, levels = sequences(model).repeat_interleave(3, dim=0), scheduled(model)[2].expand(6, -1)
    tokens[:, KNOWN:] += torch.arange(6.0)[:, None, None]
    memory, seen = remembered(model, tokens[::3]), rows_run(model, time_axis=1)
    x0 = RememberingModel(model, memory).predict_x0(tokens, levels)
    assert seen == [PLANNED]
    torch.testing.assert_close(x0[:, KNOWN:], model.predict_x0(tokens, levels)[:, KNOWN:], rtol=0, atol=1e-5)


def test_gradients_flow_through_the_later_tokens_as_without_memory(model):
    tokens, levels = sequences(model), scheduled(model)[4].expand(2, -1)
    memory = remembered(model, tokens)

    def gradient(model):
        leaf = tokens.clone().requires_grad_()
        (slope,) = torch.autograd.grad(model.predict_x0(leaf, levels)[:, KNOWN:].square().sum(), leaf)
        return slope

    with_memory = gradient(RememberingModel(model, memory))
    assert not with_memory[:, :KNOWN].any() and with_memory[:, KNOWN:].any()
    torch.testing.assert_close(with_memory[:, KNOWN:], gradient(model)[:, KNOWN:], rtol=1e-4, atol=1e-4)


def test_sequences_that_begin_otherwise_than_remembered_are_run_in_full(model):
    tokens, levels = sequences(model), scheduled(model)[2].expand(2, -1)
    remembering, seen = RememberingModel(model, remembered(model, tokens)), rows_run(model, time_axis=1)
    other, masked_levels = tokens.clone(), levels.clone()
    other[:, GOAL], masked_levels[:, GOAL] = 0, model.config.num_levels
    for begins_otherwise in ((other, levels), (tokens, masked_levels)):
        x0 = remembering.predict_x0(*begins_otherwise)
        assert torch.equal(x0[:, KNOWN:], model.predict_x0(*begins_otherwise)[:, KNOWN:])
    assert seen == [KNOWN + PLANNED] * 4


def test_a_sequence_that_is_known_to_its_end_comes_back_as_given(model):
    tokens = sequences(model)[:, :KNOWN]
    known = RememberingModel(model, remembered(model, tokens)).predict_x0(tokens, known_levels(tokens))
    assert torch.equal(known, tokens)


def test_sequences_that_do_not_go_on_from_the_memory_are_refused(model):
    tokens = sequences(model, batch=3)
    remembering = RememberingModel(model, remembered(model, tokens[:2]))
    with pytest.raises(ValueError, match="3 sequences of 9 tokens"):
        remembering.predict_x0(tokens, known_levels(tokens, KNOWN + PLANNED))
    with pytest.raises(ValueError, match="2 sequences of 4 tokens"):
        remembering.predict_x0(tokens[:2, :4], known_levels(tokens[:2], 4))


def test_a_model_that_is_not_causal_remembers_nothing(tiny_model):
    with pytest.raises(InputError, match="causal"):
        tiny_model.remember(torch.zeros(1, 2, tiny_model.config.token_dim), torch.zeros(1, 2, dtype=torch.long))
