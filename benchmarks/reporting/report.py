"""Formats evaluations as text: the table on the terminal and ``report.md``."""

import os
from typing import Any

import numpy as np

from dfplan.benchmarks.evaluation.conditions import Conditions
from dfplan.benchmarks.evaluation.environments import find_maze
from dfplan.benchmarks.evaluation.estimates import (
    Evaluation,
    choose_main_score,
    estimate_by_seed,
    estimate_by_task,
    estimate_scores,
    has_value,
)
from dfplan.benchmarks.evaluation.kinematic_limit import compute_kinematic_limit
from dfplan.benchmarks.evaluation.machine import find_processor, find_versions
from dfplan.benchmarks.evaluation.statistics import compute_quantiles
from dfplan.benchmarks.reporting.markdown import format_header, format_row
from dfplan.benchmarks.reporting.published import MAZES, OWN_ACTIONS, PD, QUOTED

# Title and number format of each column of ``estimate_scores``.
COLUMNS = {
    "return": ("return", ".1f"),
    "normalized": ("normalized", ".1f"),
    "normalized_if_stay": ("normalized_if_stay", ".1f"),
    "success": ("success", ".2f"),
    "first_reach": ("first_reach (median)", ".0f"),
    "plan_seconds": ("s per plan", ".5f"),
    "act_seconds": ("s per act", ".5f"),
}
LENGTH = ("length", ".0f")  # the column of lengths, which is shown if they differ
SMALL_RETURN = 10.0  # below which returns are shown with three decimals
# Titles of the columns that describe an agent: its training data, its controller, and its plans.
BACKGROUND = ("trained on", "driven by", "plans")
DRIVEN_BY = {"diffused": OWN_ACTIONS, "pd": PD, "pursuit": "pursuit"}  # controller -> its name in tables
INTERVALS = """\
In brackets: 95% intervals. Intervals of scores are over episodes (bootstrap; Wilson's for `success`). Intervals of
seconds are over the calls in one episode (bootstrap); they do not include differences between episodes or machines."""
EXPLANATIONS = {
    "return": "plain sum of rewards{sparse}.",
    "normalized": """\
100 · (return - ref_min) / (ref_max - ref_min) with D4RL's constants; D4RL's random agent scores 0, and
  its controller, as D4RL ran it, scores 100.""",
    "normalized_if_stay": """\
the same, but every step from the first arrival on counts 1, whether or not the ball stays; some
  papers report this score.""",
    "success": "share of episodes that reach the goal.",
    "first_reach": """\
median number of steps until the first arrival; an episode that never arrives counts its full length.""",
    "length": "mean number of steps of an episode.",
}
SPARSE = "; a step within 0.5 of the goal counts 1, every other step 0"  # in D4RL's mazes
SUCCESS_OF_OTHERS = "share of episodes with a step that the environment reports as a success."
WAYPOINT = "* agent `waypoint`: the demonstrator's controller without noise, reset for each episode; it knows the maze."
SECONDS = """\
* seconds per plan and per act: mean wall time of single calls, one episode at a time; acts that plan count in both."""
PATHS, RETURNS = "paths.png", "returns.png"
PICTURES = {PATHS: "Executed paths", RETURNS: "Return so far over the steps"}


def name_picture(evaluations: dict[str, Evaluation]) -> str:
    """Return the file name of the picture: of paths if there are any, or else of returns."""
    return PATHS if any(evaluation.paths is not None for evaluation in evaluations.values()) else RETURNS


def describe_conditions(conditions: Conditions) -> str:
    """Return environment, goal and episodes in words."""
    goal = None if conditions.goal is None else f"{conditions.goal} goal"
    coordinates = "D4RL's coordinates" if conditions.coordinates == "d4rl" else None
    length = None if conditions.max_steps is None else f"at most {conditions.max_steps} steps"
    parts = (conditions.env_id, goal, coordinates, length, describe_episodes(conditions))
    return ", ".join(part for part in parts if part is not None)


def describe_episodes(conditions: Conditions) -> str:
    """Return the number of episodes in words, and the seeds if there are several."""
    tasks = f" of each of {len(conditions.tasks)} tasks" if conditions.tasks else ""
    if conditions.seeds == 1:
        return f"{conditions.episodes} episodes{tasks}"
    last = conditions.seed + conditions.seeds - 1
    return f"{conditions.episodes} episodes{tasks} of each of the seeds {conditions.seed} to {last}"


def describe_background(config: dict[str, Any]) -> dict[str, str]:
    """Return the columns ``BACKGROUND``: the data of an agent's network, its controller, and its plans.

    Args:
        config: from ``describe_config``. An agent without plans has dashes.
    """
    if "controller" not in config:
        return dict.fromkeys(BACKGROUND, "-")
    controller = config["controller"]
    driven_by = DRIVEN_BY.get(controller, controller) + (", hold" if config.get("hold") else "")
    trained_on = f"{config['demonstrations']} demonstrations"
    return dict(zip(BACKGROUND, (trained_on, driven_by, _describe_plans(config)), strict=True))


def _describe_plans(config: dict[str, Any]) -> str:
    """Return how many plans an agent makes per decision, how long they are, and how often it makes them."""
    steps = "longest" if config["horizon"] is None else f"{config['horizon']} steps"
    length = "1 token" if config["mode"] == "policy" else steps
    often = "once" if config["open_loop_horizon"] is None else f"every {config['open_loop_horizon']}"
    return f"{config['candidates']} of {length}, {often}"


def choose_columns(evaluations: dict[str, Evaluation]) -> dict[str, tuple[str, str]]:
    """Return title and number format of the columns that exist for at least one agent, by the name of the score."""
    estimates = [estimate_scores(evaluation) for evaluation in evaluations.values()]
    chosen = {name: column for name, column in COLUMNS.items() if any(has_value(of_one, name) for of_one in estimates)}
    if any(len(set(evaluation.scores.get("length", []))) > 1 for evaluation in evaluations.values()):
        chosen["length"] = LENGTH
    if max(abs(of_one["return"].value) for of_one in estimates) < SMALL_RETURN:
        chosen["return"] = ("return", ".3f")
    return chosen


def format_table(evaluations: dict[str, Evaluation], configs: dict[str, dict[str, Any]]) -> str:
    """Return the table for the terminal: one row per agent, with the intervals in the line below the values."""
    columns, background = choose_columns(evaluations), _choose_background(configs)
    rows = [["agent", *background, *(title for title, _ in columns.values())]]
    for agent, evaluation in evaluations.items():
        behind = (describe_background(configs[agent])[title] for title in background)
        cells = [_format_cell(evaluation, name, spec) for name, (_, spec) in columns.items()]
        values, intervals = zip(*(cell.partition(" ")[::2] for cell in cells))
        rows += [[agent, *behind, *values], [*("" for _ in ("agent", *background)), *intervals]]
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths)) for row in rows]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def format_scores_table(evaluations: dict[str, Evaluation], configs: dict[str, dict[str, Any]]) -> str:
    """Return the table in Markdown: one row per agent, each value followed by its interval."""
    columns, background = choose_columns(evaluations), _choose_background(configs)
    rows = format_header("agent", *background, *(title for title, _ in columns.values()))
    for agent, evaluation in evaluations.items():
        behind = (describe_background(configs[agent])[title] for title in background)
        cells = (_format_cell(evaluation, name, spec) for name, (_, spec) in columns.items())
        rows.append(format_row(agent, *behind, *cells))
    return "\n".join(rows)


def format_report(evaluations: dict[str, Evaluation], configs: dict[str, dict[str, Any]], command: str) -> str:
    """Return ``report.md``: the command, the machine, the scores, the latencies, and published scores of mazes."""
    conditions, picture = next(iter(evaluations.values())).conditions, name_picture(evaluations)
    return "\n".join(
        [
            f"# {describe_conditions(conditions)}\n",
            f"Made by `{command}` with {', '.join(f'{name} {number}' for name, number in find_versions().items())}",
            f"on {find_processor()}, {os.cpu_count()} cores.\n",
            f"{INTERVALS}\n",
            format_scores_table(evaluations, configs),
            *_format_task_rows(evaluations),
            *_format_seed_rows(evaluations),
            f"\n![{PICTURES[picture]}]({picture})\n",
            *_explain_columns(evaluations),
            "\n## Latency, batch 1\n",
            *_format_latency_rows(evaluations),
            *_format_published_rows(conditions),
            "",
        ]
    )


def _choose_background(configs: dict[str, dict[str, Any]]) -> list[str]:
    """Return the titles of ``BACKGROUND`` that tell something of at least one agent."""
    described = [describe_background(config) for config in configs.values()]
    return [title for title in BACKGROUND if any(of_one[title] != "-" for of_one in described)]


def _format_cell(evaluation: Evaluation, name: str, spec: str) -> str:
    return format(estimate_scores(evaluation)[name], spec)


def _explain_columns(evaluations: dict[str, Evaluation]) -> list[str]:
    """Return a line for each column of the table."""
    is_maze = find_maze(next(iter(evaluations.values())).conditions.env_id) is not None
    texts = EXPLANATIONS if is_maze else EXPLANATIONS | {"success": SUCCESS_OF_OTHERS}
    columns = choose_columns(evaluations)
    lines = [f"* `{name}`: {text}" for name, text in texts.items() if name in columns]
    lines = [line.format(sparse=SPARSE if is_maze else "") for line in lines]
    return [*lines, *([WAYPOINT] if "waypoint" in evaluations else []), SECONDS]


def _format_seed_rows(evaluations: dict[str, Evaluation]) -> list[str]:
    """Return the lines of the table of normalized scores or returns by seed; nothing if there is one seed only."""
    if next(iter(evaluations.values())).conditions.seeds == 1:
        return []
    score = choose_main_score(next(iter(evaluations.values())))
    by_seed = {agent: estimate_by_seed(evaluation, score) for agent, evaluation in evaluations.items()}
    rows = format_header(f"agent, {score}", *(f"seed {seed}" for seed in next(iter(by_seed.values()))))
    rows += [format_row(agent, *(f"{estimate:.1f}" for estimate in found.values())) for agent, found in by_seed.items()]
    return ["\n## Seed by seed\n", *rows]


def _format_task_rows(evaluations: dict[str, Evaluation]) -> list[str]:
    """Return the lines of the table of successes by task; nothing without tasks."""
    by_task = {agent: estimate_by_task(evaluation) for agent, evaluation in evaluations.items()}
    tasks = next(iter(by_task.values()))
    if not tasks:
        return []
    rows = format_header("agent, success", *(f"task {task}" for task in tasks))
    rows += [format_row(agent, *(f"{estimate:.2f}" for estimate in found.values())) for agent, found in by_task.items()]
    return ["\n## Task by task\n", *rows]


def _format_latency_rows(evaluations: dict[str, Evaluation]) -> list[str]:
    rows = format_header("agent", "s per plan, p50", "p95", "s per act, p50", "p95")
    for agent, evaluation in evaluations.items():
        seconds = [
            *compute_quantiles(evaluation.plan_seconds).values(),
            *compute_quantiles(evaluation.act_seconds).values(),
        ]
        rows.append(format_row(agent, *("-" if np.isnan(value) else f"{value:.5f}" for value in seconds)))
    return rows


def _format_published_rows(conditions: Conditions) -> list[str]:
    """Return the lines of the section on published scores; nothing unless the episodes are those of D4RL's mazes."""
    maze, title = find_maze(conditions.env_id), "\n## To compare with\n"
    if maze is None or conditions.goal is None or conditions.max_steps is not None:
        return []
    if maze not in MAZES:
        return [title, "No scores were published for this maze."]
    titles = ("method", maze, "scale", "trained on", "driven by", "source")
    rows = [title, format_row(*titles), format_row("---", "---:", *["---"] * 4)]
    limit = f"{compute_kinematic_limit(maze, conditions.goal):.0f}"
    source = "computed: `python -m dfplan.commands.kinematic_limits`"
    rows.append(format_row("kinematic limit", limit, "normalized", "-", "-", source))
    for quoted in QUOTED[conditions.goal]:
        behind = (quoted.trained_on, quoted.driven_by, f"**quoted**: {quoted.source}")
        rows.append(format_row(quoted.method, f"{quoted.scores[maze]:.1f}", quoted.scale, *behind))
    return rows
