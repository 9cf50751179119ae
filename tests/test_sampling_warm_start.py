import numpy as np
import pytest
import torch

from dfplan.data.trajectories import Trajectories
from dfplan.sampling.schedules import make_full_sequence, make_pyramid
from dfplan.sampling.sequence import Sequence
from dfplan.sampling.warm_start import start_warm

PLANNED = slice(2, 6)


def question(model, planned, batch=2):
    """The matrix and first row of sequences [goal, start, plan]."""
    matrix = torch.cat([torch.zeros(len(planned), 2, dtype=torch.long), planned], dim=1)
    return matrix, torch.randn(batch, 6, model.config.token_dim, generator=torch.Generator().manual_seed(0))


def warm_start(model, matrix, tokens, planned, guess, share):
    """The matrix and the first row of sequences that begin from the guess."""
    sequence = start_warm(model, Sequence(tokens, matrix, planned), guess, share)
    assert sequence.planned == planned
    return sequence.matrix, sequence.tokens


def rest(batch=2, steps=8):
    random = np.random.default_rng(0)
    return [random.normal(size=(batch, steps, *shape)) for shape in ((4,), (2,), ())]


def test_rows_above_the_level_of_the_warm_start_drop_out(tiny_model):
    matrix, tokens = question(tiny_model, make_full_sequence(4, 10, 100))
    warm, _ = warm_start(tiny_model, matrix, tokens, PLANNED, rest(), 0.35)
    assert warm[:, 2].tolist() == [35, 30, 20, 10, 0] and (warm[:, :2] == 0).all()
    assert (matrix[0, PLANNED] == 100).all()


@pytest.mark.parametrize("share", [0.001, 0.5, 1.0])
def test_a_warm_schedule_still_falls_to_clean(tiny_model, share):
    matrix, tokens = question(tiny_model, make_pyramid(4, 10, 100))
    warm, _ = warm_start(tiny_model, matrix, tokens, PLANNED, rest(), share)
    assert len(warm) > 1 and (warm[-1] == 0).all() and (warm.diff(dim=0) <= 0).all()


def test_the_guess_stands_at_its_level_under_the_noise_that_was_drawn_and_what_is_given_stays(tiny_model):
    matrix, tokens = question(tiny_model, make_full_sequence(4, 10, 100))
    guess = tiny_model.codec.encode(Trajectories(*(torch.tensor(part, dtype=torch.float32) for part in rest())))
    _, warm = warm_start(tiny_model, matrix, tokens, PLANNED, rest(), 0.35)
    alpha_bar = tiny_model.alpha_bar[35]
    expected = alpha_bar.sqrt() * guess + (1 - alpha_bar).sqrt() * tokens[:, PLANNED]
    torch.testing.assert_close(warm[:, PLANNED], expected)
    assert torch.equal(warm[:, :2], tokens[:, :2])


def test_a_warm_start_from_the_last_level_is_a_cold_one(tiny_model):
    matrix, tokens = question(tiny_model, make_full_sequence(4, 10, 100))
    warm_matrix, warm_tokens = warm_start(tiny_model, matrix, tokens, PLANNED, rest(), 1.0)
    assert torch.equal(warm_matrix, matrix)
    torch.testing.assert_close(warm_tokens, tokens, rtol=0, atol=0)
