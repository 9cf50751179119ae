"""Many point mazes as one Gymnasium vector environment."""

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from dfplan.envs.layouts import Layout, find_layout
from dfplan.envs.maze_task import Goal, MazeTask, check_array, is_success
from dfplan.envs.physics import TIMESTEP, PointMassPhysics
from dfplan.envs.rendering import draw_maze
from dfplan.envs.scores import REFERENCE_SCORES, find_reference_name
from dfplan.ground.errors import InputError
from dfplan.task import MAZE


class PointMazeVectorEnv(gymnasium.vector.VectorEnv):
    """``num_envs`` equal mazes. Each is bit-equal to a single ``PointMazeEnv`` with the same seed.

    Seeds and resets follow Gymnasium. If ``seed`` is a number, environment i has the seed ``seed + i``; a list has one
    seed for each environment. When an episode is over, the next step resets its environment and ignores the action
    (``AutoresetMode.NEXT_STEP``).

    Args:
        num_envs: number of environments.
        layout, reward, goal, render_mode: see ``PointMazeEnv``.
        max_episode_steps: number of steps after which an episode is truncated; None for no limit.

    Raises:
        InputError: if an argument is unknown or cannot be used.
    """

    dfplan_task = MAZE
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
        self.task = MazeTask(find_layout(layout), reward, goal)
        self.num_envs = num_envs
        self.render_mode = render_mode
        self.max_episode_steps = max_episode_steps
        self.single_observation_space = self.task.observation_space
        self.single_action_space = self.task.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._physics = PointMassPhysics(self.task.layout)
        self._generators: list[np.random.Generator] = []  # one for each environment, from the first reset on
        self._states = np.full((num_envs, 4), np.nan)
        self._goals = np.full((num_envs, 2), np.nan)
        self._steps = np.zeros(num_envs, dtype=np.int64)  # since the reset
        self._is_over = np.zeros(num_envs, dtype=bool)

    @property
    def layout(self) -> Layout:
        """The maze's layout."""
        return self.task.layout

    @property
    def ref_min_score(self) -> float | None:
        """The sum of rewards with D4RL's normalised score 0; None if D4RL has none for this maze."""
        return self._find_reference_scores()[0]

    @property
    def ref_max_score(self) -> float | None:
        """The sum of rewards with D4RL's normalised score 1; None if D4RL has none for this maze."""
        return self._find_reference_scores()[1]

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[np.ndarray, dict]:
        """Return the first observations (num_envs, 4) and infos.

        ``options`` may contain ``location`` and ``goal``, each with one value for all environments or as an array
        (num_envs, 2).
        """
        seeds = self._spread_seeds(seed)
        if not self._generators:
            self._generators = [seeding.np_random(env_seed)[0] for env_seed in seeds]
        else:
            for env, env_seed in enumerate(seeds):
                if env_seed is not None:
                    self._generators[env], _ = seeding.np_random(env_seed)
        self._start(np.arange(self.num_envs), options)
        return self._states.copy(), self._make_infos()

    def step(self, actions: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict]:
        """Simulate one step of 10 ms, and return observations, rewards, terminations, truncations and infos."""
        if not self._generators:
            raise gymnasium.error.ResetNeeded("call reset() before step()")
        actions = check_array("actions", actions, (self.num_envs, 2))
        restarting = self._is_over
        self._states = self._physics.step(self._states, actions)
        self._steps += 1
        self._start(np.flatnonzero(restarting))
        rewards = np.where(restarting, 0.0, self.task.compute_rewards(self._states, self._goals))
        self._is_over = self._steps >= (self.max_episode_steps or np.inf)
        terminations = np.zeros(self.num_envs, dtype=bool)
        return self._states.copy(), rewards, terminations, self._is_over.copy(), self._make_infos()

    def set_state(self, positions: Any, velocities: Any) -> None:
        """Set the positions and velocities of all balls, each (num_envs, 2); goals and times do not change.

        Raises:
            InputError: if the arrays are not finite numbers of this shape, or if a position is not in a free cell.
        """
        positions = check_array("positions", positions, (self.num_envs, 2))
        for position in positions:
            self.task.check_position("position", position)
        self._states = np.concatenate([positions, check_array("velocities", velocities, positions.shape)], axis=1)

    def render(self) -> tuple[np.ndarray, ...] | None:
        """Return a picture (height, width, 3) of each environment."""
        if self.render_mode is None:
            return None
        balls = self._states[:, :2]
        return tuple(draw_maze(self.layout, goal, ball) for goal, ball in zip(self._goals, balls, strict=True))

    def _find_reference_scores(self) -> tuple[float | None, float | None]:
        return REFERENCE_SCORES.get(find_reference_name(self.layout.name, self.task.reward), (None, None))

    def _start(self, envs: np.ndarray, options: Mapping[str, Any] | None = None) -> None:
        """Start new episodes in the given environments."""
        for env in envs.tolist():
            start = self.task.draw_start(self._generators[env], self._select_options(env, options))
            self._states[env], self._goals[env] = start
        self._steps[envs] = 0
        self._is_over = np.zeros(self.num_envs, dtype=bool)

    def _select_options(self, env: int, options: Mapping[str, Any] | None) -> dict[str, Any]:
        """Return the options of one environment: its row of an array, or the value for all environments."""
        chosen = {}
        for name, value in (options or {}).items():
            is_per_env = not isinstance(value, str) and np.ndim(value) == 2
            if is_per_env and len(value) != self.num_envs:
                raise InputError(f"the {name} has {len(value)} rows, but there are {self.num_envs} environments.")
            chosen[name] = value[env] if is_per_env else value
        return chosen

    def _spread_seeds(self, seed: int | Sequence[int | None] | None) -> Sequence[int | None]:
        """Return the seed of each environment; None if it keeps its generator."""
        if seed is None:
            return [None] * self.num_envs
        if isinstance(seed, int | np.integer):
            return [int(seed) + env for env in range(self.num_envs)]
        if len(seed) != self.num_envs:
            raise InputError(f"there are {len(seed)} seeds, but {self.num_envs} environments; give one seed for each.")
        return seed

    def _make_infos(self) -> dict[str, np.ndarray]:
        """Return infos in Gymnasium's format for batches: the mask ``_key`` tells which environments have a ``key``."""
        present = np.ones(self.num_envs, dtype=bool)
        success = is_success(self._states[:, :2], self._goals)
        return {"goal": self._goals.copy(), "_goal": present, "success": success, "_success": present.copy()}
