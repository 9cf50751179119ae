import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from dfplan.checkpoint import FILE_NAME, SHIPPED, find_checkpoint, load_checkpoint, save_checkpoint
from dfplan.envs.errors import InputError


def test_a_checkpoint_returns_weights_statistics_configuration_and_info(tiny_model, tmp_path):
    save_checkpoint(tmp_path / FILE_NAME, tiny_model, {"env_id": "maze2d-umaze-v1"})
    model, info = load_checkpoint(tmp_path / FILE_NAME)
    assert model.config == tiny_model.config and info == {"env_id": "maze2d-umaze-v1"}
    for name, value in tiny_model.state_dict().items():
        assert torch.equal(model.state_dict()[name], value)


def test_a_truncated_checkpoint_is_refused_in_a_sentence(tiny_model, tmp_path):
    path = tmp_path / FILE_NAME
    save_checkpoint(path, tiny_model, {})
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="not a readable safetensors checkpoint"):
        load_checkpoint(path)


def test_weights_of_another_program_are_refused(tmp_path):
    save_file({"weight": torch.zeros(2)}, tmp_path / "other.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match="not a dfplan checkpoint"):
        load_checkpoint(tmp_path / "other.safetensors")


def test_weights_that_do_not_fit_their_configuration_are_refused(tiny_model, tmp_path):
    metadata = {"format": "dfplan-1", "config": json.dumps({"width": 64}), "info": "{}"}
    save_file({"weight": torch.zeros(2)}, tmp_path / "x.safetensors", metadata)
    with pytest.raises(InputError, match="do not fit"):
        load_checkpoint(tmp_path / "x.safetensors")


def test_checkpoints_are_found_by_name_folder_and_file(tiny_model, tmp_path):
    save_checkpoint(tmp_path / FILE_NAME, tiny_model, {})
    assert find_checkpoint(tmp_path) == find_checkpoint(tmp_path / FILE_NAME) == tmp_path / FILE_NAME
    for name in ("maze2d-large", "maze2d-large-v1"):
        assert find_checkpoint(name) == SHIPPED / "maze2d-large.safetensors"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("maze2d-lrage", "did you mean maze2d-large"),
        ("runs/none", "no checkpoint file"),
        ("none.safetensors", "no checkpoint file"),
    ],
)
def test_a_missing_checkpoint_is_said_to_be_missing(name, message):
    with pytest.raises(InputError, match=message):
        find_checkpoint(name)


def test_an_empty_folder_is_no_checkpoint(tmp_path):
    with pytest.raises(InputError, match=f"holds no {FILE_NAME}"):
        find_checkpoint(tmp_path)


def test_a_failed_save_keeps_the_file_that_was_there(tiny_model, tmp_path):
    path = tmp_path / FILE_NAME
    save_checkpoint(path, tiny_model, {})
    before = path.read_bytes()
    with pytest.raises(TypeError):
        save_checkpoint(path, tiny_model, {"not JSON": object()})
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_one_sentence_and_keeps_the_checkpoint_that_was_there(tiny_model, tmp_path, full_disk):
    path = tmp_path / FILE_NAME
    save_checkpoint(path, tiny_model, {})
    before = path.read_bytes()
    with full_disk(len(before) - 1), pytest.raises(InputError, match=rf"cannot write .*{FILE_NAME}: .*large"):
        save_checkpoint(path, tiny_model, {"step": 2})
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("maze", ["umaze", "medium", "large"])
def test_a_checkpoint_below_ten_megabytes_ships_for_each_maze_with_its_card(maze):
    path = find_checkpoint(f"maze2d-{maze}")
    assert path.stat().st_size < 10e6
    _, info = load_checkpoint(path)
    assert info["env_id"] == f"maze2d-{maze}-v1"
    assert "## Scores" in path.with_suffix(".md").read_text()


def test_a_shipped_name_wins_over_a_folder_of_that_name(tmp_path, monkeypatch):
    (tmp_path / "maze2d-large").mkdir()
    monkeypatch.chdir(tmp_path)
    assert find_checkpoint("maze2d-large") == SHIPPED / "maze2d-large.safetensors"
    with pytest.raises(InputError, match="holds no"):
        find_checkpoint("./maze2d-large")


def test_weights_that_are_not_finite_are_refused(tiny_model, tmp_path):
    tiny_model.backbone.output.bias[0] = float("nan")
    save_checkpoint(tmp_path / FILE_NAME, tiny_model, {})
    with pytest.raises(InputError, match="not finite"):
        load_checkpoint(tmp_path / FILE_NAME)


@pytest.mark.parametrize(
    ("statistic", "value", "message"),
    [
        ("mean", 1e300, "not finite in float32"),
        ("std", 1e300, "not finite in float32"),
        ("std", float("nan"), "not finite in float32"),
        ("std", 1e-300, "one is 0 in float32 and not above 0"),
        ("std", 0.0, "one is 0 in float32 and not above 0"),
        ("std", -2.0, "one is -2 in float32 and not above 0"),
    ],
)
def test_statistics_are_checked_as_the_model_will_use_them(tiny_model, tmp_path, statistic, value, message):
    path = tmp_path / FILE_NAME
    save_checkpoint(path, tiny_model, {})
    weights = load_file(path)
    weights[f"codec.{statistic}"] = weights[f"codec.{statistic}"].double()
    weights[f"codec.{statistic}"][3] = value
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    save_file(weights, path, metadata)
    with pytest.raises(InputError, match=message):
        load_checkpoint(path)
