"""Settings of a recipe by name, from the command line and from files."""

import json
from dataclasses import asdict

import pytest

from dfplan.commands.settings import change_recipe, merge_changes, read_assignments, read_config_file
from dfplan.config import Recipe
from dfplan.ground.errors import InputError
from dfplan.recipes import RECIPES


def test_assignments_change_settings_of_every_part_and_keep_the_others():
    texts = [
        "model.width=64",
        "training.learning_rate=1",
        "training.rows=null",
        "task.goal=[1, 0]",
        "model.backbone=rnn",
    ]
    recipe = change_recipe(Recipe("maze2d-umaze-v1"), read_assignments([*texts, "model.causal=true"]))
    assert (recipe.model.width, recipe.training.learning_rate, recipe.training.rows) == (64, 1.0, None)
    assert recipe.model.task.goal == (1, 0) and recipe.model.backbone == "rnn"
    assert recipe.model.depth == Recipe("x").model.depth


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("width=64", "--set expects PART.SETTING=VALUE"),
        ("model.width", "--set expects PART.SETTING=VALUE"),
        ("modle.width=64", "did you mean model"),
        ("model.widht=64", "did you mean width"),
        ("model.task={}", "setting of the model"),
        ("model.width=wide", "model.width must be of the type int, not 'wide'"),
        ("model.width=true", "model.width must be of the type int, not True"),
        ("model.width=6.5", "model.width must be of the type int, not 6.5"),
        ("training.rows=many", "training.rows must be of the type int or none"),
        ("task.goal=[9]", "the channels of goal must be different ones of 0 to 3"),
        ('task.goal=["a"]', "goal must be a list of channel numbers"),
        ("task.goal=[0.7]", "goal must be a list of channel numbers"),
        ("task.goal=[true]", "goal must be a list of channel numbers"),
        ("model.width=63", "width=63 must be a multiple"),
        ("model.fine_frequencies=-3", "fine_frequencies must be at least 0, not -3"),
        ("model.snr_scale=NaN", "snr_scale must be positive, not nan"),
        ("training.learning_rate=-1", "learning_rate must be above 0 and finite, not -1.0"),
        ("training.learning_rate=NaN", "learning_rate must be above 0 and finite, not nan"),
        ("training.gradient_clip=NaN", "gradient_clip must be above 0 and finite, not nan"),
        ("training.weight_decay=-1", "weight_decay must be at least 0 and finite, not -1.0"),
        ("training.seed=-1", "seed must be at least 0 and finite, not -1"),
        ("training.seed=99999999999999999999999", "seed must be at most 4294967295"),
        ("task.rests=1", "task.rests must be of the type bool, not 1"),
    ],
)
def test_what_cannot_be_set_is_answered_in_a_sentence(assignment, message):
    with pytest.raises(InputError, match=message) as error:
        change_recipe(Recipe("maze2d-umaze-v1"), read_assignments([assignment]))
    assert "\n" not in str(error.value)


def test_later_changes_replace_earlier_ones_of_the_same_setting():
    first, second = {"model": {"width": 8, "depth": 1}}, {"model": {"width": 16}, "training": {"rows": None}}
    expected = {"model": {"width": 16, "depth": 1}, "training": {"rows": None}, "task": {}}
    assert merge_changes(first, second) == expected
    with pytest.raises(InputError, match="did you mean model"):
        merge_changes({"modle": {}})


def test_a_file_of_settings_is_toml_or_json(tmp_path):
    (tmp_path / "own.toml").write_text("[model]\nwidth = 64\n[training]\nema_decay = 1\n[task]\ngoal = [0]\n")
    changes = read_config_file(tmp_path / "own.toml", "Pendulum-v1")
    assert changes == {"model": {"width": 64}, "training": {"ema_decay": 1}, "task": {"goal": [0]}}
    (tmp_path / "own.json").write_text(json.dumps(changes))
    assert read_config_file(tmp_path / "own.json", "Pendulum-v1") == changes


def test_the_recipe_of_a_run_is_a_file_of_settings(tmp_path):
    recipe = RECIPES["large"]
    (tmp_path / "recipe.json").write_text(json.dumps(asdict(recipe)))
    assert change_recipe(Recipe(recipe.env_id), read_config_file(tmp_path / "recipe.json", recipe.env_id)) == recipe


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("own.toml", "model = ", "cannot be read as TOML or JSON"),
        ("own.json", "[1]", "must have the tables model, training, task"),
        ("own.json", '{"model": {"task": 5}}', "model.task in the configuration .* must be a table, not 5"),
        ("own.toml", "width = 3", "width in the configuration .* must be a table"),
        ("missing.toml", None, "there is no configuration"),
        ("recipe.json", '{"env_id": "Reacher-v5"}', "is of Reacher-v5, not of Pendulum-v1; remove its env_id"),
    ],
)
def test_a_file_that_is_no_configuration_is_answered_in_a_sentence(tmp_path, name, text, message):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message):
        read_config_file(tmp_path / name, "Pendulum-v1")


def test_a_setting_given_twice_is_refused():
    with pytest.raises(InputError, match=r"--set gives model\.width twice"):
        read_assignments(["model.width=64", "model.width=32"])
