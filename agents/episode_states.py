"""What an agent keeps of each episode of a batch, apart from its plans and its history."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float

from dfplan.agents.seeds import Seeds, assign_seeds
from dfplan.ground.errors import InputError

Goals = Float[np.ndarray, "batch goal"] | None


@dataclass(frozen=True)
class EpisodeStates:
    """The states of a batch of episodes. Every change returns new states and leaves the old ones as they are.

    Attributes:
        goals: environment units; None without goals.
        streams: the random stream of each episode.
        steps_left: steps until the end of each episode; infinite if it is unknown.
        passed: number of way points that each episode has passed; None without way points.
    """

    goals: Goals
    streams: list[torch.Generator]
    steps_left: Float[np.ndarray, " batch"]
    passed: np.ndarray | None = None

    @classmethod
    def begin(cls, batch: int, goals: Goals, seed: Seeds, num_steps: int | None) -> "EpisodeStates":
        """Return the states at the start of the episodes; a single goal is that of all episodes.

        Raises:
            InputError: if there are not as many goals or seeds as episodes.
        """
        steps_left = np.full(batch, np.inf if num_steps is None else float(num_steps))
        streams = [torch.Generator().manual_seed(one) for one in assign_seeds(seed, batch)]
        return cls(None, streams, steps_left).change_goals(goals)[0]

    @property
    def batch(self) -> int:
        """Number of episodes."""
        return len(self.streams)

    def change_goals(self, goals: Goals) -> tuple["EpisodeStates", Bool[np.ndarray, " batch"]]:
        """Return the states with other goals, and which episodes have a goal that they did not have before.

        Raises:
            InputError: if there are not as many goals as episodes.
        """
        if goals is None:
            return self, np.zeros(self.batch, dtype=bool)
        if len(goals) == 1:
            goals = np.repeat(goals, self.batch, axis=0)
        if len(goals) != self.batch:
            raise InputError(f"{self.batch} observations do not fit {len(goals)} goals; call reset() for a new batch.")
        changed = np.ones(self.batch, dtype=bool) if self.goals is None else (goals != self.goals).any(axis=1)
        return replace(self, goals=goals), changed

    def restart(self, episodes: list[int], new: "EpisodeStates") -> "EpisodeStates":
        """Return the states in which some episodes have begun anew.

        Raises:
            InputError: if only the old or only the new episodes have goals.
        """
        if (self.goals is None) != (new.goals is None):
            raise InputError("either all episodes of a batch have a goal or none has: give reset() the goals again.")
        goals, passed = self.goals, self.passed
        if goals is not None:
            goals = goals.copy()
            goals[episodes] = new.goals
        if passed is not None:
            passed = passed.copy()
            passed[episodes] = 0
        streams, steps_left = list(self.streams), self.steps_left.copy()
        for episode, stream in zip(episodes, new.streams, strict=True):
            streams[episode] = stream
        steps_left[episodes] = new.steps_left
        return EpisodeStates(goals, streams, steps_left, passed)

    def copy_streams(self) -> "EpisodeStates":
        """Return the states with independent random streams; drawing from them leaves the old ones unchanged."""
        streams = [torch.Generator().set_state(stream.get_state()) for stream in self.streams]
        return replace(self, streams=streams)

    def advance(self) -> "EpisodeStates":
        """Return the states after one step."""
        return replace(self, steps_left=self.steps_left - 1)
