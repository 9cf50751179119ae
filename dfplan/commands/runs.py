"""Begins and resumes training runs; ``dfplan-train`` and ``dfplan.train`` share it."""

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import gymnasium as gym

from dfplan.agents.planner import DFPlanner
from dfplan.benchmarks.evaluation.environments import find_env_id, open_single
from dfplan.commands.model_card import CARD_NAME
from dfplan.commands.settings import Changes, change_recipe, list_settings, merge_changes
from dfplan.config import Recipe
from dfplan.data.recording import Recording
from dfplan.ground.devices import find_device
from dfplan.ground.errors import InputError, unknown_name
from dfplan.ground.files import lock_folder
from dfplan.recipes import choose_recipe
from dfplan.spaces import name_env, read_spaces, read_task
from dfplan.task import FACTS, Task
from dfplan.training.checkpoint import FILE_NAME
from dfplan.training.trainer import RECIPE_NAME, STATE_NAME, Trainer, load_recipe

Env = str | gym.Env | Callable[[], gym.Env] | None
# Argument of its own -> the part of a recipe and the settings there that it determines.
DETERMINES = {
    "minutes": ("training", ("steps",)),
    "steps": ("training", ("steps",)),
    "seed": ("training", ("seed",)),
    "horizon": ("model", ("num_tokens", "frame_stack")),  # both are arguments of their own
    "frame_stack": ("model", ("frame_stack",)),
    "backbone": ("model", ("backbone", "causal")),
}


@dataclass(frozen=True)
class WindowSizes:
    """Sizes of windows in environment steps, which a user may choose instead of numbers of tokens.

    Attributes:
        horizon: steps of the longest plan, rounded up to whole tokens; None for the recipe's.
        frame_stack: steps per token; None for the recipe's.
    """

    horizon: int | None = None
    frame_stack: int | None = None

    def change(self, recipe: Recipe) -> Recipe:
        """Return the recipe with these sizes. With another ``frame_stack`` alone, the horizon stays about the same."""
        if self.horizon is None and self.frame_stack is None:
            return recipe
        for name in ("horizon", "frame_stack"):
            size: Any = getattr(self, name)
            if size is not None and not (isinstance(size, Integral) and int(size) >= 1):
                raise InputError(f"{name} must be at least 1 step, and a whole number of them, not {size!r}.")
        frame_stack = int(self.frame_stack or recipe.model.frame_stack)
        num_tokens = math.ceil((self.horizon or recipe.model.horizon) / frame_stack)
        return replace(recipe, model=replace(recipe.model, frame_stack=frame_stack, num_tokens=num_tokens))


def train(
    recording: Any,
    env: Env = None,
    *,
    output: str | Path,
    minutes: float | int | None = None,
    steps: int | None = None,
    seed: int = 0,
    device: str = "auto",
    resume: bool = False,
    task: Task | None = None,
    horizon: int | None = None,
    frame_stack: int | None = None,
    **settings: Any,
) -> DFPlanner:
    """Train a model on a recording, and return its agent: ``agent = dfplan.train("mine.hdf5", "Pendulum-v1", ...)``.

    Args:
        recording: a ``Recording``, or what ``Recording.load`` takes.
        env: the world of the recording: Gymnasium's id, ``module:Env-v0`` included, an environment, or a function that
            makes one. It may be None if ``task`` is given. A goal environment is reset to find its goal channels.
        output: folder of the run. It gets the checkpoint, and the state from which the run can be resumed.
        minutes: approximate duration of all updates, whose number is computed from it once. Without a goal, a value is
            fitted first, which takes about 40 seconds more.
        steps: number of updates; None for that of the recipe.
        seed: of initial weights, batches and noise.
        device: ``auto``, ``cpu``, ``cuda``, ...
        resume: whether to continue the run in ``output`` with its settings; it needs the same recording and world.
        task: what the world is; None to read it from ``env``.
        horizon: steps of the longest plan, rounded up to whole tokens.
        frame_stack: steps per token.
        settings: facts of the task that replace what is read, such as ``goal=(0, 1)``; and dictionaries ``model`` and
            ``training`` of other settings (``dfplan.config``), of which ``rows`` says how many rows are used.

    Raises:
        InputError: if an argument cannot be used, the recording is not of this world, there is nothing to plan for, or
            ``output`` has a run that would be replaced.
    """
    if minutes is not None and not (isinstance(minutes, Real) and 0 < minutes < math.inf):
        raise InputError(f"minutes must be a finite number above 0, not {minutes!r}.")
    if not isinstance(task, Task | None):
        raise InputError(f"task must be a dfplan.Task, not {task!r}.")
    changes = _sort_settings(settings)
    arguments = {"minutes": minutes, "steps": steps, "seed": seed or None, "horizon": horizon}
    refuse_doubles(changes, arguments | {"frame_stack": frame_stack})
    found, output = Recording.load(recording), Path(output)
    if resume:
        if settings or steps or minutes or horizon or frame_stack or seed:
            raise InputError("a resumed run keeps its settings; give resume=True without others.")
        recipe = load_recipe(output)
        found = found.take(recipe.training.rows)
        _check_resumed(recipe, found, env, task)
    else:
        check_output_is_free(output)
        own = _add_training_arguments(changes["training"], steps=steps, seed=seed or None)
        found = found.take(own.get("rows"))
        recipe = choose_recipe(*_read_world(env, task, changes.pop("task")), found)
        recipe = WindowSizes(horizon, frame_stack).change(recipe)
        recipe = change_recipe(recipe, changes | {"training": own})
    with lock_folder(output):
        trainer = Trainer(recipe, found, output, find_device(device))
        if resume:
            trainer.resume()
        if minutes is not None:
            trainer.set_steps(count_steps(trainer, minutes))
        trainer.run()
    return DFPlanner.load(output, device=device)


def check_output_is_free(output: Path) -> None:
    """Raise ``InputError`` if a file of a run in ``output`` would be replaced."""
    for name in (RECIPE_NAME, STATE_NAME, FILE_NAME, CARD_NAME):
        if (output / name).exists():
            raise InputError(
                f"{output / name} exists and is not replaced; resume the run (--resume, or resume=True), or choose "
                "another output folder."
            )


def refuse_doubles(changes: Changes, arguments: Mapping[str, Any]) -> None:
    """Raise ``InputError`` if a setting is given twice: as an argument of its own, and among the changes.

    Args:
        changes: settings by their names in a recipe.
        arguments: the values of arguments that determine settings (``DETERMINES``); None for those that are not given.
    """
    given = [name for name, value in arguments.items() if value is not None]
    for name in given:
        part, settings = DETERMINES[name]
        for setting in settings:
            if setting in changes.get(part, {}):
                raise InputError(f"{part}.{setting} cannot be given beside {name}, which determines it, too.")
    if "minutes" in given and "steps" in given:
        raise InputError("give minutes or steps, and not both.")


def count_steps(trainer: Trainer, minutes: float) -> int:
    """Return the number of updates that take so long."""
    return max(1, round(minutes * 60 / trainer.measure_seconds_per_step()))


def _sort_settings(settings: Mapping[str, Any]) -> Changes:
    """Return settings by the parts of a recipe; facts of the task stand alone, others in dictionaries.

    Raises:
        InputError: if there is no such setting, or a value has a wrong type.
    """
    changes: Changes = {"task": {}}
    for name, value in settings.items():
        if name in ("model", "training"):
            if not isinstance(value, Mapping):
                raise InputError(f"{name} must be a dictionary of settings, not {value!r}.")
            changes[name] = dict(value)
        elif name in FACTS:
            changes["task"][name] = value
        else:
            own = [*inspect.signature(train).parameters, "model", "training", *list_settings("task")]
            raise unknown_name("argument", name, [known for known in own if known not in ("recording", "settings")])
    return merge_changes(changes)


def _add_training_arguments(training: Mapping[str, Any], **arguments: Any) -> dict[str, Any]:
    """Return settings of the training together with those that are arguments of their own.

    Raises:
        InputError: if the data set is given, which is the recording.
    """
    given = {name: value for name, value in arguments.items() if value is not None}
    if "dataset" in training:
        raise InputError("the data set is the recording, so training={'dataset': ...} cannot be given.")
    return given | dict(training)


def _check_resumed(recipe: Recipe, recording: Recording, env: Env, task: Task | None) -> None:
    """Raise ``InputError`` if a recording, an environment or a task is not that of the run to resume."""
    if isinstance(env, str) and find_env_id(env) != recipe.env_id:
        raise InputError(f"the run to resume is of {recipe.env_id}, not of {env}.")
    if env is not None:
        name, _ = _read_world(env, recipe.model.task, {})
        if name != recipe.env_id:
            raise InputError(f"the run to resume is of {recipe.env_id}, not of {name}.")
    if task not in (None, recipe.model.task):
        raise InputError("the run to resume has another task; give resume=True without one.")
    recording.check(recipe.model.task)


def _read_world(env: Env, task: Task | None, facts: Mapping[str, Any]) -> tuple[str, Task]:
    """Return the name of a world and its task, in which ``facts`` replace what is read.

    Raises:
        InputError: if neither an environment nor a task is given, or they do not fit each other.
    """
    if env is None and task is not None:
        return "own", replace(task, **facts)
    if env is None:
        raise InputError("train() needs the world of the recording: env, or task=Task(...).")
    env = find_env_id(env) if isinstance(env, str) else env
    with open_single(env) as opened:
        name = env if isinstance(env, str) else name_env(opened)
        if task is None:
            return name, read_task(opened, **facts)
        task = replace(task, **facts)
        read_spaces(opened).check(task, "the given task", name)
        return name, task
