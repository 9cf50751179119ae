"""Wrappers that make episodes of any single environment reproducible and comparable when several run side by side."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gymnasium
import numpy as np
from numpy.random.mtrand import get_bit_generator, set_bit_generator

from dfplan.ground.errors import InputError

SUCCESS_KEYS = ("success", "is_success")  # of infos; both names are in use


class OwnRandomState(gymnasium.Wrapper):
    """An environment with a global NumPy random state of its own, which ``reset(seed=...)`` seeds.

    Some environments, such as OGBench's mazes, draw from ``np.random`` and not from the generator that Gymnasium seeds.
    With this wrapper their episodes depend on their own seed only, and the caller's random state is not touched, except
    that NumPy forgets the second of a pair of normal numbers which it may have kept.
    """

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        self._generator: np.random.BitGenerator = np.random.MT19937()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset the environment; a seed also seeds its global random state."""
        if seed is not None:
            self._generator = np.random.MT19937(seed)
        with self._use_own_state():
            return super().reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Make one step with the environment's own random state."""
        with self._use_own_state():
            return super().step(action)

    @contextmanager
    def _use_own_state(self) -> Iterator[None]:
        """Exchange the global generator during the block; copying its state would take 100 times longer."""
        callers = get_bit_generator()
        set_bit_generator(self._generator)
        try:
            yield
        finally:
            self._generator = get_bit_generator()
            set_bit_generator(callers)


class KeepScoreInfo(gymnasium.Wrapper):
    """An environment whose infos have only success and goal, in types that every vector environment can join.

    Vector environments cannot join infos whose type or shape changes from step to step.
    """

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset the environment."""
        observation, info = super().reset(seed=seed, options=options)
        return observation, _select_info(info)

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Make one step."""
        observation, reward, terminated, truncated, info = super().step(action)
        number = np.asarray(reward)
        if number.size != 1 or number.dtype.kind not in "fiub":
            raise InputError(f"the reward of a step must be one number, not {reward!r}.")
        return observation, float(number.item()), bool(terminated), bool(truncated), _select_info(info)


def _select_info(info: dict[str, Any]) -> dict[str, Any]:
    """Return success as a truth value, and the goal if it is an array of numbers."""
    chosen: dict[str, Any] = {key: bool(np.all(info[key])) for key in SUCCESS_KEYS if info.get(key) is not None}
    if "goal" in info:
        goal = np.asarray(info["goal"])
        if goal.dtype.kind in "fiu":
            chosen["goal"] = goal.astype(np.float64)
    return chosen
