import json

import pytest
import torch

from dfplan.benchmarks.evaluation import episodes
from dfplan.commands import ship
from dfplan.config import ModelConfig, Recipe, TrainingConfig
from dfplan.data.recording import Recording
from dfplan.training.checkpoint import load_checkpoint
from dfplan.training.trainer import Trainer


@pytest.fixture
def run(tiny_dataset, tmp_path):
    """The folder of a finished run."""
    model = ModelConfig(frame_stack=2, num_tokens=4, num_levels=100, width=16, depth=1, num_heads=2)
    recipe = Recipe("maze2d-umaze-v1", model, TrainingConfig(steps=1, batch_size=2, precision="float32"))
    Trainer(recipe, Recording.from_rows(tiny_dataset), tmp_path / "run", torch.device("cpu")).run()
    return tmp_path / "run"


def test_a_run_ships_in_half_precision_with_a_card_that_names_its_command(run, tmp_path, monkeypatch):
    monkeypatch.setattr(ship, "SHIPPED", tmp_path)
    monkeypatch.setattr(episodes, "LATENCY_SECONDS", 1e-9)
    monkeypatch.setattr("sys.argv", ["ship", str(run), "maze2d-umaze-tiny", "--half", "--episodes", "1"])
    ship.main()
    trained, _ = load_checkpoint(run / "model.safetensors")
    shipped, info = load_checkpoint(tmp_path / "maze2d-umaze-tiny.safetensors")
    assert info["env_id"] == "maze2d-umaze-v1"
    assert torch.equal(shipped.codec.std, trained.codec.std)
    for name, weight in trained.named_parameters():
        assert torch.equal(shipped.get_parameter(name), weight.half().float())
    card = (tmp_path / "maze2d-umaze-tiny.md").read_text()
    assert f"1 episodes, seed {episodes.FIRST_REPORTED_SEED}, fixed goal" in card
    assert "`dfplan-train maze2d-umaze-v1 --config runs/run/recipe.json --output runs/run-again`" in card


def test_a_checkpoint_of_the_studies_ships_to_their_folder_and_its_name_is_taken(run, tmp_path, monkeypatch, capsys):
    package, studies = tmp_path / "package", tmp_path / "studies"
    package.mkdir(), studies.mkdir()
    monkeypatch.setattr(ship, "SHIPPED", package)
    monkeypatch.setattr(ship, "OF_STUDIES", studies)
    monkeypatch.setattr(episodes, "LATENCY_SECONDS", 1e-9)
    monkeypatch.setattr("sys.argv", ["ship", str(run), "tiny", "--study", "--episodes", "1"])
    ship.main()
    assert sorted(file.name for file in studies.iterdir()) == ["tiny.md", "tiny.safetensors"]
    monkeypatch.setattr("sys.argv", ["ship", str(run), "tiny", "--episodes", "1"])
    with pytest.raises(SystemExit) as ended:
        ship.main()
    assert ended.value.code == 2 and "already has this name" in capsys.readouterr().err
    assert not list(package.iterdir())


def test_an_installed_package_cannot_ship_a_checkpoint_of_the_studies(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(ship, "OF_STUDIES", tmp_path / "none")
    monkeypatch.setattr("sys.argv", ["ship", str(run), "tiny", "--study"])
    with pytest.raises(SystemExit) as ended:
        ship.main()
    assert ended.value.code == 2 and "in a checkout" in capsys.readouterr().err


def test_a_folder_without_a_run_is_refused_with_status_2(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["ship", str(tmp_path), "name"])
    with pytest.raises(SystemExit) as ended:
        ship.main()
    assert ended.value.code == 2 and "contains no run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "steps", "message"), [("../x", 1, "must not contain a folder"), ("x", 2, "at step 1 of 2")]
)
def test_an_unfinished_run_or_a_name_with_a_folder_does_not_ship(run, name, steps, message, monkeypatch, capsys):
    recipe = json.loads((run / "recipe.json").read_text())
    recipe["training"]["steps"] = steps
    (run / "recipe.json").write_text(json.dumps(recipe))
    monkeypatch.setattr("sys.argv", ["ship", str(run), name])
    with pytest.raises(SystemExit) as ended:
        ship.main()
    assert ended.value.code == 2 and message in capsys.readouterr().err


def test_a_shipped_checkpoint_is_replaced_only_with_overwrite(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(ship, "SHIPPED", tmp_path)
    monkeypatch.setattr(episodes, "LATENCY_SECONDS", 1e-9)
    (tmp_path / "tiny.safetensors").write_text("another")
    monkeypatch.setattr("sys.argv", ["ship", str(run), "tiny", "--episodes", "1"])
    with pytest.raises(SystemExit) as ended:
        ship.main()
    assert ended.value.code == 2 and "exists and is not replaced; add --overwrite" in capsys.readouterr().err
    assert (tmp_path / "tiny.safetensors").read_text() == "another"
    monkeypatch.setattr("sys.argv", ["ship", str(run), "tiny", "--episodes", "1", "--overwrite"])
    ship.main()
    assert load_checkpoint(tmp_path / "tiny.safetensors")[1]["step"] == 1
