"""The columns of a recording by their names in D4RL, and the check that all recordings pass."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from dfplan.ground.errors import InputError

Table = dict[str, np.ndarray]
# Columns with one number per row -> their data type.
FLAT = {"rewards": np.float32, "terminals": bool, "timeouts": bool}
# Columns with several numbers per row.
WIDE = ("observations", "actions", "next_observations", "infos/goal", "infos/qpos", "infos/qvel")
ENDS = ("terminals", "timeouts")


def check_columns(columns: Mapping[str, Any], source: str) -> Table:
    """Return the columns of a recording in float32, those of ``FLAT`` in their data types.

    Raises:
        InputError: if a column is missing, has a wrong shape, or holds numbers that are not finite.
    """
    missing = [key for key in ("observations", "actions") if key not in columns]
    if missing or not any(key in columns for key in ENDS):
        lacking = " and ".join(missing or ["terminals or timeouts, which mark the ends of episodes"])
        raise InputError(f"{source} has no {lacking}; it has {', '.join(sorted(columns)) or 'nothing'}.")
    table = {key: _to_array(columns[key], f"{key} of {source}") for key in (*WIDE, *FLAT) if key in columns}
    rows = len(table["observations"])
    if not rows:
        raise InputError(f"{source} has no rows.")
    table.setdefault("rewards", np.zeros(rows, np.float32))
    for key, column in table.items():
        if key in FLAT and column.shape == (rows, 1):
            column = column[:, 0]
        if column.shape[:1] != (rows,) or column.ndim != (1 if key in FLAT else 2):
            wanted = f"({rows},)" if key in FLAT else f"({rows}, channels)"
            raise InputError(f"{key} of {source} must have the shape {wanted}, not {column.shape}.")
        table[key] = column.astype(FLAT.get(key, np.float32), copy=False)
    after = table.get("next_observations")
    if after is not None and after.shape != table["observations"].shape:
        raise InputError(f"next_observations of {source} must have the shape of observations, not {after.shape}.")
    return table


def read_episode(episode: Any, source: str) -> Table:
    """Return the columns of one episode; see ``Recording.from_episodes``."""
    if not isinstance(episode, Mapping):
        raise InputError(f"{source} must be a dictionary of columns, not {type(episode).__name__}.")
    if "actions" not in episode or "observations" not in episode:
        raise InputError(
            f"{source} has no observations or no actions; it has {', '.join(map(str, episode)) or 'nothing'}."
        )
    observations, goals = _split_observations(episode["observations"], source)
    actions = _to_array(episode["actions"], f"actions of {source}")
    steps = len(actions) if actions.ndim else 0
    if not steps or observations.ndim != 2 or len(observations) not in (steps, steps + 1):
        raise InputError(
            f"{source} with {steps} actions needs {steps} or {steps + 1} observations, as an array (row, channel), not "
            f"the shape {observations.shape}."
        )
    table: dict[str, Any] = {"observations": observations[:steps], "actions": actions}
    table["rewards"] = episode.get("rewards", np.zeros(steps, np.float32))
    ended = np.zeros(steps, bool)
    ended[-1] = bool(np.any(episode.get("terminated", episode.get("terminals", False))))
    table |= {"terminals": ended, "timeouts": ~ended & (np.arange(steps) == steps - 1)}
    if len(observations) > steps:
        table["next_observations"] = observations[1:]
    if goals is not None:
        table["infos/goal"] = goals[:steps]
    return table


def _to_array(value: Any, name: str) -> np.ndarray:
    """Return numbers as an array.

    Raises:
        InputError: if they are no array of finite numbers.
    """
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise InputError(f"{name} is not an array: its rows have different lengths.") from error
    if array.dtype.kind not in "fiub":
        raise InputError(f"{name} must hold numbers, not {array.dtype}.")
    if not np.isfinite(array).all():
        raise InputError(f"{name} has {int((~np.isfinite(array)).sum())} values that are NaN or infinite.")
    return array


def _split_observations(observations: Any, source: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Return observations and goals, from an array or from the dictionary of a goal environment."""
    if not isinstance(observations, Mapping):
        return _to_array(observations, f"observations of {source}"), None
    if "observation" not in observations:
        raise InputError(f"the observations of {source} lack 'observation'; they have {', '.join(observations)}.")
    goals = observations.get("desired_goal")
    return (
        _to_array(observations["observation"], f"observations of {source}"),
        None if goals is None else _to_array(goals, f"goals of {source}"),
    )
