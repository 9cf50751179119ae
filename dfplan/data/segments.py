"""Segments and streams of a recording in D4RL's format, and the cost to go fitted to it.

A segment is a run of rows with one goal and without a timeout. A stream is a run of rows that one demonstrator recorded
without a break; it may contain several segments.
"""

import warnings

import numpy as np
from jaxtyping import Bool, Float, Int

from dfplan.data.cost_to_go import CostToGo
from dfplan.ground.errors import InputError
from dfplan.task import Task, index_channels


def find_segment_ends(dataset: dict[str, np.ndarray]) -> Int[np.ndarray, " row"]:
    """Return, for each row, the index of the last row of its segment."""
    goals, timeouts = dataset["infos/goal"], dataset["timeouts"].astype(bool)
    is_last = np.ones(len(goals), dtype=bool)
    is_last[:-1] = (goals[1:] != goals[:-1]).any(axis=1) | timeouts[:-1]
    return _find_next_marked(is_last)


def find_stream_ends(dataset: dict[str, np.ndarray]) -> Int[np.ndarray, " row"]:
    """Return, for each row, the index of the last row of its stream.

    If the observation is repeated after a timeout, the demonstrator only got a new goal: D4RL's script did not update
    the observation there, although the ball moved on. After any other timeout the ball is somewhere else.
    """
    observations, timeouts = dataset["observations"], dataset["timeouts"].astype(bool)
    is_last = np.ones(len(observations), dtype=bool)
    is_last[:-1] = timeouts[:-1] & (observations[1:] != observations[:-1]).any(axis=1)
    return _find_next_marked(is_last)


def fit_cost_to_go(dataset: dict[str, np.ndarray], task: Task) -> CostToGo | None:
    """Return the cost to go of a data set, over the goal channels of its observations.

    It is fitted to the true states if the data set has them, because observations are repeated after each new goal. If
    nothing moves in the data set, the function warns and returns None.
    """
    ends = find_stream_ends(dataset)
    states = read_true_states(dataset) if "infos/qpos" in dataset else dataset["observations"]
    try:
        return CostToGo.fit(states[:, index_channels(task.goal)], ends == np.arange(len(ends)))
    except InputError as error:
        warnings.warn(f"{error} Plans of this model cannot be guided by the cost to go.", stacklevel=2)
        return None


def _find_next_marked(is_last: Bool[np.ndarray, " row"]) -> Int[np.ndarray, " row"]:
    """Return, for each row, the index of the first marked row from there on."""
    last_rows = np.flatnonzero(is_last)
    return last_rows[np.searchsorted(last_rows, np.arange(len(is_last)))]


def read_true_states(dataset: dict[str, np.ndarray]) -> Float[np.ndarray, "row 4"]:
    """Return the true position and velocity of the ball in each row.

    The observations differ from them after each new goal, where they are repeated.
    """
    return np.concatenate([dataset["infos/qpos"], dataset["infos/qvel"]], axis=1)
