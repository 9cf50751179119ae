"""Changes of a recipe by the names of its settings: ``--set model.width=64``, or a file of them."""

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

from dfplan.benchmarks.evaluation.environments import find_env_id
from dfplan.config import ModelConfig, Recipe, TrainingConfig
from dfplan.ground.errors import InputError, find_reason, unknown_name
from dfplan.task import Task, read_numbers

PARTS: dict[str, type] = {"model": ModelConfig, "training": TrainingConfig, "task": Task}
Changes = dict[str, dict[str, Any]]  # part -> setting -> value


def read_assignments(assignments: Sequence[str]) -> Changes:
    """Return the changes in texts such as ``model.width=64``; values are JSON, or texts.

    Raises:
        InputError: if a text has another form, or there is no such setting.
    """
    changes: Changes = {}
    for assignment in assignments:
        name, is_given, text = assignment.partition("=")
        part, has_part, setting = name.strip().partition(".")
        if not is_given or not has_part:
            raise InputError(f"--set expects PART.SETTING=VALUE, such as model.width=64, not {assignment!r}.")
        try:
            value = json.loads(text)
        except json.JSONDecodeError:
            value = text.strip()
        if setting in changes.setdefault(part, {}):
            raise InputError(f"--set gives {name.strip()} twice.")
        changes[part][setting] = value
    return changes


def read_config_file(path: str | Path, env_id: str) -> Changes:
    """Return the changes in a TOML or JSON file with the tables ``model``, ``training`` and ``task``.

    The file ``recipe.json`` of a run is such a file, too. Its task is in its model.

    Args:
        path: of the file.
        env_id: of the world; a file that names another one is refused.

    Raises:
        InputError: if the file is missing or cannot be read, or it is of another world.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        contents = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except FileNotFoundError as error:
        raise InputError(f"there is no configuration {path}.") from error
    except (OSError, ValueError) as error:
        reason = find_reason(error)
        raise InputError(f"the configuration {path} cannot be read as TOML or JSON: {reason}.") from error
    if not isinstance(contents, dict):
        raise InputError(f"the configuration {path} must have the tables {', '.join(PARTS)}.")
    own = contents.pop("env_id", env_id)  # of a recipe.json
    if find_env_id(str(own)) != env_id:
        raise InputError(
            f"the configuration {path} is of {own}, not of {env_id}; remove its env_id to use it for another world."
        )
    for part, table in contents.items():
        if not isinstance(table, dict):
            raise InputError(f"{part} in the configuration {path} must be a table, not {table!r}.")
    task = contents.get("model", {}).pop("task", {})
    if not isinstance(task, dict):
        raise InputError(f"model.task in the configuration {path} must be a table, not {task!r}.")
    return contents | ({"task": task | contents.get("task", {})} if task else {})


def merge_changes(*several: Changes) -> Changes:
    """Return the changes together; later ones replace earlier ones of the same setting.

    Raises:
        InputError: if there is no such part or setting, or a value has a wrong type.
    """
    merged: Changes = {part: {} for part in PARTS}
    for changes in several:
        for part, table in changes.items():
            if part not in PARTS:
                raise unknown_name("part of a recipe", part, PARTS)
            merged[part] |= check_types(part, table)
    return merged


def change_recipe(recipe: Recipe, changes: Changes) -> Recipe:
    """Return the recipe with other settings of its parts ``model``, ``training`` and ``task``.

    Raises:
        InputError: if there is no such part or setting, or a value has a wrong type or cannot be used.
    """
    checked = merge_changes(changes)
    try:
        task = replace(recipe.model.task, **checked["task"])
        model = replace(recipe.model, task=task, **checked["model"])
        return replace(recipe, model=model, training=replace(recipe.training, **checked["training"]))
    except ValueError as error:
        raise InputError(f"{str(error).rstrip('.')}.") from error


def list_settings(part: str) -> list[str]:
    """Return the names of the settings of a part; the task of a model is a part of its own."""
    return [field.name for field in fields(PARTS[part]) if field.name != "task"]


def check_types(part: str, table: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of settings in the types of their fields.

    Raises:
        InputError: if there is no such setting, or a value has another type.
    """
    hints, checked = get_type_hints(PARTS[part]), {}
    for setting, value in table.items():
        if setting not in list_settings(part):
            raise unknown_name(f"setting of the {part}", setting, list_settings(part))
        allowed = get_args(hints[setting]) if NoneType in get_args(hints[setting]) else (hints[setting],)
        kinds = [getattr(kind, "__origin__", kind) for kind in allowed]
        if tuple in kinds:
            value = read_numbers(f"{part}.{setting}", value, get_args(hints[setting])[0])
        elif float in kinds and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not any(type(value) is kind for kind in kinds):
            names = " or ".join("none" if kind is NoneType else kind.__name__ for kind in kinds)
            raise InputError(f"{part}.{setting} must be of the type {names}, not {value!r}.")
        checked[setting] = value
    return checked
