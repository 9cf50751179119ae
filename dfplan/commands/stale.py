"""``python -m dfplan.commands.stale``: lists committed results that are older than the code or checkpoints they used.

It prints a line for each folder of results whose code or checkpoints have changed since the run
(``dfplan.benchmarks.reporting.provenance`` defines which changes count), and for each named checkpoint whose card is
older than the code of the training. With ``--strict`` the exit status is 1 if there is such a line.
"""

import re
import sys
from pathlib import Path
from typing import Any

from dfplan.benchmarks.reporting.provenance import ROOT, digest_module, digest_training_code, find_changed_checkpoints
from dfplan.benchmarks.reporting.run_folder import MODELS, RESULTS, read_earlier_run
from dfplan.ground.command_line import CommandParser, exit_two_on_input_error
from dfplan.ground.errors import InputError


@exit_two_on_input_error
def main() -> None:
    """Print the list of stale results and model cards."""
    parser = CommandParser(prog="python -m dfplan.commands.stale", description="List results older than their code.")
    parser.add_argument("--strict", action="store_true", help="end with status 1 if a result is stale")
    arguments = parser.parse_args()
    results = ROOT / "benchmarks" / "results"
    if not results.is_dir():
        raise InputError(f"there is no {results}; run this in a checkout of dfplan.")
    lines = find_stale_results(results)
    for folder in ("dfplan", "benchmarks"):
        lines += find_stale_cards(ROOT / folder / "checkpoints")
    print("\n".join(lines) or "no result is older than the code and the checkpoints that it used.")
    sys.exit(1 if lines and arguments.strict else 0)


def find_stale_results(results: Path) -> list[str]:
    """Return a line for each folder below ``results`` whose results are older than their code or checkpoints."""
    folders = sorted({file.parent for file in results.rglob("*") if file.is_file()})
    folders = [folder for folder in folders if MODELS not in folder.relative_to(results).parts]
    reasons = {folder: _find_reason(folder / RESULTS) for folder in folders}
    return [f"{folder.relative_to(results.parent.parent)}: {reason}" for folder, reason in reasons.items() if reason]


def find_stale_cards(folder: Path) -> list[str]:
    """Return a line for each checkpoint whose card names no code of the training, or other code than the present."""
    lines, present = [], digest_training_code()
    for card in sorted(folder.glob("*.md")):
        found = re.search(r"training code ([0-9a-f]+)", card.read_text(encoding="utf-8"))
        if found is None:
            lines.append(f"{card.stem}: its card does not name the code of the training")
        elif found[1] != present:
            lines.append(f"{card.stem}: the code of the training has changed since its card was written")
    return lines


def _find_reason(file: Path) -> str:
    """Return the reason why a result is stale, or an empty text if it is not."""
    run = read_earlier_run(file.parent)
    if run is None or not isinstance(run.get("code"), dict):
        return "its code and checkpoints were not recorded"
    changed = [module for module, digest in run["code"].items() if digest_module(module) != digest]
    changed += [f"checkpoint {name}" for name in find_changed_checkpoints(run["checkpoints"])]
    return f"{', '.join(changed)} changed since ({_describe_origin(run)})" if changed else ""


def _describe_origin(run: dict[str, Any]) -> str:
    """Return in words at which commit a run was made."""
    if run["commit"] is None:
        return "made at an unknown commit"
    return f"made at {run['commit'][:12]}{'' if run['clean'] else ' with uncommitted changes'}"


if __name__ == "__main__":
    main()
