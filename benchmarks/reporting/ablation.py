"""The common part of all studies: the command line, the tables, ``results.json``, ``report.md`` and the figures.

A study is a function ``study(settings, run) -> Findings``. ``main`` runs it as a command.
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

from dfplan.benchmarks.evaluation.episodes import FIRST_REPORTED_SEED, Evaluation
from dfplan.benchmarks.evaluation.estimates import Row, estimate_scores
from dfplan.benchmarks.evaluation.machine import find_processor, find_versions
from dfplan.benchmarks.evaluation.statistics import Estimate
from dfplan.benchmarks.reporting.figures import save_figure
from dfplan.benchmarks.reporting.markdown import format_header, format_row
from dfplan.benchmarks.reporting.report import COLUMNS
from dfplan.benchmarks.reporting.run_folder import RunFolder, add_output_arguments, claim_folder, name_folder
from dfplan.ground.command_line import CommandParser, exit_two_on_input_error, seed_number
from dfplan.ground.devices import find_device

FORMAT = 1  # of results.json
REPORT = "report.md"
TRAINING_SEEDS = (0, 1, 2)  # of the networks that a study trains, and of their data; one network has the first
FORMATS = {title: spec for title, spec in COLUMNS.values()}  # column title -> number format
NUMBER = ".4g"  # format of all other columns
Settings = Any  # the study's own frozen dataclass


@dataclass(frozen=True)
class Run:
    """The choices of the command line.

    Attributes:
        seed: of the episodes, sequences and roll-outs in which networks are evaluated; training has its own seeds.
        device: the device of the networks.
        output: the folder of the results.
    """

    seed: int
    device: str
    output: Path


@dataclass(frozen=True)
class Findings:
    """The results of a study.

    Attributes:
        tables: by title; a row maps column titles to texts, numbers or estimates.
        figures: by file name without its ending.
        explanation: what is varied and how to read the tables, in Markdown.
        trainings: number of training seeds of every network. If it is above 1, all intervals are over training seeds
            too. If only some networks have several training seeds, it is 1, and their rows have a column ``trainings``.
    """

    tables: dict[str, list[Row]]
    figures: dict[str, Figure]
    explanation: str
    trainings: int = 1


@dataclass(frozen=True)
class Variant:
    """Another study that the same command runs if ``--flag`` is given. Its name and its folder are NAME_FLAG."""

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
    """Run a study as a command: parse the command line, run the study, write the results and print the tables.

    Bad input ends the command with one sentence and status 2.

    Args:
        name: of the study's module, its default folder and its report.
        description: for ``--help``.
        study: the function.
        full: its settings.
        quick: its settings with ``--quick``.
        variant: a second study of the same command.
    """
    exit_two_on_input_error(lambda: _run_command(name, description, study, full, quick, variant))()


def _run_command(
    name: str, description: str, study: Callable, full: Settings, quick: Settings, variant: Variant | None
) -> None:
    words = ["python", "-m", f"dfplan.benchmarks.{name}"]
    parser = CommandParser(prog=shlex.join(words), description=description)
    if variant is not None:
        parser.add_argument(f"--{variant.flag}", action="store_true", help=variant.help)
    parser.add_argument("--quick", action="store_true", help="run a small version, under two minutes on two cores")
    seed = f"seed of the evaluation; training has its own seeds (default: {FIRST_REPORTED_SEED})"
    parser.add_argument("--seed", type=seed_number, default=FIRST_REPORTED_SEED, help=seed)
    add_output_arguments(parser, "dfplan-bench/NAME and the arguments that are not defaults")
    parser.add_argument("--device", default="auto", help="device of the networks: auto, cpu, cuda, ...")
    arguments = parser.parse_args()
    find_device(arguments.device)
    if variant is not None and getattr(arguments, variant.flag):
        name, study, full, quick = f"{name}_{variant.flag}", variant.study, variant.full, variant.quick
        words += [f"--{variant.flag}"]
    settings = quick if arguments.quick else full
    flags = [] if variant is None else [variant.flag]  # the name has it already
    folder = arguments.output or Path("dfplan-bench") / name_folder(name, parser, arguments, flags)
    run = Run(arguments.seed, arguments.device, folder)
    words += ["--quick"] if arguments.quick else []
    words += ["--seed", str(run.seed)] if run.seed != FIRST_REPORTED_SEED else []
    made_by = {"command": shlex.join(words), "settings": asdict(settings)}
    asked = {"command": name, "seed": run.seed, "device": run.device, "settings": asdict(settings)}
    with claim_folder(folder, asked, _list_modules(words[2], study), arguments.overwrite) as claim:
        findings = study(settings, run)
        write_findings(claim, name, findings, made_by)
    for title, rows in findings.tables.items():
        print(f"\n{title}\n\n{format_markdown_table(rows)}")
    print(f"\nwritten to {run.output}")


def _list_modules(command: str, study: Callable) -> list[str]:
    """Return the modules whose code computes the numbers of a study: its own module and this one."""
    return [command if study.__module__ == "__main__" else study.__module__, "dfplan.benchmarks.reporting.ablation"]


def write_findings(folder: RunFolder, name: str, findings: Findings, made_by: dict[str, Any]) -> None:
    """Write ``results.json``, ``report.md`` and the figures; ``made_by`` holds the command and the settings."""
    machine = {"versions": find_versions(), "processor": find_processor(), "cores": os.cpu_count()}
    tables = {title: [_convert_row(row) for row in rows] for title, rows in findings.tables.items()}
    contents = {"format": FORMAT, "ablation": name} | made_by | machine | {"tables": tables}
    with folder.replace_files(contents) as unfinished:
        (unfinished / REPORT).write_text(_format_report(name, findings, made_by), encoding="utf-8")
        for stem, figure in findings.figures.items():
            save_figure(figure, unfinished / f"{stem}.png")


def make_score_row(evaluation: Evaluation | Sequence[Evaluation]) -> Row:
    """Return the columns by which agents are compared: the number of episodes, and the scores with their intervals.

    Several evaluations belong to networks of the same recipe, one per training seed. Columns of seconds are left out if
    they were not measured.
    """
    evaluations = [evaluation] if isinstance(evaluation, Evaluation) else evaluation
    shown = estimate_scores(*evaluations)
    seconds = [name for name in ("plan_seconds", "act_seconds") if math.isnan(shown[name].value)]
    scores = {title: shown[name] for name, (title, _) in COLUMNS.items() if name not in ("return", *seconds)}
    trainings = {} if len(evaluations) == 1 else {"trainings": len(evaluations)}
    return trainings | {"episodes": sum(len(one.rewards) for one in evaluations)} | scores


def format_markdown_table(rows: list[Row]) -> str:
    """Return the rows as a Markdown table; the columns are in the order in which they first appear in a row."""
    titles = list(dict.fromkeys(title for row in rows for title in row))
    lines = format_header(*titles)
    for row in rows:
        lines.append(format_row(*(_format_cell(row.get(title, "-"), FORMATS.get(title, NUMBER)) for title in titles)))
    return "\n".join(lines)


def _format_cell(value: Any, spec: str) -> str:
    return format(value, spec) if isinstance(value, float | np.floating | Estimate) else str(value)


def _convert_row(row: Row) -> Row:
    return {
        title: {"value": value.value, "ci95": [value.low, value.high]} if isinstance(value, Estimate) else value
        for title, value in row.items()
    }


def describe_intervals(findings: Findings) -> str:
    """Return the sentences of a report that explain its intervals."""
    if findings.trainings > 1:
        return f"""\
In brackets: 95% intervals over training seeds and episodes. Every network was trained {findings.trainings} times, from
different seeds, and each training has its own episodes. The intervals are Student's t intervals of the trainings'
values, at least as wide as those of all episodes together (bootstrap; Wilson's for shares)."""
    over_episodes = """\
In brackets: 95% intervals (bootstrap; Wilson's for shares) over episodes, sequences or roll-outs."""
    if not any("trainings" in row for rows in findings.tables.values() for row in rows):
        return f"""\
{over_episodes} Every network was
trained once, so the intervals do not include the differences between training seeds."""
    return f"""\
{over_episodes} Networks were
trained once, so the intervals do not include the differences between training seeds, except in rows with `trainings`.
The networks of these rows were trained that many times, from different seeds, each with its own episodes or sequences.
Their intervals are Student's t intervals of the trainings' values, at least as wide as those of all episodes
together."""


def _format_report(name: str, findings: Findings, made_by: dict[str, Any]) -> str:
    packages = ", ".join(f"{package} {number}" for package, number in find_versions().items())
    parts = [
        f"# {name}\n",
        f"Made by `{made_by['command']}` with {packages}",
        f"on {find_processor()}, {os.cpu_count()} cores. {describe_intervals(findings)}\n",
        f"{findings.explanation.strip()}\n",
    ]
    parts += [f"## {title}\n\n{format_markdown_table(rows)}\n" for title, rows in findings.tables.items()]
    parts += [f"![{stem}]({stem}.png)\n" for stem in findings.figures]
    parts += ["Settings: " + ", ".join(f"{key} = {value}" for key, value in made_by["settings"].items()) + "."]
    return "\n".join(parts) + "\n"
