import copy
from dataclasses import replace

import pytest
import torch

from dfplan.ground.errors import InputError
from dfplan.model.diffusion_forcing import DiffusionForcing
from dfplan.model.tokens import FIRST_PLANNED, GOAL
from dfplan.sampling.guidance import Guidance
from dfplan.sampling.guides import goal_distance
from dfplan.sampling.prediction import add_masked_copies, find_moving_tokens, predict
from dfplan.sampling.sampler import sample
from dfplan.sampling.schedules import SCHEDULES, scheduling_matrix
from dfplan.sampling.sequence import Sequence

HISTORY, PLANNED = 3, 4  # tokens executed, tokens to plan
KNOWN = FIRST_PLANNED + HISTORY


def causal_model(config, backbone):
    torch.manual_seed(0)
    config = replace(config, num_tokens=8, depth=2, causal=True, backbone=backbone)
    return DiffusionForcing(config).eval().requires_grad_(False)


@pytest.fixture(params=["transformer", "rnn"])
def model(request, tiny_config):
    return causal_model(tiny_config, request.param)


def forgetful(model):
    """The same network, taken for one that is not causal: it looks at whole sequences in every row."""
    other = copy.copy(model)
    other.config = copy.copy(model.config)
    object.__setattr__(other.config, "causal", False)
    return other


def sequences(model, batch=2):
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randn(batch, KNOWN + PLANNED, model.config.token_dim, generator=generator)
    return tokens * model.codec.used_channels(HISTORY + PLANNED)


def sequence(tokens, matrix):
    return Sequence(tokens, matrix, slice(FIRST_PLANNED, None))


def scheduled(model, schedule="pyramid", uncertainty_scale=1.0, steps=4):
    planned = scheduling_matrix(schedule, PLANNED, steps, model.config.num_levels, uncertainty_scale)
    return torch.cat([torch.zeros(len(planned), KNOWN, dtype=torch.long), planned], dim=1)


def known_levels(time=KNOWN):
    return torch.zeros(1, time, dtype=torch.long)


def streams(batch=2):
    return [torch.Generator().manual_seed(row) for row in range(batch)]


def remembered(model, tokens):
    return model.remember(tokens[:, :KNOWN], known_levels())


def times_run(model):
    """Numbers of tokens that the backbone is run on from now on."""
    seen = []
    model.backbone.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0].shape[1]))
    return seen


@pytest.mark.parametrize("goal_strength", [1.0, 2.0])
@pytest.mark.parametrize(("num_futures", "future_steps"), [(None, 1), (1, 1), (2, 1), (2, 3)])
def test_a_plan_with_memory_is_the_plan_without(model, num_futures, future_steps, goal_strength):
    tokens, matrix = sequences(model), scheduled(model, uncertainty_scale=0.5)
    guide = None if num_futures is None else goal_distance(torch.ones(2, 2))
    futures = {"num_futures": num_futures or 1, "future_steps": future_steps}
    guidance = Guidance(guide, scale=3.0, **futures, goal_strength=goal_strength)
    without = sample(forgetful(model), sequence(tokens, matrix), streams(), guidance)
    asked, levels = add_masked_copies(model, tokens[:, :KNOWN], matrix[0, :KNOWN], goal_strength)
    for memory in (None, model.remember(asked, levels)):
        plan = sample(model, sequence(tokens, matrix), streams(), guidance, memory=memory)
        torch.testing.assert_close(plan, without, rtol=1e-4, atol=1e-4)
    unguided = sample(forgetful(model), sequence(tokens, matrix), [], replace(guidance, guide=None))
    assert (guide is None) == torch.equal(without, unguided)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_row_shows_what_a_look_at_the_whole_sequence_shows(model, schedule):
    tokens, matrix = sequences(model), scheduled(model, schedule)
    matrix[:, KNOWN - 1] = matrix[:, KNOWN].clamp(max=50)  # the last token of the history is doubted

    def rows(model):
        seen = []
        sample(model, sequence(tokens, matrix), [], on_row=lambda x0, levels: seen.append(x0))
        return torch.stack(seen)

    torch.testing.assert_close(rows(model), rows(forgetful(model)), rtol=1e-4, atol=1e-4)


def test_each_token_is_looked_at_from_its_first_move_until_it_is_finished(model):
    tokens, seen = sequences(model), times_run(model)
    matrix = scheduled(model, "autoregressive", steps=2)
    sample(model, sequence(tokens, matrix), [])
    # At first all that is known too; a finished token is looked at once more, beside the next one.
    assert seen == [KNOWN + 1, 1, 2, 1, 2, 1, 2, 1]
    seen.clear()
    sample(model, sequence(tokens, matrix), [], memory=remembered(model, tokens))
    assert seen == [KNOWN, 1, 1, 2, 1, 2, 1, 2, 1]


def test_whoever_asks_for_the_whole_plan_has_the_later_tokens_looked_at_too(model):
    tokens, matrix = sequences(model), scheduled(model, "autoregressive", steps=2)
    to_the_end = [KNOWN + PLANNED, 4, 4, 3, 3, 2, 2, 1]
    seen = times_run(model)
    sample(model, sequence(tokens, matrix), [], on_row=lambda x0, levels: None)
    assert seen == to_the_end
    seen.clear()
    sample(model, sequence(tokens, matrix), streams(), Guidance(goal_distance(torch.ones(2, 2))))
    assert seen == to_the_end


def test_columns_are_settled_when_nothing_before_them_moves_and_at_work_from_the_first_to_the_last_that_does():
    matrix = torch.tensor([[0, 9, 9, 9, 9], [0, 5, 9, 9, 9], [0, 0, 5, 5, 9], [0, 0, 5, 5, 9], [0, 0, 0, 5, 5]])
    columns = [(settled, moving.start, moving.stop) for settled, moving in find_moving_tokens(matrix)]
    assert columns == [(1, 1, 2), (1, 1, 4), (2, 0, 0), (2, 2, 5)]
    assert find_moving_tokens(torch.tensor([[3, 3]] * 3)) == [(1, slice(0, 0))] * 2  # one is always left to look at


def test_the_plan_is_the_same_whether_what_lies_beyond_is_cut_off_or_masked(model):
    tokens, matrix = sequences(model), scheduled(model)
    matrix[:, -2:] = model.config.num_levels
    cut = sample(model, sequence(tokens[:, :-2], matrix[:, :-2]), [])
    assert torch.equal(sample(model, sequence(tokens, matrix), [])[:, :-2], cut)
    torch.testing.assert_close(sample(forgetful(model), sequence(tokens, matrix), [])[:, :-2], cut, rtol=0, atol=1e-5)


def test_a_transformer_plans_the_same_to_the_last_bit_alone_and_beside_others(tiny_config):
    model = causal_model(tiny_config, "transformer")
    tokens = sequences(model, batch=5)
    for matrix in (scheduled(model), scheduled(model, "autoregressive", steps=2)):
        together = sample(model, sequence(tokens, matrix), [])
        for row in (0, 3):
            assert torch.equal(sample(model, sequence(tokens[row : row + 1], matrix), [])[0], together[row])


def test_a_memory_grows_token_by_token_to_what_it_is_when_all_are_seen_at_once(model):
    tokens = sequences(model)
    memory = None
    for time in range(KNOWN):
        memory = model.remember(tokens[:, time : time + 1], known_levels(1), memory)
    at_once = remembered(model, tokens)
    assert memory.time == at_once.time == KNOWN
    for grown, whole in zip(memory.state, at_once.state, strict=True):
        torch.testing.assert_close(grown, whole, rtol=0, atol=1e-5)


def test_copies_of_a_remembered_sequence_stand_next_to_each_other(model):
    tokens, levels = sequences(model).repeat_interleave(3, dim=0), scheduled(model)[2]
    tokens[:, KNOWN:] += torch.arange(6.0)[:, None, None]
    memory = remembered(model, tokens[::3]).repeat_interleave(3)
    later, _ = predict(model, tokens, levels, memory=memory)
    torch.testing.assert_close(later, predict(model, tokens, levels)[0][:, KNOWN:], rtol=0, atol=1e-5)


def test_gradients_flow_through_the_later_tokens_as_without_memory_and_none_into_it(model):
    tokens, levels = sequences(model), scheduled(model)[4]

    def gradient(memory, keep=0):
        leaf = tokens.clone().requires_grad_()
        x0, memory = predict(model, leaf, levels, memory=memory, keep=keep)
        (slope,) = torch.autograd.grad(x0[:, -PLANNED:].square().sum(), leaf)
        return slope, memory

    without, extended = gradient(None, keep=KNOWN)
    with_memory, same = gradient(remembered(model, tokens))
    assert same.time == extended.time == KNOWN
    assert not any(part.requires_grad for part in extended.state)
    assert not with_memory[:, :KNOWN].any() and with_memory[:, KNOWN:].any()
    torch.testing.assert_close(with_memory[:, KNOWN:], without[:, KNOWN:], rtol=1e-4, atol=1e-4)


def test_the_goal_is_masked_in_the_second_half_of_what_the_network_is_asked(model):
    tokens, levels = sequences(model), scheduled(model)[2]
    plain, plain_levels = add_masked_copies(model, tokens, levels, 1.0)
    assert plain is tokens and torch.equal(plain_levels, levels[None])
    asked, asked_levels = add_masked_copies(model, tokens, levels, 1.5)
    assert torch.equal(asked[:2], tokens) and torch.equal(asked[2:], tokens)
    other = asked.clone()
    other[2:, GOAL] += 1  # what the level hides makes no difference to the network
    assert torch.equal(model.predict_x0(asked, asked_levels), model.predict_x0(other, asked_levels))
    assert asked_levels[:, GOAL].tolist() == [0, 0, 100, 100]
    assert torch.equal(asked_levels[:, 1:], levels[1:].expand(4, -1))


def test_a_model_that_is_not_causal_remembers_nothing(tiny_model):
    tokens, levels = torch.zeros(1, 2, tiny_model.config.token_dim), torch.zeros(1, 2, dtype=torch.long)
    with pytest.raises(InputError, match="causal"):
        tiny_model.remember(tokens, levels)
    assert predict(tiny_model, tokens, levels[0])[1] is None
