"""The model card of a checkpoint: the command that trained it, its scores and its recipe."""

import hashlib
import json
import os
import shlex
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from dfplan.agents.planner import DFPlanner
from dfplan.agents.planner_config import PlannerConfig
from dfplan.agents.presets import (
    DIFFUSER,
    GOAL_TOKEN,
    MONTE_CARLO_GUIDANCE,
    POLICY,
    TEACHER_FORCING,
    config_for,
    suit_task,
)
from dfplan.benchmarks.evaluation.environments import find_maze, read_task_by_id
from dfplan.benchmarks.evaluation.episodes import Conditions, Evaluation, evaluate
from dfplan.benchmarks.evaluation.machine import find_processor, find_versions
from dfplan.benchmarks.reporting.provenance import describe_commit, digest_training_code
from dfplan.benchmarks.reporting.report import INTERVALS, format_scores_table
from dfplan.config import ModelConfig, Recipe
from dfplan.envs.ogbench_names import find_ogbench
from dfplan.ground.files import replace_file
from dfplan.model.diffusion_forcing import DiffusionForcing
from dfplan.recipes import BACKBONE_SETTINGS, RECIPES, RECORDED_RECIPES, suit_recipe

CARD_NAME = "README.md"
# The settings of the training that have a command line option.
TRAINING_OPTIONS = (
    "demonstrations",
    "steps",
    "batch_size",
    "precision",
    "level_sampler",
    "goal_known",
    "masked_tail",
    "dataset",
    "rows",
    "seed",
)
# Level sampler -> names and settings of the agents for models trained with it. Other models have the default agents.
EVALUATED = {"teacher_forcing": {"teacher-forcing": TEACHER_FORCING}, "full_sequence": {"diffuser": DIFFUSER}}
DEFAULT_EVALUATED = {"planner": {}, "planner-goal-token": GOAL_TOKEN, "policy": POLICY}


def write_card(
    path: Path, recipe: Recipe, model: DiffusionForcing, conditions: Conditions, run: str, timed: bool = True
) -> None:
    """Evaluate a trained model with its agents (``choose_agents``), and write its card.

    Args:
        path: file of the card.
        recipe: recipe of the model.
        model: the trained model.
        conditions: environment, seeds and number of the episodes.
        run: folder of the run, for the command in the card.
        timed: whether to measure the duration of plans.

    Raises:
        InputError: if the card cannot be written.
    """
    demonstrations = recipe.training.demonstrations
    plans: dict[str, PlannerConfig] = {}
    for name, settings in choose_agents(recipe).items():
        config = config_for(model, demonstrations, **settings)
        if config not in plans.values():
            plans[name] = config
    evaluations = {name: evaluate(DFPlanner(model, plan), conditions, name, timed) for name, plan in plans.items()}
    configs = {name: plan.settings | {"demonstrations": demonstrations} for name, plan in plans.items()}
    card = format_card(recipe, evaluations, configs, format_training_command(recipe, run))
    with replace_file(path) as unfinished:
        unfinished.write_text(card + seal(card), encoding="utf-8")


def seal(card: str) -> str:
    """Return the last line of a card, a comment in Markdown, by which ``is_untouched`` finds changes of the card."""
    return f"\n<!-- sha256 of the text above: {hashlib.sha256(card.encode()).hexdigest()} -->\n"


def is_untouched(path: Path) -> bool:
    """Return whether a card is unchanged since ``write_card`` wrote it."""
    text = path.read_text(encoding="utf-8")
    card = text[: text.rfind("\n<!-- sha256")]
    return text == card + seal(card)


def choose_agents(recipe: Recipe) -> dict[str, dict]:
    """Return the names and settings of the agents with which models of a recipe are evaluated."""
    task = recipe.model.task
    if not task.rests:
        guided = {} if task.step_length else {"planner-mcg": suit_task(MONTE_CARLO_GUIDANCE, task)}
        return {"planner": {}} | guided | {"policy": POLICY}
    return EVALUATED.get(recipe.training.level_sampler, DEFAULT_EVALUATED)


def format_training_command(recipe: Recipe, run: str) -> str:
    """Return the command that trains a model by the recipe of the run in the folder ``run``.

    For a maze, and for a data set of OGBench, it consists of options if all settings have options; otherwise it
    reads ``recipe.json``.
    """
    by_file = ["dfplan-train", recipe.env_id, "--config", f"{run}/recipe.json", "--output", f"{run}-again"]
    maze, data = find_maze(recipe.env_id), find_ogbench(recipe.training.dataset)
    if maze is None:
        is_own = data is not None and (recipe.env_id, recipe.model.task) == (
            data.env_id,
            read_task_by_id(data.env_id, **data.facts),
        )
        if not is_own:
            return shlex.join(by_file)
    words = ["dfplan-train", f"maze2d-{maze}" if data is None else str(data), "--output", run]
    own = RECIPES[maze] if maze else suit_recipe(recipe.env_id, recipe.model.task, recipe.training.dataset)
    if maze and recipe.training.demonstrations == "recorded":
        own = RECORDED_RECIPES[maze]
        words += ["--demonstrations", "recorded"]
    backbone = name_backbone(recipe.model)
    if backbone != name_backbone(own.model):
        words += ["--backbone", backbone]
        own = replace(own, model=replace(own.model, **BACKBONE_SETTINGS[backbone]))
    changed = {name: value for name, value in asdict(recipe.training).items() if value != getattr(own.training, name)}
    if recipe.model != own.model or not set(changed) <= set(TRAINING_OPTIONS):
        return shlex.join(by_file)
    for name, value in changed.items():
        words += [] if value is None else [format_option(name), str(value)]
    return shlex.join(words)


def name_backbone(model: ModelConfig) -> str:
    """Return the value of the option ``--backbone`` for a model."""
    if model.backbone == "rnn":
        return "rnn"
    return "causal_transformer" if model.causal else "transformer"


def format_option(name: str) -> str:
    """Return the command line option of a setting, e.g. ``--batch-size`` for ``batch_size``."""
    return f"--{name.replace('_', '-')}"


def describe_seeds(conditions: Conditions) -> str:
    """Return the episodes, their seed and the kind of goal in words."""
    goal = "" if conditions.goal is None else f", {conditions.goal} goal"
    tasks = f" of each of {len(conditions.tasks)} tasks" if conditions.tasks else ""
    return f"{conditions.episodes} episodes{tasks}, seed {conditions.seed}{goal}"


def format_card(
    recipe: Recipe, evaluations: dict[str, Evaluation], configs: dict[str, dict[str, Any]], command: str
) -> str:
    """Return the card in Markdown; ``evaluations`` and ``configs`` have one entry for each agent."""
    conditions = next(iter(evaluations.values())).conditions
    training = recipe.training
    source = training.dataset
    if source == "generate" or find_ogbench(source):
        source = f"{source.removesuffix('generate')} generated, seed {training.seed}".strip()
    versions = ", ".join(f"{name} {number}" for name, number in find_versions().items())
    return f"""\
# Diffusion Forcing on {conditions.env_id}

Trained by `{command}`:
{training.steps} updates of {training.batch_size} windows of {recipe.model.horizon} steps,
from {training.rows or "all"} rows ({source}).
Versions: {versions}; {find_processor()}, {os.cpu_count()} cores;
{describe_commit()}, training code {digest_training_code()}.

## Scores

{describe_seeds(conditions)}. {INTERVALS}

{format_scores_table(evaluations, configs)}

## Recipe

```json
{json.dumps(asdict(recipe), indent=2)}
```
"""
