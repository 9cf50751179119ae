"""The agent that everything must beat: uniformly random actions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class RandomConfig:
    """The size of the action, each of whose parts lies in [-1, 1]."""

    action_dim: int = 2


class RandomAgent:
    """Draws actions uniformly; each episode of a batch from its own seed."""

    def __init__(self, config: RandomConfig | None = None):
        self.config = config or RandomConfig()
        self.plan_seconds: list[float] = []

    def reset(self, goal=None, seed: int | Sequence[int] | None = None, num_steps: int | None = None) -> None:
        """Start new episodes; ``goal`` and ``num_steps`` play no part."""
        seeds = [seed] if seed is None or isinstance(seed, int) else seed
        self._streams = [np.random.default_rng(one) for one in seeds]

    def act(self, observation: np.ndarray) -> np.ndarray:
        """Return an action for one observation, or one for each of a batch."""
        actions = np.stack([stream.uniform(-1, 1, self.config.action_dim) for stream in self._streams]).astype(
            np.float32
        )
        return actions if np.ndim(observation) == 2 else actions[0]
