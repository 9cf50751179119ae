"""``python -m dfplan.benchmarks.speed``: how well the agent decides against how long it thinks, and what bounds it.

``--scaling`` measures what a plan costs against lookahead, batch, sampling steps and futures (``speed_scaling.py``).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from dfplan.agents.planner import DFPlanner
from dfplan.agents.presets import COST_TO_GO, GOAL_TOKEN, MONTE_CARLO_GUIDANCE, POLICY, PRESETS
from dfplan.benchmarks import speed_scaling
from dfplan.benchmarks.ablation import TRAINING_SEEDS, Findings, Row, Run, Variant, main
from dfplan.benchmarks.charts import COLOURS, PANEL_SIZE
from dfplan.benchmarks.estimates import estimates
from dfplan.benchmarks.evaluation import Conditions, evaluate, measure_latency
from dfplan.benchmarks.figures import DOTS_PER_INCH, INK
from dfplan.benchmarks.statistics import Estimate, quantiles
from dfplan.benchmarks.throughput import pass_row, training_rows
from dfplan.benchmarks.timing import (
    FEWEST_CALLS,
    TURNS,
    Machine,
    beside_products,
    first_plan,
    measured_machine,
    operations,
    precision_of,
    processors_had,
    repeated,
)
from dfplan.config import RECIPES
from dfplan.envs.datasets import load_dataset

FUTURES = 8
# Name -> settings of the planner.
AGENTS: dict[str, dict[str, Any]] = PRESETS | {
    "goal token": GOAL_TOKEN,
    "policy": POLICY,
    "1 candidate": COST_TO_GO | {"candidates": 1},
    "8 candidates": COST_TO_GO | {"candidates": 8},
    f"planner-mcg, {FUTURES} futures": MONTE_CARLO_GUIDANCE | {"num_futures": FUTURES},
}
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
FULL_BATCH = 16  # from which on a pass should be bound by its products


@dataclass(frozen=True)
class Settings:
    """Budget of the measurement.

    Attributes:
        mazes: whose shipped checkpoints act.
        episodes: of which scores are made.
        batches: episodes planned side by side; ``guided_batches`` by guided agents.
        passes: sequences in one network pass.
        seconds: about what one measurement may take.
        rows: of the data set that training is timed on.
    """

    mazes: tuple[str, ...]
    episodes: int
    batches: tuple[int, ...] = (1, 16, 128)
    guided_batches: tuple[int, ...] = (1, 16)
    passes: tuple[int, ...] = (1, 4, 16, 64, 128)
    seconds: float = 1.0
    rows: int = 200_000


FULL = Settings(mazes=("umaze", "medium", "large"), episodes=24)
QUICK = Settings(mazes=("umaze",), episodes=4, guided_batches=(1,), passes=(1, 16), seconds=0.3, rows=20_000)

EXPLANATION = f"""
`fast`, `default` and `best` are the presets of `dfplan-bench`; the last two are guided along the cost to go, with four
candidates. `goal token` is told its goal by a token instead, and so is `policy`, which decides token by token. `1
candidate` and `8 candidates` are the default with so many; `planner-mcg` has one candidate and {FUTURES} futures of
Monte-Carlo guidance. A *decision* is one plan for one episode. Its wall time is the agent's own, from observations to a
plan on the CPU: p50 and p95 of one episode's first plan made again and again, when everything is still to be planned
but the cost to its goal is known, and of all plans of one episode, at batch 1. Between plans the agent only tracks:
`act between plans`. Decisions per second count plans made side by side for so many episodes.

GFLOP are those of the matrix products that ran (torch's counter: two operations for each multiply-add, attention
included, norms and activations not); where few rows are filled up, so that results do not depend on the batch, what
fills them counts. A share is of the best rate that square products reach here in the same precision (the side is that
of the first table), measured in turn with what is held against them, since what else runs on a machine slows both
alike: a share of 1 would be a network of products alone. Times are medians of as many calls as fit in `seconds`, at
least {FEWEST_CALLS} in each of {TURNS} turns, after a warm-up. Passes and training in bfloat16 run under autocast. An
update of training is drawing (windows, levels, noise), forward, backward, optimiser and averaging; `auto` is the
precision that `dfplan-train` takes on this device.
"""


def study(settings: Settings, run: Run) -> Findings:
    """Return scores, latencies, throughput and shares of the machine's rate for each maze."""
    had, machine = processors_had(), measured_machine(run.device, settings.seconds)
    tables: dict[str, list[Row]] = {}
    points, sentences = {}, [str(machine)]
    for maze in settings.mazes:
        agents = {name: DFPlanner.load(f"maze2d-{maze}", run.device, **AGENTS[name]) for name in AGENTS}
        name = f"maze2d-{maze}"
        scores = [_score_row(maze, agent, agents[agent], settings, run) for agent in agents]
        tables[f"{name}: score and latency at batch 1"] = scores
        tables[f"{name}: decisions per second"] = [
            row for agent in agents for row in _decision_rows(maze, agent, agents[agent], machine, settings, run)
        ]
        model = agents["default"].model
        passes = [pass_row(model, batch, machine, settings.seconds) for batch in settings.passes]
        tables[f"{name}: network passes"] = passes
        dataset = load_dataset(maze, rows=settings.rows, seed=TRAINING_SEEDS[0], progress=True)
        training = training_rows(RECIPES[maze], dataset, machine, settings.seconds)
        tables[f"{name}: training"] = training
        points[name] = {row["agent"]: (row["first plan: ms p50"], row["normalized"]) for row in scores}
        sentences.append(_summary(name, scores, passes, training))
    explanation = EXPLANATION + "\n" + "\n".join(f"* {sentence}" for sentence in sentences)
    tables = {"Matrix products": machine.rows(had())} | tables
    return Findings(tables, {"score_against_time": score_against_time(points)}, explanation)


def _score_row(maze: str, name: str, agent: DFPlanner, settings: Settings, run: Run) -> Row:
    conditions = Conditions(f"maze2d-{maze}-v1", settings.episodes, run.seed)
    evaluation = evaluate(agent, conditions, f"{maze}, {name}", timed=False)
    plans, acts = measure_latency(agent, conditions)
    seconds = {
        "first plan": repeated(first_plan(agent, conditions), settings.seconds),
        "plans of an episode": plans,
        "act between plans": between_plans(plans, acts),
    }
    row: Row = {"agent": name, "normalized": estimates(evaluation)["normalized"], "episodes": settings.episodes}
    for what, sample in seconds.items():
        row |= {f"{what}: ms {quantile}": 1e3 * value for quantile, value in quantiles(sample).items()}
    return row


def between_plans(plans: np.ndarray, acts: np.ndarray) -> np.ndarray:
    """Return the seconds of the acts (act,) that did not plan: all but the longest, as many as there were plans."""
    return np.sort(acts)[: len(acts) - len(plans)]


def _decision_rows(maze: str, name: str, agent: DFPlanner, machine: Machine, settings: Settings, run: Run) -> list[Row]:
    batches = settings.batches if agent.config.guide is None else settings.guided_batches
    return [{"agent": name} | _decision_row(maze, agent, batch, machine, settings, run) for batch in batches]


def _decision_row(maze: str, agent: DFPlanner, batch: int, machine: Machine, settings: Settings, run: Run) -> Row:
    plan = first_plan(agent, Conditions(f"maze2d-{maze}-v1", 1, run.seed), batch)
    work = operations(plan)
    seconds, share = beside_products(plan, work, machine, precision_of(agent.model), settings.seconds)
    return {"batch": batch, "decisions/s": batch / seconds, "GFLOP per decision": work / batch / 1e9, "share": share}


def _summary(name: str, scores: list[Row], passes: list[Row], training: list[Row]) -> str:
    """Return one sentence of what the tables say of a maze."""
    default = next(row for row in scores if row["agent"] == "default")
    kept = {row["agent"]: row["normalized"].value / default["normalized"].value for row in scores}
    full = [row["float32: share"] for row in passes if row["batch"] >= FULL_BATCH]
    taken = next(row for row in training if "auto" in row["precision"])
    return (
        f"{name}: fast keeps {kept['fast']:.0%} of the default's score, best has {kept['best']:.0%}; passes in float32 "
        f"run at {min(full):.0%} of the products' rate or more from batch {FULL_BATCH} on; training in "
        f"{taken['precision']} at {taken['share']:.0%}, {taken['share of time drawing data']:.0%} of its time drawing "
        f"data."
    )


def score_against_time(points: Mapping[str, Mapping[str, tuple[float, Estimate]]]) -> Figure:
    """Return scores over milliseconds per decision: a colour per maze, a marker per agent."""
    figure = Figure(figsize=(1.8 * PANEL_SIZE[0], 1.3 * PANEL_SIZE[1]), layout="constrained", dpi=DOTS_PER_INCH)
    axes = figure.subplots()
    for colour, (maze, agents) in zip(cycle(COLOURS), points.items()):
        for marker, (agent, (milliseconds, score)) in zip(cycle(MARKERS), agents.items()):
            ends = np.nan_to_num([[score.value - score.low], [score.high - score.value]])
            axes.errorbar(milliseconds, score.value, ends, color=colour, marker=marker, capsize=2)
            axes.plot([], [], color=INK, marker=marker, linestyle="none", label=agent)  # for the legend
        axes.plot([], [], color=colour, label=maze)
    axes.set(xscale="log", xlabel="milliseconds per decision (first plan of an episode, p50)", ylabel="normalized")
    axes.grid(alpha=0.3)
    labelled = {label: handle for handle, label in zip(*axes.get_legend_handles_labels())}
    figure.legend(labelled.values(), labelled.keys(), loc="outside right center", frameon=False, fontsize=8)
    return figure


SCALING = Variant(
    "scaling",
    "measure what a plan costs against its settings instead",
    speed_scaling.study,
    speed_scaling.FULL,
    speed_scaling.QUICK,
)

if __name__ == "__main__":
    main("speed", __doc__, study, FULL, QUICK, SCALING)
