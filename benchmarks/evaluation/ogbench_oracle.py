"""The agent that knows OGBench's mazes: it shows what a perfect plan would score there."""

from typing import Any

import numpy as np
from jaxtyping import Float

from dfplan.agents.observations import check_array
from dfplan.envs.ogbench_mazes import SPEED, OGBenchMaze
from dfplan.ground.errors import InputError


class OracleAgent:
    """Walks from cell to cell on a shortest way, at full speed, and in the goal's own cell to the goal.

    OGBench's demonstrator aims at the centre of the goal's cell instead, from which a goal may be too far away.
    """

    def __init__(self, maze: str) -> None:
        self._maze = OGBenchMaze(maze)
        self._goals: np.ndarray | None = None

    def reset(self, goal: Any = None, seed: Any = None, num_steps: int | None = None) -> None:
        """Begin one episode or a batch of episodes; ``seed`` and ``num_steps`` play no part.

        Args:
            goal: position (2,) for all episodes, or (batch, 2) for one per episode, in environment units.
            seed: ignored.
            num_steps: ignored.

        Raises:
            InputError: if ``goal`` is missing, or is not an array of finite positions.
        """
        if goal is None:
            raise InputError("the oracle needs a goal: reset(goal=...).")
        self._goals = check_array(goal, 2, "goal")

    def act(self, obs: Float[np.ndarray, "*batch 2"]) -> Float[np.ndarray, "*batch 2"]:
        """Return actions that lead to the next cells, or to the goals.

        Raises:
            InputError: if the number of observations differs from that of the goals, or an observation is not finite.
            RuntimeError: before the first ``reset``.
        """
        if self._goals is None:
            raise RuntimeError("call reset(goal) of the oracle before act()")
        positions = check_array(obs, 2, "observation")
        if len(self._goals) not in (1, len(positions)):
            raise InputError(f"{len(positions)} observations do not fit {len(self._goals)} goals; call reset() first.")
        goals = np.broadcast_to(self._goals, positions.shape)
        is_near = (self._maze.cell_of(positions) == self._maze.cell_of(goals)).all(axis=1)
        targets = np.where(is_near[:, None], goals, self._maze.find_next_centres(positions, goals))
        ways = (targets - positions) / SPEED  # in actions
        actions = ways / np.maximum(1.0, np.abs(ways).max(axis=1, keepdims=True))
        return actions.astype(np.float32).reshape(*np.shape(obs)[:-1], 2)
