"""Seeds of the episodes of a batch: one rule for all agents."""

from collections.abc import Sequence
from copy import copy

import numpy as np

from dfplan.envs.errors import InputError

Seed = int | np.integer
Seeds = Seed | Sequence[Seed] | np.ndarray | None


def episode_seeds(seed: Seeds, batch: int) -> list[int]:
    """Return one seed for each episode of a batch.

    Args:
        seed: one for each episode, or one from which episode i gets ``seed + i`` (Gymnasium's convention), or None for
            fresh entropy.
        batch: number of episodes.

    Raises:
        InputError: if there are not as many seeds as episodes.
    """
    seed = own_seeds(seed)
    if np.ndim(seed) == 0:
        return [int(seed) + episode for episode in range(batch)]
    if len(seed) != batch:
        raise InputError(f"{batch} observations do not fit {len(seed)} seeds; call reset() when the batch changes.")
    return [int(one) for one in seed]


def own_seeds(seed: Seeds) -> Seeds:
    """Return a copy of the seeds that a caller gave; None becomes a seed of fresh entropy, the same from then on."""
    if seed is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    return copy(seed)
