"""The agent that everything must beat: uniformly random actions."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from dfplan.agents.seeds import Seeds, assign_seeds, copy_seeds
from dfplan.ground.errors import InputError


@dataclass(frozen=True)
class RandomConfig:
    """The size of the action, each of whose parts lies in [-1, 1]."""

    action_dim: int = 2


class RandomAgent:
    """Draws actions uniformly; each episode of a batch from its own seed."""

    def __init__(self, config: RandomConfig | None = None):
        self.config = config or RandomConfig()
        self.reset()

    def reset(self, goal=None, seed: Seeds = None, num_steps: int | None = None) -> None:
        """Begin an episode, or a batch of them; ``goal`` and ``num_steps`` play no part."""
        self._seed = copy_seeds(seed)
        self._streams: list[np.random.Generator] | None = None

    def act(self, observation: Float[np.ndarray, "*batch observation"]) -> Float[np.ndarray, "*batch action"]:
        """Return an action for one observation, or one for each of a batch.

        Raises:
            InputError: if it is neither one observation nor a batch, there are not as many seeds as observations, or
                the batch changed since ``reset``.
        """
        if np.ndim(observation) not in (1, 2):
            raise InputError(f"expected an observation or a batch of them, not the shape {np.shape(observation)}.")
        batch = len(np.atleast_2d(observation))
        if self._streams is None:  # only now is the batch known
            self._streams = [np.random.default_rng(seed) for seed in assign_seeds(self._seed, batch)]
        if len(self._streams) != batch:
            raise InputError(f"the batch changed from {len(self._streams)} to {batch} episodes; call reset() first.")
        actions = np.stack([stream.uniform(-1, 1, self.config.action_dim) for stream in self._streams])
        return actions.astype(np.float32).reshape(*np.shape(observation)[:-1], -1)
