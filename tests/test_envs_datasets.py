import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from dfplan.commands import generate_data
from dfplan.envs import datasets
from dfplan.envs.datasets import load_dataset, read_hdf5, write_hdf5
from dfplan.envs.demonstrations import COLUMNS, generate
from dfplan.envs.layouts import LAYOUTS
from dfplan.envs.physics import PointMassPhysics
from dfplan.ground.errors import InputError

ROWS = 30_000


@pytest.fixture(scope="module")
def umaze():
    return generate("umaze", ROWS, seed=1)


@pytest.fixture
def small():
    return generate("umaze", 50)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DFPLAN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_data_set_has_d4rls_keys_shapes_and_types(umaze):
    assert {key: (column.shape[1:], column.dtype) for key, column in umaze.items()} == {
        key: (() if width is None else (width,), np.dtype(dtype)) for key, (width, dtype) in COLUMNS.items()
    }
    assert all(len(column) == ROWS for column in umaze.values())
    assert not umaze["terminals"].any()


@pytest.mark.parametrize("rows", [1, 7, 2001])
def test_any_number_of_rows_can_be_generated_and_the_last_one_ends_a_stream(rows):
    dataset = generate("open", rows)
    assert len(dataset["observations"]) == rows and dataset["timeouts"][-1]


def test_statistics_of_a_sample_are_near_the_published_ones(umaze):
    # 30,000 rows are some 380 walks, so a mean is known to 5% of a deviation; the full size is checked by a benchmark.
    observations, actions = umaze["observations"], umaze["actions"]
    mean_error = (observations.mean(axis=0)[:2] - [1.9328, 2.3745]) / [0.8997, 0.7093]
    assert np.abs(mean_error).max() < 0.15
    np.testing.assert_allclose(observations.std(axis=0), [0.8997, 0.7093, 2.2129, 2.4682], rtol=0.06)
    np.testing.assert_allclose(actions.std(axis=0), [0.7043, 0.7506], rtol=0.03)
    assert abs(umaze["rewards"].mean() / 0.081254 - 1) < 0.35


def test_a_reward_belongs_to_its_row_and_the_fixed_goal(umaze):
    distance = np.linalg.norm(umaze["observations"][:, :2] - [1, 1], axis=1)
    assert (umaze["rewards"] == (distance <= 0.5)).all()


def test_timeouts_mark_exactly_where_the_goal_changes(umaze):
    changes = (umaze["infos/goal"][1:] != umaze["infos/goal"][:-1]).any(axis=1)
    assert (umaze["timeouts"][:-1] == changes).all()


def test_the_row_after_a_new_goal_repeats_the_observation_as_d4rl_does(umaze):
    start_of_stream = np.arange(ROWS) % 1000 == 0
    repeated = np.flatnonzero(umaze["timeouts"][:-1] & ~start_of_stream[1:]) + 1
    assert (umaze["observations"][repeated] == umaze["observations"][repeated - 1]).all()
    state = np.concatenate([umaze["infos/qpos"], umaze["infos/qvel"]], axis=1)
    differs = (state != umaze["observations"]).any(axis=1)
    assert (np.flatnonzero(differs) == repeated).all()


@pytest.mark.parametrize("maze", ["umaze", "large"])
def test_rows_recorded_by_d4rl_have_the_rewards_timeouts_and_repeated_rows_of_generated_ones(maze):
    rows = read_hdf5(Path(__file__).parent / "data" / f"maze2d-{maze}-100rows.hdf5")
    distance = np.linalg.norm(rows["observations"][:, :2] - LAYOUTS[maze].goal, axis=1)
    assert (rows["rewards"] == (distance <= 0.5)).all() and 0 < rows["rewards"].mean() < 1
    changes = (rows["infos/goal"][1:] != rows["infos/goal"][:-1]).any(axis=1)
    assert (rows["timeouts"][:-1] == changes).all() and changes.any()
    state = np.concatenate([rows["infos/qpos"], rows["infos/qvel"]], axis=1)
    assert ((state != rows["observations"]).any(axis=1)[1:] == changes).all()


def test_recorded_actions_lead_from_state_to_state(umaze):
    state = np.concatenate([umaze["infos/qpos"], umaze["infos/qvel"]], axis=1).astype(np.float64)
    stepped = PointMassPhysics(LAYOUTS["umaze"]).step(state[:999], umaze["actions"][:999])
    np.testing.assert_allclose(stepped, state[1:1000], atol=1e-4)


def test_data_depend_on_the_arguments_only():
    first, again, other = (generate("umaze", 500, seed=seed) for seed in (0, 0, 1))
    assert all((first[key] == again[key]).all() for key in first)
    assert (first["observations"] != other["observations"]).any()


def test_without_noise_actions_do_not_jump_from_row_to_row():
    jumps = [np.abs(np.diff(generate("umaze", 900, noise)["actions"], axis=0)).mean() for noise in (0.0, 0.5)]
    assert jumps[0] < 0.1 < 0.3 < jumps[1]


@pytest.mark.parametrize("arguments", [{"rows": 0}, {"rows": 9, "noise": -1.0}, {"rows": 9, "seed": -1}])
def test_invalid_numbers_are_input_errors(arguments):
    with pytest.raises(InputError):
        generate("umaze", **arguments)


def test_a_written_data_set_is_read_back_unchanged(small, tmp_path):
    write_hdf5(tmp_path / "new" / "data.hdf5", small)
    back = read_hdf5(tmp_path / "new" / "data.hdf5")
    assert back.keys() == small.keys() and all((back[key] == small[key]).all() for key in small)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["data.hdf5"]


def test_a_failed_write_leaves_the_old_file(small, tmp_path):
    (tmp_path / "data.hdf5").write_text("precious")
    with pytest.raises(TypeError):
        write_hdf5(tmp_path / "data.hdf5", {**small, "actions": object()})
    assert (tmp_path / "data.hdf5").read_text() == "precious"
    assert [path.name for path in tmp_path.iterdir()] == ["data.hdf5"]


def test_a_full_disk_is_an_input_error_and_leaves_the_old_file(small, tmp_path, full_disk):
    write_hdf5(tmp_path / "data.hdf5", small)
    larger = generate("umaze", 2000)
    for size in (5_000, 60_000, 100_000):  # of some 124,000
        with full_disk(size), pytest.raises(InputError, match="cannot write"):
            write_hdf5(tmp_path / "data.hdf5", larger)
    assert len(read_hdf5(tmp_path / "data.hdf5")["actions"]) == 50
    assert [path.name for path in tmp_path.iterdir()] == ["data.hdf5"]


def test_a_path_that_cannot_be_written_is_an_input_error(small, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot write"):
        write_hdf5(tmp_path / "file" / "data.hdf5", small)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"infos/goal": None}, "it has no infos/goal"),
        ({"actions": np.zeros((50, 3))}, r"actions has the shape \(50, 3\), not \(50, 2\)"),
        ({"rewards": np.zeros(49)}, "rewards has the shape"),
        ({"observations": np.full((50, 4), np.nan)}, "must have finite numbers"),
        ({"rewards": np.array([b"a"] * 50)}, "must have numbers, not"),
        ({"observations": np.zeros((0, 4))}, "no rows"),
    ],
)
def test_the_error_of_an_unusable_file_tells_the_reason(small, tmp_path, change, message):
    columns = {key: column for key, column in {**small, **change}.items() if column is not None}
    write_hdf5(tmp_path / "data.hdf5", columns)
    with pytest.raises(InputError, match=message):
        read_hdf5(tmp_path / "data.hdf5")


def test_missing_truncated_and_foreign_files_are_input_errors(small, tmp_path):
    with pytest.raises(InputError, match="there is no data set"):
        read_hdf5(tmp_path / "none.hdf5")
    write_hdf5(tmp_path / "data.hdf5", small)
    (tmp_path / "cut.hdf5").write_bytes((tmp_path / "data.hdf5").read_bytes()[:3000])
    (tmp_path / "text.hdf5").write_text("hello")
    for name in ("cut.hdf5", "text.hdf5"):
        with pytest.raises(InputError, match="cannot be read"):
            read_hdf5(tmp_path / name)


def test_generated_data_are_cached_and_read_again(cache, monkeypatch):
    first = load_dataset("maze2d-umaze-v1", rows=100)
    assert len(list(cache.iterdir())) == 1
    monkeypatch.setattr(datasets, "generate", None)
    assert (load_dataset("umaze", rows=100)["actions"] == first["actions"]).all()


def test_a_damaged_file_in_the_cache_is_generated_again(cache):
    first = load_dataset("umaze", rows=100)
    next(cache.iterdir()).write_text("damaged")
    assert (load_dataset("umaze", rows=100)["actions"] == first["actions"]).all()


def test_a_file_in_the_cache_with_changed_numbers_is_generated_again(cache):
    first = load_dataset("umaze", rows=100)
    with h5py.File(next(cache.iterdir()), "r+") as file:
        file["actions"][50:] = 0  # as a disk leaves what it lost
    for _ in range(2):
        assert (load_dataset("umaze", rows=100)["actions"] == first["actions"]).all()
    assert (read_hdf5(next(cache.iterdir()))["actions"] == first["actions"]).all()


def test_a_file_in_the_cache_with_a_wrong_number_of_rows_is_generated_again(cache):
    load_dataset("umaze", rows=100)
    kept = next(cache.iterdir())
    write_hdf5(kept, generate("umaze", 99))
    assert len(load_dataset("umaze", rows=100)["actions"]) == len(read_hdf5(kept)["actions"]) == 100


def test_data_are_returned_without_a_cached_file_if_the_disk_is_full(cache, full_disk):
    with full_disk(60_000):
        dataset = load_dataset("umaze", rows=2000)
    assert len(dataset["actions"]) == 2000 and not any(cache.iterdir())


def test_data_are_returned_even_if_the_cache_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("DFPLAN_CACHE", str(tmp_path / "file" / "cache"))
    assert len(load_dataset("umaze", rows=100)["actions"]) == 100


def test_data_can_be_read_from_a_file_whose_first_rows_are_used(small, tmp_path):
    write_hdf5(tmp_path / "data.hdf5", small)
    dataset = load_dataset("umaze", tmp_path / "data.hdf5", rows=20)
    assert (dataset["observations"] == small["observations"][:20]).all()
    with pytest.raises(InputError, match="has 50 rows, not 60"):
        load_dataset("umaze", tmp_path / "data.hdf5", rows=60)


def test_the_error_without_the_d4rl_package_tells_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "d4rl", None)
    with pytest.raises(InputError, match="'generate' needs none of them") as error:
        load_dataset("umaze", "d4rl")
    assert "\n" not in str(error.value)


def run_command(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["dfplan-data", *map(str, arguments)])
    generate_data.main()


def test_the_command_writes_a_file_that_h5py_reads(tmp_path, monkeypatch, capsys):
    output = tmp_path / "new" / "umaze.hdf5"
    run_command(monkeypatch, "maze2d-umaze", "--rows", 120, "--noise", 0.1, "--seed", 2, "--output", output)
    with h5py.File(output) as file:
        assert file["infos/goal"].shape == (120, 2)
        assert (file["actions"][:] == generate("umaze", 120, 0.1, 2)["actions"]).all()
    assert "wrote 120 rows" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments", [["maze2d-umze"], ["maze2d-umaze", "--rows", "-5"], ["maze2d-umaze", "--output", "FILE/data.hdf5"], []]
)
def test_the_command_ends_with_status_two_on_a_mistake_and_writes_nothing(tmp_path, monkeypatch, capsys, arguments):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "FILE").touch()
    with pytest.raises(SystemExit) as ending:
        run_command(monkeypatch, *arguments)
    assert ending.value.code == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["FILE"]


def test_the_command_ends_with_status_two_on_a_full_disk_and_leaves_nothing(tmp_path, monkeypatch, capsys, full_disk):
    with full_disk(60_000), pytest.raises(SystemExit) as ending:
        run_command(monkeypatch, "maze2d-umaze", "--rows", 2000, "--output", tmp_path / "umaze.hdf5")
    out, err = capsys.readouterr()
    assert ending.value.code == 2 and "wrote" not in out and "cannot write" in err.splitlines()[-1]
    assert not list(tmp_path.iterdir())


def test_the_command_does_not_replace_an_existing_file(tmp_path, monkeypatch, capsys):
    (tmp_path / "mine.hdf5").write_text("mine")
    monkeypatch.setattr(
        "sys.argv", ["dfplan-data", "maze2d-umaze", "--rows", "10", "--output", str(tmp_path / "mine.hdf5")]
    )
    with pytest.raises(SystemExit) as end:
        generate_data.main()
    assert end.value.code == 2 and "exists and is not replaced" in capsys.readouterr().err
    assert (tmp_path / "mine.hdf5").read_text() == "mine"


def test_a_file_that_another_command_writes_in_the_meantime_is_not_replaced(tmp_path, monkeypatch, capsys):
    output = tmp_path / "data.hdf5"

    def beside_another(*arguments, progress, **settings):
        output.write_text("another's")
        return generate(*arguments, **settings)

    monkeypatch.setattr(generate_data, "generate", beside_another)
    monkeypatch.setattr("sys.argv", ["dfplan-data", "umaze", "--rows", "50", "--output", str(output)])
    with pytest.raises(SystemExit) as ended:
        generate_data.main()
    assert ended.value.code == 2 and "was created in the meantime and is not replaced" in capsys.readouterr().err
    assert output.read_text() == "another's" and [file.name for file in tmp_path.iterdir()] == ["data.hdf5"]
