import numpy as np
import pytest
import torch

from dfplan.agents.history import Belief, History, HistoryMemory, combine_beliefs
from dfplan.config import ModelConfig
from dfplan.model.diffusion_forcing import DiffusionForcing

CLEAN = Belief()


def observations(step):
    """Observations of a batch of two that tell the step and the episode."""
    return np.array([[step, 0.0, 0.0, 0.0], [step, 1.0, 0.0, 0.0]])


def recorded(num_steps, num_tokens=2, frame_stack=2, beliefs=None):
    history = History(num_tokens, frame_stack)
    for step in range(num_steps):
        belief = beliefs[step] if beliefs else CLEAN
        history.record(observations(step), belief, np.full((2, 2), step / 10, np.float32), np.full(2, step / 100))
    return history


def test_without_history_the_window_is_the_present_observation():
    past = recorded(5, num_tokens=0).cut_window(observations(5), CLEAN)
    assert past.num_tokens == 0 and past.steps is None
    np.testing.assert_array_equal(past.start, observations(5))


@pytest.mark.parametrize(("num_steps", "num_tokens", "start"), [(1, 0, 1), (2, 1, 0), (3, 1, 1), (4, 2, 0), (7, 2, 3)])
def test_the_window_ends_now_and_begins_whole_tokens_ago(num_steps, num_tokens, start):
    past = recorded(num_steps).cut_window(observations(num_steps), CLEAN)
    assert past.num_tokens == num_tokens and past.start[0, 0] == start


def test_a_step_of_the_window_holds_its_action_and_the_observation_after_it():
    steps = recorded(3).cut_window(observations(3), CLEAN).steps
    assert steps.observations[1].tolist() == [[2, 1, 0, 0], [3, 1, 0, 0]]
    np.testing.assert_allclose(steps.actions[1], [[0.1, 0.1], [0.2, 0.2]])
    np.testing.assert_allclose(steps.rewards[1], [0.01, 0.02])


def test_the_tokens_of_the_window_are_the_start_and_the_executed_steps(tiny_model):
    codec = tiny_model.codec
    tokens = recorded(4).cut_window(observations(4), CLEAN).encode(codec)
    assert tokens.shape == (2, 3, tiny_model.config.token_dim)
    np.testing.assert_allclose(codec.decode_start(tokens[:, 0]), observations(0), atol=1e-6)
    np.testing.assert_allclose(codec.decode(tokens[:, 1:]).observations[0, :, 0], [1, 2, 3, 4], atol=1e-6)


def test_a_token_is_believed_as_little_as_the_most_doubtful_of_its_observations():
    beliefs = [Belief(0.1), CLEAN, Belief(0.3, inferred=True), CLEAN]
    past = recorded(4, beliefs=beliefs).cut_window(observations(4), Belief(0.2, inferred=True))
    # The window's start is observation 0, its tokens hold observations 1 and 2, then 3 and 4.
    assert past.beliefs == (Belief(0.1), Belief(0.3, inferred=True), Belief(0.2, inferred=True))
    assert combine_beliefs([Belief(0.2), Belief(0.0, inferred=True)]) == Belief(0.2, inferred=True)


def test_a_doubted_token_is_cleaned_with_the_plan_and_a_stabilised_one_keeps_its_level():
    first_planned = torch.tensor([100, 60, 20, 0])
    assert Belief(0.5, inferred=True).schedule(first_planned, 100).tolist() == [50, 50, 20, 0]
    assert Belief(0.5).schedule(first_planned, 100).tolist() == [50] * 4
    assert Belief(0.0, inferred=True).schedule(first_planned, 100).tolist() == [0] * 4


@pytest.fixture
def counting():
    """A causal model that counts the tokens it is asked to remember."""
    torch.manual_seed(0)

    class Counting(DiffusionForcing):
        remembered = ()

        def remember(self, tokens, levels, memory=None):
            self.remembered = (*self.remembered, tokens.shape[1])
            return super().remember(tokens, levels, memory)

    config = ModelConfig(frame_stack=2, num_tokens=4, num_levels=100, width=16, depth=1, num_heads=2, causal=True)
    return Counting(config).eval().requires_grad_(False)


@pytest.mark.parametrize("goal_strength", [1.0, 1.5])
def test_a_memory_is_extended_by_new_tokens_only_and_the_same_as_one_made_at_once(counting, goal_strength):
    tokens, levels = torch.randn(3, 5, counting.config.token_dim), torch.tensor([0, 3, 0, 0, 0])
    memory = HistoryMemory()
    for length in (2, 2, 4, 5):
        extended = memory.update(counting, tokens[:, :length], levels[:length], goal_strength)
    assert counting.remembered == (2, 2, 1)
    at_once = HistoryMemory().update(counting, tokens, levels, goal_strength)
    assert extended.time == at_once.time == 5
    for one, other in zip(extended.state, at_once.state, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_a_memory_is_made_anew_when_the_window_has_slid_or_a_level_or_the_batch_has_changed(counting):
    tokens, levels = torch.randn(2, 5, counting.config.token_dim), torch.zeros(5, dtype=torch.long)
    memory = HistoryMemory()
    memory.update(counting, tokens[:, :4], levels[:4])
    memory.update(counting, tokens[:, 1:], levels[1:])
    memory.update(counting, tokens[:, 1:], levels[1:] + 2)
    memory.update(counting, tokens[:1, 1:], levels[1:] + 2)
    memory.update(counting, tokens[:1, 1:3], levels[1:3] + 2)
    assert counting.remembered == (4, 4, 4, 4, 2)
