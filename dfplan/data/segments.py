"""Segments and streams of a recording, and the cost to go fitted to it.

A segment is a run of rows with one goal, within one episode. A stream is a run of rows that one demonstrator recorded
without a break; it may contain several segments.
"""

import warnings

import numpy as np
from jaxtyping import Bool, Int

from dfplan.data.cost_to_go import CostToGo
from dfplan.data.recording import Recording
from dfplan.ground.errors import InputError
from dfplan.task import Task, index_channels


def find_segment_ends(recording: Recording) -> Int[np.ndarray, " row"]:
    """Return, for each row, the index of the last row of its segment."""
    is_last, goals = recording.is_last.copy(), recording.goals
    if goals is not None:
        is_last[:-1] |= (goals[1:] != goals[:-1]).any(axis=1)
    return _find_next_marked(is_last)


def find_stream_ends(recording: Recording) -> Int[np.ndarray, " row"]:
    """Return, for each row, the index of the last row of its stream.

    In D4RL's mazes the demonstrator only got a new goal if the observation is repeated after a timeout: D4RL's script
    did not update the observation there, although the ball moved on. After any other timeout the ball is somewhere
    else. Only recordings of these mazes have ``states``.
    """
    observations, is_last = recording.observations, recording.is_last.copy()
    if recording.states is not None:
        is_last[:-1] &= (observations[1:] != observations[:-1]).any(axis=1)
    return _find_next_marked(is_last)


def fit_cost_to_go(recording: Recording, task: Task) -> CostToGo | None:
    """Return the cost to go of a recording, over the goal channels of its observations; None if the task has no goal.

    It is fitted to the true states if the recording has them, because observations are repeated after each new goal. If
    nothing moves in the recording, the function warns and returns None.
    """
    if not task.goal:
        return None
    ends = find_stream_ends(recording)
    try:
        positions = recording.true_states[:, index_channels(task.goal)]
        return CostToGo.fit(positions, ends == np.arange(len(ends)))
    except InputError as error:
        warnings.warn(f"{error} Plans of this model cannot be guided by the cost to go.", stacklevel=2)
        return None


def _find_next_marked(is_last: Bool[np.ndarray, " row"]) -> Int[np.ndarray, " row"]:
    """Return, for each row, the index of the first marked row from there on."""
    last_rows = np.flatnonzero(is_last)
    return last_rows[np.searchsorted(last_rows, np.arange(len(is_last)))]
