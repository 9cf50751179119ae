"""Training windows from a D4RL dataset, each with a goal found by hindsight.

A segment is a run of rows with one demonstrator's goal and no timeout within. A window starts anywhere, ends at its
goal (the segment's end, or a state on the way), and stands still from there on: position held, velocity and action
zero.

With ``hold_goal=False`` a window never stands still. It runs on from goal to goal as far as the stream of one
demonstrator goes, its own goal being its last state, or one on the way.
"""

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from dfplan.config import ModelConfig, TrainingConfig
from dfplan.cost_to_go import CostToGo
from dfplan.envs.errors import InputError
from dfplan.reexecution import re_executed
from dfplan.tokens import Trajectories, TrajectoryCodec

SHORT_WAY = 40  # steps to the goal, at most; enough for a point mass to come back from half a cell beside its goal


def segment_ends(dataset: dict[str, np.ndarray]) -> Int[np.ndarray, " row"]:
    """Return, for each row, the index of the last row of its segment."""
    goals, timeouts = dataset["infos/goal"], dataset["timeouts"].astype(bool)
    is_last = np.ones(len(goals), dtype=bool)
    is_last[:-1] = (goals[1:] != goals[:-1]).any(axis=1) | timeouts[:-1]
    return _next_marked(is_last)


def stream_ends(dataset: dict[str, np.ndarray]) -> Int[np.ndarray, " row"]:
    """Return, for each row, the index of the last row that one demonstrator recorded without a break.

    A timeout after which the observation is repeated only means a new goal: D4RL's script did not update the
    observation there, though the ball moved on. After any other timeout the ball is somewhere else.
    """
    observations, timeouts = dataset["observations"], dataset["timeouts"].astype(bool)
    is_last = np.ones(len(observations), dtype=bool)
    is_last[:-1] = timeouts[:-1] & (observations[1:] != observations[:-1]).any(axis=1)
    return _next_marked(is_last)


def recorded_cost_to_go(dataset: dict[str, np.ndarray], goal_dim: int) -> CostToGo | None:
    """Return the cost to go that a data set knows, over the first ``goal_dim`` channels of its observations.

    Where the data set has true states, which the observations repeat after each new goal, it is read from those. Where
    nothing moves there is none, and a warning says so.
    """
    ends = stream_ends(dataset)
    states = true_states(dataset) if "infos/qpos" in dataset else dataset["observations"]
    try:
        return CostToGo.of(states[:, :goal_dim], ends == np.arange(len(ends)))
    except InputError as error:
        warnings.warn(f"{error} The model cannot be guided along one.", stacklevel=2)
        return None


def _next_marked(is_last: Bool[np.ndarray, " row"]) -> Int[np.ndarray, " row"]:
    """Return, for each row, the first row from there on that is marked."""
    last_rows = np.flatnonzero(is_last)
    return last_rows[np.searchsorted(last_rows, np.arange(len(is_last)))]


def true_states(dataset: dict[str, np.ndarray]) -> Float[np.ndarray, "row 4"]:
    """Return where the ball was and how fast, row by row, which the observations repeat after each new goal."""
    return np.concatenate([dataset["infos/qpos"], dataset["infos/qvel"]], axis=1)


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
        if training.demonstrations == "re-executed":
            dataset = re_executed(dataset, segment_ends(dataset), model.horizon, training.seed)
        if training.hold_goal:
            observations, self.ends, fewest_steps = dataset["observations"], segment_ends(dataset), 1
        else:
            observations, self.ends, fewest_steps = true_states(dataset), stream_ends(dataset), model.horizon
        self.observations = observations.astype(np.float32)
        self.actions = dataset["actions"].astype(np.float32)
        self.rewards = dataset["rewards"].astype(np.float32)
        self.model, self.training = model, training
        # Rows with so many steps left to take.
        left = self.ends - np.arange(len(self.ends))
        self.starts = np.flatnonzero(left >= fewest_steps)
        self.left_up_to = np.cumsum(left[self.starts])  # steps left to the goal, added up over the starts
        self.near_starts = self.starts[left[self.starts] <= SHORT_WAY]
        if not len(self.starts):
            found, wanted = len(self.ends), fewest_steps + 1
            raise InputError(f"{found} rows hold no {wanted} in a row of one demonstration; take more rows.")

    def draw(self, batch_size: int, rng: np.random.Generator) -> Windows:
        """Return random windows; a goal on the way lies uniformly between start and segment's (or window's) end."""
        start = self._starts(batch_size, rng)
        end = self.ends[start] if self.training.hold_goal else start + self.model.horizon
        on_the_way = start + 1 + (rng.random(batch_size) * (end - start)).astype(np.int64)
        goal_row = np.where(rng.random(batch_size) < self.training.goal_on_the_way, on_the_way, end)
        return self._windows(start, goal_row)

    def _starts(self, batch_size: int, rng: np.random.Generator) -> Int[np.ndarray, " batch"]:
        """Return rows to begin at: drawn evenly, except for the shares of long and of short ways."""
        long_ways, short_ways = self.training.long_ways, self.training.short_ways
        start = rng.choice(self.starts, batch_size)
        if long_ways or short_ways:
            kind = rng.random(batch_size)
            start = np.where(kind < long_ways, self._far_starts(batch_size, rng), start)
        if short_ways:
            near = rng.choice(self.near_starts, batch_size)
            start = np.where(kind >= 1 - short_ways, near, start)
        return start

    def _far_starts(self, batch_size: int, rng: np.random.Generator) -> Int[np.ndarray, " batch"]:
        """Return rows drawn in proportion to the steps left to their goals.

        Drawn evenly, most rows are near their goals; without a goal to be shown, a model of them hardly goes anywhere.
        """
        return self.starts[
            np.searchsorted(self.left_up_to, rng.integers(self.left_up_to[-1], size=batch_size), "right")
        ]

    def _windows(self, start: Int[np.ndarray, " batch"], goal_row: Int[np.ndarray, " batch"]) -> Windows:
        step = np.arange(1, self.model.horizon + 1)
        row = start[:, None] + step  # row of the state after each step
        held = (row > goal_row[:, None]) & self.training.hold_goal
        row = np.where(held, goal_row[:, None], row)
        observations, actions = self.observations[row], self.actions[row - 1]
        observations[..., self.model.goal_dim :][held] = 0  # standing still
        actions[held] = 0
        trajectories = Trajectories(*map(torch.from_numpy, (observations, actions, self.rewards[row])))
        goals = self.observations[goal_row, : self.model.goal_dim]
        return Windows(torch.from_numpy(goals), torch.from_numpy(self.observations[start]), trajectories)
