"""Many point mazes at once, as one Gymnasium vector environment."""

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from dfplan.envs.errors import InputError
from dfplan.envs.layouts import Layout, maze_layout
from dfplan.envs.physics import TIMESTEP, PointMassPhysics
from dfplan.envs.rendering import draw_maze
from dfplan.envs.task import Goal, MazeTask, checked_array, is_success


class PointMazeVectorEnv(gymnasium.vector.VectorEnv):
    """``num_envs`` mazes of one kind; each gives bit for bit what a single ``PointMazeEnv`` with its seed gives.

    Seeds and time limit follow Gymnasium: one number seeds environment i with ``seed + i``, a list seeds each alone. An
    environment whose episode is over is reset by the next step, which ignores its action (``AutoresetMode.NEXT_STEP``).

    Args:
        num_envs: number of environments.
        layout, reward, goal, render_mode: as for ``PointMazeEnv``.
        max_episode_steps: steps after which an episode is truncated; None for never.

    Raises:
        InputError: if an argument is unknown or cannot be used.
    """

    metadata = {  # noqa: RUF012 (Gymnasium's interface)
        "render_modes": ["rgb_array"],
        "render_fps": round(1 / TIMESTEP),
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }

    def __init__(
        self,
        num_envs: int,
        layout: str | Layout,
        reward: str = "sparse",
        goal: Goal = "fixed",
        max_episode_steps: int | None = None,
        render_mode: str | None = None,
    ) -> None:
        if num_envs < 1:
            raise InputError(f"a vector environment needs at least 1 environment, not {num_envs}.")
        if render_mode not in (None, "rgb_array"):
            raise InputError(f"the render mode must be 'rgb_array' or None, not {render_mode!r}.")
        self.task = MazeTask(maze_layout(layout), reward, goal)
        self.num_envs = num_envs
        self.render_mode = render_mode
        self.max_episode_steps = max_episode_steps
        self.single_observation_space = self.task.observation_space
        self.single_action_space = self.task.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._physics = PointMassPhysics(self.task.layout)
        self._generators: list[np.random.Generator] = [None] * num_envs
        self._states = np.full((num_envs, 4), np.nan)
        self._goals = np.full((num_envs, 2), np.nan)
        self._steps = np.zeros(num_envs, dtype=np.int64)  # since the reset
        self._is_over = np.zeros(num_envs, dtype=bool)

    @property
    def layout(self) -> Layout:
        """The maze's layout."""
        return self.task.layout

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[np.ndarray, dict]:
        """Return the first observations (num_envs, 4) and infos.

        ``options`` may have ``location`` and ``goal``, each for all environments or as an array (num_envs, 2).
        """
        seeds = self._seeds(seed)
        for env, env_seed in enumerate(seeds):
            if env_seed is not None or self._generators[env] is None:
                self._generators[env], _ = seeding.np_random(env_seed)
        self._start(np.arange(self.num_envs), options)
        return self._states.copy(), self._infos()

    def step(self, actions: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict]:
        """Push every ball for one step of 10 ms; see Gymnasium for what is returned."""
        if self._generators[0] is None:
            raise gymnasium.error.ResetNeeded("call reset() before step()")
        actions = checked_array("actions", actions, (self.num_envs, 2))
        restarting = self._is_over
        self._states = self._physics.step(self._states, actions)
        self._steps += 1
        self._start(np.flatnonzero(restarting))
        rewards = np.where(restarting, 0.0, self.task.rewards(self._states, self._goals))
        self._is_over = self._steps >= (self.max_episode_steps or np.inf)
        terminations = np.zeros(self.num_envs, dtype=bool)
        return self._states.copy(), rewards, terminations, self._is_over.copy(), self._infos()

    def set_state(self, positions: Any, velocities: Any) -> None:
        """Move all balls, (num_envs, 2) each; goals and times left stay as they are."""
        positions = checked_array("positions", positions, (self.num_envs, 2))
        for position in positions:
            self.task.checked_position("position", position)
        self._states = np.concatenate([positions, checked_array("velocities", velocities, positions.shape)], axis=1)

    def render(self) -> tuple[np.ndarray, ...] | None:
        """Return one picture (height, width, 3) for each environment."""
        if self.render_mode is None:
            return None
        balls = self._states[:, :2]
        return tuple(draw_maze(self.layout, goal, ball) for goal, ball in zip(self._goals, balls, strict=True))

    def _start(self, envs: np.ndarray, options: Mapping[str, Any] | None = None) -> None:
        for env in envs.tolist():
            start = self.task.start(self._generators[env], self._options_of(env, options))
            self._states[env], self._goals[env] = start
        self._steps[envs] = 0
        self._is_over = np.zeros(self.num_envs, dtype=bool)

    def _options_of(self, env: int, options: Mapping[str, Any] | None) -> dict[str, Any]:
        """Return one environment's options; what has a row for each environment is taken apart."""
        chosen = {}
        for name, value in (options or {}).items():
            is_per_env = not isinstance(value, str) and np.ndim(value) == 2
            if is_per_env and len(value) != self.num_envs:
                raise InputError(f"the {name} has {len(value)} rows for {self.num_envs} environments.")
            chosen[name] = value[env] if is_per_env else value
        return chosen

    def _seeds(self, seed: int | Sequence[int | None] | None) -> Sequence[int | None]:
        if seed is None:
            return [None] * self.num_envs
        if isinstance(seed, int | np.integer):
            return [int(seed) + env for env in range(self.num_envs)]
        if len(seed) != self.num_envs:
            raise InputError(f"there are {len(seed)} seeds for {self.num_envs} environments; give one for each.")
        return seed

    def _infos(self) -> dict[str, np.ndarray]:
        """Return infos as Gymnasium batches them: the mask ``_key`` says which environments have a ``key``."""
        present = np.ones(self.num_envs, dtype=bool)
        success = is_success(self._states[:, :2], self._goals)
        return {"goal": self._goals.copy(), "_goal": present, "success": success, "_success": present.copy()}
