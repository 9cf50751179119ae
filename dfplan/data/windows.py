"""Training windows from a recording, each with a goal found by hindsight.

A window starts at any row of a segment (``dfplan.data.segments``) and leads to its goal: the end of the segment, or a
state on the way. After the goal the window stands still: the position is constant, and velocity and action are zero.

With ``hold_goal=False`` a window never stands still. It follows the stream of one demonstrator, past the goals of its
segments. The goal of such a window is its last state, or a state on the way.

With ``short_windows`` a window may also begin near the end of an episode, if a whole token is left. If the episode
terminated, the window goes on in its last, absorbing observation with action 0 and reward 0. Otherwise nobody knows how
the episode would have gone on: the rest of the window is marked as unknown, and no loss is computed for it.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from dfplan.config import ModelConfig, TrainingConfig
from dfplan.data.cost_to_go import find_throws
from dfplan.data.recording import Recording
from dfplan.data.reexecution import re_execute
from dfplan.data.segments import find_segment_ends, find_stream_ends
from dfplan.data.trajectories import Trajectories
from dfplan.ground.errors import InputError
from dfplan.task import index_channels

WAY_UNITS = 1000  # in which ways are measured where windows do not end at their goals
SHORT_WAY = 40  # most steps to the goal; a point mass can return from half a cell beside its goal in 40 steps


@dataclass(frozen=True)
class Windows:
    """A batch of training windows in environment units.

    Attributes:
        goals: of each window.
        starts: the observation before the first step.
        trajectories: the steps.
        is_known: which steps are recorded; None if all of them are.
    """

    goals: Float[torch.Tensor, "batch goal"]
    starts: Float[torch.Tensor, "batch observation"]
    trajectories: Trajectories
    is_known: Bool[torch.Tensor, "batch step"] | None = None

    def to(self, device: torch.device) -> "Windows":
        """Return the windows on ``device``."""
        parts = self.trajectories
        trajectories = Trajectories(parts.observations.to(device), parts.actions.to(device), parts.rewards.to(device))
        is_known = None if self.is_known is None else self.is_known.to(device)
        return Windows(self.goals.to(device), self.starts.to(device), trajectories, is_known)


class WindowSampler:
    """Draws windows of ``model.horizon`` steps from a recording in memory.

    Args:
        recording: where they are cut out.
        model: sizes of the windows.
        training: shares of the kinds of windows, and whether the recording is re-executed first.

    Raises:
        InputError: if the recording has too few rows for a window, or for a whole token, or no episode as long as a
            window, or cannot be re-executed, or windows should stand still at the goals of a task in which nothing
            rests at a goal.
    """

    def __init__(self, recording: Recording, model: ModelConfig, training: TrainingConfig):
        if training.hold_goal and not model.task.rests:
            raise InputError("hold_goal=True invents standing still at goals, and nothing rests in this task.")
        if training.demonstrations == "re-executed":
            recording = re_execute(recording, find_segment_ends(recording), model.horizon, training.seed)
        if training.hold_goal:
            observations, self.ends, fewest_steps = recording.observations, find_segment_ends(recording), 1
        else:
            observations, self.ends = recording.true_states, find_stream_ends(recording)
            fewest_steps = model.frame_stack if training.short_windows else model.horizon
        self.observations = observations.astype(np.float32)
        self.actions = recording.actions.astype(np.float32)
        self.rewards = recording.rewards.astype(np.float32)
        self.is_absorbing = recording.is_absorbing
        self.model, self.training = model, training
        # Windows start at rows with at least ``fewest_steps`` steps left. After a terminal, what follows is known, too.
        left = self.ends - np.arange(len(self.ends))
        goes_on = training.short_windows & recording.is_absorbing[self.ends]
        self.starts = np.flatnonzero(left >= np.where(goes_on, 1, fewest_steps))
        self.near_starts = self.starts[left[self.starts] <= SHORT_WAY]
        if not len(self.starts):
            found, wanted = len(self.ends), fewest_steps + 1
            advice = "a smaller frame_stack" if training.short_windows else "more rows"
            raise InputError(
                f"the {found} rows contain no {wanted} consecutive rows of one demonstration; use {advice}."
            )
        is_walked = training.long_ways and not training.hold_goal and self._find_goal_spread().any()
        self.ways_up_to = np.cumsum(self._measure_ways(self.starts) if is_walked else left[self.starts])
        longest, reached = int(left.max()), model.horizon - model.frame_stack  # before the last token
        if training.short_windows and longest <= reached and not recording.is_absorbing.any():
            raise InputError(
                f"plans of {model.horizon} steps are longer than the longest recorded episode of {longest} steps, so "
                "nothing can be learned of their ends; choose a shorter horizon or frame_stack."
            )

    def draw(self, batch_size: int, rng: np.random.Generator) -> Windows:
        """Return random windows. A goal on the way is drawn uniformly between the start and the end of the segment.

        With ``hold_goal=False`` it is drawn between the start and the end of the window.
        """
        start = self._draw_starts(batch_size, rng)
        end = self.ends[start]
        if not self.training.hold_goal:
            end = np.minimum(end, start + self.model.horizon)
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
        """Return first rows drawn in proportion to the way to their goals.

        Most rows are near their goals, or demonstrators rest there. A model of uniformly drawn windows hardly moves
        unless it is shown a goal.
        """
        return self.starts[
            np.searchsorted(self.ways_up_to, rng.integers(self.ways_up_to[-1], size=batch_size), "right")
        ]

    def _find_goal_spread(self) -> Float[np.ndarray, " goal"]:
        """Return the standard deviation of each goal channel."""
        return self.observations[:, index_channels(self.model.task.goal)].std(axis=0)

    def _measure_ways(self, start: Int[np.ndarray, " row"]) -> Int[np.ndarray, " row"]:
        """Return how far the windows of these first rows go: the distance between their first and last goal channels.

        Each channel is divided by its standard deviation. The unit is ``1 / WAY_UNITS`` of that, and the least is 1,
        also for windows in which the agent is thrown: its own moves count.
        """
        positions = self.observations[:, index_channels(self.model.task.goal)]
        end = np.minimum(self.ends[start], start + self.model.horizon)
        moves = (positions[end] - positions[start]) / self._find_goal_spread().clip(np.finfo(np.float32).tiny)
        ways = (WAY_UNITS * np.linalg.norm(moves, axis=1)).astype(np.int64)
        throws = np.append(0, np.cumsum(find_throws(positions, self.ends == np.arange(len(self.ends)))))
        return 1 + np.where(throws[start] == throws[end], ways, 0)

    def _cut_windows(self, start: Int[np.ndarray, " batch"], goal_row: Int[np.ndarray, " batch"]) -> Windows:
        """Return the windows that begin at the rows ``start`` and whose goals are the rows ``goal_row``."""
        task, step = self.model.task, np.arange(1, self.model.horizon + 1)
        row = start[:, None] + step  # row of the state after each step
        last = (goal_row if self.training.hold_goal else self.ends[start])[:, None]
        held, acted = row > last, np.minimum(row - 1, last)  # steps after the last row; row of the action of each step
        row = np.minimum(row, last)
        observations, actions, is_known = self.observations[row], self.actions[acted], None
        if self.training.hold_goal:
            moves = ~np.isin(np.arange(observations.shape[-1]), task.goal)
            observations[held[..., None] & moves] = 0  # a window stands still after its goal
            actions[held] = 0
        elif self.training.short_windows:
            is_known = torch.from_numpy(~held | self.is_absorbing[last])
        rewards = self.rewards[row if task.reward_of == "state" else acted]
        trajectories = Trajectories(*map(torch.from_numpy, (observations, actions, rewards)))
        goals = self.observations[goal_row][:, index_channels(task.goal)]
        return Windows(torch.from_numpy(goals), torch.from_numpy(self.observations[start]), trajectories, is_known)
