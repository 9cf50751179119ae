"""gymnasium-robotics' PointMaze in the coordinates of D4RL's mazes, so that models of one know the way in the other.

Both simulate the same ball in mazes of the same layouts. With cell (i, j) in line i and column j of a layout of h lines
and w columns, a cell's centre is at

* (i - 0.2, j - 0.2) in D4RL, see ``dfplan.envs.layouts``,
* (j + 1/2 - w/2, h/2 - i - 1/2) in gymnasium-robotics.

So D4RL's x is -y and its y is x, up to a shift; velocities and forces turn in the same way, without the shift.
"""

from typing import Any

import gymnasium
import numpy as np
from jaxtyping import Float

from dfplan.envs.layouts import CELL_CENTRE_OFFSET, LAYOUTS, Layout
from dfplan.ground.errors import InputError
from dfplan.spaces import name_env

WALL = 1  # mark of a wall in the layouts of gymnasium-robotics
SIZES = (4, 2)  # channels of observation and action: position and velocity, force


class D4RLCoordinates(gymnasium.Wrapper):
    """A PointMaze of gymnasium-robotics whose observations, goals and actions are in D4RL's coordinates.

    Starts, goals, rewards, successes and the length of episodes are those of gymnasium-robotics: a goal is reached
    within 0.45, and starts and goals lie within 0.25 of a cell's centre.

    Attributes:
        layout: the layout in ``LAYOUTS`` with the same walls.

    Raises:
        InputError: if it is another environment, or there is no such layout.
    """

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        self.layout = _find_layout(env)
        lines, columns = self.layout.size
        # D4RL's position of the origin, at which the centre of the maze is in gymnasium-robotics.
        self._shift = np.array([lines, columns]) / 2 - 0.5 + CELL_CENTRE_OFFSET

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict, dict]:
        """Reset the environment; its options are cells, which are the same in both coordinates."""
        observation, info = super().reset(seed=seed, options=options)
        return self._convert_observation(observation), info

    def step(self, action: Any) -> tuple[dict, Any, Any, Any, dict]:
        """Make one step with a force in D4RL's coordinates."""
        force_x, force_y = action
        observation, reward, terminated, truncated, info = super().step(np.array([force_y, -force_x]))
        return self._convert_observation(observation), reward, terminated, truncated, info

    def _convert_observation(self, observation: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        state = observation["observation"]
        converted = {"observation": np.concatenate([self._convert_position(state[:2]), _turn(state[2:])])}
        goals = {name: self._convert_position(observation[name]) for name in ("achieved_goal", "desired_goal")}
        return converted | goals

    def _convert_position(self, position: Float[np.ndarray, " 2"]) -> Float[np.ndarray, " 2"]:
        return _turn(position) + self._shift


def _turn(vector: Float[np.ndarray, " 2"]) -> Float[np.ndarray, " 2"]:
    """Return a vector of gymnasium-robotics along D4RL's axes."""
    return np.array([-vector[1], vector[0]])


def _find_layout(env: gymnasium.Env) -> Layout:
    maze = getattr(env.unwrapped, "maze", None)
    observations = getattr(env.observation_space, "spaces", {}).get("observation")
    sizes = (*getattr(observations, "shape", ()), *(env.action_space.shape or ()))
    if maze is None or not hasattr(maze, "maze_map") or sizes != SIZES:
        raise InputError(
            f"only a PointMaze of gymnasium-robotics can be converted to D4RL's coordinates, {name_env(env)} is none."
        )
    walls = np.array([[cell == WALL for cell in line] for line in maze.maze_map])
    for layout in LAYOUTS.values():
        if maze.maze_size_scaling == 1 and np.array_equal(layout.walls, walls):
            return layout
    raise InputError(
        f"{name_env(env)} has other walls than D4RL's mazes {', '.join(LAYOUTS)}, so it has no D4RL coordinates."
    )
