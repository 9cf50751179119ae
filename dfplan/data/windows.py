"""Training windows from a data set in D4RL's format, each with a goal found by hindsight.

A window starts at any row of a segment (``dfplan.data.segments``) and leads to its goal: the end of the segment, or a
state on the way. After the goal the window stands still: the position is constant, and velocity and action are zero.

With ``hold_goal=False`` a window never stands still. It follows the stream of one demonstrator, past the goals of its
segments. The goal of such a window is its last state, or a state on the way.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int

from dfplan.config import ModelConfig, TrainingConfig
from dfplan.data.reexecution import re_execute
from dfplan.data.segments import find_segment_ends, find_stream_ends, read_true_states
from dfplan.data.trajectories import Trajectories
from dfplan.ground.errors import InputError
from dfplan.task import index_channels

SHORT_WAY = 40  # most steps to the goal; a point mass can return from half a cell beside its goal in 40 steps


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


class WindowSampler:
    """Draws windows of ``model.horizon`` steps from a data set in memory.

    Args:
        dataset: a recording in D4RL's format.
        model: sizes of the windows.
        training: shares of the kinds of windows, and whether the recording is re-executed first.

    Raises:
        InputError: if the data set has too few rows for a window, or cannot be re-executed.
    """

    def __init__(self, dataset: dict[str, np.ndarray], model: ModelConfig, training: TrainingConfig):
        if training.demonstrations == "re-executed":
            dataset = re_execute(dataset, find_segment_ends(dataset), model.horizon, training.seed)
        if training.hold_goal:
            observations, self.ends, fewest_steps = dataset["observations"], find_segment_ends(dataset), 1
        else:
            observations, self.ends, fewest_steps = read_true_states(dataset), find_stream_ends(dataset), model.horizon
        self.observations = observations.astype(np.float32)
        self.actions = dataset["actions"].astype(np.float32)
        self.rewards = dataset["rewards"].astype(np.float32)
        self.model, self.training = model, training
        # Windows start at rows with at least ``fewest_steps`` steps left.
        left = self.ends - np.arange(len(self.ends))
        self.starts = np.flatnonzero(left >= fewest_steps)
        self.left_up_to = np.cumsum(left[self.starts])  # cumulative sum of the steps left to the goal
        self.near_starts = self.starts[left[self.starts] <= SHORT_WAY]
        if not len(self.starts):
            found, wanted = len(self.ends), fewest_steps + 1
            raise InputError(
                f"the {found} rows contain no {wanted} consecutive rows of one demonstration; use more rows."
            )

    def draw(self, batch_size: int, rng: np.random.Generator) -> Windows:
        """Return random windows. A goal on the way is drawn uniformly between the start and the end of the segment.

        With ``hold_goal=False`` it is drawn between the start and the end of the window.
        """
        start = self._draw_starts(batch_size, rng)
        end = self.ends[start] if self.training.hold_goal else start + self.model.horizon
        on_the_way = start + 1 + (rng.random(batch_size) * (end - start)).astype(np.int64)
        goal_row = np.where(rng.random(batch_size) < self.training.goal_on_the_way, on_the_way, end)
        return self._cut_windows(start, goal_row)

    def _draw_starts(self, batch_size: int, rng: np.random.Generator) -> Int[np.ndarray, " batch"]:
        """Return the first rows of windows, drawn uniformly except for the shares of long and short ways."""
        long_ways, short_ways = self.training.long_ways, self.training.short_ways
        start = rng.choice(self.starts, batch_size)
        if long_ways or short_ways:
            kind = rng.random(batch_size)
            start = np.where(kind < long_ways, self._draw_far_starts(batch_size, rng), start)
        if short_ways:
            near = rng.choice(self.near_starts, batch_size)
            start = np.where(kind >= 1 - short_ways, near, start)
        return start

    def _draw_far_starts(self, batch_size: int, rng: np.random.Generator) -> Int[np.ndarray, " batch"]:
        """Return first rows drawn in proportion to the steps left to their goals.

        Most rows are near their goals. A model of uniformly drawn windows hardly moves unless it is shown a goal.
        """
        return self.starts[
            np.searchsorted(self.left_up_to, rng.integers(self.left_up_to[-1], size=batch_size), "right")
        ]

    def _cut_windows(self, start: Int[np.ndarray, " batch"], goal_row: Int[np.ndarray, " batch"]) -> Windows:
        """Return the windows that begin at the rows ``start`` and whose goals are the rows ``goal_row``."""
        step = np.arange(1, self.model.horizon + 1)
        row = start[:, None] + step  # row of the state after each step
        held = (row > goal_row[:, None]) & self.training.hold_goal
        row = np.where(held, goal_row[:, None], row)
        observations, actions = self.observations[row], self.actions[row - 1]
        moves = ~np.isin(np.arange(observations.shape[-1]), self.model.task.goal)
        observations[held[..., None] & moves] = 0
        actions[held] = 0
        trajectories = Trajectories(*map(torch.from_numpy, (observations, actions, self.rewards[row])))
        goals = self.observations[goal_row][:, index_channels(self.model.task.goal)]
        return Windows(torch.from_numpy(goals), torch.from_numpy(self.observations[start]), trajectories)
