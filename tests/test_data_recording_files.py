"""Files of recordings: D4RL's HDF5, OGBench's and D4RL's npz, Minari's data sets."""

import os
import warnings
from pathlib import Path

import gymnasium as gym
import h5py
import numpy as np
import pytest

from dfplan.data.recording import Recording
from dfplan.ground.errors import InputError

WORLDS = os.environ.get("DFPLAN_WORLDS")
TABLE = {
    "observations": np.arange(8.0).reshape(4, 2),
    "actions": np.zeros((4, 1)),
    "rewards": np.ones(4),
    "terminals": np.array([False, True, False, False]),
    "timeouts": np.array([False, False, False, True]),
}


def test_standard_keys_of_d4rl_suffice_and_others_are_ignored(tmp_path):
    with h5py.File(tmp_path / "rows.hdf5", "w") as file:
        for key, column in (TABLE | {"metadata/algorithm": np.zeros(3)}).items():
            file[key] = column
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        recording = Recording.load(tmp_path / "rows.hdf5")
    assert recording.num_episodes == 2 and recording.is_absorbing.sum() == 1 and recording.num_steps == 4


def test_terminals_of_ogbench_mark_the_last_rows_of_episodes_that_were_cut_off(tmp_path):
    ogbench = {key: TABLE[key] for key in ("observations", "actions", "terminals")}
    np.savez(tmp_path / "ogbench.npz", **ogbench)
    recording = Recording.load(str(tmp_path / "ogbench.npz"))
    assert recording.is_last.tolist() == [False, True, False, True] and not recording.is_absorbing.any()


def test_columns_of_d4rl_in_an_npz_file_mean_what_they_mean_in_d4rl(tmp_path):
    np.savez(tmp_path / "d4rl.npz", **TABLE)
    assert Recording.load(tmp_path / "d4rl.npz").is_absorbing.sum() == 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("data.hdf5", None, "there is no file"),
        ("data.hdf5", b"\x89HDF\r\n\x1a\n" + b"0" * 99, "truncated or another kind"),
        ("data.npz", b"PK damaged", "neither an HDF5 nor an npz file"),
        ("data.csv", b"1,2,3", "neither an HDF5 nor an npz file"),
    ],
)
def test_files_that_cannot_be_read_are_answered_in_a_sentence(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        Recording.load(tmp_path / name)
    assert "\n" not in str(error.value)


def test_an_hdf5_file_without_any_column_says_what_it_has(tmp_path):
    with h5py.File(tmp_path / "other.hdf5", "w") as file:
        file["pictures"] = np.zeros(3)
    with pytest.raises(InputError, match="has no observations and actions; it has pictures"):
        Recording.load(tmp_path / "other.hdf5")


def test_other_names_in_an_hdf5_file_are_understood_or_reported(tmp_path):
    named = {"terminated": TABLE["terminals"], "truncated": TABLE["timeouts"], "reward": TABLE["rewards"]}
    with h5py.File(tmp_path / "rows.hdf5", "w") as file:
        for key, column in ({key: TABLE[key] for key in ("observations", "actions")} | named).items():
            file[key] = column
    with pytest.warns(UserWarning, match=r"columns of .*rows\.hdf5 are not used: reward; known are"):
        recording = Recording.load(tmp_path / "rows.hdf5")
    assert recording.is_absorbing.sum() == 1 and recording.num_episodes == 2


@pytest.fixture
def minari_store(tmp_path, monkeypatch):
    pytest.importorskip("minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    return tmp_path


def test_a_recording_goes_through_minari_by_its_id_and_by_its_folder(minari_store):
    observations = np.arange(12.0).reshape(4, 3)
    recording = Recording.from_rows(TABLE | {"observations": observations, "next_observations": observations + 3})
    recording.save_minari("pendulum/test-v0", "Pendulum-v1")
    for source in ("pendulum/test-v0", "minari:pendulum/test-v0", minari_store / "pendulum" / "test-v0"):
        found = Recording.load(source)
        for name in ("observations", "actions", "rewards", "is_last", "is_absorbing", "is_final"):
            np.testing.assert_array_equal(getattr(found, name), getattr(recording, name))
    with pytest.raises(InputError, match="Minari cannot write pendulum/test-v0"):
        recording.save_minari("pendulum/test-v0", "Pendulum-v1")


@pytest.fixture
def goal_line():
    """The id of a goal environment."""
    gym.register("GoalLine-v0", "small_worlds:GoalLine", max_episode_steps=5)
    yield "GoalLine-v0"
    del gym.registry["GoalLine-v0"]


def test_what_is_achieved_in_minari_are_the_goal_channels_of_the_observations(minari_store, goal_line):
    observations = {"observation": np.arange(6.0).reshape(3, 2), "desired_goal": np.full((3, 2), 9.0)}
    episode = {"observations": observations, "actions": np.zeros((2, 2)), "terminated": False}
    minari = pytest.importorskip("minari")
    recording = Recording.load([episode])
    recording.save_minari("line/test-v0", goal_line)
    (found,) = minari.load_dataset("line/test-v0").iterate_episodes()
    np.testing.assert_array_equal(found.observations["achieved_goal"], observations["observation"])
    np.testing.assert_array_equal(found.observations["desired_goal"], observations["desired_goal"])
    np.testing.assert_array_equal(Recording.load("line/test-v0").goals, recording.goals)
    with pytest.raises(InputError, match="has goals, but no goals were recorded"):
        Recording.load([episode | {"observations": np.zeros((3, 2))}]).save_minari("line/other-v0", goal_line)


def test_a_name_that_is_neither_file_nor_minari_id_is_answered_in_a_sentence(minari_store):
    with pytest.raises(InputError, match=r"it is no file, and Minari cannot load it .*`minari download D4RL/none-v0`"):
        Recording.load("D4RL/none-v0")


@pytest.mark.skipif(not WORLDS, reason="DFPLAN_WORLDS names no folder with recordings")
@pytest.mark.parametrize(
    ("name", "steps", "episodes", "terminated"),
    [
        ("Pendulum-v1.hdf5", 100_000, 500, 0),
        ("Reacher-v5.hdf5", 100_000, 2000, 0),
        ("InvertedPendulum-v5.hdf5", 60_539, 74, 16),
        ("PointMaze_Medium-v3.hdf5", 120_000, 200, 0),
        ("pointmaze-medium-own-v0.npz", 200_000, 200, 0),
    ],
)
def test_recordings_of_users_are_read(name, steps, episodes, terminated):
    recording = Recording.load(Path(WORLDS) / name)
    assert (recording.num_steps, recording.num_episodes) == (steps, episodes)
    assert recording.is_absorbing.sum() == terminated


def test_last_steps_without_an_observation_after_them_are_reported_and_left_out(minari_store):
    table = {"observations": np.arange(12.0).reshape(4, 3), "terminals": np.zeros(4)}
    recording = Recording.from_rows(TABLE | table | {"timeouts": np.array([0, 1, 0, 1])})
    with pytest.warns(UserWarning, match="the last steps of 2 of 2 episodes are not written"):
        recording.save_minari("pendulum/cut-v0", "Pendulum-v1")
    assert Recording.load("pendulum/cut-v0").num_steps == recording.num_steps - 2


def test_minari_gets_no_recording_of_another_world_and_no_id_of_another_form(minari_store):
    table = TABLE | {"next_observations": TABLE["observations"]}
    with pytest.raises(InputError, match="has 2 observation channels, but the environment has 3"):
        Recording.from_rows(table).save_minari("pendulum/test-v0", "Pendulum-v1")
    with pytest.raises(InputError, match="an id of Minari is namespace/name-v0, like pendulum/mixed-v0, not hello"):
        Recording.from_rows(table).save_minari("hello", "Pendulum-v1")


def test_a_data_set_of_minari_has_the_author_that_is_given(minari_store):
    observations = np.arange(12.0).reshape(4, 3)
    recording = Recording.from_rows(TABLE | {"observations": observations, "next_observations": observations})
    data = recording.save_minari("pendulum/test-v0", "Pendulum-v1", author="Ada")
    assert data.storage.metadata["author"] in ("Ada", {"Ada"})
