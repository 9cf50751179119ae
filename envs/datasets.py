"""Offline data as D4RL recorded them: generated with the same controller, or read from D4RL's own files.

A data set is a dictionary of arrays with D4RL's keys. ``rewards[t]`` is about ``observations[t]`` and the environment's fixed goal,
``infos/goal`` is where the demonstrator was heading, ``infos/qpos`` and ``infos/qvel`` are the physical state.
"""

import os
import tempfile
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Float
from tqdm import tqdm

from dfplan.envs.controller import WaypointController
from dfplan.envs.errors import InputError
from dfplan.envs.layouts import Layout, episode_steps, maze_layout, maze_name
from dfplan.envs.physics import PointMassPhysics
from dfplan.envs.scores import sparse_reward

DATASET_ROWS = {"open": 1_000_000, "umaze": 1_000_000, "medium": 2_000_000, "large": 4_000_000}  # as published
DATASET_ROWS |= {f"eval-{name}": DATASET_ROWS[name] for name in ("umaze", "medium", "large")}
DATASET_NOISE = 0.5  # standard deviation of the action noise of D4RL's published v1 data
MAX_STREAMS = 256  # demonstrators side by side
MIN_STREAM_ROWS = 1000  # fewer demonstrators rather than shorter streams
POSITION_SPREAD = 0.1  # resets and goals lie at a cell plus U(-this, this) in each direction
VELOCITY_SPREAD = 0.1  # standard deviation of the velocity after a reset

# Key -> number of columns (None: a vector) and data type.
COLUMNS = {
    "observations": (4, np.float32),
    "actions": (2, np.float32),
    "rewards": (None, np.float32),
    "terminals": (None, np.bool_),
    "timeouts": (None, np.bool_),
    "infos/goal": (2, np.float32),
    "infos/qpos": (2, np.float32),
    "infos/qvel": (2, np.float32),
}
Dataset = dict[str, np.ndarray]


def generate(
    maze: str | Layout, rows: int, noise: float = DATASET_NOISE, seed: int = 0, progress: bool = False
) -> Dataset:
    """Return ``rows`` rows recorded from the demonstration controller, as D4RL's script records them.

    Up to 256 demonstrators run side by side, each through an endless stream: a new random goal is drawn when the old one is
    reached or the episode's time is over. Streams follow one another in the result; ``timeouts`` marks the last row before each new
    goal and the last row of each stream. The result depends on the arguments only.

    Like the published data, the row after a new goal repeats the observation before it although the ball has moved on by one
    step: D4RL's script does not update it there. ``infos/qpos`` and ``infos/qvel`` have the true state.

    Args:
        maze: name or layout.
        rows: total number of rows.
        noise: standard deviation of the noise added to actions before they are clipped to ±1.
        seed: seed of everything random.
        progress: whether to show a progress bar.

    Raises:
        InputError: if there is no such maze, ``rows`` is below 1 or ``noise`` is negative.
    """
    layout = maze_layout(maze)
    if rows < 1:
        raise InputError(f"a data set needs at least 1 row, not {rows}.")
    if not noise >= 0:
        raise InputError(f"the action noise is a standard deviation of 0 or more, not {noise}.")
    streams = int(np.clip(rows // MIN_STREAM_ROWS, 1, MAX_STREAMS))
    steps = -(-rows // streams)  # rounded up; the last stream is cut to the number of rows
    recording = _record(layout, streams, steps, noise, seed, progress)
    dataset = {key: column.reshape(streams * steps, *column.shape[2:])[:rows] for key, column in recording.items()}
    dataset["timeouts"][-1] = True
    dataset["rewards"] = sparse_reward(dataset["observations"][:, :2], layout.goal).astype(np.float32)
    dataset["terminals"] = np.zeros(rows, dtype=np.bool_)
    return {key: dataset[key] for key in COLUMNS}


def _record(layout: Layout, streams: int, steps: int, noise: float, seed: int, progress: bool) -> Dataset:
    """Return the recorded columns, each (stream, step, ...)."""
    random = np.random.default_rng([seed, 0])
    controller = WaypointController(layout, streams, seeds=[[seed, 1 + stream] for stream in range(streams)])
    physics = PointMassPhysics(layout)
    recording = {
        key: np.empty((streams, steps) if width is None else (streams, steps, width), dtype)
        for key, (width, dtype) in COLUMNS.items()
        if key not in ("rewards", "terminals")
    }
    state = np.concatenate(
        [_random_locations(layout, streams, random), random.normal(0.0, VELOCITY_SPREAD, (streams, 2))], axis=1
    )
    observation, goal, age = state, _random_locations(layout, streams, random), np.zeros(streams, dtype=np.int64)
    controller.reset(goal)
    for step in tqdm(range(steps), desc=f"{layout.name}: recording", disable=not progress, unit_scale=streams, unit="row"):
        wanted = controller.act(observation[:, :2], observation[:, 2:]) + random.normal(0.0, noise, (streams, 2))
        action = np.clip(wanted, -1.0, 1.0).astype(np.float32)
        done = controller.reached(observation[:, :2]) | (age >= episode_steps(layout))
        row = (observation, action, done, goal, state[:, :2], state[:, 2:])
        for column, values in zip(recording.values(), row, strict=True):
            column[:, step] = values
        state = physics.step(state, action.astype(np.float64))
        observation = np.where(done[:, None], observation, state)  # the repeated row
        goal = np.where(done[:, None], _random_locations(layout, streams, random), goal)
        controller.reset(goal, done)
        age = np.where(done, 0, age + 1)
    recording["timeouts"][:, -1] = True
    return recording


def _random_locations(layout: Layout, count: int, random: np.random.Generator) -> Float[np.ndarray, "count 2"]:
    cells = layout.free_cells[random.integers(len(layout.free_cells), size=count)]
    return cells + random.uniform(-POSITION_SPREAD, POSITION_SPREAD, (count, 2))


def write_hdf5(path: str | Path, dataset: Dataset) -> None:
    """Write a data set in D4RL's format. A file that is there is replaced at the end, or left alone if anything fails.

    Raises:
        InputError: if the file cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".writing-") as folder:
            unfinished = Path(folder) / path.name
            with h5py.File(unfinished, "w") as file:
                for key, column in dataset.items():
                    file.create_dataset(key, data=column)
            os.replace(unfinished, path)
    except OSError as error:
        raise InputError(f"cannot write the data set {path}: {error.strerror or error}.") from error


def read_hdf5(path: str | Path) -> Dataset:
    """Return the data set in a D4RL file, with D4RL's keys; columns that ``dfplan`` does not know are left out.

    Raises:
        InputError: if the file is missing, is no HDF5, lacks a column, or a column has a wrong shape or numbers that are not finite.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"there is no data set {path}; give a D4RL HDF5 file, or use 'generate'.")
    try:
        with h5py.File(path, "r") as file:
            if missing := [key for key in COLUMNS if key not in file]:
                raise InputError(f"{path} is no D4RL maze data set: it has no {', '.join(missing)}.")
            dataset = {key: np.asarray(file[key]) for key in COLUMNS}
    except OSError as error:
        raise InputError(f"{path} cannot be read as HDF5; it may be truncated or another kind of file.") from error
    _check_columns(path, dataset)
    return {key: dataset[key].astype(dtype) for key, (_, dtype) in COLUMNS.items()}


def _check_columns(path: Path, dataset: Dataset) -> None:
    rows = len(dataset["observations"]) if dataset["observations"].ndim else 0
    if rows == 0:
        raise InputError(f"{path} is no D4RL maze data set: it has no rows.")
    for key, (width, _) in COLUMNS.items():
        expected = (rows,) if width is None else (rows, width)
        if dataset[key].shape != expected:
            raise InputError(f"{path}: {key} has the shape {dataset[key].shape}, not {expected}.")
        if dataset[key].dtype.kind not in "fiub":
            raise InputError(f"{path}: {key} has no numbers but {dataset[key].dtype}.")
        if not np.isfinite(dataset[key]).all():
            raise InputError(f"{path}: {key} has numbers that are not finite.")


def load_dataset(
    maze: str, source: str | Path = "generate", rows: int | None = None, seed: int = 0, progress: bool = False
) -> Dataset:
    """Return a maze's data set.

    Args:
        maze: its name.
        source: ``generate`` (kept in ``$DFPLAN_CACHE`` or ``~/.cache/dfplan`` for the next time), ``d4rl`` (through the
            d4rl package), or the path of a D4RL HDF5 file.
        rows: rows wanted; by default as many as D4RL published, or all that a file has.
        seed: seed of generated data.
        progress: whether to show a progress bar while data are generated.

    Raises:
        InputError: if there is no such maze or source, the file cannot be used, or it has fewer than ``rows`` rows.
    """
    maze = maze_name(maze)
    if rows is not None and rows < 1:
        raise InputError(f"a data set needs at least 1 row, not {rows}.")
    if source == "generate":
        return _generated_or_cached(maze, rows or DATASET_ROWS[maze], seed, progress)
    dataset = _from_d4rl_package(maze) if source == "d4rl" else read_hdf5(source)
    available = len(dataset["observations"])
    if rows is not None and rows > available:
        raise InputError(f"{rows} rows were asked for, but {source} has {available}.")
    return {key: column[:rows] for key, column in dataset.items()}


def _generated_or_cached(maze: str, rows: int, seed: int, progress: bool) -> Dataset:
    path = cache_folder() / f"maze2d-{maze}-rows{rows}-noise{DATASET_NOISE}-seed{seed}-1.hdf5"
    if path.is_file():
        try:
            return read_hdf5(path)
        except InputError:
            pass  # a damaged copy is made anew
    dataset = generate(maze, rows, seed=seed, progress=progress)
    try:
        write_hdf5(path, dataset)
    except InputError:
        pass  # the cache saves time, nothing else
    return dataset


def cache_folder() -> Path:
    """Return the folder for generated data: ``$DFPLAN_CACHE``, or ``~/.cache/dfplan``."""
    return Path(os.environ.get("DFPLAN_CACHE") or Path.home() / ".cache" / "dfplan")


def _from_d4rl_package(maze: str) -> Dataset:
    try:
        import d4rl
        import gym
    except Exception as error:  # d4rl fails in many ways where MuJoCo 2.1 is missing, not only with ImportError
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise InputError(
            f"the d4rl package cannot be imported ({reason}); it needs gym, mujoco_py and MuJoCo 2.1, while "
            "'generate' needs nothing and gives data of the same distribution."
        ) from error
    dataset = gym.make(f"maze2d-{maze}-v1").get_dataset()
    return {key: np.asarray(dataset[key]).astype(dtype) for key, (_, dtype) in COLUMNS.items()}
