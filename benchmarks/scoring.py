"""Scores planners in D4RL's mazes, for the tables of several studies."""

from collections.abc import Mapping, Sequence
from typing import Any

from dfplan.agents.planner import DFPlanner
from dfplan.agents.presets import config_for
from dfplan.benchmarks.evaluation.episodes import Conditions, evaluate
from dfplan.benchmarks.evaluation.estimates import Row
from dfplan.benchmarks.reporting.ablation import Run, make_score_row
from dfplan.config import Recipe
from dfplan.model.diffusion_forcing import DiffusionForcing


def score_checkpoint(
    checkpoint: str, maze: str, settings: Mapping[str, Any], episodes: int, run: Run, label: str
) -> Row:
    """Return the scores of the planner of a checkpoint.

    Args:
        checkpoint: name of a shipped checkpoint.
        maze: in which the planner acts.
        settings: fields of ``PlannerConfig`` that replace those that suit the checkpoint.
        episodes: how many, from the run's seed.
        run: the seed and the device.
        label: of the progress bar.
    """
    agent = DFPlanner.load(checkpoint, run.device, **settings)
    conditions = Conditions(f"maze2d-{maze}-v1", episodes, run.seed)
    return make_score_row(evaluate(agent, conditions, label, timed=False))


def score_trainings(
    models: Sequence[DiffusionForcing],
    recipe: Recipe,
    settings: Mapping[str, Any],
    episodes: int,
    run: Run,
    label: str,
) -> Row:
    """Return the scores of networks that were trained by one recipe from different seeds.

    The network of the first training seed acts in the episodes of the run's seed, the second in those of the seed
    after it, and so on. ``episodes`` counts those of one network; the other arguments are as in ``score_checkpoint``.
    """
    evaluations = []
    for number, model in enumerate(models):
        agent = DFPlanner(model, config_for(model, recipe.training.demonstrations, **settings))
        conditions = Conditions(recipe.env_id, episodes, run.seed + number)
        title = f"{label}, training {number + 1} of {len(models)}"
        evaluations.append(evaluate(agent, conditions, title, timed=False))
    return make_score_row(evaluations)
