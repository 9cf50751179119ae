"""Turns evaluations into words: the table on the terminal and ``report.md``."""

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

import dfplan
from dfplan.benchmarks.estimates import estimates, normalized_by_seed
from dfplan.benchmarks.evaluation import Conditions, Evaluation
from dfplan.benchmarks.kinematic_limit import MAZES, kinematic_limit
from dfplan.benchmarks.published import OWN_ACTIONS, PD, QUOTED
from dfplan.benchmarks.statistics import Estimate, quantiles
from dfplan.envs.layouts import maze_name

# Column title and number format of each of ``estimates``.
COLUMNS = {
    "return": ("return", ".1f"),
    "normalized": ("normalized", ".1f"),
    "normalized_if_stay": ("normalized_if_stay", ".1f"),
    "success": ("success", ".2f"),
    "first_reach": ("first_reach (median)", ".0f"),
    "plan_seconds": ("s per plan", ".5f"),
    "act_seconds": ("s per act", ".5f"),
}
# Columns of tables that name an agent's data and controller, and how many plans it makes, how long and how often.
BACKGROUND = ("trained on", "driven by", "plans")
DRIVEN_BY = {"diffused": OWN_ACTIONS, "pd": PD, "pursuit": "pursuit"}  # controller -> its name in tables
PACKAGES = ("torch", "mujoco", "gymnasium", "numpy")
INTERVALS = """\
In brackets: 95% intervals. Those of scores are over episodes, by the bootstrap, and Wilson's for `success`; those of
seconds are by the bootstrap over the calls in one episode, and leave out how episodes and machines differ."""
EXPLANATIONS = """\
* `return`: plain sum of rewards; a step within 0.5 of the goal counts 1, every other step 0.
* `normalized`: 100 · (return - ref_min) / (ref_max - ref_min) with D4RL's constants; D4RL's random agent has 0,
  its controller, as D4RL ran it, 100.
* `normalized_if_stay`: the same with every step from the first arrival on counted 1, whether or not the
  ball stays; some papers print this one.
* `success`: share of episodes that arrive at all.
* `first_reach`: median number of steps to the first arrival; an episode that never arrives counts with its full length.
* agent `waypoint`: the demonstrator's controller, without its noise and reset for each episode; it knows the maze.
* seconds per plan and per act: mean wall time of single calls for one episode at a time; acts that plan are in both."""


def counted_episodes(conditions: Conditions) -> str:
    """Return how many episodes there are, and of which seeds if there are several."""
    if conditions.seeds == 1:
        return f"{conditions.episodes} episodes"
    last = conditions.seed + conditions.seeds - 1
    return f"{conditions.episodes} episodes of each of the seeds {conditions.seed} to {last}"


def background(config: dict[str, Any]) -> dict[str, str]:
    """Return what stands behind an agent's scores: the data of its network, and what turns its plans into actions.

    Args:
        config: as ``described_config`` returns it; dashes stand for what an agent without plans has not.
    """
    if "controller" not in config:
        return dict.fromkeys(BACKGROUND, "-")
    driven_by = DRIVEN_BY[config["controller"]] + (", hold" if config.get("hold") else "")
    trained_on = f"{config['demonstrations']} demonstrations"
    return dict(zip(BACKGROUND, (trained_on, driven_by, _plans(config)), strict=True))


def _plans(config: dict[str, Any]) -> str:
    """Return how many plans an agent makes for a decision, how long they are, and every how many steps."""
    steps = "longest" if config["horizon"] is None else f"{config['horizon']} steps"
    length = "1 token" if config["mode"] == "policy" else steps
    often = "once" if config["open_loop_horizon"] is None else f"every {config['open_loop_horizon']}"
    return f"{config['candidates']} of {length}, {often}"


def table(evaluations: dict[str, Evaluation], configs: dict[str, dict[str, Any]]) -> str:
    """Return the table for the terminal: a row per agent, each interval under its value."""
    rows = [["agent", *BACKGROUND, *(title for title, _ in COLUMNS.values())]]
    for agent, evaluation in evaluations.items():
        behind = background(configs[agent]).values()
        cells = [_cell(estimates(evaluation)[name], spec) for name, (_, spec) in COLUMNS.items()]
        rows.append([agent, *behind, *(value for value, _ in cells)])
        rows.append(["" for _ in ("agent", *BACKGROUND)] + [interval for _, interval in cells])
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths)) for row in rows]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def scores_table(evaluations: dict[str, Evaluation], configs: dict[str, dict[str, Any]]) -> str:
    """Return the table in Markdown: a row per agent, each value followed by its interval."""
    rows = _header("agent", *BACKGROUND, *(title for title, _ in COLUMNS.values()))
    for agent, evaluation in evaluations.items():
        cells = (f"{estimates(evaluation)[name]:{spec}}" for name, (_, spec) in COLUMNS.items())
        rows.append(_row(agent, *background(configs[agent]).values(), *cells))
    return "\n".join(rows)


def report(evaluations: dict[str, Evaluation], configs: dict[str, dict[str, Any]], command: str) -> str:
    """Return ``report.md``: what was measured, on which machine, by which command, and what others published."""
    conditions = next(iter(evaluations.values())).conditions
    return "\n".join(
        [
            f"# {conditions.env_id}, {conditions.goal} goal, {counted_episodes(conditions)}\n",
            f"Made by `{command}` with {', '.join(f'{name} {number}' for name, number in versions().items())}",
            f"on {processor()}, {os.cpu_count()} cores.\n",
            f"{INTERVALS}\n",
            scores_table(evaluations, configs),
            *_seed_rows(evaluations),
            "\n![Executed paths](paths.png)\n",
            EXPLANATIONS,
            "\n## Latency, batch 1\n",
            *_latency_rows(evaluations),
            "\n## To compare with\n",
            *_compared_rows(conditions),
            "",
        ]
    )


def versions() -> dict[str, str]:
    """Return the versions that results depend on."""
    found = {"dfplan": dfplan.__version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # an evaluation without networks runs without torch
            found[package] = "absent"
    return found


def processor() -> str:
    """Return the processor's model."""
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _cell(estimate: Estimate, spec: str) -> tuple[str, str]:
    value, _, interval = format(estimate, spec).partition(" ")
    return value, interval


def _seed_rows(evaluations: dict[str, Evaluation]) -> list[str]:
    """Return the normalized scores seed by seed, nothing for one seed, whose scores are those of the table above."""
    if next(iter(evaluations.values())).conditions.seeds == 1:
        return []
    by_seed = {agent: normalized_by_seed(evaluation) for agent, evaluation in evaluations.items()}
    rows = _header("agent, normalized", *(f"seed {seed}" for seed in next(iter(by_seed.values()))))
    rows += [_row(agent, *(f"{estimate:.1f}" for estimate in found.values())) for agent, found in by_seed.items()]
    return ["\n## Seed by seed\n", *rows]


def _latency_rows(evaluations: dict[str, Evaluation]) -> list[str]:
    rows = _header("agent", "s per plan, p50", "p95", "s per act, p50", "p95")
    for agent, evaluation in evaluations.items():
        seconds = [*quantiles(evaluation.plan_seconds).values(), *quantiles(evaluation.act_seconds).values()]
        rows.append(_row(agent, *("-" if np.isnan(value) else f"{value:.5f}" for value in seconds)))
    return rows


def _compared_rows(conditions: Conditions) -> list[str]:
    maze = maze_name(conditions.env_id)
    if maze not in MAZES:
        return ["No scores were published for this maze."]
    titles = ("method", maze, "scale", "trained on", "driven by", "source")
    rows = [_row(*titles), _row("---", "---:", *["---"] * 4)]
    limit = f"{kinematic_limit(maze, conditions.goal):.0f}"
    source = "computed: `python -m dfplan.benchmarks.kinematic_limit`"
    rows.append(_row("kinematic limit", limit, "normalized", "-", "-", source))
    for quoted in QUOTED[conditions.goal]:
        behind = (quoted.trained_on, quoted.driven_by, f"**quoted**: {quoted.source}")
        rows.append(_row(quoted.method, f"{quoted.scores[maze]:.1f}", quoted.scale, *behind))
    return rows


def _header(*titles: str) -> list[str]:
    return [_row(*titles), _row("---", *["---:"] * (len(titles) - 1))]


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
