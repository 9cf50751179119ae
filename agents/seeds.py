"""Assigns seeds to the episodes of a batch, by one rule for all agents."""

from collections.abc import Sequence
from copy import copy
from typing import Any

import numpy as np

from dfplan.ground.errors import InputError

Seed = int | np.integer
Seeds = Seed | Sequence[Seed] | np.ndarray | None


def assign_seeds(seed: Seeds, batch: int) -> list[int]:
    """Return one seed for each episode of a batch.

    Args:
        seed: one for each episode, or one from which episode i gets ``seed + i`` (Gymnasium's convention), or None for
            fresh entropy.
        batch: number of episodes.

    Raises:
        InputError: if there are not as many seeds as episodes.
    """
    own: Any = copy_seeds(seed)  # one number, or one for each episode
    if np.ndim(own) == 0:
        return [int(own) + episode for episode in range(batch)]
    if len(own) != batch:
        raise InputError(f"{batch} observations do not fit {len(own)} seeds; call reset() when the batch changes.")
    return [int(one) for one in own]


def copy_seeds(seed: Seeds) -> Seeds:
    """Return a copy of the seeds that a caller gave; None becomes a seed of fresh entropy, the same from then on."""
    if seed is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    return copy(seed)
