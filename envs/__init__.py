"""dfplan.envs: the D4RL point mazes on MuJoCo, their data sets and scores.

Importing this package imports neither MuJoCo nor h5py. Environments are registered by the names of their entry points,
and the modules of the other public names are imported on first use.
"""

import importlib
from typing import TYPE_CHECKING, Any

from dfplan.envs.layouts import CUSTOM_EPISODE_STEPS, EPISODE_STEPS, LAYOUTS, Layout, parse_maze_name
from dfplan.ground.errors import InputError

if TYPE_CHECKING:  # the same names for type checkers
    from dfplan.envs.datasets import DATASET_ROWS as DATASET_ROWS
    from dfplan.envs.datasets import load_dataset as load_dataset
    from dfplan.envs.datasets import read_hdf5 as read_hdf5
    from dfplan.envs.datasets import write_hdf5 as write_hdf5
    from dfplan.envs.demonstrations import generate as generate
    from dfplan.envs.demonstrator import WaypointController as WaypointController
    from dfplan.envs.physics import PointMassPhysics as PointMassPhysics
    from dfplan.envs.point_maze import PointMazeEnv as PointMazeEnv
    from dfplan.envs.point_maze_vector import PointMazeVectorEnv as PointMazeVectorEnv
    from dfplan.envs.rendering import draw_maze as draw_maze
    from dfplan.envs.scores import REFERENCE_SCORES as REFERENCE_SCORES
    from dfplan.envs.scores import normalize_score as normalize_score
    from dfplan.envs.scores import score_episodes as score_episodes

# Public name -> the module of this package that defines it.
_LAZY = {
    "DATASET_ROWS": "datasets",
    "load_dataset": "datasets",
    "read_hdf5": "datasets",
    "write_hdf5": "datasets",
    "generate": "demonstrations",
    "WaypointController": "demonstrator",
    "PointMassPhysics": "physics",
    "PointMazeEnv": "point_maze",
    "PointMazeVectorEnv": "point_maze_vector",
    "draw_maze": "rendering",
    "REFERENCE_SCORES": "scores",
    "score_episodes": "scores",
    "normalize_score": "scores",
}

__all__ = ["LAYOUTS", "InputError", "Layout", "parse_maze_name", "register_mazes", *_LAZY]


def __getattr__(name: str) -> Any:
    """Import the module that defines a public name, on the first use of the name."""
    if name not in _LAZY:
        raise AttributeError(f"module 'dfplan.envs' has no attribute {name!r}")
    return getattr(importlib.import_module(f"dfplan.envs.{_LAZY[name]}"), name)


def register_mazes() -> None:
    """Register ``maze2d-NAME-v1`` and ``maze2d-NAME-dense-v1`` for each maze, and ``maze2d-v1`` for any layout."""
    for name in LAYOUTS:
        _register(f"maze2d-{name}-v1", EPISODE_STEPS[name], layout=name, reward="sparse")
        _register(f"maze2d-{name}-dense-v1", EPISODE_STEPS[name], layout=name, reward="dense")
    _register("maze2d-v1", CUSTOM_EPISODE_STEPS)


def _register(env_id: str, max_episode_steps: int, **kwargs) -> None:
    import gymnasium  # imported here, because importing this package should not import gymnasium

    gymnasium.register(
        env_id,
        entry_point="dfplan.envs.point_maze:PointMazeEnv",
        vector_entry_point="dfplan.envs.point_maze_vector:PointMazeVectorEnv",
        max_episode_steps=max_episode_steps,
        kwargs=kwargs,
    )
