"""The model card beside a checkpoint: what it is, how it was made, and what it scores."""

import hashlib
import json
import os
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dfplan.agents.config import PlannerConfig
from dfplan.agents.planner import DFPlanner
from dfplan.agents.presets import DIFFUSER, GOAL_TOKEN, POLICY, TEACHER_FORCING, config_for
from dfplan.benchmarks.evaluation import Conditions, Evaluation, evaluate
from dfplan.benchmarks.provenance import commit_in_words, training_code
from dfplan.benchmarks.report import INTERVALS, processor, scores_table, versions
from dfplan.config import RECIPES, RECORDED_RECIPES, ModelConfig, Recipe
from dfplan.diffusion_forcing import DiffusionForcing
from dfplan.envs.files import replaced
from dfplan.envs.layouts import maze_name

CARD_NAME = "README.md"
# Level sampler -> the agents that its models are made for, with their settings; all others are for the default ones.
EVALUATED = {"teacher_forcing": {"teacher-forcing": TEACHER_FORCING}, "full_sequence": {"diffuser": DIFFUSER}}
DEFAULT_EVALUATED = {"planner": {}, "planner-goal-token": GOAL_TOKEN, "policy": POLICY}


def write_card(
    path: Path, recipe: Recipe, model: DiffusionForcing, conditions: Conditions, run: str, timed: bool = True
) -> None:
    """Evaluate a finished model as the agents that it is made for, and write its card; ``run`` is its folder."""
    demonstrations = recipe.training.demonstrations
    plans: dict[str, PlannerConfig] = {}
    for name, settings in evaluated_agents(recipe).items():
        config = config_for(model, demonstrations, **settings)
        if config not in plans.values():
            plans[name] = config
    evaluations = {name: evaluate(DFPlanner(model, plan), conditions, name, timed) for name, plan in plans.items()}
    configs = {name: asdict(plan) | {"demonstrations": demonstrations} for name, plan in plans.items()}
    card = model_card(recipe, evaluations, configs, training_command(recipe, run))
    with replaced(path) as unfinished:
        unfinished.write_text(card + seal(card), encoding="utf-8")


def seal(card: str) -> str:
    """Return the last line of a card, which Markdown does not show: by it a card is known that nobody has changed."""
    return f"\n<!-- sha256 of the text above: {hashlib.sha256(card.encode()).hexdigest()} -->\n"


def is_untouched(path: Path) -> bool:
    """Return whether a card is as ``write_card`` wrote it."""
    text = path.read_text(encoding="utf-8")
    card = text[: text.rfind("\n<!-- sha256")]
    return text == card + seal(card)


def evaluated_agents(recipe: Recipe) -> dict[str, dict]:
    """Return names and settings of the agents that a recipe's model is made for."""
    return EVALUATED.get(recipe.training.level_sampler, DEFAULT_EVALUATED)


def training_command(recipe: Recipe, run: str) -> str:
    """Return the command that trains the same checkpoint in the folder ``run``."""
    maze = maze_name(recipe.env_id)
    words = ["dfplan-train", f"maze2d-{maze}", "--output", run]
    own = RECIPES[maze]
    if recipe.training.demonstrations == "recorded":
        own = RECORDED_RECIPES[maze]
        words += ["--demonstrations", "recorded"]
    if backbone_name(recipe.model) != backbone_name(own.model):
        words += ["--backbone", backbone_name(recipe.model)]
    default = asdict(own.training)
    for name, value in asdict(recipe.training).items():
        if value not in (default[name], None):
            words += [flag(name), str(value)]
    return shlex.join(words)


def backbone_name(model: ModelConfig) -> str:
    """Return the name under which the command line knows a model's backbone."""
    if model.backbone == "rnn":
        return "rnn"
    return "causal_transformer" if model.causal else "transformer"


def flag(name: str) -> str:
    """Return the command line's flag of a setting."""
    return f"--{name.replace('_', '-')}"


def model_card(
    recipe: Recipe, evaluations: dict[str, Evaluation], configs: dict[str, dict[str, Any]], command: str
) -> str:
    """Return the card in Markdown; ``evaluations`` and ``configs`` have one for each mode of the agent."""
    conditions = next(iter(evaluations.values())).conditions
    training = recipe.training
    source = f"generated, seed {training.seed}" if training.dataset == "generate" else training.dataset
    return f"""\
# Diffusion Forcing on {conditions.env_id}

Trained by `{command}`:
{training.steps} updates of {training.batch_size} windows of {recipe.model.horizon} steps,
from {training.rows or "all"} rows ({source}).
Versions: {", ".join(f"{name} {number}" for name, number in versions().items())}; {processor()}, {os.cpu_count()} cores;
{commit_in_words()}, training code {training_code()}.

## Scores

{conditions.episodes} episodes, seed {conditions.seed}, {conditions.goal} goal. {INTERVALS}

{scores_table(evaluations, configs)}

## Recipe

```json
{json.dumps(asdict(recipe), indent=2)}
```
"""
