from itertools import pairwise

import pytest
import torch

from dfplan.ground.errors import InputError
from dfplan.model.noise import ALPHA_BARS, SOLVERS, add_noise, ddim_step, draw_noise, tabulate_alpha_bar


@pytest.mark.parametrize("schedule", ALPHA_BARS)
def test_level_0_is_exactly_clean_the_last_is_exactly_noise_and_every_level_in_between_is_noisier(schedule):
    table = tabulate_alpha_bar(schedule, num_levels=50, snr_scale=1 / 16)
    assert table.shape == (51,) and table[0] == 1 and table[-1] == 0
    assert (table.diff() < 0).all()


def test_the_snr_scale_divides_the_signal_to_noise_ratio_of_every_level_between():
    plain, shifted = (tabulate_alpha_bar("cosine", 10, scale)[1:-1].double() for scale in (1.0, 1 / 16))
    torch.testing.assert_close(shifted / (1 - shifted), plain / (1 - plain) / 16, rtol=1e-4, atol=0)


def test_the_cosine_schedule_is_one_half_in_the_middle():
    assert tabulate_alpha_bar("cosine", 10)[5] == pytest.approx(0.5)


def test_the_error_of_a_misspelt_schedule_names_the_similar_one():
    with pytest.raises(InputError, match="did you mean cosine"):
        tabulate_alpha_bar("cosin", 10)


def test_noise_mixes_signal_and_noise_by_the_roots_of_alpha_bar():
    x0, noise = torch.full((1, 2, 1), 2.0), torch.full((1, 2, 1), 10.0)
    noisy = add_noise(x0, torch.tensor([[1.0, 0.36]]), noise)
    torch.testing.assert_close(noisy[0, :, 0], torch.tensor([2.0, 0.6 * 2 + 0.8 * 10]))


def test_a_ddim_step_with_the_true_x0_lands_on_the_same_noise_at_the_next_level():
    x0, noise = torch.randn(2, 3, 5), torch.randn(2, 3, 5)
    now, later = torch.tensor([0.1, 0.5, 0.9]), torch.tensor([0.2, 0.8, 1.0])
    stepped = ddim_step(add_noise(x0, now.expand(2, 3), noise), x0, now, later)
    torch.testing.assert_close(stepped, add_noise(x0, later.expand(2, 3), noise))


def test_a_ddim_step_copies_tokens_at_the_same_level_and_turns_pure_noise_into_x0():
    noisy, x0 = torch.randn(1, 3, 4), torch.randn(1, 3, 4)
    stepped = ddim_step(noisy, x0, torch.tensor([1.0, 0.3, 0.0]), torch.tensor([1.0, 0.3, 1.0]))
    assert torch.equal(stepped[:, :2], noisy[:, :2])
    torch.testing.assert_close(stepped[:, 2], x0[:, 2])


def test_each_row_of_noise_depends_on_its_own_generator_only():
    alone = draw_noise((3, 2), [torch.Generator().manual_seed(7)], "cpu")
    beside = draw_noise((3, 2), [torch.Generator().manual_seed(seed) for seed in (1, 7)], "cpu")
    assert torch.equal(alone[0], beside[1]) and not torch.equal(beside[0], beside[1])


def probability_flow_error(solver, steps, mean=2.0, std=0.5):
    """Return the distance of the sampler's result from that of the exact probability flow of N(mean, std²)."""
    alpha_bar = tabulate_alpha_bar("cosine", 2400).double()
    noise = torch.tensor([[[1.0], [-0.7], [2.0]]], dtype=torch.float64)
    ladder = torch.arange(steps, -1, -1)[:, None].expand(-1, 3) * 2400 // steps  # (row, time)
    tokens, last_x0, last_levels = noise, noise, ladder[0]
    for levels, next_levels in pairwise(ladder):
        now = alpha_bar[levels][:, None]
        x0 = mean + now.sqrt() * std**2 / (now * std**2 + 1 - now) * (tokens - now.sqrt() * mean)
        aimed_at = SOLVERS[solver](x0, last_x0, last_levels, levels, next_levels)
        tokens = ddim_step(tokens, aimed_at, alpha_bar[levels], alpha_bar[next_levels])
        last_x0, last_levels = x0, levels
    return (tokens - mean - std * noise).abs().max().item()


def test_doubling_the_steps_halves_the_error_of_ddim_and_quarters_that_of_the_multistep_solver():
    errors = {solver: [probability_flow_error(solver, steps) for steps in (20, 40)] for solver in SOLVERS}
    assert errors["ddim"][0] / errors["ddim"][1] == pytest.approx(2, abs=0.3)
    assert errors["multistep"][0] / errors["multistep"][1] > 3.5
    assert all(fine < coarse / 2 for fine, coarse in zip(errors["multistep"], errors["ddim"]))


def test_the_multistep_solver_extrapolates_x0_to_the_middle_of_each_tokens_step():
    x0, last_x0 = torch.full((1, 5, 1), 3.0), torch.full((1, 5, 1), 2.0)
    last, now, then = torch.tensor([[10, 10, 8, 8, 8], [8, 8, 8, 8, 4], [4, 0, 6, 8, 3]])
    aimed_at = SOLVERS["multistep"](x0, last_x0, last, now, then)
    # A longer step than the last one; the last step; after a rest; at rest; a shorter step than the last one.
    assert aimed_at[0, :, 0].tolist() == [4.0, 3.0, 3.0, 3.0, 3.125]
    assert torch.equal(SOLVERS["ddim"](x0, last_x0, last, now, then), x0)
