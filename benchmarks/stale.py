"""``python -m dfplan.benchmarks.stale``: lists committed results that are older than what they ran.

A line for each folder of results whose code or checkpoints have changed since (``provenance.py`` says what counts), and
for each checkpoint that ships whose card was written before the training's code changed.
With ``--strict`` the exit status is 1 if there is one.
"""

import re
import sys
from pathlib import Path
from typing import Any

from dfplan.benchmarks.provenance import ROOT, changed_checkpoints, code_digest, training_code
from dfplan.benchmarks.run_folder import RESULTS, earlier_run
from dfplan.envs.errors import CommandParser, InputError, exit_two_on_input_error

MODELS = "models"  # folders of networks, which are not results


@exit_two_on_input_error
def main() -> None:
    """Print the list."""
    parser = CommandParser(prog="python -m dfplan.benchmarks.stale", description="List results older than their code.")
    parser.add_argument("--strict", action="store_true", help="end with status 1 if a result is stale")
    arguments = parser.parse_args()
    results = ROOT / "benchmarks" / "results"
    if not results.is_dir():
        raise InputError(f"there is no {results}; run this in a checkout of dfplan.")
    lines = stale_results(results) + stale_cards(ROOT / "dfplan" / "checkpoints")
    print("\n".join(lines) or "all results are as new as what they ran.")
    sys.exit(1 if lines and arguments.strict else 0)


def stale_results(results: Path) -> list[str]:
    """Return a line for each folder below ``results`` that holds results older than what they ran."""
    folders = sorted({file.parent for file in results.rglob("*") if file.is_file()})
    folders = [folder for folder in folders if MODELS not in folder.relative_to(results).parts]
    reasons = {folder: _reason(folder / RESULTS) for folder in folders}
    return [f"{folder.relative_to(results.parent.parent)}: {reason}" for folder, reason in reasons.items() if reason]


def stale_cards(folder: Path) -> list[str]:
    """Return a line for each checkpoint's card that names other code of the training than there is now, or none."""
    lines, present = [], training_code()
    for card in sorted(folder.glob("*.md")):
        found = re.search(r"training code ([0-9a-f]+)", card.read_text(encoding="utf-8"))
        if found is None:
            lines.append(f"{card.stem}: its card is older than cards that name their code")
        elif found[1] != present:
            lines.append(f"{card.stem}: the training's code changed since its card was written")
    return lines


def _reason(file: Path) -> str:
    """Return why a result is stale, nothing if it is not."""
    run = earlier_run(file.parent)
    if run is None or not isinstance(run.get("code"), dict):
        return "made before results recorded what they ran"
    changed = [module for module, digest in run["code"].items() if code_digest(module) != digest]
    changed += [f"checkpoint {name}" for name in changed_checkpoints(run["checkpoints"])]
    return f"{', '.join(changed)} changed since ({_made_at(run)})" if changed else ""


def _made_at(run: dict[str, Any]) -> str:
    if run["commit"] is None:
        return "made at an unknown commit"
    return f"made at {run['commit'][:12]}{'' if run['clean'] else ' with changes that are not in it'}"


if __name__ == "__main__":
    main()
