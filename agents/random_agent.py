"""The agent that everything must beat: uniformly random actions."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from dfplan.agents.observations import unpack_observation
from dfplan.agents.seeds import Episodes, Seeds, assign_seeds, check_episodes, copy_seeds
from dfplan.ground.errors import InputError
from dfplan.spaces import Spaces
from dfplan.task import MAZE, Task, round_inwards


@dataclass(frozen=True)
class RandomConfig:
    """The lowest and the highest action."""

    low: tuple[float, ...]
    high: tuple[float, ...]


class RandomAgent:
    """Draws actions uniformly within bounds; each episode of a batch from its own seed.

    Args:
        world: a task, or the spaces of an environment.

    Raises:
        InputError: if the spaces have no finite bounds.
    """

    def __init__(self, world: Task | Spaces = MAZE):
        low, high = round_inwards(*world.bounds)  # actions are returned in float32
        if not (np.isfinite(low).all() and np.isfinite(high).all()):
            raise InputError(
                f"random actions need finite bounds, not {low.tolist()} to {high.tolist()}; wrap the environment in "
                "ClipAction, or say them by its dfplan_task."
            )
        self.task = world if isinstance(world, Task) else None
        self.config = RandomConfig(tuple(low.tolist()), tuple(high.tolist()))
        self.reset()

    def reset(self, goal=None, seed: Seeds = None, num_steps: int | None = None, episodes: Episodes = None) -> None:
        """Begin an episode, or a batch of them; ``goal`` and ``num_steps`` play no part.

        Args:
            goal: ignored.
            seed: one integer for each episode, or a single one from which episode i gets ``seed + i``.
            num_steps: ignored.
            episodes: numbers of the episodes of the batch that begin anew, while the others go on; None for all.

        Raises:
            InputError: if there is no batch yet whose episodes could begin anew.
        """
        if episodes is None:
            self._seed = copy_seeds(seed)
            self._streams: list[np.random.Generator] | None = None
            return
        begin = check_episodes(episodes, None if self._streams is None else len(self._streams))
        assert self._streams is not None  # ``check_episodes`` has found a batch
        streams = list(self._streams)
        for episode, own in zip(begin, assign_seeds(seed, len(begin)), strict=True):
            streams[episode] = np.random.default_rng(own)
        self._streams = streams

    def act(self, observation: Any) -> Float[np.ndarray, "*batch action"]:
        """Return an action for one observation, or one for each of a batch; they may be dictionaries.

        Raises:
            InputError: if it is neither one observation nor a batch, there are not as many seeds as observations, or
                the batch changed since ``reset``.
        """
        observation = unpack_observation(observation)[0]
        if np.ndim(observation) not in (1, 2):
            raise InputError(f"expected an observation or a batch of them, not the shape {np.shape(observation)}.")
        batch = len(np.atleast_2d(observation))
        if self._streams is None:  # only now is the batch known
            self._streams = [np.random.default_rng(seed) for seed in assign_seeds(self._seed, batch)]
        if len(self._streams) != batch:
            raise InputError(f"the batch changed from {len(self._streams)} to {batch} episodes; call reset() first.")
        actions = np.stack([stream.uniform(self.config.low, self.config.high) for stream in self._streams])
        return actions.astype(np.float32).reshape(*np.shape(observation)[:-1], -1)
