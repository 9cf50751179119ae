"""``python -m dfplan.commands.readme_tables``: updates README.md's tables from the committed ``results.json`` files."""

import json
from pathlib import Path

from dfplan.benchmarks.evaluation.kinematic_limit import compute_kinematic_limit
from dfplan.benchmarks.reporting.published import MAZES
from dfplan.benchmarks.reporting.report import BACKGROUND, describe_background
from dfplan.envs.layouts import parse_maze_name
from dfplan.envs.ogbench_names import DATA_SETS, TASKS
from dfplan.ground.command_line import exit_two_on_input_error
from dfplan.ground.errors import InputError
from dfplan.ground.files import replace_file

ROOT = Path(__file__).resolve().parent.parent.parent
SCORES = {"normalized": ".1f", "normalized_if_stay": ".1f", "return": ".1f", "success": ".2f", "first_reach": ".0f"}


@exit_two_on_input_error
def main() -> None:
    """Replace the tables in README.md."""
    readme = ROOT / "README.md"
    if not readme.is_file():
        raise InputError(f"there is no {readme}; run this in a checkout of dfplan.")
    text = replace_tables(readme.read_text(encoding="utf-8"), ROOT / "benchmarks" / "results")
    with replace_file(readme) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def replace_tables(readme: str, results: Path) -> str:
    """Return the text of the README with new tables from the folder ``results``."""
    tables = {
        "results": format_results_table(results),
        "ogbench": format_ogbench_table(results),
        "speed": format_speed_table(results / "speed"),
    }
    for name, table in tables.items():
        readme = replace_table(readme, name, table)
    return readme


def replace_table(readme: str, name: str, table: str) -> str:
    """Return the text of the README with ``table`` between the comments that mark the table called ``name``."""
    begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    before, rest = readme.split(begin)
    return f"{before}{begin}{table}{end}{rest.split(end)[1]}"


def format_results_table(results: Path) -> str:
    """Return a Markdown table with one row for each agent of each run of dfplan-bench in the folder ``results``."""
    titles = ["run", "agent", *BACKGROUND, "episodes", "seeds", *SCORES, "share of limit", "ms per plan (p50)"]
    rows = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for file in sorted(results.glob("maze2d-*/results.json"), key=_order_by_maze):
        contents = json.loads(file.read_text(encoding="utf-8"))
        limit = compute_kinematic_limit(parse_maze_name(contents["env_id"]), contents["goal"])
        first, seeds = contents["seed"], contents["seeds"]
        episodes = f"{seeds * contents['episodes']} | {first}" + (f" to {first + seeds - 1}" if seeds > 1 else "")
        for agent, values in contents["agents"].items():
            cells = " | ".join(_format_cell(values[name], spec) for name, spec in SCORES.items())
            seconds = values["plan_seconds"]["p50"]
            milliseconds = "-" if seconds is None else f"{1000 * seconds:.1f}"
            link = f"[{file.parent.name}](benchmarks/results/{file.parent.name}/report.md)"
            behind = " | ".join(describe_background(values["config"]).values())
            share = f"{values['normalized']['mean'] / limit:.1%}"
            rows.append(f"| {link} | {agent} | {behind} | {episodes} | {cells} | {share} | {milliseconds} |")
    return "\n".join(rows) + "\n"


def format_ogbench_table(results: Path) -> str:
    """Return a Markdown table with one row for each agent on each data set of OGBench in the folder ``results``."""
    by_task = [f"task {task}" for task in TASKS]
    titles = ["data set", "agent", "episodes", "success", *by_task, "steps", "ms per plan (p50)"]
    rows = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for name in DATA_SETS:
        file = results / name / "results.json"
        if not file.is_file():
            continue
        contents = json.loads(file.read_text(encoding="utf-8"))
        episodes = contents["episodes"] * contents["seeds"] * len(TASKS)
        for agent, values in contents["agents"].items():
            seconds, success = values["plan_seconds"]["p50"], values["success"]
            cells = [
                f"[{name}](benchmarks/results/{name}/report.md)",
                agent,
                str(episodes),
                _format_cell(success, ".2f"),
            ]
            cells += [f"{success['by_task'][str(task)]['mean']:.2f}" for task in TASKS]
            cells += [_format_cell(values["length"], ".0f"), "-" if seconds is None else f"{1000 * seconds:.1f}"]
            rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def format_speed_table(speed: Path) -> str:
    """Return a Markdown table with one row for each maze and agent of the committed run of ``benchmarks.speed``."""
    tables = json.loads((speed / "results.json").read_text(encoding="utf-8"))["tables"]
    titles = ["maze", "agent", "normalized", "episodes", "ms per plan (p50)", "p95", "ms per act between plans (p50)"]
    titles.append("decisions per second at batch 1, 16, 128")
    rows = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for maze in MAZES:
        rates = tables[f"maze2d-{maze}: decisions per second"]
        for row in tables[f"maze2d-{maze}: score and latency at batch 1"]:
            score = {"mean": row["normalized"]["value"], "ci95": row["normalized"]["ci95"]}
            times = (row[name] for name in ("first plan: ms p50", "first plan: ms p95", "act between plans: ms p50"))
            of_agent = ", ".join(f"{rate['decisions/s']:.0f}" for rate in rates if rate["agent"] == row["agent"])
            scored = [maze, row["agent"], _format_cell(score, ".1f"), str(row["episodes"])]
            cells = [*scored, *(f"{time:.2f}" for time in times), of_agent]
            rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def _order_by_maze(file: Path) -> tuple[int, str]:
    """Return the sorting key of a results file: the rank of its maze in ``MAZES``, then the name of its folder."""
    return next(rank for rank, maze in enumerate(MAZES) if maze in file.parent.name), file.parent.name


def _format_cell(score: dict, spec: str) -> str:
    """Return a score with its interval: the median if the score has one (``first_reach``), otherwise the mean."""
    value, interval = score.get("median", score["mean"]), score.get("median_ci95", score["ci95"])
    return f"{value:{spec}} [{interval[0]:{spec}}, {interval[1]:{spec}}]"


if __name__ == "__main__":
    main()
