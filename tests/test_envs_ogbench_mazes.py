"""Data sets of OGBench's point mazes, compared with rows that its own script recorded."""

import os
import sys
from functools import cache
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from dfplan.commands import generate_data
from dfplan.envs import ogbench_mazes
from dfplan.envs.ogbench_mazes import OGBenchMaze, generate_ogbench
from dfplan.envs.ogbench_names import OGBenchName, parse_ogbench_name

pytest.importorskip("ogbench", reason="ogbench is not installed")
ROWS = os.environ.get("DFPLAN_OGBENCH_ROWS")
FILES = {
    "pointmaze-giant-stitch-v0": "pointmaze-giant-stitch-v0-first20100.npz",
    "pointmaze-giant-navigate-v0": "pointmaze-giant-navigate-v0-first20010.npz",
    "pointmaze-teleport-navigate-v0": "pointmaze-teleport-navigate-v0-first10010.npz",
}


@cache
def open_maze(maze):
    return OGBenchMaze(maze)


@cache
def make(kind, maze="giant", episodes=60):
    name = OGBenchName(maze, kind)
    columns = generate_ogbench(name, seed=5, episodes=episodes)
    return {key: column.reshape(episodes, name.episode_rows, -1) for key, column in columns.items()}


@pytest.mark.skipif(not ROWS, reason="DFPLAN_OGBENCH_ROWS names no folder with rows recorded by OGBench's script")
@pytest.mark.parametrize("name", FILES)
def test_recorded_transitions_are_replayed_exactly(name):
    with np.load(Path(ROWS or "") / FILES[name]) as file:
        columns = dict(file)
    row = np.flatnonzero(~columns["terminals"])
    maze = open_maze(parse_ogbench_name(name).maze)
    after, velocities = maze.step(columns["qpos"][row].astype(float), columns["actions"][row].astype(float))
    np.testing.assert_allclose(after, columns["observations"][row + 1], atol=1e-5)
    np.testing.assert_allclose(velocities, columns["qvel"][row + 1], atol=1e-4)
    assert (np.abs(velocities).max(axis=1) > 0.1).any(), "no contact was among them"


@pytest.mark.skipif(not ROWS, reason="DFPLAN_OGBENCH_ROWS names no folder with rows recorded by OGBench's script")
@pytest.mark.parametrize("name", FILES)
def test_columns_and_episodes_are_those_of_the_original(name):
    with np.load(Path(ROWS or "") / FILES[name]) as file:
        original = dict(file)
    found = parse_ogbench_name(name)
    made = generate_ogbench(found, episodes=2)
    assert {key: (one.dtype, one.shape[1:]) for key, one in made.items()} == {
        key: (one.dtype, one.shape[1:]) for key, one in original.items()
    }
    ends = [np.flatnonzero(columns["terminals"])[:2].tolist() for columns in (made, original)]
    assert ends[0] == ends[1] == [found.episode_rows - 1, 2 * found.episode_rows - 1]
    assert made["actions"].std(axis=0) == pytest.approx(original["actions"].std(axis=0), abs=0.05)


def test_a_step_is_that_of_the_environment():
    env = gym.make("pointmaze-large-v0").unwrapped
    maze, random = open_maze("large"), np.random.default_rng(0)
    np.random.seed(0)
    env.reset(options={"task_id": 1})
    for _ in range(300):  # into walls and corners
        action = np.sign(random.normal(size=2)) * [1.0, 1.0]
        before = env.get_xy()
        expected = env.step(action)[0]
        np.testing.assert_allclose(maze.step(before[None], action[None])[0][0], expected, atol=1e-6)


def test_ways_to_stitch_are_four_cells_long_and_end_at_rest():
    observed = make("stitch")["observations"]
    maze = open_maze("giant")
    starts, ends = (maze.cell_of(observed[:, row].astype(float)).T for row in (0, -1))
    ways = maze.lengths[(*ends, *starts)]
    assert np.median(ways) == 4 and (ways <= 5).all()
    assert np.abs(observed[:, 150:] - observed[:, -1:]).mean() < 1.0


def test_a_demonstrator_that_navigates_gets_a_new_goal_when_it_arrives():
    observed = make("navigate")["observations"]
    visited = [len(np.unique(open_maze("giant").cell_of(path.astype(float)), axis=0)) for path in observed]
    assert np.median(visited) > 20


def test_teleporters_carry_balls_to_their_exits_after_the_observation():
    data, maze = make("navigate", "teleport"), open_maze("teleport")
    is_carried = np.abs(data["qpos"] - data["observations"]).max(axis=-1) > 1e-6
    assert is_carried.sum() > 10
    near = np.linalg.norm(data["observations"][is_carried][:, None] - maze.teleporters, axis=-1).min(axis=1)
    assert (near <= ogbench_mazes.TELEPORT_RADIUS + 1e-4).all()
    exits = {tuple(place) for place in data["qpos"][is_carried].round(3).tolist()}
    assert exits == {tuple(place) for place in maze.exits.tolist()}


def test_the_same_seed_gives_the_same_data_and_the_validation_set_has_others():
    name = OGBenchName("medium", "stitch")
    one, same, other = (generate_ogbench(name, 1, validation, episodes=3) for validation in (False, False, True))
    assert all((one[key] == same[key]).all() for key in one) and (one["actions"] != other["actions"]).any()


def run_command(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["dfplan-data", *map(str, arguments)])
    generate_data.main()


def test_the_command_writes_a_training_and_a_validation_set(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(OGBenchName, "episodes", 20)
    run_command(monkeypatch, "pointmaze-medium-stitch-v0", "--output", tmp_path / "own.npz", "--seed", 3)
    for file, rows in (("own.npz", 4020), ("own-val.npz", 402)):
        with np.load(tmp_path / file) as columns:
            assert columns["observations"].shape == (rows, 2) and columns["terminals"].sum() == rows // 201
        assert f"wrote {rows} rows to {tmp_path / file}" in capsys.readouterr().out or file == "own-val.npz"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pointmaze-giant-v0"], "there is no data set 'pointmaze-giant-v0'; did you mean"),
        (["pointmaze-giant-stitch-v0", "--rows", "5"], "--rows is for D4RL's mazes"),
        (["pointmaze-giant-stitch-v0", "--output", "own.npz"], "own-val.npz exists and is not replaced"),
    ],
)
def test_the_command_answers_wrong_input_in_a_sentence(monkeypatch, tmp_path, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own-val.npz").write_text("mine")
    with pytest.raises(SystemExit) as ended:
        run_command(monkeypatch, *arguments)
    assert ended.value.code == 2 and message in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["own-val.npz"]
