"""The study of other worlds than mazes, in two small worlds: one with a return, and one with a goal."""

import gymnasium as gym
import numpy as np
import pytest
from matplotlib.figure import Figure

from dfplan.benchmarks import own_worlds
from dfplan.benchmarks.evaluation import episodes
from dfplan.benchmarks.evaluation.statistics import Estimate
from dfplan.benchmarks.own_worlds import OwnWorld, Settings, load_recording, study
from dfplan.benchmarks.reporting.ablation import Run
from dfplan.data import value
from dfplan.data.recording import Recording
from dfplan.ground.errors import InputError

LINE, PLANE = OwnWorld("Line-v0", "line.hdf5"), OwnWorld("GoalLine-v0", "plane.npz")


def record(env_id):
    """Return a recording of random actions."""
    env, random, found = gym.make(env_id), np.random.default_rng(0), []
    for number in range(8):
        observation, over = env.reset(seed=number)[0], False
        episode = {"observations": [], "actions": [], "rewards": []}
        while not over:
            episode["observations"].append(observation)
            episode["actions"].append(random.uniform(env.action_space.low, env.action_space.high))
            observation, reward, ended, cut, _ = env.step(episode["actions"][-1])
            episode["rewards"].append(reward)
            over = ended or cut
        seen = [*episode["observations"], observation]
        seen = [one["observation"] if isinstance(one, dict) else one for one in seen]
        found.append({name: np.array(column) for name, column in episode.items()})
        found[-1] |= {"observations": np.array(seen), "terminated": ended}
    return Recording.from_episodes(found)


@pytest.fixture
def worlds(monkeypatch, tmp_path):
    gym.register("Line-v0", "small_worlds:Line", max_episode_steps=20)
    gym.register("GoalLine-v0", "small_worlds:GoalLine", max_episode_steps=20)
    monkeypatch.setattr(own_worlds, "WORLDS", {"line": LINE, "plane": PLANE})
    monkeypatch.setenv("DFPLAN_WORLDS", str(tmp_path))
    for world in (LINE, PLANE):
        record(world.env_id).save(tmp_path / world.file)
    yield tmp_path
    del gym.registry["Line-v0"], gym.registry["GoalLine-v0"]


def test_it_scores_all_agents_in_worlds_with_and_without_a_goal(worlds, monkeypatch):
    monkeypatch.setattr(value, "UPDATES", 2)
    monkeypatch.setattr(own_worlds, "HORIZONS", (1, 2))
    monkeypatch.setattr(episodes, "LATENCY_SECONDS", 1e-9)  # one decision
    settings = Settings(("line", "plane"), ("line",), episodes=2, futures=(2,), training_seeds=(0, 1), steps=1)
    findings = study(settings, Run(seed=1, device="cpu", output=worlds / "out"))
    scores = findings.tables["scores"]
    agents = {name: [row["agent"] for row in scores if row["world"] == name] for name in settings.worlds}
    assert agents["line"] == ["the recording", "random", *own_worlds.RETURN_AGENTS]
    assert agents["plane"] == ["the recording", "random", *own_worlds.GOAL_AGENTS]
    assert scores[0]["return"].value == pytest.approx(load_recording(LINE).returns.mean())
    assert all(isinstance(row["return"], Estimate) and np.isfinite(row["return"].value) for row in scores)
    trained = [row for row in scores if row["agent"] not in ("random", "the recording")]
    assert {row["episodes"] for row in trained} == {4}, "of two networks"
    assert [row["futures"] for row in findings.tables["Monte-Carlo guidance"]] == [2]
    assert [row["horizon"] for row in findings.tables["horizon"]] == [1, 2]
    assert isinstance(findings.figures["returns"], Figure) and findings.trainings == 2


def test_the_folder_of_the_recordings_must_be_named_and_hold_them(worlds, monkeypatch, tmp_path):
    assert len(load_recording(LINE).lengths) == 8
    with pytest.raises(InputError, match=r"there is no file .*missing\.hdf5"):
        load_recording(OwnWorld("Line-v0", "missing.hdf5"))
    monkeypatch.delenv("DFPLAN_WORLDS")
    with pytest.raises(InputError, match="set the environment variable DFPLAN_WORLDS"):
        load_recording(LINE)
