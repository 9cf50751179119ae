"""``python -m dfplan.benchmarks.speed --scaling``: what a plan costs against its settings, and why.

Of each sweep the table has the measured times beside a straight line through them: fixed milliseconds, and so many more
for each token, episode, sampling step, candidate or future.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from dfplan.agents.planner import DFPlanner
from dfplan.agents.presets import COST_TO_GO, GOAL_TOKEN, MONTE_CARLO_GUIDANCE, config_for
from dfplan.benchmarks.ablation import Findings, Row, Run
from dfplan.benchmarks.charts import lines
from dfplan.benchmarks.evaluation import Conditions
from dfplan.benchmarks.statistics import Estimate, bootstrap
from dfplan.benchmarks.timing import (
    Machine,
    first_plan,
    measured_machine,
    operations,
    precision_of,
    processors_had,
    repeated,
)
from dfplan.tokens import FIRST_PLANNED


@dataclass(frozen=True)
class Settings:
    """Budget of the measurement: the maze, about how many seconds each takes, and the values of each setting.

    The longest lookahead is measured too. One future is plain
    guidance, which draws none, so that the line of ``num_futures`` begins with two.
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
# Sweep -> what one more of it is, and the planner's settings at a value of it, given the steps of a token.
SWEEPS: dict[str, tuple[str, Callable[[int, int], dict[str, Any]]]] = {
    "lookahead": ("token", lambda value, frame_stack: GOAL_TOKEN | {"horizon": value * frame_stack}),
    "batch": ("episode", lambda value, frame_stack: GOAL_TOKEN),
    "sampling_steps": ("step", lambda value, frame_stack: GOAL_TOKEN | {"sampling_steps": value}),
    "candidates": ("candidate", lambda value, frame_stack: GOAL_TOKEN | {"candidates": value}),
    "guided_candidates": ("candidate", lambda value, frame_stack: COST_TO_GO | {"candidates": value}),
    "num_futures": ("future", lambda value, frame_stack: MONTE_CARLO_GUIDANCE | {"num_futures": value}),
}
FLAT = 0.1  # a line that rises less over its sweep, as a share of its lowest point, is called flat


@dataclass(frozen=True)
class Line:
    """Seconds against a setting: ``fixed`` + ``slope`` times the setting."""

    fixed: float
    slope: float

    def at(self, value: int | float) -> float:
        """Return the seconds at a value of the setting."""
        return self.fixed + self.slope * value


def fitted(values: Float[np.ndarray, " point"], seconds: Float[np.ndarray, " point"]) -> Line:
    """Return the line whose squared errors, each relative to its point, add up to the least.

    Relative, since times span several powers of ten and each is as exact as the others in percent.
    """
    terms = np.stack([np.ones(len(values)), values], axis=1) / np.asarray(seconds)[:, None]  # (point, 2)
    (fixed, slope), *_ = np.linalg.lstsq(terms, np.ones(len(values)), rcond=None)
    return Line(float(fixed), float(slope))


@dataclass(frozen=True)
class Point:
    """One measured plan: the setting's value, seconds of each call, and operations."""

    value: int
    seconds: Float[np.ndarray, " call"]
    work: int

    @property
    def median(self) -> float:
        """Median seconds."""
        return float(np.median(self.seconds))


@dataclass(frozen=True)
class Sweep:
    """Measured plans that differ in one setting, and the lines through their seconds and their operations."""

    name: str
    points: list[Point]

    def _fitted(self, quantity: list[int] | list[float]) -> Line:
        return fitted(np.array([point.value for point in self.points], dtype=float), np.array(quantity, dtype=float))

    @property
    def line(self) -> Line:
        """Seconds against the setting."""
        return self._fitted([point.median for point in self.points])

    @property
    def work(self) -> Line:
        """Operations against the setting."""
        return self._fitted([point.work for point in self.points])

    @property
    def is_flat(self) -> bool:
        """Whether the line hardly rises, or falls, which only noise makes it do."""
        first, last = self.points[0].value, self.points[-1].value
        return self.line.slope * (last - first) < FLAT * self.line.at(first)

    @property
    def worst_error(self) -> float:
        """Largest distance of a measured time from the line, as a share of the time."""
        return max(abs(self.line.at(point.value) / point.median - 1) for point in self.points)


def study(settings: Settings, run: Run) -> Findings:
    """Return seconds per plan along each sweep, the lines through them, and what explains these."""
    had, machine = processors_had(), measured_machine(run.device, settings.seconds)
    agent = DFPlanner.load(f"maze2d-{settings.maze}", run.device, **GOAL_TOKEN)
    precision = precision_of(agent.model)
    sweeps = {name: _sweep(name, agent, settings, run) for name in SWEEPS}
    tables = {"Matrix products": machine.rows(had())}
    tables["Lines"] = [_line_row(sweep, machine, precision) for sweep in sweeps.values()]
    tables |= {f"Against {name}": _rows(sweep, machine, precision) for name, sweep in sweeps.items()}
    panels = {f"against {name}": _curves(sweep) for name, sweep in sweeps.items()}
    figure = lines(panels, "", "milliseconds per plan", log_x=True)
    for axes in figure.axes:
        axes.set_ylim(bottom=0)
    return Findings(tables, {"scaling": figure}, _explanation(settings, agent, sweeps, machine, precision))


def _sweep(name: str, agent: DFPlanner, settings: Settings, run: Run) -> Sweep:
    values = list(getattr(settings, name))
    if name == "lookahead":
        longest = agent.model.config.num_tokens
        values = [value for value in values if value < longest] + [longest]
    return Sweep(name, [_point(name, value, agent, settings, run) for value in values])


def _point(name: str, value: int, agent: DFPlanner, settings: Settings, run: Run) -> Point:
    """Return what the first plan of an episode takes with one setting changed."""
    changed = SWEEPS[name][1](value, agent.model.config.frame_stack)
    planner = DFPlanner(agent.model, config_for(agent.model, agent.info.get("demonstrations", "recorded"), **changed))
    conditions = Conditions(f"maze2d-{settings.maze}-v1", 1, run.seed)
    plan = first_plan(planner, conditions, value if name == "batch" else 1)
    return Point(value, repeated(plan, settings.seconds), operations(plan))


def _rows(sweep: Sweep, machine: Machine, precision: str) -> list[Row]:
    return [
        {
            sweep.name: point.value,
            "ms per plan": bootstrap(1e3 * point.seconds, np.median),
            "line: ms": 1e3 * sweep.line.at(point.value),
            "GFLOP": point.work / 1e9,
            "share": machine.share(point.work / point.median, precision),
        }
        for point in sweep.points
    ]


def _line_row(sweep: Sweep, machine: Machine, precision: str) -> Row:
    line, work = sweep.line, sweep.work
    return {
        "against": sweep.name,
        "fixed ms": 1e3 * line.fixed,
        "ms for one more": 1e3 * line.slope,
        "of": SWEEPS[sweep.name][0],
        "GFLOP for one more": round(max(0.0, work.slope) / 1e9, 6),
        "share for one more": "-" if sweep.is_flat else machine.share(work.slope / line.slope, precision),
        "worst error of the line": f"{sweep.worst_error:.0%}",
    }


def _curves(sweep: Sweep) -> dict[str, dict[int, Estimate]]:
    measured = {point.value: bootstrap(1e3 * point.seconds, np.median) for point in sweep.points}
    line = {value: Estimate(1e3 * sweep.line.at(value), float("nan"), float("nan")) for value in measured}
    return {"measured": measured, "line": line}


def _explanation(
    settings: Settings, agent: DFPlanner, sweeps: dict[str, Sweep], machine: Machine, precision: str
) -> str:
    """Return what is varied, how to read it, and what the lines say."""
    sentences = [_sentence(sweep, machine, precision) for sweep in sweeps.values()]
    sentences.append(_bound(sweeps["batch"], sweeps["sampling_steps"], agent))
    introduction = f"""\
First plans of episodes of maze2d-{settings.maze} by the agent `planner-goal-token`, of one episode at a time, with one
setting changed; against `guided_candidates`, plans of the agent `planner-guided`, and against `num_futures`, those of
`planner-mcg`. Intervals are over calls; lines are fitted by least
squares of relative errors. GFLOP are those of the matrix products that ran (two operations for each multiply-add), and
shares are of the best rate of {precision} products, which the first table has. {machine}
"""
    return "\n".join([introduction, *(f"* {sentence}" for sentence in sentences)])


def _sentence(sweep: Sweep, machine: Machine, precision: str) -> str:
    """Return the line of a sweep in words."""
    line, first, last, unit = sweep.line, sweep.points[0], sweep.points[-1], SWEEPS[sweep.name][0]
    if sweep.is_flat:
        return (
            f"{sweep.name}: flat, {1e3 * line.at(first.value):.3g} ms; a plan with {first.value} {unit} runs "
            f"{first.work / last.work:.0%} of the products of one with {last.value}."
        )
    share = machine.share(sweep.work.slope / line.slope, precision)
    return (
        f"{sweep.name}: {1e3 * line.fixed:.3g} ms and {1e3 * line.slope:.3g} ms more for each {unit}, whose products "
        f"run at {share:.0%} of the machine's rate; the line is off by {sweep.worst_error:.0%} at most."
    )


def _bound(batch: Sweep, steps: Sweep, agent: DFPlanner) -> str:
    """Return what bounds a plan: what the episodes of a batch share, or the rows that each brings to the products."""
    fixed, per_episode = max(0.0, batch.line.fixed), batch.line.slope
    if batch.is_flat:
        return "The batch was measured too noisily to tell what bounds a plan."
    rows, per_step = FIRST_PLANNED + agent.model.config.num_tokens, per_episode / agent.config.sampling_steps
    return (
        f"What the episodes of a batch share ({1e3 * fixed:.3g} ms: dispatching operators, preparing, checking and "
        f"copying) takes as long as {fixed / per_episode:.2g} episodes of {rows} rows: with fewer than "
        f"{fixed / per_episode * rows:.0f} rows in a pass a plan is bound by dispatch, with more by its rows. Of "
        f"{1e3 * steps.line.slope:.3g} ms for a sampling step of one episode its rows take {1e3 * per_step:.3g} ms."
    )
