"""dfplan.envs: the D4RL point mazes on MuJoCo, their data, and scores.

Importing it loads neither MuJoCo nor h5py; the names below are loaded when first used.
"""


def register_mazes() -> None:
    """Register the mazes with Gymnasium; entry points are strings, so nothing heavy is imported."""
