"""A Gaussian process as training data, whose likelihood and optimal denoiser are known in closed form.

The state has the channels of a step: observation, action and reward. It follows x_t+1 = A x_t + w, where A is a
rotation times ``persistence`` and w is Gaussian noise. Every channel oscillates, is correlated with the past and the
future of the others, and has mean 0 and variance 1.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dfplan.config import ModelConfig
from dfplan.data.trajectories import Statistics, Trajectories
from dfplan.data.windows import Windows
from dfplan.model.diffusion_forcing import DiffusionForcing
from dfplan.model.tokens import GOAL, TrajectoryCodec

MIXING_SEED = 0  # of the orthogonal matrix that distributes each oscillation over all channels


@dataclass(frozen=True)
class GaussianProcess:
    """A stationary vector autoregressive process of order 1.

    Attributes:
        config: sizes of the sequences.
        persistence: correlation of a state with the rotated state before it, in [0, 1).
        angle: rotation per step in the first plane (radians); it is 2, 3, ... times as much in the next planes.
    """

    config: ModelConfig
    persistence: float = 0.9
    angle: float = 0.3

    @property
    def num_channels(self) -> int:
        """Number of channels of a step: observation, action, reward."""
        return self.config.task.observation_dim + self.config.task.action_dim + 1

    def transition(self) -> Float[np.ndarray, "channel channel"]:
        """Return the matrix A; all its singular values are ``persistence``."""
        size = self.num_channels
        rotation = np.eye(size)
        for first in range(0, size - 1, 2):
            angle = self.angle * (first // 2 + 1)
            block = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
            rotation[first : first + 2, first : first + 2] = block
        mixing, _ = np.linalg.qr(np.random.default_rng(MIXING_SEED).normal(size=(size, size)))
        return self.persistence * mixing @ rotation @ mixing.T

    def draw(self, batch: int, steps: int, rng: np.random.Generator) -> Float[np.ndarray, "batch step channel"]:
        """Return independent series, drawn from the stationary distribution from their first step on."""
        states = [rng.normal(size=(batch, self.num_channels))]
        innovation, transition = math.sqrt(1 - self.persistence**2), self.transition()
        for _ in range(steps - 1):
            states.append(states[-1] @ transition.T + innovation * rng.normal(size=(batch, self.num_channels)))
        return np.stack(states, axis=1)

    def make_dataset(self, rows: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Return one long series as a data set in D4RL's format, with 4 observation channels as in a maze.

        All goals are 0 and have no meaning. With ``hold_goal=False`` windows of the data set are distributed as the
        sequences of ``draw_tokens``.
        """
        series = self.draw(1, rows, rng)[0].astype(np.float32)
        observations, actions, rewards = np.split(series, self._split_points(), axis=1)
        goals = np.zeros((rows, self.config.task.goal_dim), np.float32)
        return {
            "observations": observations,
            "actions": actions,
            "rewards": rewards[:, 0],
            "timeouts": np.zeros(rows, bool),
            "infos/goal": goals,
            "infos/qpos": observations[:, :2],
            "infos/qvel": observations[:, 2:],
        }

    def draw_tokens(
        self, batch: int, codec: TrajectoryCodec, rng: np.random.Generator
    ) -> Float[Tensor, "batch time channel"]:
        """Return independent sequences [goal, start, tokens] in normalised units; the goal has no meaning."""
        series = torch.from_numpy(self.draw(batch, self.config.horizon + 1, rng)).float()
        task = self.config.task
        observations, actions, rewards = series.split((task.observation_dim, task.action_dim, 1), dim=-1)
        trajectories = Trajectories(observations[:, 1:], actions[:, :-1], rewards[:, 1:, 0])
        goals = torch.zeros(batch, task.goal_dim)
        return codec.encode_windows(Windows(goals, observations[:, 0], trajectories))

    def _split_points(self) -> list[int]:
        return [self.config.task.observation_dim, self.config.task.observation_dim + self.config.task.action_dim]

    def _locate_dimensions(self) -> tuple[Int[np.ndarray, " dimension"], Int[np.ndarray, " dimension"]]:
        """Return the step and the channel of every dimension of a sequence [start, tokens], which has no goal."""
        channel = np.arange(self.num_channels)
        is_action = (channel >= self._split_points()[0]) & (channel < self._split_points()[1])
        steps = (
            np.arange(1, self.config.horizon + 1)[:, None] - is_action
        )  # a token holds an action beside the state after it
        start = np.arange(self.config.task.observation_dim)
        channels = np.concatenate([start, np.tile(channel, self.config.horizon)])
        return np.concatenate([np.zeros_like(start), steps.ravel()]), channels

    def covariance(self) -> Float[np.ndarray, "dimension dimension"]:
        """Return the covariance of the dimensions of a sequence [start, tokens], in environment units."""
        steps, channels = self._locate_dimensions()
        powers = [np.eye(self.num_channels)]
        for _ in range(self.config.horizon):
            powers.append(powers[-1] @ self.transition())
        lag = steps[:, None] - steps[None]
        forward = np.array(powers)[np.abs(lag), channels[:, None], channels[None]]
        return np.where(lag >= 0, forward, forward.T)  # E[x_s x_t^T] = A^(s-t), transposed where s < t


class ExactModel(DiffusionForcing):
    """The optimal model of the process: at all noise levels it predicts the exact posterior mean."""

    def __init__(self, process: GaussianProcess, statistics: Statistics):
        super().__init__(process.config, statistics)
        self.process = process
        self.used = self.codec.used_channels(process.config.num_tokens)
        self.used[GOAL] = False
        std = self.codec.std.double().repeat(process.config.frame_stack)
        mean = -self.codec.mean.double().repeat(process.config.frame_stack) / std
        std, mean = std.expand(self.used.shape)[self.used], mean.expand(self.used.shape)[self.used]
        self.covariance = torch.from_numpy(process.covariance()) / std[:, None] / std  # of normalised tokens
        self.expected = mean

    def predict_x0(
        self, noisy: Float[Tensor, "batch time channel"], levels: Int[Tensor, "batch time"]
    ) -> Float[Tensor, "batch time channel"]:
        """Return E[x | z] = m + Σ √ᾱ (√ᾱ Σ √ᾱ + 1 - ᾱ)⁻¹ (z - √ᾱ m); 0 for the goal and for padding."""
        alpha_bar = self.alpha_bar[levels].double()[..., None].expand(noisy.shape)[:, self.used]  # (batch, dimension)
        signal = alpha_bar.sqrt()
        observed = signal[:, :, None] * self.covariance * signal[:, None] + torch.diag_embed(1 - alpha_bar)
        residual = noisy[:, self.used].double() - signal * self.expected
        solved = torch.linalg.solve(observed, residual[..., None])[..., 0]
        x0 = torch.zeros_like(noisy)
        x0[:, self.used] = (self.expected + (signal * solved) @ self.covariance).to(noisy.dtype)
        return x0

    def log_likelihood(
        self, tokens: Float[Tensor, "batch time channel"], unknown: Bool[Tensor, " time"], given: Bool[Tensor, " time"]
    ) -> Float[Tensor, " batch"]:
        """Return the exact log p(unknown | given) of normalised tokens, in bits per unknown dimension."""
        nats = self._log_density(tokens, unknown | given) - self._log_density(tokens, given)
        return (nats / math.log(2) / self.used[unknown].sum()).float()

    def _log_density(
        self, tokens: Float[Tensor, "batch time channel"], positions: Bool[Tensor, " time"]
    ) -> Float[Tensor, " batch"]:
        chosen = positions[:, None].expand(self.used.shape)[self.used]  # (dimension,)
        if not chosen.any():
            return torch.zeros(len(tokens), dtype=torch.float64)
        covariance = self.covariance[chosen][:, chosen]
        density = torch.distributions.MultivariateNormal(self.expected[chosen], covariance)
        return density.log_prob(tokens[:, self.used][:, chosen].double())
