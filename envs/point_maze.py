"""D4RL's point mazes as Gymnasium environments."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.error import ResetNeeded
from jaxtyping import Float

from dfplan.envs.layouts import Layout, find_layout
from dfplan.envs.maze_task import REWARDS, Goal, MazeTask, check_array, is_success
from dfplan.envs.physics import TIMESTEP, PointMassPhysics
from dfplan.envs.rendering import draw_maze
from dfplan.envs.scores import REFERENCE_SCORES, find_reference_name
from dfplan.ground.errors import InputError
from dfplan.task import MAZE


class PointMazeEnv(gymnasium.Env):
    """A ball that is pushed through a maze, with the physics, starts, rewards and data of D4RL's ``maze2d-*``.

    Observations are (x, y, vx, vy); actions are forces along x and y within ±1. The reward is that of the state after
    the step. An episode never terminates; the registered environments truncate it. ``info`` contains the ``goal`` (2,)
    and ``success``, which tells whether the ball is within 0.5 of the goal in the present state.

    Args:
        layout: the name of a maze, the text of a layout, or a ``Layout``.
        reward: ``sparse`` (1 within 0.5 of the goal) or ``dense`` (exp(-distance)).
        goal: ``fixed``, ``random`` (a new one for each episode), or a position in environment units.
        render_mode: ``rgb_array`` or None.

    Raises:
        InputError: if an argument is unknown or cannot be used.
    """

    dfplan_task = MAZE
    metadata = {"render_modes": ["rgb_array"], "render_fps": round(1 / TIMESTEP)}  # noqa: RUF012 (Gymnasium's interface)

    def __init__(
        self,
        layout: str | Layout,
        reward: str = "sparse",
        goal: Goal = "fixed",
        render_mode: str | None = None,
    ) -> None:
        if render_mode not in (None, "rgb_array"):
            raise InputError(f"the render mode must be 'rgb_array' or None, not {render_mode!r}.")
        self.task = MazeTask(find_layout(layout), reward, goal)
        self.observation_space = self.task.observation_space
        self.action_space = self.task.action_space
        self.render_mode = render_mode
        self._physics = PointMassPhysics(self.task.layout)
        self._is_reset = False
        self._state = np.full(4, np.nan)
        self._goal = np.full(2, np.nan)
        self._trail: list[np.ndarray] = []  # positions since the reset, kept for pictures

    @property
    def layout(self) -> Layout:
        """The maze's layout."""
        return self.task.layout

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        """Return the first observation and info; for ``options`` see ``MazeTask.draw_start``."""
        super().reset(seed=seed)
        self._state, self._goal = self.task.draw_start(self.np_random, options)
        self._is_reset = True
        self._trail = [self._state[:2]]
        return self._state.copy(), self._make_info()

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Simulate one step of 10 ms, and return observation, reward, terminated, truncated and info (Gymnasium)."""
        self._require_reset()
        action = check_array("action", action, (2,))
        self._state = self._physics.step(self._state[None], action[None])[0]
        if self.render_mode:
            self._trail.append(self._state[:2])
        reward = float(self.task.compute_rewards(self._state, self._goal))
        return self._state.copy(), reward, False, False, self._make_info()

    def set_state(self, position: Any, velocity: Any) -> None:
        """Set the position and the velocity of the ball; the goal and the time of the episode do not change.

        Raises:
            InputError: if position or velocity are not two finite numbers, or if the position is not in a free cell.
        """
        self._require_reset()
        position = self.task.check_position("position", position)
        self._state = np.concatenate([position, check_array("velocity", velocity, (2,))])
        self._trail = [position]

    def render(self) -> np.ndarray | None:
        """Return a picture (height, width, 3) of the maze, the goal, the ball, and its path since the reset."""
        if self.render_mode is None:
            super().render()  # raises that there is no picture
            return None
        self._require_reset()
        return draw_maze(self.layout, goal=self._goal, ball=self._state[:2], trail=np.array(self._trail))

    def get_dataset(
        self, source: str = "generate", rows: int | None = None, seed: int = 0, progress: bool = False
    ) -> dict[str, np.ndarray]:
        """Return offline data of this maze with D4RL's keys and the rewards of this environment.

        The arguments are those of ``load_dataset``. For a user's own layout the data are generated or read from a file.
        """
        from dfplan.envs.datasets import load_dataset  # here, because most users of the environment do not need h5py

        dataset = load_dataset(self.layout, source, rows, seed, progress)
        positions = dataset["observations"][:, :2]
        rewards = REWARDS[self.task.reward](positions, self.task.fixed_goal)
        return {**dataset, "rewards": rewards.astype(np.float32)}

    @property
    def ref_min_score(self) -> float | None:
        """The sum of rewards with D4RL's normalised score 0; None if D4RL has none for this maze."""
        return self._find_reference_scores()[0]

    @property
    def ref_max_score(self) -> float | None:
        """The sum of rewards with D4RL's normalised score 1; None if D4RL has none for this maze."""
        return self._find_reference_scores()[1]

    def get_normalized_score(self, score: float) -> float:
        """Return the normalised score of an episode's sum of rewards, as a fraction: 1 is 100 in papers.

        Raises:
            InputError: if D4RL has no reference scores for this maze.
        """
        if self.ref_min_score is None or self.ref_max_score is None:
            raise InputError(f"D4RL has no reference scores for the maze {self.layout.name!r}; use the sum of rewards.")
        return (score - self.ref_min_score) / (self.ref_max_score - self.ref_min_score)

    def _find_reference_scores(self) -> tuple[float | None, float | None]:
        return REFERENCE_SCORES.get(find_reference_name(self.layout.name, self.task.reward), (None, None))

    def _make_info(self) -> dict[str, Float[np.ndarray, "2"] | bool]:
        return {"goal": self._goal.copy(), "success": bool(is_success(self._state[:2], self._goal))}

    def _require_reset(self) -> None:
        if not self._is_reset:
            raise ResetNeeded("call reset() before using the environment")
