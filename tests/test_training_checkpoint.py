import json
import re

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from dfplan.ground.errors import InputError
from dfplan.training.checkpoint import (
    FILE_NAME,
    OF_STUDIES,
    SHIPPED,
    STUDY_FLAGS,
    find_checkpoint,
    load_checkpoint,
    save_checkpoint,
)


def test_a_checkpoint_returns_weights_statistics_configuration_and_info(tiny_model, tmp_path):
    save_checkpoint(tmp_path / FILE_NAME, tiny_model, {"env_id": "maze2d-umaze-v1"})
    model, info = load_checkpoint(tmp_path / FILE_NAME)
    assert model.config == tiny_model.config and info == {"env_id": "maze2d-umaze-v1"}
    for name, value in tiny_model.state_dict().items():
        assert torch.equal(model.state_dict()[name], value)


def test_a_truncated_checkpoint_is_refused_by_one_sentence(tiny_model, tmp_path):
    path = tmp_path / FILE_NAME
    save_checkpoint(path, tiny_model, {})
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="is truncated or is not a safetensors file"):
        load_checkpoint(path)


def test_weights_of_another_program_are_refused(tmp_path):
    save_file({"weight": torch.zeros(2)}, tmp_path / "other.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match="not a dfplan checkpoint"):
        load_checkpoint(tmp_path / "other.safetensors")


def test_weights_that_do_not_fit_their_configuration_are_refused(tiny_model, tmp_path):
    metadata = {"format": "dfplan-1", "config": json.dumps({"width": 64}), "info": "{}"}
    save_file({"weight": torch.zeros(2)}, tmp_path / "x.safetensors", metadata)
    with pytest.raises(InputError, match="do not match the configuration"):
        load_checkpoint(tmp_path / "x.safetensors")


def test_checkpoints_are_found_by_name_folder_and_file(tiny_model, tmp_path):
    save_checkpoint(tmp_path / FILE_NAME, tiny_model, {})
    assert find_checkpoint(tmp_path) == find_checkpoint(tmp_path / FILE_NAME) == tmp_path / FILE_NAME
    for name in ("maze2d-large", "maze2d-large-v1"):
        assert find_checkpoint(name) == SHIPPED / "maze2d-large.safetensors"


def test_a_checkpoint_of_the_studies_is_found_in_a_checkout():
    assert find_checkpoint("maze2d-umaze-causal") == OF_STUDIES / "maze2d-umaze-causal.safetensors"


def test_a_name_is_looked_for_in_the_package_first(tiny_model, tmp_path, monkeypatch):
    for folder in ("package", "studies"):
        (tmp_path / folder).mkdir()
        save_checkpoint(tmp_path / folder / "maze2d-umaze.safetensors", tiny_model, {})
    monkeypatch.setattr("dfplan.training.checkpoint.SHIPPED", tmp_path / "package")
    monkeypatch.setattr("dfplan.training.checkpoint.OF_STUDIES", tmp_path / "studies")
    assert find_checkpoint("maze2d-umaze") == tmp_path / "package" / "maze2d-umaze.safetensors"


@pytest.mark.parametrize("kind", STUDY_FLAGS)
def test_an_installed_package_says_where_a_checkpoint_of_the_studies_is(kind, tmp_path, monkeypatch):
    monkeypatch.setattr("dfplan.training.checkpoint.OF_STUDIES", tmp_path / "none")
    with pytest.raises(InputError) as caught:
        find_checkpoint(f"maze2d-umaze-{kind}")
    message = str(caught.value)
    assert "benchmarks/checkpoints" in message and "\n" not in message
    assert f"dfplan-train maze2d-umaze {STUDY_FLAGS[kind]} --output FOLDER" in message


def test_the_flags_of_every_study_checkpoint_are_those_that_its_card_was_trained_with():
    cards = sorted(OF_STUDIES.glob("*.md"))
    assert {card.stem.rpartition("-")[2] for card in cards} == set(STUDY_FLAGS)
    for card in cards:
        command = re.search(r"Trained by `(.*)`", card.read_text(encoding="utf-8"))[1]
        for flag in STUDY_FLAGS[card.stem.rpartition("-")[2]].removesuffix(" --level-sampler mixture").split(" --"):
            assert flag.removeprefix("--") in command  # mixture is the default, which a card leaves out


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("maze2d-lrage", "did you mean maze2d-large"),
        ("runs/none", "no checkpoint file"),
        ("none.safetensors", "no checkpoint file"),
    ],
)
def test_the_error_of_a_missing_checkpoint_tells_what_is_missing(name, message):
    with pytest.raises(InputError, match=message):
        find_checkpoint(name)


def test_an_empty_folder_is_no_checkpoint(tmp_path):
    with pytest.raises(InputError, match=f"contains no {FILE_NAME}"):
        find_checkpoint(tmp_path)


def test_a_failed_save_keeps_the_old_file(tiny_model, tmp_path):
    path = tmp_path / FILE_NAME
    save_checkpoint(path, tiny_model, {})
    before = path.read_bytes()
    with pytest.raises(TypeError):
        save_checkpoint(path, tiny_model, {"not JSON": object()})
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_an_error_of_one_sentence_and_keeps_the_old_checkpoint(tiny_model, tmp_path, full_disk):
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


def test_a_shipped_name_takes_precedence_over_a_folder_of_the_same_name(tmp_path, monkeypatch):
    (tmp_path / "maze2d-large").mkdir()
    monkeypatch.chdir(tmp_path)
    assert find_checkpoint("maze2d-large") == SHIPPED / "maze2d-large.safetensors"
    with pytest.raises(InputError, match="contains no"):
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
        ("std", 1e-300, "a standard deviation of 0 in float32, which is not above 0"),
        ("std", 0.0, "a standard deviation of 0 in float32, which is not above 0"),
        ("std", -2.0, "a standard deviation of -2 in float32, which is not above 0"),
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
