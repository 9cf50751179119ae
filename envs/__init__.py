"""dfplan.envs: the D4RL point mazes on MuJoCo, their data sets and scores.

Importing it loads neither MuJoCo nor h5py: environments are registered by their entry points' names, and the other
public names are loaded when they are first used.
"""

import importlib

from dfplan.envs.errors import InputError
from dfplan.envs.layouts import CUSTOM_EPISODE_STEPS, EPISODE_STEPS, LAYOUTS, Layout, maze_name

# Public name -> module of this package that has it.
_LAZY = {
    "DATASET_ROWS": "datasets",
    "load_dataset": "datasets",
    "read_hdf5": "datasets",
    "write_hdf5": "datasets",
    "generate": "demonstrations",
    "WaypointController": "controller",
    "PointMassPhysics": "physics",
    "PointMazeEnv": "point_maze",
    "PointMazeVectorEnv": "vector",
    "draw_maze": "rendering",
    "REFERENCE_SCORES": "scores",
    "episode_scores": "scores",
    "normalized_score": "scores",
}

__all__ = ["LAYOUTS", "InputError", "Layout", "maze_name", "register_mazes", *_LAZY]


def __getattr__(name: str):
    """Load the module that has a public name on its first use."""
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
    import gymnasium  # here, so that tools which need no environment do not pay for it

    gymnasium.register(
        env_id,
        entry_point="dfplan.envs.point_maze:PointMazeEnv",
        vector_entry_point="dfplan.envs.vector:PointMazeVectorEnv",
        max_episode_steps=max_episode_steps,
        kwargs=kwargs,
    )
