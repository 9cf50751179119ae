"""``python -m dfplan.benchmarks.speed --scaling``: the time of a plan against its settings.

In each sweep one setting changes. A straight line is fitted to the measured times: a fixed time, and a time for each
token, episode, sampling step, candidate or future.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from dfplan.agents.planner import DFPlanner
from dfplan.agents.presets import COST_TO_GO, GOAL_TOKEN, MONTE_CARLO_GUIDANCE, config_for
from dfplan.benchmarks.evaluation.episodes import Conditions
from dfplan.benchmarks.evaluation.estimates import Row
from dfplan.benchmarks.evaluation.statistics import Estimate, bootstrap
from dfplan.benchmarks.evaluation.timing import (
    Machine,
    count_operations,
    find_precision,
    make_plan_timer,
    measure_machine,
    time_repeatedly,
    watch_processor_time,
)
from dfplan.benchmarks.reporting.ablation import Findings, Run
from dfplan.benchmarks.reporting.charts import draw_lines
from dfplan.model.tokens import FIRST_PLANNED


@dataclass(frozen=True)
class Settings:
    """Budget of the measurement: the maze, the approximate seconds of one measurement, and the values of each setting.

    The longest lookahead is added. The values of ``num_futures`` begin with 2, because one future is plain guidance,
    which samples none.
    """

    maze: str
    seconds: float
    lookahead: tuple[int, ...] = (1, 2, 4, 8, 16, 32)  # tokens
    batch: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 128)
    sampling_steps: tuple[int, ...] = (1, 2, 3, 5, 10, 20)
    candidates: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    guided_candidates: tuple[int, ...] = (1, 2, 4, 8, 16)
    num_futures: tuple[int, ...] = (2, 4, 8, 16)


FULL = Settings("large", seconds=1.0)
QUICK = Settings(
    "umaze",
    seconds=0.2,
    lookahead=(1, 4),
    batch=(1, 4, 16),
    sampling_steps=(1, 2, 4),
    candidates=(1, 4, 8),
    guided_candidates=(1, 2),
    num_futures=(2, 4),
)
# Sweep -> (unit of its values, function of a value and of the steps of a token that returns the planner's settings).
SWEEPS: dict[str, tuple[str, Callable[[int, int], dict[str, Any]]]] = {
    "lookahead": ("token", lambda value, frame_stack: GOAL_TOKEN | {"horizon": value * frame_stack}),
    "batch": ("episode", lambda value, frame_stack: GOAL_TOKEN),
    "sampling_steps": ("step", lambda value, frame_stack: GOAL_TOKEN | {"sampling_steps": value}),
    "candidates": ("candidate", lambda value, frame_stack: GOAL_TOKEN | {"candidates": value}),
    "guided_candidates": ("candidate", lambda value, frame_stack: COST_TO_GO | {"candidates": value}),
    "num_futures": ("future", lambda value, frame_stack: MONTE_CARLO_GUIDANCE | {"num_futures": value}),
}
FLAT = 0.1  # a line is flat if its rise over the sweep is below this share of its first value


@dataclass(frozen=True)
class Line:
    """A quantity against a setting: ``fixed`` + ``slope`` times the setting."""

    fixed: float
    slope: float

    def at(self, value: int | float) -> float:
        """Return the quantity at a value of the setting."""
        return self.fixed + self.slope * value


def fit_line(values: Float[np.ndarray, " point"], seconds: Float[np.ndarray, " point"]) -> Line:
    """Return the line that minimizes the sum of the squared relative errors.

    Relative errors are used because times span several powers of ten, and all have about the same relative accuracy.
    """
    terms = np.stack([np.ones(len(values)), values], axis=1) / np.asarray(seconds)[:, None]  # (point, 2)
    (fixed, slope), *_ = np.linalg.lstsq(terms, np.ones(len(values)), rcond=None)
    return Line(float(fixed), float(slope))


@dataclass(frozen=True)
class Point:
    """The measured plans at one value of a setting: the value, the seconds of each call, and the operations of one."""

    value: int
    seconds: Float[np.ndarray, " call"]
    work: int

    @property
    def median(self) -> float:
        """Median of the seconds."""
        return float(np.median(self.seconds))


@dataclass(frozen=True)
class Sweep:
    """Measured plans that differ in one setting, and the lines that fit their seconds and their operations."""

    name: str
    points: list[Point]

    def _fit(self, quantity: list[int] | list[float]) -> Line:
        return fit_line(np.array([point.value for point in self.points], dtype=float), np.array(quantity, dtype=float))

    @property
    def line(self) -> Line:
        """The line of the seconds against the setting."""
        return self._fit([point.median for point in self.points])

    @property
    def work(self) -> Line:
        """The line of the operations against the setting."""
        return self._fit([point.work for point in self.points])

    @property
    def is_flat(self) -> bool:
        """Whether the line hardly rises, or falls, which happens only by noise."""
        first, last = self.points[0].value, self.points[-1].value
        return self.line.slope * (last - first) < FLAT * self.line.at(first)

    @property
    def worst_error(self) -> float:
        """The largest difference between a measured time and the line, as a share of the time."""
        return max(abs(self.line.at(point.value) / point.median - 1) for point in self.points)


def study(settings: Settings, run: Run) -> Findings:
    """Return the seconds per plan of each sweep, the fitted lines, and an explanation."""
    had, machine = watch_processor_time(), measure_machine(run.device, settings.seconds)
    agent = DFPlanner.load(f"maze2d-{settings.maze}", run.device, **GOAL_TOKEN)
    precision = find_precision(agent.model)
    sweeps = {name: _measure_sweep(name, agent, settings, run) for name in SWEEPS}
    tables = {"Matrix products": machine.to_rows(had())}
    tables["Lines"] = [_make_line_row(sweep, machine, precision) for sweep in sweeps.values()]
    tables |= {f"Against {name}": _make_rows(sweep, machine, precision) for name, sweep in sweeps.items()}
    panels = {f"against {name}": _make_curves(sweep) for name, sweep in sweeps.items()}
    figure = draw_lines(panels, "", "milliseconds per plan", log_x=True)
    for axes in figure.axes:
        axes.set_ylim(bottom=0)
    return Findings(tables, {"scaling": figure}, _explain(settings, agent, sweeps, machine, precision))


def _measure_sweep(name: str, agent: DFPlanner, settings: Settings, run: Run) -> Sweep:
    values = list(getattr(settings, name))
    if name == "lookahead":
        longest = agent.model.config.num_tokens
        values = [value for value in values if value < longest] + [longest]
    return Sweep(name, [_measure_point(name, value, agent, settings, run) for value in values])


def _measure_point(name: str, value: int, agent: DFPlanner, settings: Settings, run: Run) -> Point:
    """Measure the first plan of an episode with one setting changed."""
    changed = SWEEPS[name][1](value, agent.model.config.frame_stack)
    planner = DFPlanner(agent.model, config_for(agent.model, agent.info.get("demonstrations", "recorded"), **changed))
    conditions = Conditions(f"maze2d-{settings.maze}-v1", 1, run.seed)
    plan = make_plan_timer(planner, conditions, value if name == "batch" else 1)
    return Point(value, time_repeatedly(plan, settings.seconds), count_operations(plan))


def _make_rows(sweep: Sweep, machine: Machine, precision: str) -> list[Row]:
    return [
        {
            sweep.name: point.value,
            "ms per plan": bootstrap(1e3 * point.seconds, np.median),
            "line: ms": 1e3 * sweep.line.at(point.value),
            "GFLOP": point.work / 1e9,
            "share": machine.compute_share(point.work / point.median, precision),
        }
        for point in sweep.points
    ]


def _make_line_row(sweep: Sweep, machine: Machine, precision: str) -> Row:
    line, work = sweep.line, sweep.work
    return {
        "against": sweep.name,
        "fixed ms": 1e3 * line.fixed,
        "ms for one more": 1e3 * line.slope,
        "of": SWEEPS[sweep.name][0],
        "GFLOP for one more": round(max(0.0, work.slope) / 1e9, 6),
        "share for one more": "-" if sweep.is_flat else machine.compute_share(work.slope / line.slope, precision),
        "worst error of the line": f"{sweep.worst_error:.0%}",
    }


def _make_curves(sweep: Sweep) -> dict[str, dict[int | float, Estimate]]:
    measured: dict[int | float, Estimate] = {
        point.value: bootstrap(1e3 * point.seconds, np.median) for point in sweep.points
    }
    line: dict[int | float, Estimate] = {
        value: Estimate(1e3 * sweep.line.at(value), float("nan"), float("nan")) for value in measured
    }
    return {"measured": measured, "line": line}


def _explain(settings: Settings, agent: DFPlanner, sweeps: dict[str, Sweep], machine: Machine, precision: str) -> str:
    """Return the explanation of the tables, with a sentence about each line."""
    sentences = [_describe_line(sweep, machine, precision) for sweep in sweeps.values()]
    sentences.append(_describe_bottleneck(sweeps["batch"], sweeps["sampling_steps"], agent))
    introduction = f"""\
First plans of single episodes of maze2d-{settings.maze} by the agent `planner-goal-token`, with one setting changed.
The sweep `guided_candidates` has plans of the agent `planner-guided`, and `num_futures` those of `planner-mcg`.
Intervals are over calls. Lines are fitted by least squares of the relative errors. GFLOP counts the operations of
matrix products (two per multiply-add), and shares are relative to the best rate of {precision} products in the first
table.
{machine}
"""
    return "\n".join([introduction, *(f"* {sentence}" for sentence in sentences)])


def _describe_line(sweep: Sweep, machine: Machine, precision: str) -> str:
    """Return a sentence about the line of a sweep."""
    line, first, last, unit = sweep.line, sweep.points[0], sweep.points[-1], SWEEPS[sweep.name][0]
    if sweep.is_flat:
        return (
            f"{sweep.name}: flat, {1e3 * line.at(first.value):.3g} ms; a plan with {first.value} {unit} has "
            f"{first.work / last.work:.0%} of the operations of one with {last.value}."
        )
    share = machine.compute_share(sweep.work.slope / line.slope, precision)
    return (
        f"{sweep.name}: {1e3 * line.fixed:.3g} ms and {1e3 * line.slope:.3g} ms more for each {unit}, whose products "
        f"reach {share:.0%} of the machine's rate; the largest error of the line is {sweep.worst_error:.0%}."
    )


def _describe_bottleneck(batch: Sweep, steps: Sweep, agent: DFPlanner) -> str:
    """Return sentences about what takes the time of a plan: work that a batch shares, or the rows of each episode."""
    fixed, per_episode = max(0.0, batch.line.fixed), batch.line.slope
    if batch.is_flat:
        return "The times of the batch are too noisy to tell what limits the speed of a plan."
    rows, per_step = FIRST_PLANNED + agent.model.config.num_tokens, per_episode / agent.config.sampling.sampling_steps
    return (
        f"The work that the episodes of a batch share ({1e3 * fixed:.3g} ms: dispatching operators, preparing, "
        f"checking and copying) takes as long as {fixed / per_episode:.2g} episodes of {rows} rows. With fewer than "
        f"{fixed / per_episode * rows:.0f} rows in a pass most time goes to the shared work, with more to the rows. Of "
        f"{1e3 * steps.line.slope:.3g} ms for a sampling step of one episode the rows take {1e3 * per_step:.3g} ms."
    )
