"""Begins and resumes training runs; ``dfplan-train`` and ``dfplan.train`` share it."""

import math
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gymnasium as gym

from dfplan.agents.planner import DFPlanner
from dfplan.benchmarks.evaluation.environments import find_env_id, find_maze, make_env
from dfplan.commands.model_card import CARD_NAME
from dfplan.commands.settings import Changes, change_recipe, list_settings
from dfplan.config import Recipe
from dfplan.data.recording import Recording
from dfplan.data.value import find_return_bounds
from dfplan.ground.devices import find_device
from dfplan.ground.errors import InputError, unknown_name
from dfplan.ground.files import lock_folder
from dfplan.recipes import RECIPES, choose_recipe
from dfplan.task import FACTS, Task, read_task
from dfplan.training.checkpoint import FILE_NAME
from dfplan.training.trainer import RECIPE_NAME, STATE_NAME, Trainer, load_recipe

Env = str | gym.Env | Callable[[], gym.Env] | None


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
            size = getattr(self, name)
            if size is not None and size < 1:
                raise InputError(f"{name} must be at least 1 step, not {size}.")
        frame_stack = self.frame_stack or recipe.model.frame_stack
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
            makes one. None if ``task`` is given.
        output: folder of the run. It gets the checkpoint, and the state from which the run can be resumed.
        minutes: approximate duration of all updates, whose number is computed from it once. Without a goal, a value is
            fitted first, which takes about 40 seconds more.
        steps: number of updates; None for that of the recipe.
        seed: of initial weights, batches and noise.
        device: ``auto``, ``cpu``, ``cuda``, ...
        resume: whether to continue the run in ``output`` with its settings; it needs the same recording.
        task: what the world is; None to read it from ``env``.
        horizon: steps of the longest plan, rounded up to whole tokens.
        frame_stack: steps per token.
        settings: facts of the task that replace what is read, such as ``goal=(0, 1)``; and dictionaries ``model`` and
            ``training`` of other settings (``dfplan.config``).

    Raises:
        InputError: if an argument cannot be used, the recording is not of this world, there is nothing to plan for, or
            ``output`` has a run that would be replaced.
    """
    if minutes is not None and (steps is not None or not minutes > 0):
        raise InputError(f"give minutes above 0, or steps, and not both; minutes={minutes} and steps={steps}.")
    found, output = Recording.load(recording), Path(output)
    changes = _sort_settings(settings)
    facts = changes.pop("task", {})
    name, known = _find_task(env, task, facts)
    if resume:
        if changes or facts or steps or minutes or horizon or frame_stack or seed:
            raise InputError("a resumed run keeps its settings; give resume=True without others.")
        recipe = load_recipe(output)
    else:
        check_output_is_free(output)
        recipe = WindowSizes(horizon, frame_stack).change(make_recipe(name, known, found))
        own = {"seed": seed, "dataset": found.source} | ({} if steps is None else {"steps": steps})
        recipe = change_recipe(recipe, changes | {"training": own | changes.get("training", {})})
    check_plannable(found, recipe.model.task)
    with lock_folder(output):
        trainer = Trainer(recipe, found, output, find_device(device))
        if resume:
            trainer.resume()
        if minutes is not None:
            trainer.set_steps(count_steps(trainer, minutes))
        trainer.run()
    return DFPlanner.load(output, device=device)


def make_recipe(env_id: str, task: Task, recording: Recording) -> Recipe:
    """Return the recipe for a recording of a world: that of a D4RL maze, or the one for any other world.

    Raises:
        InputError: if the recording is not of this world, or there is nothing to plan for.
    """
    recording.check(task)
    check_plannable(recording, task)
    maze = find_maze(env_id)
    if maze in RECIPES:
        recipe = RECIPES[maze]
        return replace(recipe, training=replace(recipe.training, rows=None))
    return choose_recipe(env_id, task, int(recording.lengths.max()))


def check_plannable(recording: Recording, task: Task) -> None:
    """Raise ``InputError`` if a task has no goal and the recording says of nothing that it is better than another."""
    if task.goal:
        return
    lowest, highest = find_return_bounds(recording, task)
    if lowest == highest:
        raise InputError(
            f"there is nothing to plan for: all rewards in {recording.source} are {recording.rewards[0]:g}, no end is "
            "worse than another, and the task has no goal; name the observation channels of a goal, such as "
            "goal=(0, 1) or --goal 0,1."
        )


def check_output_is_free(output: Path) -> None:
    """Raise ``InputError`` if a file of a run in ``output`` would be replaced."""
    for name in (RECIPE_NAME, STATE_NAME, FILE_NAME, CARD_NAME):
        if (output / name).exists():
            raise InputError(f"{output / name} exists and is not replaced; add --resume, or choose another --output.")


def count_steps(trainer: Trainer, minutes: float) -> int:
    """Return the number of updates that take so long."""
    return max(1, round(minutes * 60 / trainer.measure_seconds_per_step()))


def _sort_settings(settings: Mapping[str, Any]) -> Changes:
    """Return settings by the parts of a recipe; facts of the task stand alone, others in dictionaries.

    Raises:
        InputError: if there is no such setting.
    """
    changes: Changes = {}
    for name, value in settings.items():
        if name in ("model", "training"):
            if not isinstance(value, Mapping):
                raise InputError(f"{name} must be a dictionary of settings, not {value!r}.")
            changes[name] = dict(value)
        elif name in FACTS:
            changes.setdefault("task", {})[name] = tuple(value) if isinstance(value, list) else value
        else:
            raise unknown_name(
                "argument", name, ["model", "training", "horizon", "frame_stack", *list_settings("task")]
            )
    return changes


def _find_task(env: Env, task: Task | None, facts: Mapping[str, Any]) -> tuple[str, Task]:
    """Return the name of a world, and its task.

    Raises:
        InputError: if neither an environment nor a task is given.
    """
    if task is not None:
        return env if isinstance(env, str) else "own", replace(task, **facts)
    if isinstance(env, str):
        env_id = find_env_id(env)
        with closing(make_env(env_id)) as made:
            return env_id, read_task(made, **facts)
    if isinstance(env, gym.Env):
        return env.spec.id if env.spec else type(env.unwrapped).__name__, read_task(env, **facts)
    if callable(env):
        with closing(env()) as made:
            return _find_task(made, None, facts)
    raise InputError("train() needs the world of the recording: env, or task=Task(...).")
