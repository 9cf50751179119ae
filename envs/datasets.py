"""Offline data sets in D4RL's format: generated and cached, from D4RL's files, or through the d4rl package.

A data set is a dictionary of arrays with D4RL's keys (``dfplan.envs.demonstrations.COLUMNS``).
"""

import contextlib
import hashlib
import io
import os
from pathlib import Path

import h5py
import numpy as np

from dfplan.envs.demonstrations import COLUMNS, DATASET_NOISE, Dataset, generate
from dfplan.envs.layouts import Layout, find_layout
from dfplan.ground.errors import InputError, find_reason
from dfplan.ground.files import write_file

__all__ = ["DATASET_ROWS", "find_cache_folder", "generate", "load_dataset", "read_hdf5", "write_hdf5"]

DATASET_ROWS = {"open": 1_000_000, "umaze": 1_000_000, "medium": 2_000_000, "large": 4_000_000}  # as published
DATASET_ROWS |= {f"eval-{name}": DATASET_ROWS[name] for name in ("umaze", "medium", "large")}
CUSTOM_DATASET_ROWS = 1_000_000
CACHE_VERSION = 1  # increase it when generated data change
DIGEST = "sha256"  # name of the attribute of a written file that contains the digest of its columns


def load_dataset(
    maze: str | Layout,
    source: str | Path = "generate",
    rows: int | None = None,
    seed: int = 0,
    progress: bool = False,
) -> Dataset:
    """Return the data set of a maze.

    Args:
        maze: name, text of a layout, or layout.
        source: ``generate`` (cached in ``$DFPLAN_CACHE`` or ``~/.cache/dfplan``), ``d4rl`` (through the d4rl package),
            or the path of a D4RL HDF5 file.
        rows: number of rows; by default as many as D4RL published, or all rows of a file.
        seed: seed of generated data.
        progress: whether to show a progress bar while data are generated.

    Raises:
        InputError: if there is no such maze or source, if the file cannot be used, or if it has fewer than ``rows``
            rows.
    """
    layout = find_layout(maze)
    if rows is not None and rows < 1:
        raise InputError(f"a data set needs at least 1 row, not {rows}.")
    if source == "generate":
        return _read_or_generate(layout, rows or DATASET_ROWS.get(layout.name, CUSTOM_DATASET_ROWS), seed, progress)
    dataset = _load_from_d4rl(layout) if source == "d4rl" else read_hdf5(source)
    available = len(dataset["observations"])
    if rows is not None and rows > available:
        raise InputError(f"{source} has {available} rows, not {rows}; ask for fewer.")
    return {key: column[:rows] for key, column in dataset.items()}


def write_hdf5(path: str | Path, dataset: Dataset) -> None:
    """Write a data set in D4RL's format, completely or not at all; an older file of the same name is replaced.

    The file is first made in memory, because HDF5 does not always report a full disk and may crash then.

    Raises:
        InputError: if the file cannot be written.
    """
    image = io.BytesIO()
    with h5py.File(image, "w") as file:
        for key, column in dataset.items():
            file.create_dataset(key, data=column)
        file.attrs[DIGEST] = _digest(dataset)
    write_file(path, image.getbuffer())


def read_hdf5(path: str | Path) -> Dataset:
    """Return the data set in a D4RL file, without keys that D4RL does not have.

    Raises:
        InputError: if the file is missing, is not HDF5, or lacks a key, or if a column has a wrong shape or contains
            values that are not finite numbers.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"there is no data set {path}; give a D4RL HDF5 file, or 'generate'.")
    try:
        with h5py.File(path, "r") as file:
            if missing := [key for key in COLUMNS if not isinstance(file.get(key), h5py.Dataset)]:
                raise InputError(f"{path} is not a D4RL maze data set: it has no {', '.join(missing)}.")
            dataset = {key: np.asarray(file[key]) for key in COLUMNS}
    except (OSError, RuntimeError) as error:
        raise InputError(f"{path} cannot be read as HDF5; it may be truncated or another kind of file.") from error
    return _check(str(path), dataset)


def find_cache_folder() -> Path:
    """Return the folder where generated data are cached: ``$DFPLAN_CACHE``, or ``~/.cache/dfplan``."""
    return Path(os.environ.get("DFPLAN_CACHE") or Path.home() / ".cache" / "dfplan")


def _check(source: str, dataset: Dataset) -> Dataset:
    """Check every column of a data set, and return the data set in D4RL's data types.

    Raises:
        InputError: if a column has a wrong shape or contains values that are not finite numbers.
    """
    rows = dataset["observations"].shape[0] if dataset["observations"].ndim else 0
    if rows == 0:
        raise InputError(f"{source} is not a D4RL maze data set: it has no rows.")
    for key, (width, _) in COLUMNS.items():
        expected = (rows,) if width is None else (rows, width)
        if dataset[key].shape != expected:
            raise InputError(f"{source}: {key} has the shape {dataset[key].shape}, not {expected}.")
        if dataset[key].dtype.kind not in "fiub":
            raise InputError(f"{source}: {key} must have numbers, not {dataset[key].dtype}.")
        if not np.isfinite(dataset[key]).all():
            raise InputError(f"{source}: {key} must have finite numbers, but has NaN or infinity.")
    return {key: dataset[key].astype(dtype, copy=False) for key, (_, dtype) in COLUMNS.items()}


def _read_or_generate(layout: Layout, rows: int, seed: int, progress: bool) -> Dataset:
    """Return a generated data set, from the cache if it is there; otherwise generate it and write it to the cache."""
    walls = hashlib.sha256("\n".join(layout.rows).encode()).hexdigest()[:8]
    name = f"maze2d-{layout.name}-{walls}-rows{rows}-noise{DATASET_NOISE}-seed{seed}-v{CACHE_VERSION}.hdf5"
    with contextlib.suppress(
        InputError, OSError, RuntimeError
    ):  # if it is not in the cache or damaged, it is generated
        return _read_verified(find_cache_folder() / name, rows)
    dataset = generate(layout, rows, seed=seed, progress=progress)
    with contextlib.suppress(
        InputError, OSError, RuntimeError
    ):  # if it cannot be cached, it is generated again next time
        write_hdf5(find_cache_folder() / name, dataset)
    return dataset


def _read_verified(path: Path, rows: int) -> Dataset:
    """Read a file of ``write_hdf5`` and return the data set if all columns are as they were written.

    Raises:
        InputError: if the file cannot be used, has another number of rows, or has other columns than were written.
    """
    dataset = read_hdf5(path)
    with h5py.File(path, "r") as file:
        written = file.attrs.get(DIGEST)
    if len(dataset["observations"]) != rows or _digest(dataset) != written:
        raise InputError(f"{path} does not contain the {rows} rows that were written to it; delete it.")
    return dataset


def _digest(dataset: Dataset) -> str:
    """Return a digest of all columns of a data set and their names."""
    digest = hashlib.sha256()
    for key in sorted(dataset):
        digest.update(key.encode())
        digest.update(np.ascontiguousarray(dataset[key]).data)
    return digest.hexdigest()


def _load_from_d4rl(layout: Layout) -> Dataset:
    """Return the data set that the d4rl package downloads.

    Raises:
        InputError: if the package cannot be imported or has no usable data set of this maze.
    """
    try:
        import d4rl  # noqa: F401 (registers the environments)
        import gym
    except Exception as error:  # without MuJoCo 2.1, d4rl raises many kinds of errors and not only ImportError
        raise InputError(
            f"the d4rl package cannot be imported ({find_reason(error)}): it needs gym, mujoco_py and MuJoCo 2.1; "
            "'generate' needs none of them and gives data of the same distribution."
        ) from error
    try:
        dataset = gym.make(f"maze2d-{layout.name}-v1").get_dataset()
        dataset = {key: np.asarray(dataset[key]) for key in COLUMNS}
    except Exception as error:  # d4rl has no common class for unknown ids, failed downloads and missing keys
        raise InputError(
            f"d4rl has no data set for maze2d-{layout.name}-v1 ({find_reason(error)}); use 'generate' or a file."
        ) from error
    return _check("d4rl", dataset)
