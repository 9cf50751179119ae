import pytest
import torch

from dfplan.config import TrainingConfig
from dfplan.ground.errors import InputError
from dfplan.model.levels import LEVEL_SAMPLERS, draw_levels, draw_ramp
from dfplan.model.tokens import FIRST_PLANNED, GOAL, START

K = 100


def generator():
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("name", LEVEL_SAMPLERS)
def test_every_sampler_draws_valid_levels_and_reaches_pure_noise(name):
    levels = LEVEL_SAMPLERS[name](200, 6, K, generator())
    assert levels.shape == (200, 6)
    assert levels.min() >= 0 and levels.max() == K


def test_independent_levels_are_uniform_and_uncorrelated_between_tokens():
    levels = LEVEL_SAMPLERS["independent"](20_000, 2, K, generator()).double()
    assert levels.mean() == pytest.approx(K / 2, abs=1)
    assert torch.corrcoef(levels.T)[0, 1].abs() < 0.03


def test_teacher_forcing_has_a_clean_past_one_noisy_token_and_a_masked_future():
    for row in LEVEL_SAMPLERS["teacher_forcing"](50, 6, K, generator()).tolist():
        now = next(time for time, level in enumerate(row) if level > 0)
        assert row[:now] == [0] * now and row[now + 1 :] == [K] * (5 - now)


def test_full_sequence_gives_all_tokens_one_level():
    levels = LEVEL_SAMPLERS["full_sequence"](50, 6, K, generator())
    assert (levels == levels[:, :1]).all() and levels[:, 0].unique().numel() > 20


def test_ramps_never_fall_in_time_and_some_are_flat():
    levels = draw_ramp(500, 6, K, generator())
    assert (levels.diff(dim=1) >= 0).all()
    assert 0.3 < (levels.diff(dim=1) == 0).all(dim=1).float().mean() < 0.6


def test_the_slopes_of_ramps_cover_those_of_the_sampling_schedules():
    levels = draw_ramp(4000, 12, K, generator())
    rises = levels.diff(dim=1).max(dim=1).values  # the steepest rise of each window between neighbours
    for scale, steps in ((0.1, 5), (1.0, 5), (1.0, 3)):
        slope = scale * K / steps  # levels per token in a pyramid of so many sampling steps
        assert ((rises > 0.8 * slope) & (rises < 1.25 * slope)).sum() > 20
    one_after_the_other = ((levels > 0) & (levels < K)).sum(dim=1) <= 2
    assert (one_after_the_other & (levels[:, 0] == 0) & (levels[:, -1] == K)).sum() > 20


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_share_of_windows_is_masked_after_a_uniformly_drawn_token(share):
    config = TrainingConfig(level_sampler="full_sequence", masked_tail=share)
    levels = draw_levels(config, 8000, 4, K, generator())[:, FIRST_PLANNED:]
    below = levels[levels[:, 0] < K]  # those whose first token is not masked anyway
    kept = (below < K).sum(dim=1)
    assert (below[:, 1:] >= below[:, :-1]).all(), "what is masked stands behind what is not"
    shares = [(kept == number).float().mean().item() for number in (1, 2, 3, 4)]
    assert shares == pytest.approx([share / 4] * 3 + [1 - 3 * share / 4], abs=0.02)


def test_goals_are_clean_or_masked_and_starts_mostly_nearly_clean():
    config = TrainingConfig(goal_known=0.9, start_known=0.8, start_level=0.05)
    levels = draw_levels(config, 5000, 4, K, generator())
    assert levels.shape == (5000, FIRST_PLANNED + 4)
    assert set(levels[:, GOAL].tolist()) == {0, K}
    assert (levels[:, GOAL] == 0).float().mean() == pytest.approx(0.9, abs=0.02)
    assert (levels[:, START] < 0.05 * K).float().mean() == pytest.approx(0.8 + 0.2 * 0.05, abs=0.03)


def test_the_error_of_a_misspelt_level_sampler_names_the_similar_one():
    with pytest.raises(InputError, match="did you mean independent"):
        draw_levels(TrainingConfig(level_sampler="independant"), 2, 4, K, generator())
