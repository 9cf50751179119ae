"""``python -m dfplan.benchmarks.backbones``: the paper's RNN and transformers, behind one interface (§3.2, App. C.1).

Causal backbones keep what was executed in memory: a latent or a KV cache.
"""

from dataclasses import dataclass

from dfplan.agents.planner import DFPlanner
from dfplan.agents.presets import GOAL_TOKEN, POLICY
from dfplan.benchmarks.ablation import Findings, Row, Run, main, score_row
from dfplan.benchmarks.charts import bars
from dfplan.benchmarks.evaluation import Conditions, evaluate

# Checkpoint -> name of the row.
BACKBONES = {
    "independent": "transformer",
    "mixture": "transformer, mixture",
    "causal": "causal transformer",
    "rnn": "RNN",
}
HISTORY = 8  # tokens of executed history, where it is shown
WAYS = {
    "policy": POLICY,
    "planner": GOAL_TOKEN,
    "planner, pyramid": GOAL_TOKEN | {"schedule": "pyramid"},
    "planner with history": GOAL_TOKEN | {"history": HISTORY, "controller": "pd"},
    "planner, pd": GOAL_TOKEN | {"controller": "pd"},
}


@dataclass(frozen=True)
class Settings:
    """Budget of the comparison: the checkpoints have about as many parameters and the same data and updates."""

    maze: str
    episodes: int
    ways: tuple[str, ...] = tuple(WAYS)


FULL = Settings(maze="umaze", episodes=100)
QUICK = Settings(maze="umaze", episodes=10, ways=("policy", "planner"))

EXPLANATION = f"""
Checkpoints trained by the same command but for `--backbone`, with independent noise levels, sampled by the same agent,
which is told its goal by a token; beside them the first one trained with `--level-sampler mixture`, which also shows
levels that rise in time. `planner with history` shows the model the last {HISTORY} executed tokens, which causal
backbones keep in memory; it tracks the plan by PD, on the plan's clock, and `planner, pd` is the same without history:
the maze is Markov, so history need not help, but it must not harm. History takes its room from the plan, which is that
much shorter.
"""


def study(settings: Settings, run: Run) -> Findings:
    """Return size, scores and seconds of each backbone under each way of sampling."""
    rows = [_row(name, way, settings, run) for name in BACKBONES for way in settings.ways]
    title = f"maze2d-{settings.maze}"
    panel = {way: {row["backbone"]: row["normalized"] for row in rows if row["agent"] == way} for way in settings.ways}
    return Findings({title: rows}, {"scores": bars({title: panel}, "normalized")}, EXPLANATION)


def _row(name: str, way: str, settings: Settings, run: Run) -> Row:
    agent = DFPlanner.load(f"maze2d-{settings.maze}-{name}", run.device, **WAYS[way])
    conditions = Conditions(f"maze2d-{settings.maze}-v1", settings.episodes, run.seed)
    evaluation = evaluate(agent, conditions, f"{BACKBONES[name]}, {way}")
    parameters = sum(parameter.numel() for parameter in agent.model.parameters())
    return {"backbone": BACKBONES[name], "agent": way, "parameters": parameters} | score_row(evaluation)


if __name__ == "__main__":
    main("backbones", __doc__, study, FULL, QUICK)
