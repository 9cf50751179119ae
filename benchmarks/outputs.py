"""Writes the files that a run leaves: ``results.json``, ``episodes.csv``, ``report.md`` and ``paths.png``."""

import csv
from pathlib import Path
from typing import Any

import numpy as np

from dfplan.benchmarks.estimates import SCORES, arrivals, estimates, normalized_by_seed
from dfplan.benchmarks.evaluation import Evaluation, episode_seeds
from dfplan.benchmarks.figures import executed_paths, save_figure
from dfplan.benchmarks.report import report, versions
from dfplan.benchmarks.run_folder import RunFolder
from dfplan.benchmarks.statistics import Estimate, bootstrap, json_safe, quantiles
from dfplan.envs.layouts import LAYOUTS, maze_name

FORMAT = 1  # of results.json; raised when a reader of the old one would misread the new one


def write_results(
    folder: RunFolder, evaluations: dict[str, Evaluation], configs: dict[str, dict[str, Any]], command: str
) -> None:
    """Write the four files; those of an earlier run are replaced once all of the new ones are complete."""
    layout = LAYOUTS[maze_name(next(iter(evaluations.values())).conditions.env_id)]
    with folder.replaced(results(evaluations, configs)) as unfinished:
        (unfinished / "report.md").write_text(report(evaluations, configs, command), encoding="utf-8")
        _write_episodes(unfinished / "episodes.csv", evaluations)
        save_figure(executed_paths(layout, evaluations), unfinished / "paths.png")


def results(evaluations: dict[str, Evaluation], configs: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return what ``results.json`` holds.

    Numbers that do not exist, such as the plan time of an agent without plans, are null. ``first_reach`` has the mean
    like every score, and beside it the median that tables show. All estimates are over the episodes of all seeds; of
    several seeds, ``normalized`` also has each one's own.
    """
    conditions = next(iter(evaluations.values())).conditions
    contents = {
        "format": FORMAT,
        "env_id": conditions.env_id,
        "episodes": conditions.episodes,
        "seed": conditions.seed,
        "seeds": conditions.seeds,
        "goal": conditions.goal,
        "versions": versions(),
        "agents": {agent: _agent_results(evaluations[agent], configs[agent]) for agent in evaluations},
    }
    return json_safe(contents)


def _agent_results(evaluation: Evaluation, config: dict[str, Any]) -> dict[str, Any]:
    shown = estimates(evaluation)
    means = {name: shown[name] for name in SCORES[:-1]} | {"first_reach": bootstrap(arrivals(evaluation))}
    summary: dict[str, Any] = {name: _mean(estimate) for name, estimate in means.items()}
    if evaluation.conditions.seeds > 1:
        by_seed = normalized_by_seed(evaluation).items()
        summary["normalized"]["by_seed"] = {seed: _mean(estimate) for seed, estimate in by_seed}
    median = shown["first_reach"]
    summary["first_reach"] |= {"median": median.value, "median_ci95": [median.low, median.high]}
    summary |= {name: quantiles(getattr(evaluation, name)) for name in ("plan_seconds", "act_seconds")}
    return summary | {"config": config}


def _mean(estimate: Estimate) -> dict[str, Any]:
    return {"mean": estimate.value, "ci95": [estimate.low, estimate.high]}


def _write_episodes(path: Path, evaluations: dict[str, Evaluation]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        places = ("start_x", "start_y", "goal_x", "goal_y")
        writer.writerow(["agent", "seed", "episode", "env_seed", "agent_seed", *places, *SCORES])
        for agent, evaluation in evaluations.items():
            paths, goals = evaluation.paths, evaluation.goals
            for row, (seed, episode) in enumerate(evaluation.conditions.cases):
                values = [float(evaluation.scores[name][row]) for name in SCORES]
                positions = (f"{value:.6f}" for value in (*paths[row, 0], *goals[row]))
                cells = ["" if np.isnan(value) else repr(value) for value in values]
                writer.writerow([agent, seed, episode, *episode_seeds(seed, episode), *positions, *cells])
