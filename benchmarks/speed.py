"""``python -m dfplan.benchmarks.speed``: scores against the time of a decision, and what limits the speed.

``--scaling`` measures the time of a plan against lookahead, batch, sampling steps and futures (``speed_scaling.py``).
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
from dfplan.benchmarks.evaluation.episodes import Conditions, evaluate, measure_latency
from dfplan.benchmarks.evaluation.estimates import Row, estimate_scores
from dfplan.benchmarks.evaluation.statistics import Estimate, compute_quantiles
from dfplan.benchmarks.evaluation.throughput import measure_pass, measure_training
from dfplan.benchmarks.evaluation.timing import (
    FEWEST_CALLS,
    TURNS,
    Machine,
    compare_with_products,
    count_operations,
    find_precision,
    make_plan_timer,
    measure_machine,
    time_repeatedly,
    watch_processor_time,
)
from dfplan.benchmarks.reporting.ablation import TRAINING_SEEDS, Findings, Run, Variant, main
from dfplan.benchmarks.reporting.charts import COLOURS, PANEL_SIZE
from dfplan.benchmarks.reporting.figures import DOTS_PER_INCH, INK
from dfplan.envs.datasets import load_dataset
from dfplan.recipes import RECIPES

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
FULL_BATCH = 16  # from this batch on a pass should spend most of its time on matrix products


@dataclass(frozen=True)
class Settings:
    """Budget of the measurement.

    Attributes:
        mazes: mazes of the shipped checkpoints.
        episodes: number of episodes of each score.
        batches: numbers of episodes that agents without guidance plan side by side.
        guided_batches: the same for guided agents.
        passes: numbers of sequences in one network pass.
        seconds: approximate duration of one measurement.
        rows: number of rows of the data on which training is timed.
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
candidates. A token tells `goal token` and `policy` their goal; `policy` plans one token at a time. `1 candidate` and `8
candidates` are the default with that many candidates. `planner-mcg` has one candidate and {FUTURES} futures of
Monte-Carlo guidance. A *decision* is one plan for one episode. The agent itself measures its wall time, from the
observations to a plan on the CPU, at batch 1: p50 and p95 of repeated first plans of one episode, for which nothing but
the cost to the goal is known, and of all plans of one episode. `act between plans` is the time of acts that do not
plan. Decisions per second count plans for that many episodes side by side.

GFLOP counts the operations of matrix products (torch's counter: two per multiply-add, including attention but not norms
and activations), including those of rows that are added to small inputs so that results do not depend on the batch. A
share is relative to the best rate of square matrix products in the same precision (the first table has their sides).
Products and the code that is compared with them are measured alternately, because other processes slow both equally; a
share of 1 would be a network of matrix products only. Times are medians of as many calls as fit in `seconds`, at least
{FEWEST_CALLS} in each of {TURNS} turns, after a warm-up. Passes and training in bfloat16 run under autocast. A training
update consists of drawing the batch (windows, levels, noise), the forward and the backward pass, the optimiser and the
weight average; `auto` is the precision that `dfplan-train` chooses on this device.
"""


def study(settings: Settings, run: Run) -> Findings:
    """Return scores, latencies, throughput, and shares of the machine's rate, for each maze."""
    had, machine = watch_processor_time(), measure_machine(run.device, settings.seconds)
    tables: dict[str, list[Row]] = {}
    points, sentences = {}, [str(machine)]
    for maze in settings.mazes:
        agents = {name: DFPlanner.load(f"maze2d-{maze}", run.device, **AGENTS[name]) for name in AGENTS}
        name = f"maze2d-{maze}"
        scores = [_measure_scores(maze, agent, agents[agent], settings, run) for agent in agents]
        tables[f"{name}: score and latency at batch 1"] = scores
        tables[f"{name}: decisions per second"] = [
            row for agent in agents for row in _measure_decisions(maze, agent, agents[agent], machine, settings, run)
        ]
        model = agents["default"].model
        passes = [measure_pass(model, batch, machine, settings.seconds) for batch in settings.passes]
        tables[f"{name}: network passes"] = passes
        dataset = load_dataset(maze, rows=settings.rows, seed=TRAINING_SEEDS[0], progress=True)
        training = measure_training(RECIPES[maze], dataset, machine, settings.seconds)
        tables[f"{name}: training"] = training
        points[name] = {row["agent"]: (row["first plan: ms p50"], row["normalized"]) for row in scores}
        sentences.append(_summarize(name, scores, passes, training))
    explanation = EXPLANATION + "\n" + "\n".join(f"* {sentence}" for sentence in sentences)
    tables = {"Matrix products": machine.to_rows(had())} | tables
    return Findings(tables, {"score_against_time": draw_score_against_time(points)}, explanation)


def _measure_scores(maze: str, name: str, agent: DFPlanner, settings: Settings, run: Run) -> Row:
    conditions = Conditions(f"maze2d-{maze}-v1", settings.episodes, run.seed)
    evaluation = evaluate(agent, conditions, f"{maze}, {name}", timed=False)
    plans, acts = measure_latency(agent, conditions)
    seconds = {
        "first plan": time_repeatedly(make_plan_timer(agent, conditions), settings.seconds),
        "plans of an episode": plans,
        "act between plans": select_acts_between_plans(plans, acts),
    }
    row: Row = {"agent": name, "normalized": estimate_scores(evaluation)["normalized"], "episodes": settings.episodes}
    for what, sample in seconds.items():
        row |= {f"{what}: ms {quantile}": 1e3 * value for quantile, value in compute_quantiles(sample).items()}
    return row


def select_acts_between_plans(plans: np.ndarray, acts: np.ndarray) -> np.ndarray:
    """Return the seconds of the acts (act,) that did not plan: all except the longest ones, one per plan."""
    return np.sort(acts)[: len(acts) - len(plans)]


def _measure_decisions(
    maze: str, name: str, agent: DFPlanner, machine: Machine, settings: Settings, run: Run
) -> list[Row]:
    batches = settings.batches if agent.config.guidance.guide is None else settings.guided_batches
    return [{"agent": name} | _measure_decision(maze, agent, batch, machine, settings, run) for batch in batches]


def _measure_decision(maze: str, agent: DFPlanner, batch: int, machine: Machine, settings: Settings, run: Run) -> Row:
    plan = make_plan_timer(agent, Conditions(f"maze2d-{maze}-v1", 1, run.seed), batch)
    work = count_operations(plan)
    seconds, share = compare_with_products(plan, work, machine, find_precision(agent.model), settings.seconds)
    return {"batch": batch, "decisions/s": batch / seconds, "GFLOP per decision": work / batch / 1e9, "share": share}


def _summarize(name: str, scores: list[Row], passes: list[Row], training: list[Row]) -> str:
    """Return one sentence that summarizes the tables of a maze."""
    default = next(row for row in scores if row["agent"] == "default")
    kept = {row["agent"]: row["normalized"].value / default["normalized"].value for row in scores}
    full = [row["float32: share"] for row in passes if row["batch"] >= FULL_BATCH]
    taken = next(row for row in training if "auto" in row["precision"])
    return (
        f"{name}: fast has {kept['fast']:.0%} of the default's score, best {kept['best']:.0%}. Float32 passes reach at "
        f"least {min(full):.0%} of the rate of matrix products from batch {FULL_BATCH} on. Training in "
        f"{taken['precision']} reaches {taken['share']:.0%}, and {taken['share of time drawing data']:.0%} of its time "
        f"is spent on drawing data."
    )


def draw_score_against_time(points: Mapping[str, Mapping[str, tuple[float, Estimate]]]) -> Figure:
    """Return a figure of scores over milliseconds per decision: one colour per maze, one marker per agent."""
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
    "measure the time of a plan against its settings instead",
    speed_scaling.study,
    speed_scaling.FULL,
    speed_scaling.QUICK,
)

if __name__ == "__main__":
    main("speed", __doc__, study, FULL, QUICK, SCALING)
