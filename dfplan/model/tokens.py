"""The codec between trajectories in environment units and normalised tokens (§4.1, App. C.8).

Only this module knows the layout of a token. A sequence is ``[goal, start, token 1, ..., token N]`` in time:

* ``goal``: the goal in the first ``goal_dim`` channels, zeros elsewhere;
* ``start``: the current observation in the first ``observation_dim`` channels, zeros elsewhere;
* token i: ``frame_stack`` steps of [observation after the step, action of the step, reward of that observation].

The paper has no goal token. Here the goal is one more token with a noise level: level 0 conditions the model on it, and
level K masks it, which gives the paper's unconditional model.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from dfplan.config import ModelConfig
from dfplan.data.trajectories import Statistics, Trajectories
from dfplan.data.windows import Windows

GOAL, START, FIRST_PLANNED = 0, 1, 2  # indices along the time axis


class TrajectoryCodec(nn.Module):
    """Encodes trajectories as normalised tokens and decodes tokens; its buffers are the statistics of the data."""

    mean: Float[Tensor, " frame"]
    std: Float[Tensor, " frame"]

    def __init__(self, config: ModelConfig, statistics: Statistics | None = None):
        super().__init__()
        self.config = config
        num_channels = config.observation_dim + config.action_dim + 1
        mean = torch.zeros(num_channels) if statistics is None else torch.tensor(statistics.mean)
        std = torch.ones(num_channels) if statistics is None else torch.tensor(statistics.std)
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def encode(self, trajectories: Trajectories) -> Float[Tensor, "batch token channel"]:
        """Return the tokens of trajectories, whose number of steps must be a multiple of ``frame_stack``."""
        frames = torch.cat([trajectories.observations, trajectories.actions, trajectories.rewards[..., None]], dim=-1)
        frames = (frames - self.mean) / self.std
        batch, steps, _ = frames.shape
        return frames.reshape(batch, steps // self.config.frame_stack, -1)  # (batch, token, frame_stack * frame)

    def encode_windows(self, windows: Windows) -> Float[Tensor, "batch time channel"]:
        """Return the sequences [goal, start, tokens] of training windows."""
        parts = (self.encode_goal(windows.goals), self.encode_start(windows.starts), self.encode(windows.trajectories))
        return torch.cat(parts, dim=1)

    def decode(self, tokens: Float[Tensor, "batch token channel"]) -> Trajectories:
        """Return the trajectories of planned tokens, in environment units. Goal and start are not among the tokens."""
        batch, num_tokens, _ = tokens.shape
        frames = tokens.reshape(batch, num_tokens * self.config.frame_stack, -1)  # (batch, step, frame)
        frames = frames * self.std + self.mean
        sizes = (self.config.observation_dim, self.config.action_dim, 1)
        observations, actions, rewards = frames.split(sizes, dim=-1)
        return Trajectories(observations, actions, rewards[..., 0])

    def encode_goal(self, goal: Float[Tensor, "batch goal"]) -> Float[Tensor, "batch 1 channel"]:
        """Return the goal token of a goal in environment units."""
        return self._encode_padded(goal)

    def encode_start(self, observation: Float[Tensor, "batch observation"]) -> Float[Tensor, "batch 1 channel"]:
        """Return the start token of the current observation in environment units."""
        return self._encode_padded(observation)

    def decode_start(self, token: Float[Tensor, "batch channel"]) -> Float[Tensor, "batch observation"]:
        """Return the observation of a start token, in environment units."""
        size = self.config.observation_dim
        return token[:, :size] * self.std[:size] + self.mean[:size]

    def encode_rest_at_goal(
        self, goal: Float[Tensor, "batch goal"]
    ) -> tuple[Float[Tensor, "batch channel"], Bool[Tensor, " channel"]]:
        """Return a planned token that rests at the goal, and a mask of the channels that this determines.

        The mask selects the observations of all frames. An observation is the goal followed by zeros, which are
        velocities in the mazes.
        """
        config = self.config
        shape = (len(goal), config.frame_stack)
        observations = nn.functional.pad(goal, (0, config.observation_dim - config.goal_dim))
        actions, rewards = goal.new_zeros(*shape, config.action_dim), goal.new_zeros(*shape)
        still = Trajectories(observations[:, None].expand(*shape, -1), actions, rewards)
        observed = torch.arange(len(self.mean), device=goal.device) < config.observation_dim
        return self.encode(still)[:, 0], observed.repeat(config.frame_stack)

    def _encode_padded(self, value: Float[Tensor, "batch part"]) -> Float[Tensor, "batch 1 channel"]:
        size = value.shape[-1]
        normalised = (value - self.mean[:size]) / self.std[:size]
        return nn.functional.pad(normalised, (0, self.config.token_dim - size))[:, None]

    def used_channels(self, num_tokens: int) -> Bool[Tensor, "time channel"]:
        """Return a mask of the channels that are not padding, for a sequence of ``num_tokens`` planned tokens."""
        used = torch.ones(FIRST_PLANNED + num_tokens, self.config.token_dim, dtype=torch.bool, device=self.mean.device)
        used[GOAL, self.config.goal_dim :] = False
        used[START, self.config.observation_dim :] = False
        return used
