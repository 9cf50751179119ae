"""Writes the files of a run: ``results.json``, ``episodes.csv``, ``report.md``, and a picture.

The picture is ``paths.png`` where positions lie in a plane, and ``returns.png`` in other worlds.
"""

import csv
from pathlib import Path
from typing import Any

import numpy as np

from dfplan.benchmarks.evaluation.episode_scores import SCORES
from dfplan.benchmarks.evaluation.estimates import (
    Evaluation,
    choose_main_score,
    count_steps_to_arrival,
    estimate_by_seed,
    estimate_by_task,
    estimate_scores,
)
from dfplan.benchmarks.evaluation.machine import find_versions
from dfplan.benchmarks.evaluation.statistics import Estimate, bootstrap, compute_quantiles, make_json_safe
from dfplan.benchmarks.reporting.figures import draw_executed_paths, draw_returns, save_figure
from dfplan.benchmarks.reporting.report import PATHS, format_report, name_picture
from dfplan.benchmarks.reporting.run_folder import RunFolder

FORMAT = 1  # of results.json; increased when programs that read the old format would misread the new one


def write_results(
    folder: RunFolder, evaluations: dict[str, Evaluation], configs: dict[str, dict[str, Any]], command: str
) -> None:
    """Write the four files; files of an earlier run are replaced when all new files are complete."""
    picture = name_picture(evaluations)
    draw = draw_executed_paths if picture == PATHS else draw_returns
    with folder.replace_files(collect_results(evaluations, configs)) as unfinished:
        (unfinished / "report.md").write_text(format_report(evaluations, configs, command), encoding="utf-8")
        _write_episodes(unfinished / "episodes.csv", evaluations)
        save_figure(draw(evaluations), unfinished / picture)


def collect_results(evaluations: dict[str, Evaluation], configs: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the contents of ``results.json``.

    Numbers that do not exist, such as the planning time of an agent without plans, are null. ``first_reach`` has the
    mean, as all scores, and also the median, which tables show. All estimates are over the episodes of all seeds; if
    there are several seeds, ``normalized`` also has one estimate per seed.
    """
    conditions = next(iter(evaluations.values())).conditions
    contents = {
        "format": FORMAT,
        "env_id": conditions.env_id,
        "episodes": conditions.episodes,
        "seed": conditions.seed,
        "seeds": conditions.seeds,
        "goal": conditions.goal,
        "tasks": list(conditions.tasks) or None,
        "versions": find_versions(),
        "agents": {agent: _collect_agent_results(evaluations[agent], configs[agent]) for agent in evaluations},
    }
    return make_json_safe(contents)


def _collect_agent_results(evaluation: Evaluation, config: dict[str, Any]) -> dict[str, Any]:
    shown = estimate_scores(evaluation)
    median = shown["first_reach"]
    arrivals = count_steps_to_arrival(evaluation)
    mean = median if np.isnan(arrivals).all() else bootstrap(arrivals)
    means = {name: mean if name == "first_reach" else shown[name] for name in SCORES if name in shown}
    summary: dict[str, Any] = {name: _convert_estimate(estimate) for name, estimate in means.items()}
    if evaluation.conditions.seeds > 1:
        for name in ("normalized", choose_main_score(evaluation)):
            by_seed = estimate_by_seed(evaluation, name).items()
            summary[name]["by_seed"] = {seed: _convert_estimate(estimate) for seed, estimate in by_seed}
    if evaluation.conditions.tasks:
        by_task = estimate_by_task(evaluation).items()
        summary["success"]["by_task"] = {task: _convert_estimate(estimate) for task, estimate in by_task}
    summary["first_reach"] |= {"median": median.value, "median_ci95": [median.low, median.high]}
    summary |= {name: compute_quantiles(getattr(evaluation, name)) for name in ("plan_seconds", "act_seconds")}
    return summary | {"config": config}


def _convert_estimate(estimate: Estimate) -> dict[str, Any]:
    return {"mean": estimate.value, "ci95": [estimate.low, estimate.high]}


def _write_episodes(path: Path, evaluations: dict[str, Evaluation]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        places = ("start_x", "start_y", "goal_x", "goal_y")
        writer.writerow(["agent", "task", "seed", "episode", "env_seed", "agent_seed", *places, *SCORES])
        for agent, evaluation in evaluations.items():
            conditions = evaluation.conditions
            cases = zip(conditions.task_of_cases, conditions.cases, conditions.episode_seeds, strict=True)
            for row, (task, case, seeds) in enumerate(cases):
                scores = [
                    float(evaluation.scores[name][row]) if name in evaluation.scores else np.nan for name in SCORES
                ]
                cells = ["" if np.isnan(value) else repr(value) for value in scores]
                positions = [*_find_place(evaluation.paths, row, 0), *_find_place(evaluation.goals, row)]
                writer.writerow([agent, "" if task is None else task, *case, *seeds, *positions, *cells])


def _find_place(places: np.ndarray | None, *index: int) -> list[str]:
    """Return the two cells of a place; they are empty if there is none in the plane."""
    if places is None or places.shape[-1] != 2:
        return ["", ""]
    return [f"{value:.6f}" for value in places[index]]
