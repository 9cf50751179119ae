"""Trajectories in environment units <-> normalised tokens. Nothing else knows what a token is made of (§4.1, App. C.8).

A sequence is ``[goal, start, token 1, ..., token N]``, time being its second axis:

* ``goal``: where the segment ends, in the first ``goal_dim`` channels, zeros elsewhere;
* ``start``: the current observation, in the first ``observation_dim`` channels, zeros elsewhere;
* token i stacks ``frame_stack`` steps of [observation after the step, action of the step, reward of the observation
  after it].

The paper has no goal token. Here the goal is one more token with a noise level: level 0 conditions on it, level K
masks it and leaves the paper's unconditional model.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from dfplan.config import ModelConfig

GOAL, START, FIRST_PLANNED = 0, 1, 2  # positions in time


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation of the data's channels [observation, action, reward]; they live in the checkpoint."""

    mean: Float[np.ndarray, " channel"]
    std: Float[np.ndarray, " channel"]

    @classmethod
    def of(cls, dataset: dict[str, np.ndarray]) -> "Statistics":
        """Return the statistics of a D4RL dataset.

        Rewards are shifted and scaled to [-1, 1] instead: a sparse reward in units of its own deviation reaches 10
        and drowns the rest.
        """
        observations, actions, rewards = dataset["observations"], dataset["actions"], dataset["rewards"]
        low, high = float(rewards.min()), float(rewards.max())
        mean = np.concatenate([observations.mean(0, np.float64), actions.mean(0, np.float64), [(low + high) / 2]])
        std = np.concatenate([observations.std(0, np.float64), actions.std(0, np.float64), [max(high - low, 1e-3) / 2]])
        return cls(mean.astype(np.float32), np.maximum(std, 1e-3).astype(np.float32))


@dataclass(frozen=True)
class Trajectories:
    """A batch of trajectories in environment units.

    ``rewards[:, t]`` is about ``observations[:, t]``, the state after ``actions[:, t]``.
    """

    observations: Float[Tensor, "batch step observation"]
    actions: Float[Tensor, "batch step action"]
    rewards: Float[Tensor, "batch step"]


class TrajectoryCodec(nn.Module):
    """Encodes trajectories as normalised tokens and back; holds the data's statistics as buffers."""

    def __init__(self, config: ModelConfig, statistics: Statistics | None = None):
        super().__init__()
        self.config = config
        num_channels = config.observation_dim + config.action_dim + 1
        mean = torch.zeros(num_channels) if statistics is None else torch.tensor(statistics.mean)
        std = torch.ones(num_channels) if statistics is None else torch.tensor(statistics.std)
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def encode(self, trajectories: Trajectories) -> Float[Tensor, "batch token channel"]:
        """Return the tokens of trajectories whose number of steps is a multiple of ``frame_stack``."""
        frames = torch.cat([trajectories.observations, trajectories.actions, trajectories.rewards[..., None]], dim=-1)
        frames = (frames - self.mean) / self.std
        batch, steps, _ = frames.shape
        return frames.reshape(batch, steps // self.config.frame_stack, -1)  # (batch, token, frame_stack * frame)

    def decode(self, tokens: Float[Tensor, "batch token channel"]) -> Trajectories:
        """Return the trajectories of planned tokens (without goal and start), in environment units."""
        batch, num_tokens, _ = tokens.shape
        frames = tokens.reshape(batch, num_tokens * self.config.frame_stack, -1)  # (batch, step, frame)
        frames = frames * self.std + self.mean
        sizes = (self.config.observation_dim, self.config.action_dim, 1)
        observations, actions, rewards = frames.split(sizes, dim=-1)
        return Trajectories(observations, actions, rewards[..., 0])

    def encode_goal(self, goal: Float[Tensor, "batch goal"]) -> Float[Tensor, "batch 1 channel"]:
        """Return the goal token."""
        return self._padded(goal)

    def encode_start(self, observation: Float[Tensor, "batch observation"]) -> Float[Tensor, "batch 1 channel"]:
        """Return the token of the current observation."""
        return self._padded(observation)

    def decode_start(self, token: Float[Tensor, "batch channel"]) -> Float[Tensor, "batch observation"]:
        """Return the observation in a start token, in environment units."""
        size = self.config.observation_dim
        return token[:, :size] * self.std[:size] + self.mean[:size]

    def encode_arrival(
        self, goal: Float[Tensor, "batch goal"]
    ) -> tuple[Float[Tensor, "batch channel"], Bool[Tensor, " channel"]]:
        """Return a planned token that stands still at the goal, and which of its channels that says anything about.

        Those are the observations of all its frames: the goal, then zeros, which are velocities in the mazes.
        """
        config = self.config
        shape = (len(goal), config.frame_stack)
        observations = nn.functional.pad(goal, (0, config.observation_dim - config.goal_dim))
        actions, rewards = goal.new_zeros(*shape, config.action_dim), goal.new_zeros(*shape)
        still = Trajectories(observations[:, None].expand(*shape, -1), actions, rewards)
        observed = torch.arange(len(self.mean), device=goal.device) < config.observation_dim
        return self.encode(still)[:, 0], observed.repeat(config.frame_stack)

    def _padded(self, value: Float[Tensor, "batch part"]) -> Float[Tensor, "batch 1 channel"]:
        size = value.shape[-1]
        normalised = (value - self.mean[:size]) / self.std[:size]
        return nn.functional.pad(normalised, (0, self.config.token_dim - size))[:, None]

    def used_channels(self, num_tokens: int) -> Bool[Tensor, "time channel"]:
        """Return which channels carry anything in a sequence of ``num_tokens`` planned tokens; the rest is padding."""
        used = torch.ones(FIRST_PLANNED + num_tokens, self.config.token_dim, dtype=torch.bool, device=self.mean.device)
        used[GOAL, self.config.goal_dim :] = False
        used[START, self.config.observation_dim :] = False
        return used
