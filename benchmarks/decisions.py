"""``python -m dfplan.benchmarks.decisions``: what makes decisions better, one idea at a time.

Each row changes one setting of the shipped planner, or takes a network that was trained otherwise.
"""

from dataclasses import dataclass

from dfplan.agents.planner import DFPlanner
from dfplan.benchmarks.ablation import Findings, Row, Run, main, score_row
from dfplan.benchmarks.charts import bars
from dfplan.benchmarks.evaluation import Conditions, evaluate
from dfplan.benchmarks.kinematic_limit import kinematic_limit

SHIPPED, RECORDED = "", "-recorded"
DIFFUSED = {"controller": "diffused"}
# Idea -> (checkpoint's suffix, what it changes).
IDEAS = {
    "shipped planner": (SHIPPED, {}),
    "trained on recorded demonstrations": (RECORDED, {}),
    "diffused actions": (SHIPPED, DIFFUSED),
    "diffused actions, recorded demonstrations": (RECORDED, DIFFUSED),
    "diffused actions, replans every 5 steps": (SHIPPED, DIFFUSED | {"open_loop_horizon": 5}),
    "planned clock (PD)": (SHIPPED, {"controller": "pd"}),
    "pursuit 20 steps ahead": (SHIPPED, {"pursuit_lookahead": 20}),
    "pursuit 30 steps ahead": (SHIPPED, {"pursuit_lookahead": 30}),
    "replans every 5 steps": (SHIPPED, {"open_loop_horizon": 5}),
    "replans every 20 steps": (SHIPPED, {"open_loop_horizon": 20}),
    "replans every 40 steps": (SHIPPED, {"open_loop_horizon": 40}),
    "replans on disagreement (0.3)": (SHIPPED, {"open_loop_horizon": 80, "replan_error": 0.3}),
    "4 candidates, the most consistent": (SHIPPED, {"candidates": 4, "selection": "consistency"}),
    "4 candidates, the soonest to arrive": (SHIPPED, {"candidates": 4, "selection": "arrival"}),
    "warm start from level 0.5": (SHIPPED, {"warm_start": 0.5}),
    "goal strength 1.5": (SHIPPED, {"goal_strength": 1.5}),
    "guided to the goal as well": (SHIPPED, {"guide": "squashed_goal_distance", "guidance_scale": 0.2}),
    "1 sampling step": (SHIPPED, {"sampling_steps": 1}),
    "10 sampling steps": (SHIPPED, {"sampling_steps": 10}),
    "second-order solver": (SHIPPED, {"solver": "multistep"}),
    "plans 40 steps": (SHIPPED, {"horizon": 40}),
}


@dataclass(frozen=True)
class Settings:
    """Budget of the comparison."""

    mazes: tuple[str, ...]
    episodes: int
    ideas: tuple[str, ...] = tuple(IDEAS)


FULL = Settings(mazes=("umaze", "medium", "large"), episodes=100)
QUICK = Settings(mazes=("umaze",), episodes=10, ideas=("shipped planner", "diffused actions", "plans 40 steps"))

EXPLANATION = """
The first row is the agent `planner` of `dfplan-bench`: three DDIM steps, a plan as long as the model can every 10
steps, pursuit 25 steps ahead, one candidate. Every other row changes what it says and nothing else; rows of one maze
have the same starts. `share of limit` is the part of the kinematic limit. `recorded demonstrations`: the checkpoint
`maze2d-MAZE-recorded`, a bidirectional network trained on the demonstrations as they were recorded, pursued 40 steps
ahead and replanning every 20; the shipped one is causal and learns from the same ways re-executed faster
(`dfplan/reexecution.py`).
"""


def study(settings: Settings, run: Run) -> Findings:
    """Return the scores of each idea on each maze."""
    tables: dict[str, list[Row]] = {}
    panels: dict = {}
    for maze in settings.mazes:
        rows = [_row(maze, idea, settings, run) for idea in settings.ideas]
        tables[f"maze2d-{maze}"] = rows
        panels[f"maze2d-{maze}"] = {"normalized": {row["idea"]: row["normalized"] for row in rows}}
    return Findings(tables, {"scores": bars(panels, "normalized")}, EXPLANATION)


def _row(maze: str, idea: str, settings: Settings, run: Run) -> Row:
    suffix, changed = IDEAS[idea]
    agent = DFPlanner.load(f"maze2d-{maze}{suffix}", run.device, **changed)
    conditions = Conditions(f"maze2d-{maze}-v1", settings.episodes, run.seed)
    scores = score_row(evaluate(agent, conditions, f"{maze}, {idea}", timed=False))
    share = scores["normalized"].value / kinematic_limit(maze)
    return {"idea": idea} | scores | {"share of limit": f"{share:.0%}"}


if __name__ == "__main__":
    main("decisions", __doc__, study, FULL, QUICK)
