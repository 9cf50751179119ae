"""Pursuit of a path by a point mass: find the progress along the path, then push towards a point ahead.

Source: pure pursuit (Coulter 1992), with progress along the path that never goes back. The re-execution of recorded
paths (``dfplan.data.reexecution``) and the controllers of plans (``dfplan.agents.controllers``) both use it.

The task says which channels of a state are positions, and which are their velocities or how far a step moves them. Each
channel of an action pushes along one position.
"""

import numpy as np
from jaxtyping import Float, Int

from dfplan.task import Task, index_channels

POSITION_GAIN = 10.0  # action per environment unit; the gain of D4RL's demonstrator
VELOCITY_GAIN = 1.0  # action per environment unit per second; the gain of D4RL's demonstrator
SEARCH_WINDOW = 30  # rows searched for the nearest position; the path may come back near itself later


def advance(
    path: Float[np.ndarray, "row axis"],
    progress: Int[np.ndarray, " batch"],
    last: Int[np.ndarray, " batch"],
    positions: Float[np.ndarray, "batch axis"],
) -> tuple[Int[np.ndarray, " batch"], Float[np.ndarray, " batch"]]:
    """Return the row of the path that is nearest to each position, and its distance in environment units.

    Args:
        path: recorded or planned positions, row by row. It may hold several paths, one after another.
        progress: the row that each point mass reached before. The search covers ``SEARCH_WINDOW`` rows from there on.
        last: the row at which the path of each point mass ends. The search does not go beyond it.
        positions: where the point masses are.
    """
    window = np.minimum(progress[:, None] + np.arange(SEARCH_WINDOW), last[:, None])  # (batch, window)
    squared = np.square(path[window] - positions[:, None]).sum(axis=-1)
    batch, nearest = np.arange(len(positions)), squared.argmin(axis=1)
    return window[batch, nearest], np.sqrt(squared[batch, nearest])


def push_towards(
    targets: Float[np.ndarray, "batch state"], states: Float[np.ndarray, "batch state"], task: Task
) -> Float[np.ndarray, "batch axis"]:
    """Return the actions that drive states to target states, within the bounds of the task.

    They are those of a PD law, or, where actions move positions directly, those that need one step or go at full speed.
    """
    offset = targets - states
    if task.step_length:
        return task.clip(offset[..., index_channels(task.position)] / task.step_length * task.bounds[1])
    position, velocity = offset[..., index_channels(task.position)], offset[..., index_channels(task.velocity)]
    return task.clip(POSITION_GAIN * position + VELOCITY_GAIN * velocity)
