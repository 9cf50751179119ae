import json
import re
import shlex
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torchrun import torchrun

from dfplan.agents import DFPlanner
from dfplan.benchmarks.evaluation import episodes
from dfplan.benchmarks.evaluation.environments import find_env_id, read_task_by_id
from dfplan.benchmarks.reporting.provenance import describe_commit, digest_training_code
from dfplan.commands import train
from dfplan.commands.model_card import format_training_command
from dfplan.config import read_model_config
from dfplan.data.recording import Recording
from dfplan.envs.ogbench_names import find_ogbench
from dfplan.ground.errors import InputError
from dfplan.ground.files import LOCK_NAME, lock_folder
from dfplan.ground.processes import Processes
from dfplan.model.diffusion_forcing import DiffusionForcing
from dfplan.recipes import BACKBONE_SETTINGS, RECIPES, suit_recipe
from dfplan.training.checkpoint import OF_STUDIES, SHIPPED, load_checkpoint
from dfplan.training.trainer import Trainer


@pytest.fixture
def command(monkeypatch, tmp_path):
    """Return a function that runs dfplan-train on umaze with a small model and few rows."""
    monkeypatch.setenv("DFPLAN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(episodes, "LATENCY_SECONDS", 1e-9)  # one decision; timing has its own tests

    def run(*arguments):
        small = ["--rows", "3000", "--batch-size", "2", "--evaluate-every", "0"]
        words = ["dfplan-train", "maze2d-umaze", "--output", str(tmp_path / "run"), *small, *arguments]
        monkeypatch.setattr("sys.argv", words)
        train.main()
        return tmp_path / "run"

    return run


def logged(folder):
    return EventAccumulator(str(folder / "tensorboard")).Reload()


def test_a_run_leaves_a_checkpoint_a_card_with_scores_and_tensorboard_logs(command):
    folder = command("--steps", "2", "--episodes", "2", "--seed", "3")
    card = (folder / "README.md").read_text()
    assert "--steps 2 --batch-size 2 --precision" in card and "--rows 3000 --seed 3`" in card
    assert "generated, seed 3" in card
    assert "| planner |" in card and "| policy |" in card and "2 episodes, seed 1000," in card
    assert f"\n{describe_commit()}, training code {digest_training_code()}.\n" in card
    assert load_checkpoint(folder / "model.safetensors")[1]["env_id"] == "maze2d-umaze-v1"
    assert list((folder / "tensorboard").iterdir())
    assert DFPlanner.load(folder).model.config.num_tokens == 18


def test_the_card_names_the_recipe_if_there_is_no_option_for_a_setting(command, tmp_path, monkeypatch):
    folder = command("--steps", "1", "--episodes", "1", "--set", "training.ema_decay=0.5", "--set", "model.width=32")
    words = shlex.split(re.search(r"Trained by `(.*)`", (folder / "README.md").read_text())[1])
    assert words[1:3] == ["maze2d-umaze-v1", "--config"]
    monkeypatch.setattr("sys.argv", [*words, "--episodes", "0", "--evaluate-every", "0"])
    train.main()
    assert (tmp_path / "run-again" / "recipe.json").read_text() == (folder / "recipe.json").read_text()


def test_resuming_a_finished_run_writes_its_card_again_with_the_same_command(command):
    folder = command("--steps", "1", "--episodes", "1")
    card = (folder / "README.md").read_text()
    (folder / "README.md").unlink()
    command("--episodes", "1", "--resume")
    again = (folder / "README.md").read_text()
    assert again.splitlines()[2:5] == card.splitlines()[2:5]


def test_minutes_are_converted_to_steps_once_and_a_resumed_run_keeps_them(command):
    folder = command("--minutes", "0.0001", "--episodes", "0")
    assert json.loads((folder / "recipe.json").read_text())["training"]["steps"] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--steps", "0"], "expected a whole number of 1 or more, not '0'"),
        (["--rows", "-5"], "expected a whole number of 1 or more, not '-5'"),
        (["--dataset", "missing.hdf5"], "there is no data set missing.hdf5"),
        (["--resume"], "contains no run to resume"),
        (["--device", "gpu"], "there is no device 'gpu'"),
    ],
)
def test_bad_input_is_an_error_of_one_sentence_with_status_2(command, capsys, arguments, message):
    with pytest.raises(SystemExit) as exit:
        command(*arguments)
    assert exit.value.code == 2
    complaint = capsys.readouterr().err
    assert message in complaint and "Traceback" not in complaint


def test_an_existing_run_is_not_overwritten(command, capsys):
    folder = command("--steps", "1", "--episodes", "0")
    before = (folder / "model.safetensors").read_bytes()
    with pytest.raises(SystemExit):
        command("--steps", "3", "--episodes", "0")
    assert "recipe.json exists and is not replaced" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        command("--steps", "3", "--resume")
    assert "has --steps 1, not 3" in capsys.readouterr().err
    assert (folder / "model.safetensors").read_bytes() == before


def test_two_runs_do_not_share_a_folder(command, tmp_path, capsys):
    with lock_folder(tmp_path / "run"), pytest.raises(SystemExit) as ended:
        command("--steps", "1", "--episodes", "0")
    assert ended.value.code == 2 and "run is in use by another process" in capsys.readouterr().err
    assert not [file for file in (tmp_path / "run").iterdir() if file.name != LOCK_NAME]


def test_a_run_that_starts_after_the_first_check_is_not_replaced(command, tmp_path, monkeypatch, capsys):
    def after_another(folder, lock_folder=train.lock_folder):
        folder.mkdir()
        (folder / "model.safetensors").write_text("another's")
        return lock_folder(folder)

    monkeypatch.setattr(train, "lock_folder", after_another)
    with pytest.raises(SystemExit) as ended:
        command("--steps", "1", "--episodes", "0")
    assert ended.value.code == 2 and "model.safetensors exists and is not replaced" in capsys.readouterr().err
    assert (tmp_path / "run" / "model.safetensors").read_text() == "another's"


def test_a_card_that_was_changed_by_hand_is_kept_when_its_run_is_resumed(command, capsys):
    folder = command("--steps", "1", "--episodes", "1")
    command("--episodes", "1", "--resume")  # an untouched one is written anew
    card = folder / "README.md"
    card.write_text(card.read_text().replace("# Diffusion Forcing", "# My model"))
    with pytest.raises(SystemExit) as ended:
        command("--episodes", "1", "--resume")
    assert ended.value.code == 2 and "README.md was changed by hand and is not replaced" in capsys.readouterr().err
    assert card.read_text().startswith("# My model")
    command("--episodes", "0", "--resume")


def test_a_folder_is_locked_while_a_model_is_trained_and_free_afterwards(command, tmp_path, monkeypatch):
    def update(self, update=Trainer.update):
        with pytest.raises(InputError, match="in use"), lock_folder(tmp_path / "run"):
            pass
        return update(self)

    monkeypatch.setattr(Trainer, "update", update)
    folder = command("--steps", "1", "--episodes", "0")
    with lock_folder(folder):
        found = {file.name for file in folder.iterdir()} - {LOCK_NAME}
    assert found == {"model.safetensors", "recipe.json", "state.pt", "tensorboard"}


def test_an_evaluation_during_training_is_logged_with_pictures_and_uses_the_seed_for_choosing(command, monkeypatch):
    seeds, evaluate = [], train.evaluate
    monkeypatch.setattr(
        train, "evaluate", lambda agent, asked, label: seeds.append(asked.seed) or evaluate(agent, asked, label)
    )
    folder = command("--steps", "1", "--episodes", "0", "--evaluate-every", "1")
    log = logged(folder)
    assert {"train/loss", "train/learning_rate", "train/tokens_per_second"} <= set(log.Tags()["scalars"])
    assert "evaluation/normalized" in log.Tags()["scalars"] and log.Tags()["images"] == ["plans"]
    assert seeds == [0]


def test_a_users_own_files_are_not_replaced(command, tmp_path, capsys):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "README.md").write_text("mine")
    with pytest.raises(SystemExit):
        command("--steps", "1")
    assert "exists and is not replaced" in capsys.readouterr().err
    assert (tmp_path / "run" / "README.md").read_text() == "mine"


def test_a_run_that_was_interrupted_within_an_update_ends_as_an_uninterrupted_one(command, tmp_path, monkeypatch):
    folder = command("--steps", "2", "--episodes", "0")
    expected, _ = load_checkpoint(folder / "model.safetensors")
    for file in ("recipe.json", "state.pt", "model.safetensors"):
        (folder / file).unlink()

    def interrupted(self):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr("dfplan.training.trainer.Trainer._update_ema", interrupted)
        command("--steps", "2", "--episodes", "0")
    command("--episodes", "0", "--resume")
    resumed, _ = load_checkpoint(folder / "model.safetensors")
    for name, weights in expected.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], weights)


def test_backbone_and_level_sampler_are_in_the_recipe_and_in_the_command_of_the_card(command):
    folder = command("--steps", "1", "--episodes", "1", "--backbone", "rnn", "--level-sampler", "teacher_forcing")
    recipe = json.loads((folder / "recipe.json").read_text())
    assert recipe["model"]["backbone"] == "rnn" and recipe["training"]["level_sampler"] == "teacher_forcing"
    card = (folder / "README.md").read_text()
    assert "--backbone rnn" in card and "--level-sampler teacher_forcing" in card
    assert "| teacher-forcing |" in card and "| planner |" not in card


def test_a_resumed_run_keeps_its_backbone(command, capsys):
    command("--steps", "1", "--episodes", "0", "--backbone", "causal_transformer")
    command("--episodes", "0", "--resume", "--backbone", "causal_transformer")
    with pytest.raises(SystemExit) as ended:
        command("--episodes", "0", "--resume", "--backbone", "rnn")
    assert ended.value.code == 2 and "has the backbone causal_transformer" in capsys.readouterr().err


def test_the_rnn_is_about_as_large_as_the_transformers():
    def parameters(name):
        model = DiffusionForcing(replace(RECIPES["medium"].model, **BACKBONE_SETTINGS[name]))
        return sum(parameter.numel() for parameter in model.parameters())

    assert abs(parameters("rnn") / parameters("transformer") - 1) < 0.01


def test_two_processes_leave_one_run_with_the_losses_and_weights_of_one_process(command, tmp_path):
    flags = ["--steps", "2", "--precision", "float32", "--episodes", "0"]
    alone, shared = command(*flags), tmp_path / "shared"
    words = ["maze2d-umaze", "--rows", "3000", "--batch-size", "2", *flags, "--evaluate-every", "1", "--output", shared]
    ended = torchrun("-m", "dfplan.training", *words, DFPLAN_CACHE=tmp_path / "cache")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("the checkpoint is") == 1 and len(list((shared / "tensorboard").iterdir())) == 1
    assert {file.name for file in alone.iterdir()} == {file.name for file in shared.iterdir()}
    assert "evaluation/normalized" in logged(shared).Tags()["scalars"]
    losses = [[point.value for point in logged(run).Scalars("train/loss")] for run in (alone, shared)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    weights = [load_checkpoint(run / "model.safetensors")[0].state_dict() for run in (alone, shared)]
    torch.testing.assert_close(*weights, rtol=0, atol=1e-5)


def test_the_error_of_a_batch_that_cannot_be_divided_equally_names_both_numbers(command, monkeypatch, capsys):
    monkeypatch.setattr(train, "find_processes", lambda: Processes(rank=0, count=4))
    with pytest.raises(SystemExit) as ended:
        command("--batch-size", "6")
    (complaint,) = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2 and "6 windows" in complaint and "4 processes" in complaint


CARDS = sorted((*SHIPPED.glob("*.md"), *OF_STUDIES.glob("*.md")))


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.stem)
def test_the_command_in_a_card_has_the_recipe_that_the_card_shows(card, tmp_path):
    text = card.read_text(encoding="utf-8")
    words = shlex.split(re.search(r"Trained by `dfplan-train (.*)`", text)[1])
    words[words.index("--output") + 1] = str(tmp_path)
    arguments = train._make_parser().parse_args(words)
    arguments.data, arguments.env = find_ogbench(arguments.env), find_env_id(arguments.env)
    recording = None
    if arguments.data:
        pytest.importorskip("ogbench", reason="ogbench is not installed")
        row = np.arange(201.0)
        columns = {"observations": np.stack([row, row], axis=1), "actions": np.zeros((201, 2)), "timeouts": row == 200}
        recording = Recording.from_rows(columns, str(arguments.data))
    recipe = asdict(train._choose_recipe(arguments, recording))
    shown = json.loads(re.search(r"```json\n(.*?)```", text, re.DOTALL)[1])
    assert recipe["env_id"] == shown["env_id"]
    assert recipe["model"] == asdict(read_model_config(shown["model"]))
    # A card may be older than a setting.
    assert {name: recipe["training"][name] for name in shown["training"]} == shown["training"]


def test_the_command_of_a_model_of_ogbench_names_the_data_unless_its_task_was_changed():
    pytest.importorskip("ogbench", reason="ogbench is not installed")
    data = find_ogbench("pointmaze-giant-stitch-v0")
    recipe = suit_recipe(data.env_id, read_task_by_id(data.env_id, **data.facts), str(data))
    assert format_training_command(recipe, "runs/x") == "dfplan-train pointmaze-giant-stitch-v0 --output runs/x"
    other = replace(recipe, model=replace(recipe.model, task=replace(recipe.model.task, max_episode_steps=300)))
    assert "--config runs/x/recipe.json" in format_training_command(other, "runs/x")
