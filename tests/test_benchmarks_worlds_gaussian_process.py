import numpy as np
import pytest
import torch

from dfplan.benchmarks.worlds.gaussian_process import ExactModel, GaussianProcess
from dfplan.config import ModelConfig, TrainingConfig
from dfplan.data.recording import Recording
from dfplan.data.trajectories import Statistics
from dfplan.data.windows import WindowSampler

CONFIG = ModelConfig(frame_stack=2, num_tokens=2, num_levels=100, width=8, depth=1, num_heads=1)
UNIT = Statistics(np.zeros(7, np.float32), np.ones(7, np.float32))


@pytest.fixture(scope="module")
def process():
    return GaussianProcess(CONFIG)


def flat(exact, tokens):
    return tokens[:, exact.used].double().numpy()


def test_the_covariance_is_that_of_the_sequences_drawn(process):
    exact = ExactModel(process, UNIT)
    drawn = flat(exact, process.draw_tokens(20_000, exact.codec, np.random.default_rng(0)))
    assert drawn.shape[1] == 4 + 4 * 7
    assert np.abs(np.cov(drawn.T) - process.covariance()).max() < 0.05


def test_training_windows_have_the_same_covariance(process):
    data = Recording.from_rows(process.make_dataset(40_000, np.random.default_rng(0)))
    exact = ExactModel(process, UNIT)
    windows = WindowSampler(data, CONFIG, TrainingConfig(hold_goal=False)).draw(20_000, np.random.default_rng(1))
    assert np.abs(np.cov(flat(exact, exact.codec.encode_windows(windows)).T) - process.covariance()).max() < 0.1


def test_a_token_holds_an_action_and_the_state_after_it(process):
    covariance = process.covariance()
    start, action, next_reward = 0, 4 + 4, 4 + 6  # of the start and of the first step after it
    assert covariance[action, start] == pytest.approx(0)  # both at step 0, whose channels are independent
    assert covariance[next_reward, start] == pytest.approx(process.transition()[6, 0])


def test_every_channel_has_variance_1_and_the_innovations_have_1_minus_persistence_squared(process):
    transition = process.transition()
    assert np.allclose(transition @ transition.T, 0.81 * np.eye(7))
    assert np.allclose(np.diag(process.covariance()), 1)


def test_the_exact_model_returns_clean_tokens_and_predicts_the_mean_from_noise(process):
    exact = ExactModel(process, Statistics(np.full(7, 3, np.float32), np.full(7, 2, np.float32)))
    tokens = process.draw_tokens(3, exact.codec, np.random.default_rng(0))
    clean = exact.predict_x0(tokens, torch.zeros(3, 4, dtype=torch.long))
    assert torch.allclose(clean[:, 1:], tokens[:, 1:], atol=1e-4)
    masked = exact.predict_x0(tokens, torch.full((3, 4), 100))
    assert torch.allclose(masked[:, exact.used], torch.tensor(-1.5))  # 0 in units of the statistics


def test_the_exact_model_weights_a_single_noisy_value_by_its_signal(process):
    exact = ExactModel(process, UNIT)
    levels = torch.tensor([[100, 50, 100, 100]])
    noisy = torch.zeros(1, 4, 14)
    noisy[0, 1, 0] = 1.0
    prediction = exact.predict_x0(noisy, levels)  # prior variance 1: E[x | z] = √ᾱ z
    assert float(prediction[0, 1, 0]) == pytest.approx(float(exact.alpha_bar[50].sqrt()), rel=1e-5)
