import pytest
import torch

from dfplan.ground.errors import InputError
from dfplan.model.tokens import FIRST_PLANNED, GOAL, START
from dfplan.sampling.rollout import SlidingWindow, roll_out
from dfplan.sampling.sequence import DISGUISES

STARTS = torch.tensor([[3.0, 4.0, 0.0, 0.0], [2.0, 5.0, 1.0, -1.0]])


def rolled(model, num_tokens, starts=STARTS, first_seed=0, **window):
    generators = [torch.Generator().manual_seed(first_seed + number) for number in range(len(starts))]
    return roll_out(model, starts, num_tokens, SlidingWindow(**{"sampling_steps": 2} | window), generators)


@pytest.fixture
def seen(tiny_model):
    """What the model is shown, call by call: tokens and levels of all sequences."""
    calls = []
    tiny_model.backbone.register_forward_pre_hook(
        lambda module, arguments: calls.append(tuple(argument.clone() for argument in arguments))
    )
    return calls


@pytest.mark.parametrize("history", [0, 1, 3])
@pytest.mark.parametrize("num_tokens", [1, 4, 9])
def test_a_roll_out_is_as_long_as_wanted_whatever_the_training_length(tiny_model, num_tokens, history):
    motion = rolled(tiny_model, num_tokens, history=history)
    assert motion.observations.shape == (2, 2 * num_tokens, 4) and motion.actions.shape == (2, 2 * num_tokens, 2)
    assert torch.isfinite(motion.observations).all()


def test_a_longer_roll_out_begins_with_the_shorter_one(tiny_model):
    long, short = rolled(tiny_model, 9, history=2), rolled(tiny_model, 5, history=2)
    assert torch.equal(long.observations[:, :10], short.observations)


def test_a_roll_out_does_not_depend_on_those_beside_it(tiny_model):
    both, second = rolled(tiny_model, 7, history=2), rolled(tiny_model, 7, STARTS[1:], first_seed=1, history=2)
    torch.testing.assert_close(both.observations[1:], second.observations)


def test_the_model_always_sees_its_training_length_with_the_goal_masked(tiny_model, seen):
    rolled(tiny_model, 7, history=2)
    assert {tokens.shape for tokens, _ in seen} == {(2, FIRST_PLANNED + 4, tiny_model.config.token_dim)}
    assert all((levels[:, GOAL] == tiny_model.config.num_levels).all() for _, levels in seen)


def test_the_first_window_begins_at_the_clean_start_and_knows_nothing_else(tiny_model, seen):
    rolled(tiny_model, 4, history=2, small_level=0.1)
    tokens, levels = seen[0]
    torch.testing.assert_close(tokens[:, START : START + 1], tiny_model.codec.encode_start(STARTS))
    assert levels[0].tolist() == [100, 0, 100, 100, 100, 100]


def test_later_windows_show_what_was_generated_at_the_small_level_until_they_are_done(tiny_model, seen):
    motion = rolled(tiny_model, 6, schedule="full_sequence", history=2, small_level=0.1, disguise="relabelled")
    assert [levels[0].tolist() for _, levels in seen[2:]] == [[100, 10, 10, 10, 100, 100], [100, 10, 10, 10, 50, 50]]
    tokens = seen[-1][0][:, FIRST_PLANNED : FIRST_PLANNED + 2]
    torch.testing.assert_close(tiny_model.codec.decode(tokens).observations, motion.observations[:, 4:8])


def test_the_start_of_a_later_window_is_the_observation_before_its_oldest_token(tiny_model, seen):
    motion = rolled(tiny_model, 6, history=2)
    expected = tiny_model.codec.encode_start(motion.observations[:, 3])
    torch.testing.assert_close(seen[-1][0][:, START : START + 1], expected)


def test_without_a_history_only_the_last_observation_goes_on(tiny_model, seen):
    motion = rolled(tiny_model, 8, history=0, small_level=0.1, disguise="relabelled", schedule="full_sequence")
    tokens, levels = seen[2]
    assert levels[0].tolist() == [100, 10, 100, 100, 100, 100]
    torch.testing.assert_close(tokens[:, START : START + 1], tiny_model.codec.encode_start(motion.observations[:, 7]))


def test_the_disguises_of_a_token_at_the_level_where_a_quarter_of_its_variance_is_left():
    token, noise, alpha_bar = torch.full((1, 1, 1), 8.0), torch.full((1, 1, 1), 2.0), torch.tensor([[0.25]])
    shown = {name: disguise(token, alpha_bar, noise).item() for name, disguise in DISGUISES.items()}
    assert shown == pytest.approx({"relabelled": 8.0, "scaled": 4.0, "noised": 4.0 + 2.0 * 0.75**0.5})


def test_at_level_zero_no_disguise_changes_anything(tiny_model):
    plain = rolled(tiny_model, 6, history=2, disguise="relabelled")
    for disguise in DISGUISES:
        other = rolled(tiny_model, 6, history=2, disguise=disguise)
        torch.testing.assert_close(other.observations, plain.observations)


def test_an_error_is_shown_to_the_model_alike_in_all_frames_of_a_token_but_not_returned(tiny_model, seen):
    motion = rolled(tiny_model, 6, history=2, error=0.5)
    shown = tiny_model.codec.decode(seen[-1][0][:, FIRST_PLANNED : FIRST_PLANNED + 2]).observations
    error = (shown - motion.observations[:, 4:8]).unflatten(1, (2, 2))  # (batch, token, frame, channel)
    torch.testing.assert_close(error[:, :, 0], error[:, :, 1])
    assert (error.abs() > 1e-3).any() and (error[:, 0] - error[:, 1]).abs().max() > 1e-3


def test_a_history_that_leaves_no_room_is_refused(tiny_model):
    with pytest.raises(InputError, match="a history of 4 tokens fills the window of 4"):
        rolled(tiny_model, 6, history=4)


@pytest.mark.parametrize("wrong", [{"history": -1}, {"small_level": 1.0}, {"error": -0.1}])
def test_impossible_windows_are_refused(wrong):
    with pytest.raises(ValueError, match="no window"):
        SlidingWindow(**wrong)
