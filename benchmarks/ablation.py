"""The frame of every ablation script: settings, tables with intervals, figures, JSON, report.

An ablation is a function ``study(settings, run) -> Findings``; ``main`` makes a command of it.
"""

import math
import os
import shlex
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from dfplan.benchmarks.estimates import estimates
from dfplan.benchmarks.evaluation import FIRST_REPORTED_SEED, Evaluation
from dfplan.benchmarks.figures import save_figure
from dfplan.benchmarks.report import COLUMNS, processor, versions
from dfplan.benchmarks.run_folder import RunFolder, add_output_arguments, claimed, folder_name
from dfplan.benchmarks.statistics import Estimate
from dfplan.devices import find_device
from dfplan.envs.errors import CommandParser, exit_two_on_input_error, seed_number

FORMAT = 1  # of results.json
REPORT = "report.md"
TRAINING_SEEDS = (0, 1, 2)  # of data and training of the networks that a study trains; of one network, the first
FORMATS = {title: spec for title, spec in COLUMNS.values()}
NUMBER = ".4g"  # format of a column that is not in FORMATS
Row = dict[str, Any]
Settings = Any  # a frozen dataclass of the script's own


@dataclass(frozen=True)
class Run:
    """What the command line says.

    Attributes:
        seed: decides the episodes, sequences and roll-outs on which networks are evaluated, nothing of their training.
        device: where networks run.
        output: where results go.
    """

    seed: int
    device: str
    output: Path


@dataclass(frozen=True)
class Findings:
    """What an ablation found.

    Attributes:
        tables: by title; a row maps column titles to texts, numbers or estimates.
        figures: by file stem.
        explanation: what is varied and how to read it, Markdown.
        trainings: how often each network was trained, from one training seed each; the intervals are over them too. If
            only some were trained several times, it is 1, and their rows have a column ``trainings``.
    """

    tables: dict[str, list[Row]]
    figures: dict[str, Figure]
    explanation: str
    trainings: int = 1


@dataclass(frozen=True)
class Variant:
    """Another study of the same command, chosen by ``--flag``; it is called NAME_FLAG and has a folder of its own."""

    flag: str
    help: str
    study: Callable[[Settings, Run], Findings]
    full: Settings
    quick: Settings


def main(
    name: str,
    description: str,
    study: Callable[[Settings, Run], Findings],
    full: Settings,
    quick: Settings,
    variant: Variant | None = None,
) -> None:
    """Run an ablation as a command: parse, study, write, print; bad input ends with one sentence and status 2."""
    exit_two_on_input_error(lambda: _command(name, description, study, full, quick, variant))()


def _command(
    name: str, description: str, study: Callable, full: Settings, quick: Settings, variant: Variant | None
) -> None:
    words = ["python", "-m", f"dfplan.benchmarks.{name}"]
    parser = CommandParser(prog=shlex.join(words), description=description)
    if variant is not None:
        parser.add_argument(f"--{variant.flag}", action="store_true", help=variant.help)
    parser.add_argument("--quick", action="store_true", help="a small version, under two minutes on two cores")
    seed = f"decides what networks are evaluated on, not their training (default: {FIRST_REPORTED_SEED})"
    parser.add_argument("--seed", type=seed_number, default=FIRST_REPORTED_SEED, help=seed)
    add_output_arguments(parser, "dfplan-bench/NAME and what is asked for instead of the defaults")
    parser.add_argument("--device", default="auto", help="where networks run: auto, cpu, cuda, ...")
    arguments = parser.parse_args()
    find_device(arguments.device)
    if variant is not None and getattr(arguments, variant.flag):
        name, study, full, quick = f"{name}_{variant.flag}", variant.study, variant.full, variant.quick
        words += [f"--{variant.flag}"]
    settings = quick if arguments.quick else full
    flags = [] if variant is None else [variant.flag]  # in the name already
    folder = arguments.output or Path("dfplan-bench") / folder_name(name, parser, arguments, flags)
    run = Run(arguments.seed, arguments.device, folder)
    words += ["--quick"] if arguments.quick else []
    words += ["--seed", str(run.seed)] if run.seed != FIRST_REPORTED_SEED else []
    made_by = {"command": shlex.join(words), "settings": asdict(settings)}
    asked = {"command": name, "seed": run.seed, "device": run.device, "settings": asdict(settings)}
    with claimed(folder, asked, _modules(words[2], study), arguments.overwrite) as claim:
        findings = study(settings, run)
        write_findings(claim, name, findings, made_by)
    for title, rows in findings.tables.items():
        print(f"\n{title}\n\n{markdown_table(rows)}")
    print(f"\nwritten to {run.output}")


def _modules(command: str, study: Callable) -> list[str]:
    """Return the modules whose code makes a study's numbers: the study's own, and this one, which frames it."""
    return [command if study.__module__ == "__main__" else study.__module__, "dfplan.benchmarks.ablation"]


def write_findings(folder: RunFolder, name: str, findings: Findings, made_by: dict[str, Any]) -> None:
    """Write ``results.json``, ``report.md`` and the figures; ``made_by`` has the command and its settings."""
    machine = {"versions": versions(), "processor": processor(), "cores": os.cpu_count()}
    tables = {title: [_json_row(row) for row in rows] for title, rows in findings.tables.items()}
    contents = {"format": FORMAT, "ablation": name} | made_by | machine | {"tables": tables}
    with folder.replaced(contents) as unfinished:
        (unfinished / REPORT).write_text(_report(name, findings, made_by), encoding="utf-8")
        for stem, figure in findings.figures.items():
            save_figure(figure, unfinished / f"{stem}.png")


def score_row(evaluation: Evaluation | Sequence[Evaluation]) -> Row:
    """Return the columns by which agents are compared: how many episodes, and scores with their intervals.

    Several evaluations are those of one network for each training seed. Seconds are left out unless they were measured.
    """
    evaluations = [evaluation] if isinstance(evaluation, Evaluation) else evaluation
    shown = estimates(*evaluations)
    seconds = [name for name in ("plan_seconds", "act_seconds") if math.isnan(shown[name].value)]
    scores = {title: shown[name] for name, (title, _) in COLUMNS.items() if name not in ("return", *seconds)}
    trainings = {} if len(evaluations) == 1 else {"trainings": len(evaluations)}
    return trainings | {"episodes": sum(len(one.rewards) for one in evaluations)} | scores


def markdown_table(rows: list[Row]) -> str:
    """Return the rows as a Markdown table; columns in the order in which they first appear."""
    titles = list(dict.fromkeys(title for row in rows for title in row))
    lines = [titles, ["---"] + ["---:"] * (len(titles) - 1)]
    lines += [[_cell(row.get(title, "-"), FORMATS.get(title, NUMBER)) for title in titles] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: Any, spec: str) -> str:
    return format(value, spec) if isinstance(value, float | np.floating | Estimate) else str(value)


def _json_row(row: Row) -> Row:
    return {
        title: {"value": value.value, "ci95": [value.low, value.high]} if isinstance(value, Estimate) else value
        for title, value in row.items()
    }


def intervals(findings: Findings) -> str:
    """Return the sentences that say what the findings' intervals are over."""
    if findings.trainings > 1:
        return f"""\
In brackets: 95% intervals over training seeds and episodes. Every network was trained {findings.trainings} times, from
different seeds, and each training has episodes of its own: Student's intervals of the trainings' values, at least as
wide as those of all episodes together (bootstrap; Wilson's for shares)."""
    over_episodes = """\
In brackets: 95% intervals (bootstrap; Wilson's for shares) over episodes, sequences or roll-outs."""
    if not any("trainings" in row for rows in findings.tables.values() for row in rows):
        return f"""\
{over_episodes} Every network was
trained once: how training seeds differ is not in them."""
    return f"""\
{over_episodes} Networks were
trained once, and how training seeds differ is not in the intervals, but for rows with `trainings`: their networks were
trained as often as that says, from different seeds, each with episodes or sequences of its own, and their intervals are
Student's of the trainings' values, at least as wide as those of all episodes together."""


def _report(name: str, findings: Findings, made_by: dict[str, Any]) -> str:
    packages = ", ".join(f"{package} {number}" for package, number in versions().items())
    parts = [
        f"# {name}\n",
        f"Made by `{made_by['command']}` with {packages}",
        f"on {processor()}, {os.cpu_count()} cores. {intervals(findings)}\n",
        f"{findings.explanation.strip()}\n",
    ]
    parts += [f"## {title}\n\n{markdown_table(rows)}\n" for title, rows in findings.tables.items()]
    parts += [f"![{stem}]({stem}.png)\n" for stem in findings.figures]
    parts += ["Settings: " + ", ".join(f"{key} = {value}" for key, value in made_by["settings"].items()) + "."]
    return "\n".join(parts) + "\n"
