"""Offline data sets in D4RL's format: generated (and kept), from D4RL's own files, or through the d4rl package.

A data set is a dictionary of arrays with D4RL's keys, see ``demonstrations.COLUMNS``.
"""

import contextlib
import hashlib
import io
import os
from pathlib import Path

import h5py
import numpy as np

from dfplan.envs.demonstrations import COLUMNS, DATASET_NOISE, Dataset, generate
from dfplan.envs.errors import InputError
from dfplan.envs.files import write_whole
from dfplan.envs.layouts import Layout, maze_layout

__all__ = ["DATASET_ROWS", "cache_folder", "generate", "load_dataset", "read_hdf5", "write_hdf5"]

DATASET_ROWS = {"open": 1_000_000, "umaze": 1_000_000, "medium": 2_000_000, "large": 4_000_000}  # as published
DATASET_ROWS |= {f"eval-{name}": DATASET_ROWS[name] for name in ("umaze", "medium", "large")}
CUSTOM_DATASET_ROWS = 1_000_000
CACHE_VERSION = 1  # to be raised when generated data change
DIGEST = "sha256"  # the attribute of a written file that tells the digest of its columns


def load_dataset(
    maze: str | Layout,
    source: str | Path = "generate",
    rows: int | None = None,
    seed: int = 0,
    progress: bool = False,
) -> Dataset:
    """Return a maze's data set.

    Args:
        maze: name or layout.
        source: ``generate`` (kept in ``$DFPLAN_CACHE`` or ``~/.cache/dfplan`` for the next time), ``d4rl`` (through the
            d4rl package), or the path of a D4RL HDF5 file.
        rows: rows wanted; by default as many as D4RL published, or all that a file has.
        seed: seed of generated data.
        progress: whether to show a progress bar while data are generated.

    Raises:
        InputError: if there is no such maze or source, the file cannot be used, or it has fewer than ``rows`` rows.
    """
    layout = maze_layout(maze)
    if rows is not None and rows < 1:
        raise InputError(f"a data set needs at least 1 row, not {rows}.")
    if source == "generate":
        return _generated_or_kept(layout, rows or DATASET_ROWS.get(layout.name, CUSTOM_DATASET_ROWS), seed, progress)
    dataset = _from_d4rl_package(layout) if source == "d4rl" else read_hdf5(source)
    available = len(dataset["observations"])
    if rows is not None and rows > available:
        raise InputError(f"{rows} rows were asked for, but {source} has {available}.")
    return {key: column[:rows] for key, column in dataset.items()}


def write_hdf5(path: str | Path, dataset: Dataset) -> None:
    """Write a data set in D4RL's format; a file of that name is replaced once all is written, or else left alone.

    The file is made in memory first. HDF5 does not always report that a disk is full, and may crash there.

    Raises:
        InputError: if the file cannot be written.
    """
    image = io.BytesIO()
    with h5py.File(image, "w") as file:
        for key, column in dataset.items():
            file.create_dataset(key, data=column)
        file.attrs[DIGEST] = _digest(dataset)
    write_whole(path, image.getbuffer())


def read_hdf5(path: str | Path) -> Dataset:
    """Return the data set in a D4RL file; what it has besides D4RL's keys is left out.

    Raises:
        InputError: if the file is missing, is no HDF5, or lacks a key, or if a key has a wrong shape, no numbers, or
            numbers that are not finite.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"there is no data set {path}; give a D4RL HDF5 file, or 'generate'.")
    try:
        with h5py.File(path, "r") as file:
            if missing := [key for key in COLUMNS if not isinstance(file.get(key), h5py.Dataset)]:
                raise InputError(f"{path} is no D4RL maze data set: it has no {', '.join(missing)}.")
            dataset = {key: np.asarray(file[key]) for key in COLUMNS}
    except (OSError, RuntimeError) as error:
        raise InputError(f"{path} cannot be read as HDF5; it may be truncated or another kind of file.") from error
    return _checked(str(path), dataset)


def cache_folder() -> Path:
    """Return the folder where generated data are kept: ``$DFPLAN_CACHE``, or ``~/.cache/dfplan``."""
    return Path(os.environ.get("DFPLAN_CACHE") or Path.home() / ".cache" / "dfplan")


def _checked(source: str, dataset: Dataset) -> Dataset:
    """Return the data set in D4RL's data types, once every key is known to be usable."""
    rows = dataset["observations"].shape[0] if dataset["observations"].ndim else 0
    if rows == 0:
        raise InputError(f"{source} is no D4RL maze data set: it has no rows.")
    for key, (width, _) in COLUMNS.items():
        expected = (rows,) if width is None else (rows, width)
        if dataset[key].shape != expected:
            raise InputError(f"{source}: {key} has the shape {dataset[key].shape}, not {expected}.")
        if dataset[key].dtype.kind not in "fiub":
            raise InputError(f"{source}: {key} has no numbers but {dataset[key].dtype}.")
        if not np.isfinite(dataset[key]).all():
            raise InputError(f"{source}: {key} has numbers that are not finite.")
    return {key: dataset[key].astype(dtype, copy=False) for key, (_, dtype) in COLUMNS.items()}


def _generated_or_kept(layout: Layout, rows: int, seed: int, progress: bool) -> Dataset:
    walls = hashlib.sha256("\n".join(layout.rows).encode()).hexdigest()[:8]
    name = f"maze2d-{layout.name}-{walls}-rows{rows}-noise{DATASET_NOISE}-seed{seed}-v{CACHE_VERSION}.hdf5"
    with contextlib.suppress(InputError, OSError, RuntimeError):  # nothing kept, no home, damaged: it is made anew
        return _read_whole(cache_folder() / name, rows)
    dataset = generate(layout, rows, seed=seed, progress=progress)
    with contextlib.suppress(InputError, OSError, RuntimeError):  # what cannot be kept costs time, nothing else
        write_hdf5(cache_folder() / name, dataset)
    return dataset


def _read_whole(path: Path, rows: int) -> Dataset:
    """Return the data set in a file that ``write_hdf5`` wrote, once it is known to have all its rows as written.

    Raises:
        InputError: if the file cannot be used, has another number of rows, or its columns are not those written.
    """
    dataset = read_hdf5(path)
    with h5py.File(path, "r") as file:
        written = file.attrs.get(DIGEST)
    if len(dataset["observations"]) != rows or _digest(dataset) != written:
        raise InputError(f"{path} does not hold the {rows} rows that were written to it; remove it.")
    return dataset


def _digest(dataset: Dataset) -> str:
    """Return a digest of all numbers of a data set."""
    digest = hashlib.sha256()
    for key in sorted(dataset):
        digest.update(key.encode())
        digest.update(np.ascontiguousarray(dataset[key]).data)
    return digest.hexdigest()


def _from_d4rl_package(layout: Layout) -> Dataset:
    try:
        import d4rl  # noqa: F401 (registers the environments)
        import gym
    except Exception as error:  # d4rl fails in many ways where MuJoCo 2.1 is missing, not only with ImportError
        reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
        raise InputError(
            f"the d4rl package cannot be imported ({reason}): it needs gym, mujoco_py and MuJoCo 2.1; "
            "'generate' needs none of them and gives data of the same distribution."
        ) from error
    try:
        dataset = gym.make(f"maze2d-{layout.name}-v1").get_dataset()
        dataset = {key: np.asarray(dataset[key]) for key in COLUMNS}
    except Exception as error:  # unknown ids, downloads that fail, missing keys: d4rl has no common class for them
        reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
        raise InputError(
            f"d4rl has no data set for maze2d-{layout.name}-v1 ({reason}); use 'generate' or a file."
        ) from error
    return _checked("d4rl", dataset)
