"""``python -m dfplan.benchmarks.readme``: writes README.md's tables of results from the committed ``results.json``."""

import json
from pathlib import Path

from dfplan.benchmarks.kinematic_limit import kinematic_limit
from dfplan.benchmarks.report import BACKGROUND, background
from dfplan.envs.errors import InputError, exit_two_on_input_error
from dfplan.envs.files import replaced
from dfplan.envs.layouts import maze_name

ROOT = Path(__file__).resolve().parent.parent
MAZES = ("umaze", "medium", "large")
SCORES = {"normalized": ".1f", "normalized_if_stay": ".1f", "return": ".1f", "success": ".2f", "first_reach": ".0f"}


@exit_two_on_input_error
def main() -> None:
    """Replace what stands between the marks."""
    readme = ROOT / "README.md"
    if not readme.is_file():
        raise InputError(f"there is no {readme}; run this in a checkout of dfplan.")
    text = with_tables(readme.read_text(encoding="utf-8"), ROOT / "benchmarks" / "results")
    with replaced(readme) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def with_tables(readme: str, results: Path) -> str:
    """Return the README with the tables made of ``results`` between their marks."""
    for name, table in (("results", results_table(results)), ("speed", speed_table(results / "speed"))):
        readme = with_table(readme, name, table)
    return readme


def with_table(readme: str, name: str, table: str) -> str:
    """Return the README with ``table`` between the marks of its name."""
    begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    before, rest = readme.split(begin)
    return f"{before}{begin}{table}{end}{rest.split(end)[1]}"


def results_table(results: Path) -> str:
    """Return a Markdown table with a row for each agent of each run of dfplan-bench below ``results``."""
    titles = ["run", "agent", *BACKGROUND, "episodes", "seeds", *SCORES, "share of limit", "ms per plan (p50)"]
    rows = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for file in sorted(results.glob("maze2d-*/results.json"), key=_by_maze):
        contents = json.loads(file.read_text(encoding="utf-8"))
        limit = kinematic_limit(maze_name(contents["env_id"]), contents["goal"])
        first, seeds = contents["seed"], contents["seeds"]
        episodes = f"{seeds * contents['episodes']} | {first}" + (f" to {first + seeds - 1}" if seeds > 1 else "")
        for agent, values in contents["agents"].items():
            cells = " | ".join(_cell(values[name], spec) for name, spec in SCORES.items())
            seconds = values["plan_seconds"]["p50"]
            milliseconds = "-" if seconds is None else f"{1000 * seconds:.1f}"
            link = f"[{file.parent.name}](benchmarks/results/{file.parent.name}/report.md)"
            behind = " | ".join(background(values["config"]).values())
            share = f"{values['normalized']['mean'] / limit:.1%}"
            rows.append(f"| {link} | {agent} | {behind} | {episodes} | {cells} | {share} | {milliseconds} |")
    return "\n".join(rows) + "\n"


def speed_table(speed: Path) -> str:
    """Return a Markdown table with a row for each maze and agent of the committed run of ``benchmarks.speed``."""
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
            scored = [maze, row["agent"], _cell(score, ".1f"), str(row["episodes"])]
            cells = [*scored, *(f"{time:.2f}" for time in times), of_agent]
            rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def _by_maze(file: Path) -> tuple[int, str]:
    return next(rank for rank, maze in enumerate(MAZES) if maze in file.parent.name), file.parent.name


def _cell(score: dict, spec: str) -> str:
    """Return a score with its interval; of ``first_reach`` the median, as everywhere."""
    value, interval = score.get("median", score["mean"]), score.get("median_ci95", score["ci95"])
    return f"{value:{spec}} [{interval[0]:{spec}}, {interval[1]:{spec}}]"


if __name__ == "__main__":
    main()
