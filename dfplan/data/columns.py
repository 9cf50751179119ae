"""The columns of a recording by their names in D4RL, and the check that all recordings pass."""

import warnings
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np

from dfplan.ground.errors import InputError, find_reason

Table = dict[str, np.ndarray]
# Columns with one number per row -> their data type.
FLAT = {"rewards": np.float32, "terminals": bool, "timeouts": bool}
# Columns with several numbers per row.
WIDE = ("observations", "actions", "next_observations", "infos/goal", "infos/qpos", "infos/qvel")
ENDS = ("terminals", "timeouts")
EPISODE = ("observations", "actions", "rewards", "next_observations", *ENDS)  # columns of a single episode
# Gymnasium's and Minari's names -> D4RL's.
OTHER_NAMES = {
    "terminated": "terminals",
    "terminations": "terminals",
    "truncated": "timeouts",
    "truncations": "timeouts",
}
# Columns of D4RL and OGBench that are not needed. Whoever has any other column may have misspelt its name.
NOT_NEEDED = ("infos", "metadata", "qpos", "qvel", "button_states", "id", "options")
MOST_NAMES = 10  # that a message lists


def warn_of_unused(names: Iterable[Any], source: str, used: Collection[str] = (*WIDE, *FLAT)) -> None:
    """Warn of columns that are not used, unless they are known to be not needed."""
    unused = [name for name in names if name not in (*used, *OTHER_NAMES) and str(name).split("/")[0] not in NOT_NEEDED]
    if unused:
        known = ", ".join(name for name in used if "/" not in name)
        warnings.warn(f"columns of {source} are not used: {_list_names(unused)}; known are {known}.", stacklevel=3)


def check_columns(columns: Mapping[str, Any], source: str) -> Table:
    """Return the columns of a recording in float32, those of ``FLAT`` in their data types, by their names in D4RL.

    Raises:
        InputError: if a column is missing, has a wrong shape, or holds numbers that are not finite in float32.
    """
    warn_of_unused(columns, source)
    columns = _rename(columns, source)
    missing = [key for key in ("observations", "actions") if key not in columns]
    if missing or not any(key in columns for key in ENDS):
        lacking = " and ".join(missing or ["terminals or timeouts, which mark the ends of episodes"])
        raise InputError(f"{source} has no {lacking}; it has {_list_names(columns)}.")
    table = {key: _to_array(columns[key], f"{key} of {source}") for key in (*WIDE, *FLAT) if key in columns}
    rows = len(np.atleast_1d(table["observations"]))
    if not rows:
        raise InputError(f"{source} has no rows.")
    table.setdefault("rewards", np.zeros(rows, np.float32))
    for key, column in table.items():
        if key in FLAT and column.shape == (rows, 1):
            column = column[:, 0]
        if column.shape[:1] != (rows,) or column.ndim != (1 if key in FLAT else 2) or not column.size:
            wanted = f"({rows},)" if key in FLAT else f"({rows}, channels)"
            raise InputError(f"{key} of {source} must have the shape {wanted}, not {column.shape}.")
        table[key] = column.astype(FLAT.get(key, np.float32), copy=False)
        if FLAT.get(key) is bool:
            _check_truth_values(column, f"{key} of {source}")
    after = table.get("next_observations")
    if after is not None and after.shape != table["observations"].shape:
        raise InputError(f"next_observations of {source} must have the shape of observations, not {after.shape}.")
    return table


def read_episode(episode: Any, source: str) -> Table:
    """Return the columns of one episode; see ``Recording.from_episodes``."""
    if not isinstance(episode, Mapping):
        raise InputError(f"{source} must be a dictionary of columns, not {type(episode).__name__}.")
    episode = _rename(episode, source)
    if "actions" not in episode or "observations" not in episode:
        raise InputError(f"{source} has no observations or no actions; it has {_list_names(episode)}.")
    observations, goals = _split_observations(episode["observations"], source)
    actions = _to_array(episode["actions"], f"actions of {source}")
    steps = len(actions) if actions.ndim else 0
    if not steps:
        raise InputError(f"{source} has no actions, so it has no step; leave it out.")
    if observations.ndim != 2 or len(observations) not in (steps, steps + 1):
        raise InputError(
            f"{source} with {steps} actions needs {steps} or {steps + 1} observations, as an array (row, channel), not "
            f"the shape {observations.shape}."
        )
    table: dict[str, Any] = {"observations": observations[:steps], "actions": actions}
    table["rewards"] = episode.get("rewards", np.zeros(steps, np.float32))
    is_last = np.arange(steps) == steps - 1
    for name in ENDS:
        _check_end(episode.get(name, False), is_last, f"{name} of {source}")
    ended = is_last & np.any(episode.get("terminals", False))
    table |= {"terminals": ended, "timeouts": is_last & ~ended}
    if len(observations) > steps:
        table["next_observations"] = observations[1:]
    elif "next_observations" in episode:
        table["next_observations"] = _split_observations(episode["next_observations"], source)[0]
    if goals is not None:
        if goals.ndim != 2 or len(goals) != len(observations):
            raise InputError(f"goals of {source} must have the shape ({len(observations)}, goal), not {goals.shape}.")
        table["infos/goal"] = goals[:steps]
    return table


def _rename(columns: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Return the columns by their names in D4RL.

    Raises:
        InputError: if a column is there under two names.
    """
    renamed: dict[str, Any] = {}
    for key, column in columns.items():
        name = OTHER_NAMES.get(key, key)
        if name in renamed:
            raise InputError(f"{source} has the column {name} twice, under two names; it has {_list_names(columns)}.")
        renamed[name] = column
    return renamed


def _list_names(columns: Iterable[Any]) -> str:
    """Return a few of the names in a line."""
    names = sorted(map(str, columns))
    more = len(names) - MOST_NAMES
    return (", ".join(names[:MOST_NAMES]) or "nothing") + (f" and {more} more" if more > 0 else "")


def _check_end(marks: Any, is_last: np.ndarray, name: str) -> None:
    """Raise ``InputError`` if the marks of an episode's end have a wrong shape, or one of them is before the end."""
    marks = _to_array(marks, name)
    _check_truth_values(marks, name)
    marks = marks.astype(bool)
    marks = marks[:, 0] if marks.shape == (len(is_last), 1) else marks
    if marks.ndim and marks.shape != is_last.shape:
        raise InputError(f"{name} must be one truth value, or one for each of {len(is_last)} steps, not {marks.shape}.")
    if marks.ndim and (marks & ~is_last).any():
        raise InputError(f"{name} mark an end before the last step; give each episode by itself.")


def _check_truth_values(column: np.ndarray, name: str) -> None:
    """Raise ``InputError`` if a column holds other numbers than 0 and 1."""
    others = column[(column != 0) & (column != 1)]
    if others.size:
        raise InputError(f"{name} must hold truth values, 0 or 1, not {others.flat[0]}.")


def _to_array(value: Any, name: str) -> np.ndarray:
    """Return numbers as an array, floating-point numbers in float32.

    Raises:
        InputError: if they are no array of numbers that are finite in float32.
    """
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise InputError(f"{name} is not an array: its rows have different lengths.") from error
    except (TypeError, RuntimeError) as error:  # of tensors of a kind that NumPy does not have
        raise InputError(f"{name} is not an array: {find_reason(error)}.") from error
    if array.dtype.kind not in "fiub":
        raise InputError(f"{name} must hold numbers, not {array.dtype}.")
    if array.dtype.kind == "f":
        with np.errstate(over="ignore"):
            array = array.astype(np.float32, copy=False)
    if not np.isfinite(array).all():
        bad = int((~np.isfinite(array)).sum())
        raise InputError(f"{name} has {bad} values that are NaN, infinite, or too large for float32.")
    return array


def _split_observations(observations: Any, source: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Return observations and goals, from an array or from the dictionary of a goal environment."""
    if not isinstance(observations, Mapping):
        return _to_array(observations, f"observations of {source}"), None
    if "observation" not in observations:
        raise InputError(f"the observations of {source} lack 'observation'; they have {_list_names(observations)}.")
    goals = observations.get("desired_goal")
    return (
        _to_array(observations["observation"], f"observations of {source}"),
        None if goals is None else _to_array(goals, f"goals of {source}"),
    )
