"""Training windows from a D4RL dataset, each with a goal found by hindsight.

A segment is a run of rows with one demonstrator's goal and no timeout within. A window starts anywhere, ends at its
goal (the segment's end, or a state on the way), and stands still from there on: position held, velocity and action
zero.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int

from dfplan.config import ModelConfig, TrainingConfig
from dfplan.envs.errors import InputError
from dfplan.tokens import Trajectories, TrajectoryCodec


def segment_ends(dataset: dict[str, np.ndarray]) -> Int[np.ndarray, " row"]:
    """Return, for each row, the index of the last row of its segment."""
    goals, timeouts = dataset["infos/goal"], dataset["timeouts"].astype(bool)
    is_last = np.ones(len(goals), dtype=bool)
    is_last[:-1] = (goals[1:] != goals[:-1]).any(axis=1) | timeouts[:-1]
    last_rows = np.flatnonzero(is_last)
    return last_rows[np.searchsorted(last_rows, np.arange(len(goals)))]


@dataclass(frozen=True)
class Windows:
    """A batch of training windows in environment units."""

    goals: Float[torch.Tensor, "batch goal"]
    starts: Float[torch.Tensor, "batch observation"]
    trajectories: Trajectories

    def to(self, device: torch.device) -> "Windows":
        """Return the windows on ``device``."""
        parts = self.trajectories
        trajectories = Trajectories(parts.observations.to(device), parts.actions.to(device), parts.rewards.to(device))
        return Windows(self.goals.to(device), self.starts.to(device), trajectories)

    def tokens(self, codec: TrajectoryCodec) -> Float[torch.Tensor, "batch time channel"]:
        """Return the sequences [goal, start, tokens]."""
        parts = (codec.encode_goal(self.goals), codec.encode_start(self.starts), codec.encode(self.trajectories))
        return torch.cat(parts, dim=1)


class WindowSampler:
    """Draws windows of ``config.horizon`` steps from a dataset held in memory."""

    def __init__(self, dataset: dict[str, np.ndarray], model: ModelConfig, training: TrainingConfig):
        self.observations = dataset["observations"].astype(np.float32)
        self.actions = dataset["actions"].astype(np.float32)
        self.rewards = dataset["rewards"].astype(np.float32)
        self.model, self.training = model, training
        self.ends = segment_ends(dataset)
        self.starts = np.flatnonzero(self.ends > np.arange(len(self.ends)))  # rows with a step left to take
        if not len(self.starts):
            raise InputError(f"{len(self.ends)} rows hold no two steps of one demonstration; take more rows.")

    def draw(self, batch_size: int, rng: np.random.Generator) -> Windows:
        """Return random windows; a goal on the way lies uniformly between start and segment's end."""
        start = rng.choice(self.starts, batch_size)
        end = self.ends[start]
        on_the_way = start + 1 + (rng.random(batch_size) * (end - start)).astype(np.int64)
        goal_row = np.where(rng.random(batch_size) < self.training.goal_on_the_way, on_the_way, end)
        return self._windows(start, goal_row)

    def _windows(self, start: Int[np.ndarray, " batch"], goal_row: Int[np.ndarray, " batch"]) -> Windows:
        step = np.arange(1, self.model.horizon + 1)
        row = start[:, None] + step  # row of the state after each step
        arrived = row > goal_row[:, None]
        row = np.minimum(row, goal_row[:, None])
        observations, actions = self.observations[row], self.actions[row - 1]
        observations[..., self.model.goal_dim :][arrived] = 0  # standing still
        actions[arrived] = 0
        trajectories = Trajectories(*map(torch.from_numpy, (observations, actions, self.rewards[row])))
        goals = self.observations[goal_row, : self.model.goal_dim]
        return Windows(torch.from_numpy(goals), torch.from_numpy(self.observations[start]), trajectories)
