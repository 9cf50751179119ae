"""``python -m dfplan.benchmarks.readme``: writes README.md's table of results from the committed ``results.json``."""

import json
from pathlib import Path

from dfplan.envs.errors import InputError, exit_two_on_input_error
from dfplan.envs.files import replaced

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- results -->\n", "<!-- /results -->"
SCORES = {"normalized": ".1f", "normalized_if_stay": ".1f", "return": ".1f", "success": ".2f", "first_reach": ".0f"}


@exit_two_on_input_error
def main() -> None:
    """Replace what stands between the marks."""
    readme = ROOT / "README.md"
    if not readme.is_file():
        raise InputError(f"there is no {readme}; run this in a checkout of dfplan.")
    text = with_results(readme.read_text(encoding="utf-8"), results_table(ROOT / "benchmarks" / "results"))
    with replaced(readme) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def with_results(readme: str, table: str) -> str:
    """Return the README with ``table`` between the marks."""
    before, rest = readme.split(BEGIN)
    return f"{before}{BEGIN}{table}{END}{rest.split(END)[1]}"


def results_table(results: Path) -> str:
    """Return a Markdown table with a row for each agent of each run of dfplan-bench below ``results``."""
    rows = [f"| run | agent | {' | '.join(SCORES)} | ms per plan (p50) |", "|---" * (len(SCORES) + 3) + "|"]
    for file in sorted(results.glob("maze2d-*/results.json"), key=_by_maze):
        contents = json.loads(file.read_text(encoding="utf-8"))
        for agent, values in contents["agents"].items():
            cells = " | ".join(_cell(values[name], spec) for name, spec in SCORES.items())
            seconds = values["plan_seconds"]["p50"]
            milliseconds = "-" if seconds is None else f"{1000 * seconds:.1f}"
            link = f"[{file.parent.name}](benchmarks/results/{file.parent.name}/report.md)"
            rows.append(f"| {link} | {agent} | {cells} | {milliseconds} |")
    return "\n".join(rows) + "\n"


def _by_maze(file: Path) -> tuple[int, str]:
    mazes = ("umaze", "medium", "large")
    return next(rank for rank, maze in enumerate(mazes) if maze in file.parent.name), file.parent.name


def _cell(score: dict, spec: str) -> str:
    """Return a score with its interval; of ``first_reach`` the median, as everywhere."""
    value, interval = score.get("median", score["mean"]), score.get("median_ci95", score["ci95"])
    return f"{value:{spec}} [{interval[0]:{spec}}, {interval[1]:{spec}}]"


if __name__ == "__main__":
    main()
