"""The snippets of the README's sections on your own environment and data, and on OGBench, run with tiny budgets."""

import re
import shlex
import sys
from importlib.util import find_spec
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from dfplan.benchmarks.evaluation import episodes
from dfplan.commands import bench, generate_data, runs, train
from dfplan.data import value
from dfplan.data.recording import Recording

README = (Path(__file__).resolve().parent.parent / "README.md").read_text(encoding="utf-8")
MAINS = {"dfplan-train": train.main, "dfplan-bench": bench.main, "dfplan-data": generate_data.main}
NEEDED = {"ogbench": "ogbench", "gymnasium_robotics": "gymnasium_robotics", "minari": "minari"}
MINARI_ID = "D4RL/pointmaze/medium-v2"


def snippets(language, section="Your own environment and data"):
    text = README.split(f"## {section}\n")[1].split("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def record_pendulum():
    env, found = gym.make("Pendulum-v1", max_episode_steps=30), []
    env.action_space.seed(0)
    for seed in range(3):
        seen, acted, rewards, cut = [env.reset(seed=seed)[0]], [], [], False
        while not cut:
            action = env.action_space.sample()
            observation, reward, _, cut, _ = env.step(action)
            seen.append(observation)
            acted.append(action)
            rewards.append(reward)
        found.append({"observations": np.array(seen), "actions": np.array(acted), "rewards": rewards})
    return Recording.load(found)


def record_circles(size):
    """Return a recording of a point that goes round and round in a plane, with ``size`` observation channels."""
    angle = np.arange(400) / 20
    observations = np.stack([np.cos(angle), np.sin(angle), -np.sin(angle), np.cos(angle)], axis=1)[:, :size]
    actions = np.stack([-np.sin(angle), np.cos(angle)], axis=1)
    return {"observations": observations, "actions": actions, "terminals": np.arange(400) % 200 == 199}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the recordings that the README speaks of."""
    folder = tmp_path_factory.mktemp("readme")
    record_pendulum().save(folder / "pendulum.hdf5")
    np.savez(folder / "data.npz", **record_circles(2))
    return folder


@pytest.fixture(autouse=True)
def tiny(monkeypatch, folder):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(folder / "minari"))
    for module in (train, runs):
        monkeypatch.setattr(module, "count_steps", lambda trainer, minutes: 2)
    monkeypatch.setattr(train, "EPISODES", 1)
    monkeypatch.setattr(value, "UPDATES", 2)
    monkeypatch.setattr(episodes, "LATENCY_SECONDS", 1e-9)


def run_command(line, monkeypatch):
    """Run a command with a budget that is as small as possible."""
    line = line.split("#")[0]
    words = shlex.split(line)
    if words[0] == "dfplan-train":
        words += ["--evaluate-every", "0", "--device", "cpu"]
        words += [] if "--minutes" in words else ["--steps", "1"]
        words += [] if words[1].startswith("Pendulum") else ["--episodes", "0"]
    elif words[0] == "dfplan-bench":
        words = [*shlex.split(line.replace(" --episodes 20", "")), "--episodes", "1", "--max-steps", "5"]
    monkeypatch.setattr(sys, "argv", words)
    MAINS[words[0]]()


def test_the_commands_of_the_readme_run(monkeypatch, folder, capsys):
    for line in [line for block in snippets("bash") for line in block.splitlines()]:
        missing = [name for word, name in NEEDED.items() if word in line and find_spec(name) is None]
        if missing:
            continue
        if "minari:" in line:
            columns = record_circles(4)
            columns |= {"timeouts": columns.pop("terminals"), "infos/goal": np.ones((400, 2))}
            Recording.from_rows(columns).save_minari(MINARI_ID, "gymnasium_robotics:PointMaze_Medium-v3")
        run_command(line, monkeypatch)
    assert (folder / "runs" / "again" / "recipe.json").exists()
    assert (folder / "runs" / "pendulum" / "README.md").exists()


def test_the_python_of_the_readme_runs(folder, monkeypatch, capsys):
    if not (folder / "runs" / "pendulum").exists():
        run_command(snippets("bash")[0].splitlines()[0], monkeypatch)
    names = {}
    first, second = snippets("python")
    exec(first.replace("episodes=20", "episodes=1"), names)
    exec(second, names)
    assert names["action"].shape == (1,) and np.isfinite(names["predicted"])
    assert "Pendulum-v1, 1 episode: return" in capsys.readouterr().out


def test_the_commands_on_ogbench_run(monkeypatch, folder, capsys):
    pytest.importorskip("ogbench", reason="ogbench is not installed")
    install, *commands = snippets("bash", "OGBench's point mazes")[0].splitlines()
    assert install.startswith("pip install")
    for line in commands:
        run_command(line, monkeypatch)
    written = Recording.load(folder / "giant-stitch.npz")
    assert written.num_episodes == 5000 and written.num_rows == 5000 * 201
