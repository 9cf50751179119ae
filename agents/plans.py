"""What the agent intends (§3.4)."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int


@dataclass(frozen=True)
class Plan:
    """What the agent intends, in environment units; without the batch axis when planned from a single observation.

    Attributes:
        observations: after each planned step.
        actions: of each planned step.
        rewards: about each planned observation.
        levels: of each step after the last sampling row; 0 is clean.
        start: the present observation as believed: the model's own idea of it when it was told to be doubtful.
        rows: the plan as believed at each sampling row, if asked for: observations and the levels of each step.
    """

    observations: Float[np.ndarray, "*batch step observation"]
    actions: Float[np.ndarray, "*batch step action"]
    rewards: Float[np.ndarray, "*batch step"]
    levels: Int[np.ndarray, " step"]
    start: Float[np.ndarray, "*batch observation"]
    rows: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)

    def of(self, episodes) -> "Plan":
        """Return the plans of some episodes of the batch: an index array or a mask; an integer drops the batch axis."""
        rows = [(observations[episodes], levels) for observations, levels in self.rows]
        parts = (part[episodes] for part in (self.observations, self.actions, self.rewards))
        return Plan(*parts, self.levels, self.start[episodes], rows)

    def first(self) -> "Plan":
        """Return the plan of the first episode of the batch, without the batch axis."""
        return self.of(0)
