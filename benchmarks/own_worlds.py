"""``python -m dfplan.benchmarks.own_worlds``: other worlds than mazes, from recordings as users have them.

The folder of the recordings is named by the environment variable ``DFPLAN_WORLDS``.
"""

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dfplan.agents.planner import DFPlanner
from dfplan.agents.presets import (
    MONTE_CARLO_GUIDANCE,
    POLICY,
    RETURN,
    RETURN_HORIZON,
    RETURN_MONTE_CARLO,
    config_for,
    suit_task,
)
from dfplan.agents.random_agent import RandomAgent
from dfplan.benchmarks.evaluation.conditions import Conditions
from dfplan.benchmarks.evaluation.environments import read_task_by_id
from dfplan.benchmarks.evaluation.episodes import evaluate
from dfplan.benchmarks.evaluation.estimates import Evaluation, Row, estimate_scores, has_value
from dfplan.benchmarks.evaluation.statistics import bootstrap
from dfplan.benchmarks.reporting.ablation import TRAINING_SEEDS, Findings, Run, main
from dfplan.benchmarks.reporting.charts import draw_bars
from dfplan.benchmarks.small_models import train_small_model
from dfplan.data.recording import Recording
from dfplan.ground.errors import InputError
from dfplan.model.diffusion_forcing import DiffusionForcing
from dfplan.recipes import choose_recipe
from dfplan.sampling.guides import predicted_return

FOLDER = "DFPLAN_WORLDS"  # environment variable: where the recordings are
GOAL_AGENTS = {
    "policy": POLICY,
    "planner, goal token": {"guide": None},
    "planner-mcg": MONTE_CARLO_GUIDANCE,
    "planner": {},
}
RETURN_AGENTS = {
    "policy": POLICY,
    "planner, 1 plan, no guide": RETURN | {"guide": None, "candidates": 1, "horizon": RETURN_HORIZON},
    "planner, best of 16, no guide": RETURN | {"guide": None, "candidates": 16, "horizon": RETURN_HORIZON},
    "planner, rewards of 8 steps, no value": RETURN
    | {"guide": predicted_return(), "selection": lambda plan: plan.rewards.sum(axis=1), "horizon": 8},
    "planner-mcg": MONTE_CARLO_GUIDANCE,
    "planner": {},
}
HORIZONS = (1, 2, 4, 8)  # steps of a plan along the return


@dataclass(frozen=True)
class OwnWorld:
    """A world and the recording of it.

    Attributes:
        env_id: Gymnasium's id.
        file: of the recording, in the folder ``DFPLAN_WORLDS``.
        facts: of the task that are said by hand.
    """

    env_id: str
    file: str
    facts: dict[str, Any] = field(default_factory=dict)


WORLDS = {
    "Pendulum": OwnWorld("Pendulum-v1", "Pendulum-v1.hdf5"),
    "Reacher": OwnWorld("Reacher-v5", "Reacher-v5.hdf5"),
    "InvertedPendulum": OwnWorld("InvertedPendulum-v5", "InvertedPendulum-v5.hdf5"),
    "PointMaze": OwnWorld("gymnasium_robotics:PointMaze_Medium-v3", "PointMaze_Medium-v3.hdf5"),
    "OGBench": OwnWorld("ogbench:pointmaze-medium-v0", "pointmaze-medium-own-v0.npz", {"goal": (0, 1)}),
}


@dataclass(frozen=True)
class Settings:
    """Budget of the study.

    Attributes:
        worlds: keys of ``WORLDS``.
        varied: keys of ``WORLDS`` without a goal, in which the futures and the horizon are varied.
        episodes: of each agent and training seed, reset with the seeds from that of the run on.
        futures: N of Monte-Carlo guidance.
        training_seeds: each world has one network per seed.
        steps: training updates; None for those of the recipe.
    """

    worlds: tuple[str, ...] = tuple(WORLDS)
    varied: tuple[str, ...] = ("Pendulum", "Reacher")
    episodes: int = 20
    futures: tuple[int, ...] = (1, 2, 4, 8, 16)
    training_seeds: tuple[int, ...] = TRAINING_SEEDS
    steps: int | None = None


FULL = Settings()
QUICK = Settings(
    worlds=("Reacher",), varied=("Reacher",), episodes=5, futures=(1, 4), training_seeds=TRAINING_SEEDS[:1], steps=300
)

EXPLANATION = """
Every network is trained by the recipe of `dfplan-train` for worlds that are no mazes, from recordings of mixed quality
that short hand-written controllers made; a part of their actions is random. The rows `the recording` are of the
recorded episodes themselves. All agents of a world have the same
networks and the same episodes, which are reset with consecutive seeds.

In worlds without a goal the planner follows the gradient of the λ-return: rewards that the plan predicts, and then the
value that was fitted to the recording. `best of 16, no guide` only selects by the same λ-return, `1 plan, no guide`
imitates the recording, and `no value` looks no farther than its plan. In worlds with a goal the guide is the cost to
go, and `goal token` tells the model its goal instead. `planner-mcg` has one plan and eight futures.
"""


def study(settings: Settings, run: Run) -> Findings:
    """Return the scores of all agents in all worlds, and of plans with other numbers of futures and other horizons."""
    scores: list[Row] = []
    futures: list[Row] = []
    horizons: list[Row] = []
    for name in settings.worlds:
        models = _train(name, settings, run)
        agents = GOAL_AGENTS if models[0].config.task.goal else RETURN_AGENTS
        scores += _describe_recording(name)
        scores.append(_measure_random(name, models[0], settings, run))
        scores += [_measure(name, models, {"agent": agent}, own, settings, run) for agent, own in agents.items()]
        if name in settings.varied:
            for number in settings.futures:
                own = RETURN_MONTE_CARLO | {"num_futures": number}
                futures.append(_measure(name, models, {"futures": number}, own, settings, run))
            for horizon in HORIZONS:
                horizons.append(_measure(name, models, {"horizon": horizon}, {"horizon": horizon}, settings, run))
    tables = {"scores": scores, "Monte-Carlo guidance": futures, "horizon": horizons}
    panels = {
        name: {"return": {row["agent"]: row["return"] for row in scores if row["world"] == name}}
        for name in settings.worlds
    }
    figures = {"returns": draw_bars(panels, "return")}
    return Findings(tables, figures, EXPLANATION, len(settings.training_seeds))


def load_recording(world: OwnWorld) -> Recording:
    """Return the recording of a world.

    Raises:
        InputError: if the folder is not named, or the file is not there.
    """
    folder = os.environ.get(FOLDER)
    if not folder:
        raise InputError(f"set the environment variable {FOLDER} to the folder of the recordings ({world.file}, ...).")
    return Recording.load(Path(folder) / world.file)


def _train(name: str, settings: Settings, run: Run) -> list[DiffusionForcing]:
    """Return one network of a world for each training seed."""
    world = WORLDS[name]
    recording = load_recording(world)
    recipe = choose_recipe(world.env_id, read_task_by_id(world.env_id, **world.facts), recording)
    changes: dict[str, Any] = {"dataset": world.file, "steps": settings.steps or recipe.training.steps}
    recipes = [
        replace(recipe, training=replace(recipe.training, seed=seed, **changes)) for seed in settings.training_seeds
    ]
    return [train_small_model(own, recording, run, f"{name}-seed{own.training.seed}") for own in recipes]


def _measure(
    name: str, models: list[DiffusionForcing], labels: Row, own: dict[str, Any], settings: Settings, run: Run
) -> Row:
    """Return the row of an agent with all networks of a world."""
    evaluations = []
    for model in models:
        agent = DFPlanner(model, config_for(model, "recorded", **suit_task(own, model.config.task)))
        label = f"{name}, {', '.join(map(str, labels.values()))}"
        evaluations.append(evaluate(agent, _make_conditions(name, settings, run), label))
    return {"world": name} | labels | _make_row(evaluations)


def _measure_random(name: str, model: DiffusionForcing, settings: Settings, run: Run) -> Row:
    agent = RandomAgent(model.config.task)
    evaluation = evaluate(agent, _make_conditions(name, settings, run), f"{name}, random", timed=False)
    return {"world": name, "agent": "random"} | _make_row([evaluation])


def _describe_recording(name: str) -> list[Row]:
    """Return the row of the recorded episodes; none if no rewards were recorded."""
    recording = load_recording(WORLDS[name])
    if not recording.rewards.any():
        return []
    scores = {"return": bootstrap(recording.returns), "length": bootstrap(recording.lengths.astype(float))}
    return [{"world": name, "agent": "the recording", "episodes": recording.num_episodes} | scores]


def _make_conditions(name: str, settings: Settings, run: Run) -> Conditions:
    return Conditions(WORLDS[name].env_id, settings.episodes, run.seed, goal=None)


def _make_row(evaluations: list[Evaluation]) -> Row:
    """Return the scores of an agent with their intervals; columns that a world does not have are left out."""
    estimates = estimate_scores(*evaluations)
    shown = {"return": "return", "success": "success", "length": "length", "plan_seconds": "s per plan"}
    episodes = sum(len(one.rewards) for one in evaluations)
    return {"episodes": episodes} | {
        title: estimates[score] for score, title in shown.items() if has_value(estimates, score)
    }


if __name__ == "__main__":
    main("own_worlds", __doc__, study, FULL, QUICK)
