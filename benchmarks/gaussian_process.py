"""A Gaussian process whose likelihood and best denoiser are known in closed form, as data for the model.

A state of as many channels as a step has (observation, action, reward) follows x_t+1 = A x_t + w, A being a rotation
times ``persistence``: every channel swings, tells of the others' past and future, and has mean 0 and variance 1.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dfplan.config import ModelConfig
from dfplan.data import Windows
from dfplan.diffusion_forcing import DiffusionForcing
from dfplan.tokens import GOAL, Statistics, Trajectories, TrajectoryCodec

MIXING_SEED = 0  # of the rotation that spreads each swing over all channels


@dataclass(frozen=True)
class GaussianProcess:
    """A stationary vector autoregressive process of order 1.

    Attributes:
        config: sizes of the sequences.
        persistence: correlation of the state with its own rotated past, in [0, 1).
        angle: radians per step in the first plane of the rotation; the next planes turn 2, 3, ... times as fast.
    """

    config: ModelConfig
    persistence: float = 0.9
    angle: float = 0.3

    @property
    def num_channels(self) -> int:
        """Channels of a step: observation, action, reward."""
        return self.config.observation_dim + self.config.action_dim + 1

    def transition(self) -> Float[np.ndarray, "channel channel"]:
        """Return A, whose singular values all are ``persistence``."""
        size = self.num_channels
        rotation = np.eye(size)
        for first in range(0, size - 1, 2):
            angle = self.angle * (first // 2 + 1)
            block = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
            rotation[first : first + 2, first : first + 2] = block
        mixing, _ = np.linalg.qr(np.random.default_rng(MIXING_SEED).normal(size=(size, size)))
        return self.persistence * mixing @ rotation @ mixing.T

    def draw(self, batch: int, steps: int, rng: np.random.Generator) -> Float[np.ndarray, "batch step channel"]:
        """Return independent series, in equilibrium from their first step."""
        states = [rng.normal(size=(batch, self.num_channels))]
        innovation, transition = math.sqrt(1 - self.persistence**2), self.transition()
        for _ in range(steps - 1):
            states.append(states[-1] @ transition.T + innovation * rng.normal(size=(batch, self.num_channels)))
        return np.stack(states, axis=1)

    def dataset(self, rows: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Return one long series as a data set in D4RL's format, with the 4 observations of a maze.

        Its goal means nothing. With ``hold_goal=False`` training windows are drawn from it as ``tokens`` draws them.
        """
        series = self.draw(1, rows, rng)[0].astype(np.float32)
        observations, actions, rewards = np.split(series, self._parts(), axis=1)
        goals = np.zeros((rows, self.config.goal_dim), np.float32)
        return {
            "observations": observations,
            "actions": actions,
            "rewards": rewards[:, 0],
            "timeouts": np.zeros(rows, bool),
            "infos/goal": goals,
            "infos/qpos": observations[:, :2],
            "infos/qvel": observations[:, 2:],
        }

    def tokens(
        self, batch: int, codec: TrajectoryCodec, rng: np.random.Generator
    ) -> Float[Tensor, "batch time channel"]:
        """Return independent sequences [goal, start, tokens]; the goal stands for nothing."""
        series = torch.from_numpy(self.draw(batch, self.config.horizon + 1, rng)).float()
        observations, actions, rewards = series.split((self.config.observation_dim, self.config.action_dim, 1), dim=-1)
        trajectories = Trajectories(observations[:, 1:], actions[:, :-1], rewards[:, 1:, 0])
        goals = torch.zeros(batch, self.config.goal_dim)
        return Windows(goals, observations[:, 0], trajectories).tokens(codec)

    def _parts(self) -> list[int]:
        return [self.config.observation_dim, self.config.observation_dim + self.config.action_dim]

    def _places(self) -> tuple[Int[np.ndarray, " dimension"], Int[np.ndarray, " dimension"]]:
        """Return the step and the channel of every dimension of a sequence without its goal: start, then tokens."""
        channel = np.arange(self.num_channels)
        is_action = (channel >= self._parts()[0]) & (channel < self._parts()[1])
        steps = np.arange(1, self.config.horizon + 1)[:, None] - is_action  # an action stands with the state after it
        start = np.arange(self.config.observation_dim)
        channels = np.concatenate([start, np.tile(channel, self.config.horizon)])
        return np.concatenate([np.zeros_like(start), steps.ravel()]), channels

    def covariance(self) -> Float[np.ndarray, "dimension dimension"]:
        """Return the covariance of all dimensions of a sequence without its goal, in environment units."""
        steps, channels = self._places()
        powers = [np.eye(self.num_channels)]
        for _ in range(self.config.horizon):
            powers.append(powers[-1] @ self.transition())
        lag = steps[:, None] - steps[None]
        forward = np.array(powers)[np.abs(lag), channels[:, None], channels[None]]
        return np.where(lag >= 0, forward, forward.T)  # E[x_s x_t^T] = A^(s-t), transposed where s < t


class ExactModel(DiffusionForcing):
    """The model in which training without limits would end: it predicts the posterior mean, whatever the levels."""

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
        """Return E[x | z] = m + Σ √ᾱ (√ᾱ Σ √ᾱ + 1 - ᾱ)⁻¹ (z - √ᾱ m); the goal's is 0."""
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
        """Return log p(unknown | given) of normalised tokens in closed form, in bits per unknown dimension."""
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
