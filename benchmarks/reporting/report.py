"""Formats evaluations as text: the table on the terminal and ``report.md``."""

import os
from typing import Any

import numpy as np

from dfplan.benchmarks.evaluation.episodes import Conditions, Evaluation
from dfplan.benchmarks.evaluation.estimates import estimate_by_seed, estimate_scores
from dfplan.benchmarks.evaluation.kinematic_limit import compute_kinematic_limit
from dfplan.benchmarks.evaluation.machine import find_processor, find_versions
from dfplan.benchmarks.evaluation.statistics import Estimate, compute_quantiles
from dfplan.benchmarks.reporting.markdown import format_header, format_row
from dfplan.benchmarks.reporting.published import MAZES, OWN_ACTIONS, PD, QUOTED
from dfplan.envs.layouts import parse_maze_name

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
# Titles of the columns that describe an agent: its training data, its controller, and its plans.
BACKGROUND = ("trained on", "driven by", "plans")
DRIVEN_BY = {"diffused": OWN_ACTIONS, "pd": PD, "pursuit": "pursuit"}  # controller -> its name in tables
INTERVALS = """\
In brackets: 95% intervals. Intervals of scores are over episodes (bootstrap; Wilson's for `success`). Intervals of
seconds are over the calls in one episode (bootstrap); they do not include differences between episodes or machines."""
EXPLANATIONS = """\
* `return`: plain sum of rewards; a step within 0.5 of the goal counts 1, every other step 0.
* `normalized`: 100 · (return - ref_min) / (ref_max - ref_min) with D4RL's constants; D4RL's random agent scores 0, and
  its controller, as D4RL ran it, scores 100.
* `normalized_if_stay`: the same, but every step from the first arrival on counts 1, whether or not the ball stays; some
  papers report this score.
* `success`: share of episodes that reach the goal.
* `first_reach`: median number of steps until the first arrival; an episode that never arrives counts its full length.
* agent `waypoint`: the demonstrator's controller without noise, reset for each episode; it knows the maze.
* seconds per plan and per act: mean wall time of single calls, one episode at a time; acts that plan count in both."""


def describe_episodes(conditions: Conditions) -> str:
    """Return the number of episodes in words, and the seeds if there are several."""
    if conditions.seeds == 1:
        return f"{conditions.episodes} episodes"
    last = conditions.seed + conditions.seeds - 1
    return f"{conditions.episodes} episodes of each of the seeds {conditions.seed} to {last}"


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


def format_table(evaluations: dict[str, Evaluation], configs: dict[str, dict[str, Any]]) -> str:
    """Return the table for the terminal: one row per agent, with the intervals in the line below the values."""
    rows = [["agent", *BACKGROUND, *(title for title, _ in COLUMNS.values())]]
    for agent, evaluation in evaluations.items():
        behind = describe_background(configs[agent]).values()
        cells = [_split_cell(estimate_scores(evaluation)[name], spec) for name, (_, spec) in COLUMNS.items()]
        rows.append([agent, *behind, *(value for value, _ in cells)])
        rows.append(["" for _ in ("agent", *BACKGROUND)] + [interval for _, interval in cells])
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths)) for row in rows]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def format_scores_table(evaluations: dict[str, Evaluation], configs: dict[str, dict[str, Any]]) -> str:
    """Return the table in Markdown: one row per agent, each value followed by its interval."""
    rows = format_header("agent", *BACKGROUND, *(title for title, _ in COLUMNS.values()))
    for agent, evaluation in evaluations.items():
        cells = (f"{estimate_scores(evaluation)[name]:{spec}}" for name, (_, spec) in COLUMNS.items())
        rows.append(format_row(agent, *describe_background(configs[agent]).values(), *cells))
    return "\n".join(rows)


def format_report(evaluations: dict[str, Evaluation], configs: dict[str, dict[str, Any]], command: str) -> str:
    """Return ``report.md``: the command, the machine, the scores, the latencies, and published scores."""
    conditions = next(iter(evaluations.values())).conditions
    return "\n".join(
        [
            f"# {conditions.env_id}, {conditions.goal} goal, {describe_episodes(conditions)}\n",
            f"Made by `{command}` with {', '.join(f'{name} {number}' for name, number in find_versions().items())}",
            f"on {find_processor()}, {os.cpu_count()} cores.\n",
            f"{INTERVALS}\n",
            format_scores_table(evaluations, configs),
            *_format_seed_rows(evaluations),
            "\n![Executed paths](paths.png)\n",
            EXPLANATIONS,
            "\n## Latency, batch 1\n",
            *_format_latency_rows(evaluations),
            "\n## To compare with\n",
            *_format_published_rows(conditions),
            "",
        ]
    )


def _split_cell(estimate: Estimate, spec: str) -> tuple[str, str]:
    value, _, interval = format(estimate, spec).partition(" ")
    return value, interval


def _format_seed_rows(evaluations: dict[str, Evaluation]) -> list[str]:
    """Return the lines of the table of normalized scores by seed; nothing if there is one seed only."""
    if next(iter(evaluations.values())).conditions.seeds == 1:
        return []
    by_seed = {agent: estimate_by_seed(evaluation) for agent, evaluation in evaluations.items()}
    rows = format_header("agent, normalized", *(f"seed {seed}" for seed in next(iter(by_seed.values()))))
    rows += [format_row(agent, *(f"{estimate:.1f}" for estimate in found.values())) for agent, found in by_seed.items()]
    return ["\n## Seed by seed\n", *rows]


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
    maze = parse_maze_name(conditions.env_id)
    if maze not in MAZES:
        return ["No scores were published for this maze."]
    titles = ("method", maze, "scale", "trained on", "driven by", "source")
    rows = [format_row(*titles), format_row("---", "---:", *["---"] * 4)]
    limit = f"{compute_kinematic_limit(maze, conditions.goal):.0f}"
    source = "computed: `python -m dfplan.commands.kinematic_limits`"
    rows.append(format_row("kinematic limit", limit, "normalized", "-", "-", source))
    for quoted in QUOTED[conditions.goal]:
        behind = (quoted.trained_on, quoted.driven_by, f"**quoted**: {quoted.source}")
        rows.append(format_row(quoted.method, f"{quoted.scores[maze]:.1f}", quoted.scale, *behind))
    return rows
