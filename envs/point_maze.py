"""D4RL's point mazes as Gymnasium environments."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.error import ResetNeeded
from jaxtyping import Float

from dfplan.envs.errors import InputError
from dfplan.envs.layouts import Layout, maze_layout
from dfplan.envs.physics import TIMESTEP, PointMassPhysics
from dfplan.envs.rendering import draw_maze
from dfplan.envs.scores import REFERENCE_SCORES, reference_name
from dfplan.envs.task import REWARDS, Goal, MazeTask, checked_array, is_success


class PointMazeEnv(gymnasium.Env):
    """A ball that is pushed through a maze; D4RL's ``maze2d-*`` in physics, starts, rewards and data.

    Observations are (x, y, vx, vy), actions forces along x and y in ±1. The reward is about the state after the step.
    An episode never terminates; the registered environments truncate it. ``info`` has the ``goal`` (2,) and
    ``success``, whether the ball is within 0.5 of it now.

    Args:
        layout: the maze's name, the text of a layout, or a ``Layout``.
        reward: ``sparse`` (1 within 0.5 of the goal) or ``dense`` (exp(-distance)).
        goal: ``fixed``, ``random`` for each episode, or a position.
        render_mode: ``rgb_array`` or None.

    Raises:
        InputError: if an argument is unknown or cannot be used.
    """

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
        self.task = MazeTask(maze_layout(layout), reward, goal)
        self.observation_space = self.task.observation_space
        self.action_space = self.task.action_space
        self.render_mode = render_mode
        self._physics = PointMassPhysics(self.task.layout)
        self._state: np.ndarray | None = None  # (4,)
        self._goal: np.ndarray | None = None  # (2,)
        self._trail: list[np.ndarray] = []  # positions since the reset, kept for pictures

    @property
    def layout(self) -> Layout:
        """The maze's layout."""
        return self.task.layout

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        """Return the first observation and info; for ``options`` see ``MazeTask.start``."""
        super().reset(seed=seed)
        self._state, self._goal = self.task.start(self.np_random, options)
        self._trail = [self._state[:2]]
        return self._state.copy(), self._info()

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Push the ball for one step of 10 ms; see Gymnasium for what is returned."""
        self._require_reset()
        action = checked_array("action", action, (2,))
        self._state = self._physics.step(self._state[None], action[None])[0]
        if self.render_mode:
            self._trail.append(self._state[:2])
        reward = float(self.task.rewards(self._state, self._goal))
        return self._state.copy(), reward, False, False, self._info()

    def set_state(self, position: Any, velocity: Any) -> None:
        """Move the ball; the goal and the time left stay as they are.

        Raises:
            InputError: if there are no two finite numbers each, or the position lies in a wall.
        """
        self._require_reset()
        position = self.task.checked_position("position", position)
        self._state = np.concatenate([position, checked_array("velocity", velocity, (2,))])
        self._trail = [position]

    def render(self) -> np.ndarray | None:
        """Return a picture (height, width, 3) of the maze, the goal, the ball and its way since the reset."""
        if self.render_mode is None:
            return super().render()
        self._require_reset()
        return draw_maze(self.layout, goal=self._goal, ball=self._state[:2], trail=np.array(self._trail))

    def get_dataset(
        self, source: str = "generate", rows: int | None = None, seed: int = 0, progress: bool = False
    ) -> dict[str, np.ndarray]:
        """Return offline data for this maze with D4RL's keys and rewards of this environment's kind.

        The arguments are those of ``load_dataset``. A layout of the user's own has generated data, or those of a file.
        """
        from dfplan.envs.datasets import load_dataset  # only here: most users of the environment need no h5py

        dataset = load_dataset(self.layout, source, rows, seed, progress)
        positions = dataset["observations"][:, :2]
        rewards = REWARDS[self.task.reward](positions, self.task.fixed_goal)
        return {**dataset, "rewards": rewards.astype(np.float32)}

    @property
    def ref_min_score(self) -> float | None:
        """Return that D4RL takes as 0; None where it has none."""
        return self._reference_scores()[0]

    @property
    def ref_max_score(self) -> float | None:
        """Return that D4RL takes as 1; None where it has none."""
        return self._reference_scores()[1]

    def get_normalized_score(self, score: float) -> float:
        """Return an episode's sum of rewards on D4RL's scale, as a fraction: 1 where papers print 100.

        Raises:
            InputError: if D4RL has no reference scores for this maze.
        """
        if self.ref_min_score is None or self.ref_max_score is None:
            raise InputError(f"there are no reference scores for the maze {self.layout.name!r}.")
        return (score - self.ref_min_score) / (self.ref_max_score - self.ref_min_score)

    def _reference_scores(self) -> tuple[float | None, float | None]:
        return REFERENCE_SCORES.get(reference_name(self.layout.name, self.task.reward), (None, None))

    def _info(self) -> dict[str, Float[np.ndarray, "2"] | bool]:
        return {"goal": self._goal.copy(), "success": bool(is_success(self._state[:2], self._goal))}

    def _require_reset(self) -> None:
        if self._state is None:
            raise ResetNeeded("call reset() before using the environment")
