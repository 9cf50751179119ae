"""Trajectories in environment units, and the statistics that normalise them."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from torch import Tensor

from dfplan.data.recording import Recording


@dataclass(frozen=True)
class Trajectories:
    """A batch of trajectories in environment units.

    ``observations[:, t]`` is the state after ``actions[:, t]``. ``rewards[:, t]`` is the reward of that state or of the
    step to it, as the task says (``Task.reward_of``).
    """

    observations: Float[Tensor, "batch step observation"]
    actions: Float[Tensor, "batch step action"]
    rewards: Float[Tensor, "batch step"]


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation of the channels [observation, action, reward]; a checkpoint contains them."""

    mean: Float[np.ndarray, " channel"]
    std: Float[np.ndarray, " channel"]

    @classmethod
    def from_recording(cls, recording: Recording) -> "Statistics":
        """Return the statistics of a recording.

        Rewards are not standardised but mapped to [-1, 1]: divided by its standard deviation, a sparse reward would
        reach 10 and dominate the loss.
        """
        observations, actions, rewards = recording.observations, recording.actions, recording.rewards
        low, high = float(rewards.min()), float(rewards.max())
        mean = np.concatenate([observations.mean(0, np.float64), actions.mean(0, np.float64), [(low + high) / 2]])
        std = np.concatenate([observations.std(0, np.float64), actions.std(0, np.float64), [max(high - low, 1e-3) / 2]])
        return cls(mean.astype(np.float32), np.maximum(std, 1e-3).astype(np.float32))
