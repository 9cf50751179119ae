import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from dfplan.benchmarks.worlds.gaussian_process import ExactModel, GaussianProcess
from dfplan.config import ModelConfig
from dfplan.data.trajectories import Statistics
from dfplan.ground.errors import InputError
from dfplan.sampling import likelihood
from dfplan.sampling.likelihood import (
    BoundSettings,
    bound_likelihood,
    build_bound_matrix,
    choose_rungs,
    compute_elbo,
    compute_environment_offset,
    compute_snr,
)

K = 100  # num_levels of tiny_config
PATHS = {
    "flat": BoundSettings("full_sequence", steps=1600, decoder_std=0.05),
    "pyramid": BoundSettings("pyramid", uncertainty_scale=400.0, steps=1600, decoder_std=0.05),
    "autoregressive": BoundSettings("autoregressive", steps=1600, decoder_std=0.05),
}
# Unknown and given positions of [goal, start, 4 tokens]; the others are marginalised.
SUBSETS = {
    "all": ([1, 2, 3, 4, 5], []),
    "future given past": ([4, 5], [1, 2, 3]),
    "past given future": ([1, 2], [3, 4, 5]),
    "middle given its ends, start marginalised": ([3, 4], [2, 5]),
    "one, all others marginalised": ([3], []),
}


def masks(unknown, given, time=6):
    positions = torch.arange(time)
    return torch.isin(positions, torch.tensor(unknown)), torch.isin(positions, torch.tensor(given, dtype=torch.long))


def generators(count, first=0):
    return [torch.Generator().manual_seed(first + index) for index in range(count)]


@pytest.fixture(scope="module")
def exact():
    sizes = {"frame_stack": 1, "num_tokens": 4, "num_levels": 4000, "width": 8, "depth": 1, "num_heads": 1}
    process = GaussianProcess(ModelConfig(snr_scale=1.0, **sizes))
    statistics = Statistics(np.full(7, 0.5, np.float32), np.array([2, 1, 1, 1, 0.5, 1, 1], np.float32))
    return ExactModel(process, statistics)


@pytest.fixture
def constant_model(tiny_model, monkeypatch):
    """A model that predicts 0 whatever it sees."""
    monkeypatch.setattr(tiny_model, "predict_x0", lambda noisy, levels: torch.zeros_like(noisy))
    return tiny_model


def sequences(exact, count):
    return exact.process.draw_tokens(count, exact.codec, np.random.default_rng(0))


def posterior_variances(exact, tokens, levels, noise):
    """The squared errors expected over sequences and noise: the trace of Cov[x | z], token by token."""
    alpha_bar = exact.alpha_bar[levels].double()[..., None].expand(tokens.shape)[:, exact.used]
    signal = alpha_bar.sqrt()
    cross = exact.covariance * signal[:, None]  # Cov[x, z], (batch, dimension, dimension)
    observed = signal[:, :, None] * cross + torch.diag_embed(1 - alpha_bar)
    variance = (exact.covariance - cross @ torch.linalg.solve(observed, cross.mT)).diagonal(dim1=1, dim2=2)
    errors = torch.zeros(tokens.shape, dtype=torch.float64)
    errors[:, exact.used] = variance
    return errors.sum(dim=-1).float()


def expected_log_likelihood(exact, unknown, given):
    """Minus the entropy of the unknown dimensions given the others, in bits per dimension."""

    def entropy(positions):
        chosen = positions[:, None].expand(exact.used.shape)[exact.used]
        return (
            len(exact.covariance[chosen]) * math.log(2 * math.pi * math.e)
            + torch.linalg.slogdet(exact.covariance[chosen][:, chosen])[1].item()
        ) / 2

    return -(entropy(unknown | given) - entropy(given)) / math.log(2) / int(exact.used[unknown].sum())


@pytest.mark.parametrize("subset", SUBSETS)
@pytest.mark.parametrize("path", PATHS)
def test_with_the_exact_denoiser_the_bound_touches_the_likelihood_from_below(exact, path, subset, monkeypatch):
    monkeypatch.setattr(likelihood, "compute_squared_errors", lambda *arguments: posterior_variances(*arguments))
    unknown, given = masks(*SUBSETS[subset])
    matrix = build_bound_matrix(exact.alpha_bar, unknown, given, PATHS[path])
    bound = compute_elbo(exact, torch.zeros(1, 6, 7), matrix, generators(1), samples=300)
    gap = expected_log_likelihood(exact, unknown, given) - float(bound)
    assert 0 < gap < 0.02


@pytest.mark.parametrize("path", PATHS)
def test_single_sequences_are_bounded_as_closely_as_their_noise_lets_see(exact, path):
    tokens = sequences(exact, 64)
    unknown, given = masks(*SUBSETS["past given future"])
    matrix = build_bound_matrix(exact.alpha_bar, unknown, given, PATHS[path])
    gap = exact.log_likelihood(tokens, unknown, given) - compute_elbo(exact, tokens, matrix, generators(64), samples=32)
    error = float(gap.std() / math.sqrt(len(gap)))
    assert error < 0.08
    assert abs(float(gap.mean())) < 0.02 + 3 * error


def test_a_worse_denoiser_has_a_lower_bound(exact, monkeypatch):
    tokens = sequences(exact, 16)
    unknown, given = masks(*SUBSETS["future given past"])
    matrix = build_bound_matrix(exact.alpha_bar, unknown, given, PATHS["flat"])
    best = compute_elbo(exact, tokens, matrix, generators(16))
    monkeypatch.setattr(exact, "predict_x0", lambda noisy, levels: torch.zeros_like(noisy))
    assert (compute_elbo(exact, tokens, matrix, generators(16)) < best - 1).all()


def test_the_closed_form_agrees_with_a_normal_law_written_out(exact):
    unknown, given = masks([1], [])
    tokens = torch.zeros(1, 6, 7)
    tokens[0, 1, :4] = torch.tensor([1.0, 0.0, 0.0, 0.0])
    mean, std = -0.5 / np.array([2, 1, 1, 1]), 1 / np.array([2, 1, 1, 1])  # of normalised observations
    density = -(((np.array([1, 0, 0, 0]) - mean) / std) ** 2) / 2 - np.log(std * math.sqrt(2 * math.pi))
    assert float(exact.log_likelihood(tokens, unknown, given)) == pytest.approx(density.mean() / math.log(2), rel=1e-5)


@pytest.mark.parametrize("schedule", ["full_sequence", "pyramid", "autoregressive"])
def test_the_bound_of_a_constant_prediction_is_that_of_its_error_by_hand(constant_model, schedule):
    tokens = torch.full((2, 6, 14), 0.5)
    unknown, given = masks([3, 5], [0, 1])
    settings = BoundSettings(schedule, steps=5, decoder_std=0.3)
    matrix = build_bound_matrix(constant_model.alpha_bar, unknown, given, settings)
    decoded = choose_rungs(constant_model.alpha_bar, 5, 0.3)[1]
    snr = float(compute_snr(constant_model.alpha_bar)[decoded])
    # The moves add up to SNR / 2 times the squared error 0.25, and the decoder asks for as much again.
    nats = -snr * 0.25 - math.log(2 * math.pi / snr) / 2
    bound = compute_elbo(constant_model, tokens, matrix, generators(2), samples=None)
    assert bound.tolist() == pytest.approx([nats / math.log(2)] * 2, rel=1e-5)


def test_only_channels_that_carry_anything_count(constant_model):
    tokens = torch.zeros(1, 6, 14)
    matrix = torch.tensor([[K, K], [K, 50], [K, 0]])[:, [0, 1, 0, 0, 0, 0]]
    bound = float(compute_elbo(constant_model, tokens, matrix, generators(1), samples=None))
    tokens[0, 1, 4:] = 7.0  # padding of the start token
    tokens[0, 2:] = float("nan")  # marginalised
    assert float(compute_elbo(constant_model, tokens, matrix, generators(1), samples=None)) == bound
    snr = float(compute_snr(constant_model.alpha_bar)[50])
    assert bound == pytest.approx(-math.log2(2 * math.pi / snr) / 2)


def test_the_model_sees_given_tokens_clean_and_masked_ones_as_noise(tiny_model, monkeypatch):
    seen = []
    monkeypatch.setattr(tiny_model, "predict_x0", lambda noisy, levels: seen.append((noisy, levels)) or noisy)
    unknown, given = masks([4], [0, 1, 2, 3])
    matrix = build_bound_matrix(tiny_model.alpha_bar, unknown, given, BoundSettings(steps=3))
    tokens = torch.ones(1, 6, 14) * tiny_model.codec.used_channels(4)
    compute_elbo(tiny_model, tokens, matrix, generators(1), samples=None)
    assert len(seen) == len(matrix) - 1
    for (noisy, levels), row in zip(seen, matrix):
        assert torch.equal(levels[0], row)
        assert torch.equal(noisy[:, :4], tokens[:, :4])
        assert (noisy[:, 4:] != 1).all()


def test_rows_drawn_at_random_estimate_the_sum_over_all_rows(constant_model):
    tokens = torch.full((400, 6, 14), 0.5)
    unknown, given = masks([2, 3, 4, 5], [0, 1])
    settings = BoundSettings("autoregressive", steps=10)
    matrix = build_bound_matrix(constant_model.alpha_bar, unknown, given, settings)
    whole = compute_elbo(constant_model, tokens[:1], matrix, generators(1), samples=None)
    few = compute_elbo(constant_model, tokens, matrix, generators(400), samples=3)
    assert float(few.std()) > 0
    assert float(few.mean()) == pytest.approx(float(whole), abs=4 * float(few.std()) / 20)


def test_a_sequence_is_bounded_the_same_alone_and_beside_others(tiny_model):
    tokens = torch.randn(3, 6, 14, generator=torch.Generator().manual_seed(0)) * tiny_model.codec.used_channels(4)
    together = bound_likelihood(tiny_model, tokens, generators(3), settings=BoundSettings(samples=4))
    alone = bound_likelihood(tiny_model, tokens[2:], generators(1, first=2), settings=BoundSettings(samples=4))
    assert together[2:] == pytest.approx(alone, rel=1e-6)


def test_by_default_the_planned_tokens_are_unknown_and_goal_and_start_given(tiny_model):
    tokens = torch.zeros(1, 6, 14)
    settings = BoundSettings(samples=4)
    unknown, given = masks([2, 3, 4, 5], [0, 1])
    default = bound_likelihood(tiny_model, tokens, generators(1), settings=settings)
    assert default == bound_likelihood(tiny_model, tokens, generators(1), unknown, given, settings)
    masked = bound_likelihood(tiny_model, tokens, generators(1), unknown, torch.zeros(6, dtype=torch.bool), settings)
    assert default != masked


@pytest.mark.parametrize("steps", [2, 3, 10, 99])
def test_a_ladder_goes_from_0_to_pure_noise_and_decodes_where_the_noise_is_as_wanted(tiny_model, steps):
    levels = choose_rungs(tiny_model.alpha_bar, steps, decoder_std=0.5)
    snr = compute_snr(tiny_model.alpha_bar)
    assert levels[0] == 0 and levels[-1] == K and (levels.diff() > 0).all() and len(levels) <= steps + 1
    assert snr[levels[1]] <= 4 < snr[levels[1] - 1]


def test_a_decoder_finer_than_the_first_level_decodes_the_first_level(tiny_model):
    assert choose_rungs(tiny_model.alpha_bar, 10, decoder_std=1e-6)[1] == 1


def test_the_steps_of_a_ladder_tell_equally_much(exact):
    levels = choose_rungs(exact.alpha_bar, 20, decoder_std=0.1)
    information = torch.log1p(compute_snr(exact.alpha_bar)[levels[1:]])
    assert information.diff().tolist() == pytest.approx([-math.log(101) / 19] * 19, rel=0.02)


def test_in_environment_units_a_density_falls_by_the_deviations_of_the_channels(tiny_model):
    unknown, _ = masks([0], [])
    assert compute_environment_offset(tiny_model.codec, unknown) == pytest.approx(-1.0)  # positions of deviation 2
    unknown, _ = masks([2, 3], [])
    bits = -np.log2([2, 2, 3, 3, 1, 1, 0.5]).mean()
    assert compute_environment_offset(tiny_model.codec, unknown) == pytest.approx(bits, rel=1e-6)


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ([[K, K], [0, 0]], "pure noise"),
        ([[K, K], [50, 60], [60, 0]], "never rise"),
        ([[K, 50], [50, 50], [0, 50]], "given"),
        ([[K, K], [50, 50]], "leads some tokens"),
        ([[K, 0], [K, 0]], "leads some tokens"),
        ([[K + 1, 0], [50, 0], [0, 0]], "levels of a path"),
    ],
)
def test_a_matrix_that_is_no_path_is_refused(tiny_model, columns, sentence):
    matrix = torch.tensor(columns)[:, [1, 1, 0, 0, 0, 0]]
    with pytest.raises(InputError, match=sentence):
        compute_elbo(tiny_model, torch.zeros(1, 6, 14), matrix, generators(1))


def test_what_does_not_fit_is_refused_in_a_sentence(tiny_model):
    tokens = torch.zeros(2, 6, 14)
    unknown, given = masks([2], [0])
    matrix = build_bound_matrix(tiny_model.alpha_bar, unknown, given)
    with pytest.raises(InputError, match="as many generators"):
        compute_elbo(tiny_model, tokens, matrix, generators(1))
    with pytest.raises(InputError, match="does not fit 6 positions and several rows"):
        compute_elbo(tiny_model, tokens, matrix[:1], generators(2))
    with pytest.raises(InputError, match="NaN"):
        compute_elbo(tiny_model, tokens / 0, matrix, generators(2))
    with pytest.raises(InputError, match=r"\[2\] cannot be both"):
        build_bound_matrix(tiny_model.alpha_bar, unknown, unknown)
    with pytest.raises(InputError, match="no position is unknown"):
        build_bound_matrix(tiny_model.alpha_bar, unknown & given, given)
    with pytest.raises(InputError, match="no schedule 'flat'"):
        build_bound_matrix(tiny_model.alpha_bar, unknown, given, BoundSettings("flat"))


@pytest.mark.parametrize("wrong", [{"steps": 1}, {"decoder_std": 0.0}, {"decoder_std": math.nan}, {"samples": 0}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(InputError):
        replace(BoundSettings(), **wrong)
