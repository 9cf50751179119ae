"""Training on one's own recording, from Python and by the command, in worlds that the tests make."""

import json
import re
import shlex
import shutil
import sys
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces

import dfplan
from dfplan.commands import train as command
from dfplan.data import value
from dfplan.envs.datasets import generate
from dfplan.ground.errors import InputError
from dfplan.recipes import choose_recipe
from dfplan.task import MAZE, Task
from dfplan.training import trainer


class Slope(gym.Env):
    """A point that is pushed along a line; the reward is its place, and below -1 it falls off."""

    observation_space = spaces.Box(-9, 9, (2,))

    def __init__(self, high=3):
        self.action_space = spaces.Box(-high, high, (1,))

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
        ({"minutes": float("inf")}, "minutes must be a finite number above 0, not inf"),
        ({"minutes": 1, "training": {"steps": 5}}, r"training\.steps cannot be given beside minutes"),
        ({"horizon": 4, "model": {"num_tokens": 5}}, r"model\.num_tokens cannot be given beside horizon"),
        ({"horizon": 4, "model": {"frame_stack": 2}}, r"model\.frame_stack cannot be given beside horizon"),
        ({"frame_stack": 4, "model": {"frame_stack": 2}}, r"model\.frame_stack cannot be given beside frame_stack"),
        ({"action_low": (-9.0,)}, r"the task has actions from \[-9.0\] to \[3.0\], but Slope-v0 has .*\[-3.0\]"),
        ({"recording": record(reward=1e38)}, "returns too large for float32"),
        ({"env": "Pendulum-v1"}, "2 observation channels, but the environment has 3"),
        ({"horizon": 0}, "horizon must be at least 1"),
        (
            {"recording": record(reward=0.0).take(5)},
            "nothing to plan for: by the rewards and ends in the recording no return is better",
        ),
        ({"seed": 3, "training": {"seed": 5}}, r"training\.seed cannot be given beside seed"),
        ({"steps": 3, "training": {"steps": 5}}, r"training\.steps cannot be given beside steps"),
        ({"training": {"dataset": "other.hdf5"}}, "the data set is the recording"),
        ({"training": {"rows": 100_000}}, "rows, not 100000"),
        ({"goal": 0}, "task.goal must be a list of channel numbers, such as"),
        ({"task": Task(3, 1, (-3.0,), (3.0,))}, r"the given task has .* sizes \(3, 1\), but Slope-v0 has \(2, 1\)"),
        ({"training": {"level_sampler": "mixed"}}, "did you mean mixture"),
    ],
)
def test_arguments_that_cannot_be_used_are_answered_in_a_sentence(tmp_path, arguments, message):
    with pytest.raises(InputError, match=message):
        dfplan.train(**({"recording": record(), "env": "Slope-v0", "output": tmp_path / "run"} | arguments))
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_the_rows_to_use_are_a_setting_of_the_training(tmp_path):
    dfplan.train(record(), "Slope-v0", output=tmp_path, steps=1, device="cpu", training={"rows": 20})
    state = dfplan.DFPlanner.load(tmp_path).model.codec
    short = record().take(20)
    np.testing.assert_allclose(state.mean[:2], short.observations.mean(axis=0), rtol=1e-5)


def test_a_maze_has_its_own_recipe_and_the_facts_that_are_given(tmp_path):
    recording = dfplan.Recording.from_rows(generate("umaze", 3000, seed=0))
    agent = dfplan.train(
        recording, "maze2d-umaze", output=tmp_path, steps=1, device="cpu", reward_of="transition", horizon=20
    )
    recipe = json.loads((tmp_path / "recipe.json").read_text())
    assert recipe["env_id"] == "maze2d-umaze-v1" and recipe["training"]["demonstrations"] == "re-executed"
    assert agent.task == replace(MAZE, reward_of="transition") and recipe["training"]["rows"] is None
    assert agent.model.config.horizon == 20


def test_tokens_are_shorter_where_episodes_are_short():
    task = Task(2, 1, (-3.0,), (3.0,), goal=(0,))
    model = choose_recipe("Slope-v0", task, record()).model
    assert (model.frame_stack, model.num_tokens) == (3, 4), "the episodes have 12 steps"


def test_a_run_is_resumed_in_its_own_world(tmp_path):
    dfplan.train(record(), "Slope-v0", output=tmp_path, steps=1, device="cpu")
    for arguments, message in (
        ({"env": Slope}, "the run to resume is of Slope-v0, not of Slope"),
        ({"env": "Pendulum-v1"}, "the run to resume is of Slope-v0, not of Pendulum-v1"),
        ({"recording": record(episodes=11)}, "was trained on another recording than the recording"),
        ({"env": "Slope-v0", "task": Task(2, 1)}, "the run to resume has another task"),
        ({"env": "Slope-v0", "goal": (0,)}, "a resumed run keeps its settings"),
    ):
        with pytest.raises(InputError, match=message):
            dfplan.train(**({"recording": record()} | arguments), output=tmp_path, resume=True, device="cpu")
    narrow = [{"observations": np.zeros((3, 1)), "actions": np.zeros((2, 1))}]
    with pytest.raises(InputError, match="1 observation channels, but the environment has 2"):
        dfplan.train(narrow, output=tmp_path, resume=True, device="cpu")
    assert dfplan.train(record(), output=tmp_path, resume=True, device="cpu").info["step"] == 1


def test_a_run_is_resumed_and_never_replaced(tmp_path):
    arguments = {"env": "Slope-v0", "output": tmp_path, "device": "cpu"}
    dfplan.train(record(), **arguments, steps=1)
    with pytest.raises(InputError, match=r"recipe\.json exists and is not replaced"):
        dfplan.train(record(), **arguments, steps=1)
    with pytest.raises(InputError, match="a resumed run keeps its settings"):
        dfplan.train(record(), **arguments, steps=2, resume=True)
    assert dfplan.train(record(), **arguments, resume=True).info["step"] == 1


def test_the_command_writes_a_card_that_speaks_of_this_world_and_can_be_run_again(run, tmp_path, monkeypatch):
    folder = run("--steps", "1", "--evaluate-every", "1", "--set", "model.width=32", "--horizon", "4")
    card = (folder / "README.md").read_text()
    assert card.startswith("# Diffusion Forcing on Slope-v0") and "maze" not in card
    for word in ("| planner |", "| planner-mcg |", "| policy |", "2 episodes, seed 1000", "success", "return"):
        assert word in card
    recipe = json.loads((folder / "recipe.json").read_text())
    assert recipe["model"]["width"] == 32 and recipe["model"]["num_tokens"] == 4
    words = shlex.split(re.search(r"Trained by `(.*)`", card)[1])
    monkeypatch.setattr(sys, "argv", [*words, "--episodes", "0", "--device", "cpu"])
    command.main()
    assert json.loads((tmp_path / "run-again" / "recipe.json").read_text()) == recipe


def read_recipe(folder):
    return json.loads((folder / "recipe.json").read_text())


def test_the_data_set_and_its_rows_may_be_settings(run, file, tmp_path):
    folder = run(
        "--steps",
        "1",
        "--episodes",
        "0",
        "--set",
        f"training.dataset={file}",
        "--set",
        "training.rows=20",
        dataset=None,
    )
    training = read_recipe(folder)["training"]
    assert (training["dataset"], training["rows"]) == (file, 20)
    short = dfplan.Recording.load(file).take(20)
    np.testing.assert_allclose(
        dfplan.DFPlanner.load(folder).model.codec.mean[:2], short.observations.mean(axis=0), rtol=1e-5
    )


def test_options_replace_the_configuration_file(run, tmp_path):
    (tmp_path / "own.toml").write_text("[model]\nnum_tokens = 9\nwidth = 16\n[training]\nsteps = 5\nbatch_size = 3\n")
    folder = run("--config", str(tmp_path / "own.toml"), "--steps", "1", "--horizon", "4", "--episodes", "0")
    recipe = read_recipe(folder)
    assert (recipe["model"]["num_tokens"], recipe["model"]["width"]) == (4, 16)
    assert (recipe["training"]["steps"], recipe["training"]["batch_size"]) == (1, 3)


@pytest.fixture
def silent(run):
    """Return a function that runs dfplan-train in the world of the tests with a goal, which the world does not tell."""
    return lambda *arguments: run("--goal", "0", "--steps", "1", *arguments)


def test_a_world_that_does_not_tell_its_goal_is_refused_unless_nothing_is_evaluated(silent, capsys):
    with pytest.raises(SystemExit) as ended:
        silent()
    assert ended.value.code == 2 and "tells none" in capsys.readouterr().err
    assert (silent("--evaluate-every", "0", "--episodes", "0") / "model.safetensors").exists()


def test_a_failed_evaluation_loses_no_training(run, monkeypatch, capsys):
    def fail(*_, **__):
        raise InputError("no such world.")

    monkeypatch.setattr(command, "evaluate", fail)
    monkeypatch.setattr(command, "write_card", fail)
    with (
        pytest.warns(UserWarning, match="cannot be evaluated during training: no such world"),
        pytest.raises(SystemExit),
    ):
        run("--steps", "2", "--evaluate-every", "1")
    assert "is complete, but it has no card: no such world." in capsys.readouterr().err


def test_the_task_may_bound_actions_and_episodes_where_the_world_does_not(run):
    unlimited = gym.registry["Slope-v0"]
    unlimited.kwargs["high"] = float("inf")
    try:
        bounds = ["--set", "task.action_low=[-3]", "--set", "task.action_high=[3]"]
        folder = run("--steps", "1", *bounds, "--set", "task.max_episode_steps=5")
        evaluation = dfplan.evaluate(dfplan.DFPlanner.load(folder), "Slope-v0", episodes=2)
    finally:
        del unlimited.kwargs["high"]
    assert evaluation.scores["length"].tolist() == [5, 5]
    assert "| planner |" in (folder / "README.md").read_text()


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
        (["--set", "training.steps=3"], "", "training.steps is given twice: by --steps and by --set"),
        (["--goal", "0", "--set", "task.goal=[0]"], "", "task.goal is given twice: by --goal and by --set"),
        (["--backbone", "rnn", "--set", "model.causal=false"], "", "model.causal cannot be given beside backbone"),
        (["--horizon", "4", "--set", "model.num_tokens=3"], "", "model.num_tokens cannot be given beside horizon"),
    ],
)
def test_bad_input_is_one_sentence_with_status_2(run, capsys, file, arguments, dataset, message):
    with pytest.raises(SystemExit) as ended:
        run(*arguments, "--steps", "1", dataset=file if dataset == "" else dataset)
    complaint = capsys.readouterr().err
    assert ended.value.code == 2 and message in complaint and complaint.count("\n") == 1


def test_a_resumed_run_keeps_its_value(tmp_path, monkeypatch):
    value_of = dfplan.train(record(), "Slope-v0", output=tmp_path, steps=1, device="cpu").model.value.to_tensors()

    def refuse(*_, **__):
        raise AssertionError("the value was fitted again")

    monkeypatch.setattr(trainer, "fit_value", refuse)
    again = dfplan.train(record(), output=tmp_path, resume=True, device="cpu").model.value.to_tensors()
    assert all(torch.equal(again[name], tensor) for name, tensor in value_of.items())


def test_plans_are_as_long_as_the_known_steps_of_the_longest_episode():
    episode = {"observations": np.zeros((4, 2)), "actions": np.zeros((4, 1)), "rewards": [0, 1, 2, 3]}
    recipe = choose_recipe("Slope-v0", Task(2, 1), dfplan.Recording.load([episode]))
    assert recipe.model.horizon == 3


def test_a_goal_in_a_world_that_tells_none_is_trained_where_nothing_is_evaluated(run, capsys):
    few = ("--steps", "2", "--batch-size", "2", "--episodes", "0", "--goal", "0")
    folder = run(*few)  # the first evaluation would be after 1000 updates
    assert dfplan.DFPlanner.load(folder).task.goal == (0,)
    shutil.rmtree(folder)
    with pytest.raises(SystemExit) as error:
        run(*few, "--evaluate-every", "1")
    assert error.value.code == 2 and "no model can be evaluated there" in capsys.readouterr().err
