"""Numbers and seeds of the episodes of a batch, by one rule for all agents."""

from collections.abc import Sequence
from copy import copy
from typing import Any

import numpy as np

from dfplan.ground.errors import InputError

Seed = int | np.integer
Seeds = Seed | Sequence[Seed] | np.ndarray | None
Episodes = Sequence[int] | np.ndarray | None  # numbers of episodes of a batch, or a mask over the batch; None for all


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
    """Return a copy of the seeds that a caller gave; None becomes a seed of fresh entropy, the same from then on.

    Raises:
        InputError: if they are not whole numbers of at least 0.
    """
    if seed is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    given = np.asarray(seed)
    if given.dtype.kind not in "iu" or given.ndim > 1 or not (given >= 0).all():
        raise InputError(f"a seed is a whole number of at least 0, or one for each episode, not {seed!r}.")
    return copy(seed)


def check_episodes(episodes: Sequence[int] | np.ndarray, batch: int | None) -> list[int]:
    """Return the numbers of the episodes that a caller means by numbers or by a mask.

    Args:
        episodes: numbers from 0 on, or a mask over the batch.
        batch: number of episodes; None if none has begun.

    Raises:
        InputError: if no batch has begun, or there are no such episodes in it.
    """
    if batch is None:
        raise InputError("no batch has begun yet; call reset() without episodes first, and then act().")
    given = np.asarray(episodes)
    if given.dtype == bool and given.shape == (batch,):
        return np.flatnonzero(given).tolist()
    numbers = given.tolist() if given.ndim == 1 and given.dtype.kind in "iu" else [-1]
    if not all(0 <= number < batch for number in numbers) or len(set(numbers)) != len(numbers):
        raise InputError(
            f"episodes must be different numbers from 0 to {batch - 1}, or a mask of {batch}, not {episodes}."
        )
    return numbers
