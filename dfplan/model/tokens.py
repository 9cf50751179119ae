"""The codec between trajectories in environment units and normalised tokens (§4.1, App. C.8).

Only this module knows the layout of a token. A sequence is ``[goal, start, token 1, ..., token N]`` in time:

* ``goal``: the values of the task's goal channels, then zeros; only zeros for a task without a goal;
* ``start``: the current observation, then zeros;
* token i: ``frame_stack`` steps of [observation after the step, action of the step, reward].

The paper has no goal token. Here the goal is one more token with a noise level: level 0 conditions the model on it, and
level K masks it, which gives the paper's unconditional model.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from dfplan.config import ModelConfig
from dfplan.data.trajectories import Statistics, Trajectories
from dfplan.data.windows import Windows
from dfplan.task import index_channels

GOAL, START, FIRST_PLANNED = 0, 1, 2  # indices along the time axis


class TrajectoryCodec(nn.Module):
    """Encodes trajectories as normalised tokens and decodes tokens; its buffers are the statistics of the data."""

    mean: Float[Tensor, " frame"]
    std: Float[Tensor, " frame"]

    def __init__(self, config: ModelConfig, statistics: Statistics | None = None):
        super().__init__()
        self.config = config
        num_channels = config.task.observation_dim + config.task.action_dim + 1
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

    def find_known(self, windows: Windows) -> Bool[Tensor, "batch time"] | None:
        """Return which tokens of training windows are recorded as a whole; None if all of them are."""
        if windows.is_known is None:
            return None
        known = windows.is_known.unflatten(1, (-1, self.config.frame_stack)).all(dim=2)  # (batch, token)
        return nn.functional.pad(known, (FIRST_PLANNED, 0), value=True)

    def decode(self, tokens: Float[Tensor, "batch token channel"]) -> Trajectories:
        """Return the trajectories of planned tokens, in environment units. Goal and start are not among the tokens."""
        batch, num_tokens, _ = tokens.shape
        frames = tokens.reshape(batch, num_tokens * self.config.frame_stack, -1)  # (batch, step, frame)
        frames = frames * self.std + self.mean
        sizes = (self.config.task.observation_dim, self.config.task.action_dim, 1)
        observations, actions, rewards = frames.split(sizes, dim=-1)
        return Trajectories(observations, actions, rewards[..., 0])

    def encode_goal(self, goal: Float[Tensor, "batch goal"]) -> Float[Tensor, "batch 1 channel"]:
        """Return the goal token of a goal in environment units."""
        return self._encode_padded(goal, index_channels(self.config.task.goal))

    def encode_start(self, observation: Float[Tensor, "batch observation"]) -> Float[Tensor, "batch 1 channel"]:
        """Return the start token of the current observation in environment units."""
        return self._encode_padded(observation, slice(self.config.task.observation_dim))

    def decode_start(self, token: Float[Tensor, "batch channel"]) -> Float[Tensor, "batch observation"]:
        """Return the observation of a start token, in environment units."""
        size = self.config.task.observation_dim
        return token[:, :size] * self.std[:size] + self.mean[:size]

    def encode_rest_at_goal(
        self, goal: Float[Tensor, "batch goal"]
    ) -> tuple[Float[Tensor, "batch channel"], Bool[Tensor, " channel"]]:
        """Return a planned token that rests at the goal, and a mask of the channels that this determines.

        In all frames the goal channels of the observation are the goal, and its velocity channels are zero.
        """
        task, shape = self.config.task, (len(goal), self.config.frame_stack)
        observations = goal.new_zeros(len(goal), task.observation_dim)
        observations[:, list(task.goal)] = goal
        actions, rewards = goal.new_zeros(*shape, task.action_dim), goal.new_zeros(*shape)
        still = Trajectories(observations[:, None].expand(*shape, -1), actions, rewards)
        observed = torch.zeros(len(self.mean), dtype=torch.bool, device=goal.device)
        observed[[*task.goal, *task.velocity]] = True
        return self.encode(still)[:, 0], observed.repeat(self.config.frame_stack)

    def _encode_padded(
        self, value: Float[Tensor, "batch part"], channels: slice | list[int]
    ) -> Float[Tensor, "batch 1 channel"]:
        """Return values of the given observation channels as a token."""
        normalised = (value - self.mean[channels]) / self.std[channels]
        return nn.functional.pad(normalised, (0, self.config.token_dim - value.shape[-1]))[:, None]

    def used_channels(self, num_tokens: int) -> Bool[Tensor, "time channel"]:
        """Return a mask of the channels that are not padding, for a sequence of ``num_tokens`` planned tokens."""
        used = torch.ones(FIRST_PLANNED + num_tokens, self.config.token_dim, dtype=torch.bool, device=self.mean.device)
        used[GOAL, self.config.task.goal_dim :] = False
        used[START, self.config.task.observation_dim :] = False
        return used
