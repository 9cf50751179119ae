"""Training on one's own recording, from Python and by the command, in worlds that the tests make."""

import json
import sys

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

import dfplan
from dfplan.commands import train as command
from dfplan.data import value
from dfplan.ground.errors import InputError
from dfplan.task import Task


class Slope(gym.Env):
    """A point that is pushed along a line; the reward is its place, and below -1 it falls off."""

    observation_space = spaces.Box(-9, 9, (2,))
    action_space = spaces.Box(-3, 3, (1,))

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.state = np.array([self.np_random.uniform(-0.5, 0.5), 0.0], np.float32)
        self.steps = 0
        return self.state, {}

    def step(self, action):
        self.steps += 1
        self.state = np.array([self.state[0] + 0.1 * float(action[0]), self.steps / 10], np.float32)
        place = float(self.state[0])
        return self.state, place, place < -1, self.steps >= 12, {"success": place > 0.5}


gym.register("Slope-v0", "test_commands_runs:Slope")


def record(episodes=12, reward=1.0):
    """Return a recording of random pushes."""
    env, random, found = Slope(), np.random.default_rng(0), []
    for number in range(episodes):
        seen, acted, rewards, over = [env.reset(seed=number)[0]], [], [], False
        while not over:
            action = random.uniform(-3, 3, 1)
            observation, earned, ended, cut, _ = env.step(action)
            seen.append(observation)
            acted.append(action)
            rewards.append(reward * earned)
            over = ended or cut
        found.append(
            {"observations": np.array(seen), "actions": np.array(acted), "rewards": rewards, "terminated": ended}
        )
    return dfplan.Recording.load(found)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(value, "UPDATES", 3)
    monkeypatch.setattr(command, "EPISODES", 2)


@pytest.fixture
def file(tmp_path):
    record().save(tmp_path / "slope.hdf5")
    return str(tmp_path / "slope.hdf5")


@pytest.fixture
def run(monkeypatch, tmp_path, file):
    """Return a function that runs dfplan-train in the world of the tests."""

    def run(*arguments, dataset=file):
        words = ["dfplan-train", "Slope-v0", "--output", str(tmp_path / "run"), "--device", "cpu", *arguments]
        words += ["--dataset", dataset] if dataset else []
        monkeypatch.setattr(sys, "argv", words)
        command.main()
        return tmp_path / "run"

    return run


def test_a_recording_in_memory_becomes_an_agent_that_plans_and_is_evaluated(tmp_path):
    agent = dfplan.train(record(), "Slope-v0", output=tmp_path / "run", steps=2, device="cpu")
    assert agent.task.action_high == (3.0,) and agent.model.value is not None
    agent.reset(seed=0)
    observation = np.zeros(2)
    assert agent.act(observation).shape == (1,) and np.isfinite(agent.plan(observation).rewards.sum())
    evaluation = dfplan.evaluate(agent, "Slope-v0", episodes=3)
    assert evaluation.scores["return"].shape == (3,) and (evaluation.scores["length"] <= 12).all()


@pytest.mark.parametrize("env", [Slope(), Slope], ids=["environment", "factory"])
def test_the_world_may_be_an_environment_or_a_function_that_makes_one(tmp_path, env):
    agent = dfplan.train(record(), env, output=tmp_path, steps=1, device="cpu")
    assert agent.info["env_id"] == "Slope" and agent.task == Task(2, 1, (-3.0,), (3.0,))


def test_a_task_by_hand_needs_no_environment_and_its_goal_makes_plans_along_the_cost_to_go(tmp_path):
    task = Task(2, 1, (-3.0,), (3.0,), goal=(0,))
    agent = dfplan.train(record(), task=task, output=tmp_path, steps=1, device="cpu", horizon=6, frame_stack=2)
    assert agent.config.guidance.guide == "cost_to_go" and agent.model.config.num_tokens == 3
    agent.reset(goal=[0.5], seed=0)
    assert agent.act(np.zeros(2)).shape == (1,)


def test_settings_of_all_parts_may_be_given(tmp_path):
    settings = {"model": {"width": 32}, "training": {"batch_size": 4}, "reward_of": "state"}
    agent = dfplan.train(record(), "Slope-v0", output=tmp_path, steps=1, device="cpu", seed=5, **settings)
    recipe = json.loads((tmp_path / "recipe.json").read_text())
    assert agent.model.config.width == 32 and agent.task.reward_of == "state"
    assert (recipe["training"]["batch_size"], recipe["training"]["seed"]) == (4, 5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"env": None}, "needs the world of the recording"),
        ({"goals": (0,)}, "did you mean goal"),
        ({"model": {"widht": 3}}, "did you mean width"),
        ({"model": 3}, "model must be a dictionary"),
        ({"minutes": 1, "steps": 3}, "and not both"),
        ({"env": "Pendulum-v1"}, "2 observation channels, but the environment has 3"),
        ({"horizon": 0}, "horizon must be at least 1"),
        ({"recording": record(reward=0.0).take(5)}, "nothing to plan for: all rewards in the recording are 0"),
    ],
)
def test_arguments_that_cannot_be_used_are_answered_in_a_sentence(tmp_path, arguments, message):
    with pytest.raises(InputError, match=message):
        dfplan.train(**({"recording": record(), "env": "Slope-v0", "output": tmp_path / "run"} | arguments))
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_a_run_is_resumed_and_never_replaced(tmp_path):
    arguments = {"env": "Slope-v0", "output": tmp_path, "device": "cpu"}
    dfplan.train(record(), **arguments, steps=1)
    with pytest.raises(InputError, match=r"recipe\.json exists and is not replaced"):
        dfplan.train(record(), **arguments, steps=1)
    with pytest.raises(InputError, match="a resumed run keeps its settings"):
        dfplan.train(record(), **arguments, steps=2, resume=True)
    assert dfplan.train(record(), **arguments, resume=True).info["step"] == 1


def test_the_command_writes_a_card_that_speaks_of_this_world_and_can_be_run_again(run, tmp_path):
    folder = run("--steps", "1", "--evaluate-every", "1", "--set", "model.width=32", "--horizon", "4")
    card = (folder / "README.md").read_text()
    assert card.startswith("# Diffusion Forcing on Slope-v0") and "maze" not in card
    for word in ("| planner |", "| planner-mcg |", "| policy |", "2 episodes, seed 1000", "success", "return"):
        assert word in card
    recipe = json.loads((folder / "recipe.json").read_text())
    assert recipe["model"]["width"] == 32 and recipe["model"]["num_tokens"] == 4
    assert f"--config {folder}/recipe.json" in card
    run("--config", str(folder / "recipe.json"), "--episodes", "0", "--output", str(tmp_path / "again"))
    assert json.loads((tmp_path / "again" / "recipe.json").read_text()) == recipe


def test_the_command_resumes_with_the_recording_of_the_run(run):
    run("--steps", "1", "--episodes", "0")
    folder = run("--resume", "--episodes", "0", dataset=None)
    assert (folder / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("arguments", "dataset", "message"),
    [
        ([], None, "--dataset is needed: data are generated for D4RL's mazes only, not for Slope-v0"),
        ([], "missing.hdf5", "there is no file missing.hdf5"),
        (["--goal", "0,0"], "", "expected channel numbers such as 0,1, or none"),
        (["--goal", "7"], "", "the channels of goal must be different ones of 0 to 1"),
        (["--set", "model.widht=3"], "", "did you mean width"),
        (["--rows", "100000"], "", "rows, not 100000"),
        (["--demonstrations", "re-executed"], "", "re-executed"),
    ],
)
def test_bad_input_is_one_sentence_with_status_2(run, capsys, file, arguments, dataset, message):
    with pytest.raises(SystemExit) as ended:
        run(*arguments, "--steps", "1", dataset=file if dataset == "" else dataset)
    complaint = capsys.readouterr().err
    assert ended.value.code == 2 and message in complaint and complaint.count("\n") == 1
