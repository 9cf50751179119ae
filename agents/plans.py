"""Plans: what the agent intends to do (§3.4)."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int


@dataclass(frozen=True)
class Plan:
    """A plan in environment units; without the batch axis if it was made for a single observation.

    Attributes:
        observations: after each planned step.
        actions: of each planned step.
        rewards: of each planned observation.
        levels: noise level of each step after the last sampling row; 0 is clean.
        start: the present observation; inferred by the model if the observation was doubted.
        rows: if they were kept, the predicted observations and the level of each step at every sampling row.
    """

    observations: Float[np.ndarray, "*batch step observation"]
    actions: Float[np.ndarray, "*batch step action"]
    rewards: Float[np.ndarray, "*batch step"]
    levels: Int[np.ndarray, " step"]
    start: Float[np.ndarray, "*batch observation"]
    rows: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)

    def select(self, episodes) -> "Plan":
        """Return the plans of some episodes of the batch: an index array or a mask; an integer drops the batch axis."""
        rows = [(observations[episodes], levels) for observations, levels in self.rows]
        observations, actions, rewards = self.observations[episodes], self.actions[episodes], self.rewards[episodes]
        return Plan(observations, actions, rewards, self.levels, self.start[episodes], rows)

    def first(self) -> "Plan":
        """Return the plan of the first episode of the batch, without the batch axis."""
        return self.select(0)
