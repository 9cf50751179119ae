"""Files of recordings: HDF5 of D4RL, npz of OGBench, and the data sets of Minari."""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from types import MappingProxyType
from typing import Any

import gymnasium
import h5py
import numpy as np

from dfplan.data.columns import FLAT, OTHER_NAMES, WIDE, Table, warn_of_unused
from dfplan.ground.errors import InputError, find_reason
from dfplan.ground.files import write_file
from dfplan.spaces import read_task
from dfplan.task import Task

MINARI = "minari:"  # prefix of a Minari id, for instance minari:D4RL/pointmaze/medium-v2
MINARI_ID = re.compile(r"([\w-]+/)*[\w-]+-v\d+")
INSTALL_MINARI = "pip install 'dfplan[minari]'"


def read_file(name: str) -> Table | list[dict[str, Any]]:
    """Return the columns in an HDF5 or npz file, or the episodes of a Minari data set, given its id or folder.

    Raises:
        InputError: if there is no such file or data set, or it cannot be read.
    """
    path = Path(name).expanduser()
    if name.startswith(MINARI):
        return _read_minari(name.removeprefix(MINARI))
    if path.is_dir():
        return _read_minari(path)
    if path.is_file():
        return _read_hdf5(path) if h5py.is_hdf5(path) else _read_npz(path)
    if path.suffix or path.is_absolute():
        raise InputError(f"there is no file {path} with a recording.")
    return _read_minari(name)


def read_ogbench(table: Mapping[str, np.ndarray]) -> Table:
    """Return D4RL's columns of OGBench's, whose ``terminals`` mark the last rows of episodes that were cut off."""
    return {"timeouts" if key == "terminals" else key: column for key, column in table.items()}


def write_hdf5(path: str | Path, table: Table) -> None:
    """Write columns to an HDF5 file, completely or not at all.

    The file is first made in memory, because HDF5 does not always report a full disk and may crash then.

    Raises:
        InputError: if the file cannot be written.
    """
    image = io.BytesIO()
    with h5py.File(image, "w") as file:
        for key, column in table.items():
            file.create_dataset(key, data=column)
    write_file(path, image.getbuffer())


def write_minari(
    dataset_id: str,
    env_id: str,
    episodes: list[dict[str, Any]],
    check: Callable[[Task], None],
    goal: Sequence[int] | None = None,
    about: Mapping[str, Any] = MappingProxyType({}),
) -> Any:
    """Write episodes into Minari's local store, and return Minari's data set.

    Args:
        dataset_id: for instance ``pendulum/mixed-v0``.
        env_id: Gymnasium id of the episodes' world.
        episodes: the columns of each episode, with one observation more than steps; ``goals`` has as many.
        check: raises ``InputError`` if the episodes are not of the world with this task.
        goal: observation channels that are the achieved goal in a goal environment; None to find them.
        about: what Minari is to keep about the data set, such as its ``author``.

    Raises:
        InputError: if minari is not installed or refuses the data set.
    """
    try:
        import minari
        from minari.data_collector import EpisodeBuffer
    except ImportError as error:
        raise InputError(f"minari is needed to write its data sets: {INSTALL_MINARI}.") from error
    if not MINARI_ID.fullmatch(dataset_id):
        raise InputError(f"an id of Minari is namespace/name-v0, like pendulum/mixed-v0, not {dataset_id}.")
    try:
        with closing(gymnasium.make(env_id)) as env:  # it imports the module in an id such as module:Env-v0
            is_dictionary = isinstance(env.observation_space, gymnasium.spaces.Dict)
            if goal is not None and not is_dictionary:
                raise InputError("the environment has no goals; leave out goal.")
            task = read_task(env, **({} if goal is None else {"goal": goal}))
            check(task)
            buffers = [
                EpisodeBuffer(
                    id=number,
                    observations=_nest_observations(episode, task.goal if is_dictionary else None),
                    actions=episode["actions"],
                    rewards=episode["rewards"].tolist(),
                    terminations=episode["terminals"].tolist(),
                    truncations=episode["timeouts"].tolist(),
                )
                for number, episode in enumerate(episodes)
            ]
            return minari.create_dataset_from_buffers(dataset_id, buffers, env=env.spec, **about)
    except InputError:
        raise
    except Exception as error:  # Minari has no common class for ids that exist and environments that do not
        raise InputError(f"Minari cannot write {dataset_id}: {find_reason(error)}.") from error


def _nest_observations(episode: dict[str, Any], goal: Sequence[int] | None) -> Any:
    """Return the observations of an episode as its environment gives them.

    Raises:
        InputError: if the environment has goals, but the episode has none.
    """
    observations = episode["observations"]
    if goal is None:
        return observations
    if not goal:
        return {"observation": observations}
    if "goals" not in episode:
        raise InputError("the environment has goals, but no goals were recorded; a data set of Minari needs them.")
    achieved = observations[:, list(goal)]
    return {"observation": observations, "desired_goal": episode["goals"], "achieved_goal": achieved}


def _read_hdf5(path: Path) -> Table:
    try:
        with h5py.File(path, "r") as file:
            known = (*WIDE, *FLAT, *OTHER_NAMES)
            table = {key: np.asarray(file[key]) for key in known if isinstance(file.get(key), h5py.Dataset)}
            if not table:
                return dict.fromkeys(file, np.zeros(0))  # for the message about what is missing
            warn_of_unused(file, str(path))
            return table
    except (OSError, RuntimeError) as error:
        raise InputError(f"{path} cannot be read as HDF5; it may be truncated or another kind of file.") from error


def _read_npz(path: Path) -> Table:
    """Return the columns of an npz file of D4RL or OGBench."""
    try:
        with np.load(path) as file:
            table = {key: file[key] for key in file}
    except Exception as error:  # NumPy raises many kinds of errors for damaged files
        raise InputError(f"{path} is neither an HDF5 nor an npz file, or it is damaged.") from error
    return table if {"rewards", "timeouts", *OTHER_NAMES} & set(table) else read_ogbench(table)


def _read_minari(dataset: str | Path) -> list[dict[str, Any]]:
    """Return the episodes of a Minari data set, by its id or its folder."""
    try:
        import minari
    except ImportError as error:
        raise InputError(
            f"there is no file {dataset}, and to read it as a Minari data set needs minari: {INSTALL_MINARI}."
        ) from error
    try:
        if isinstance(dataset, Path):
            data = dataset / "data" if (dataset / "data").is_dir() else dataset
            episodes = minari.MinariDataset(data)
        else:
            episodes = minari.load_dataset(dataset)
    except Exception as error:  # Minari has no common class for missing ids and damaged folders
        raise InputError(
            f"there is no recording {dataset}: it is no file, and Minari cannot load it ({find_reason(error)}); "
            f"`minari download {dataset}` gets a published data set."
        ) from error
    return [
        {
            "observations": episode.observations,
            "actions": episode.actions,
            "rewards": episode.rewards,
            "terminated": episode.terminations,
        }
        for episode in episodes.iterate_episodes()
    ]
