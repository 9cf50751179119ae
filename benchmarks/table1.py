"""``python -m dfplan.benchmarks.table1``: the paper's Table 1, measured here and as published (§4.2).

Every row names its training data and its controller, because both determine the score.
"""

from dataclasses import dataclass

from dfplan.agents.planner import DFPlanner
from dfplan.benchmarks.evaluation.contenders import ContenderOptions, describe_config, make_contenders
from dfplan.benchmarks.evaluation.episodes import Agent, Conditions, GoalKind, evaluate
from dfplan.benchmarks.evaluation.estimates import Row
from dfplan.benchmarks.evaluation.kinematic_limit import compute_kinematic_limit
from dfplan.benchmarks.reporting.ablation import Findings, Run, main, make_score_row
from dfplan.benchmarks.reporting.charts import draw_bars
from dfplan.benchmarks.reporting.published import QUOTED
from dfplan.benchmarks.reporting.report import BACKGROUND, describe_background

SETTINGS: dict[GoalKind, str] = {"fixed": "Maze2D", "random": "Multi2D"}


@dataclass(frozen=True)
class Contender:
    """One row that is measured here.

    Attributes:
        agent: name of an agent of dfplan-bench.
        controller: of the agent; None for an agent without plans.
        checkpoint: the part of the checkpoint's name after maze2d-MAZE; None for the agent's default checkpoint.
    """

    agent: str
    controller: str | None = None
    checkpoint: str | None = None


RUN_HERE = {
    "guided planner, re-executed, pursuit": Contender("planner-guided", "pursuit"),
    "guided planner, re-executed, own actions": Contender("planner-guided", "diffused"),
    "guided planner, recorded, pursuit": Contender("planner-guided", "pursuit", "-recorded"),
    "guided planner, recorded, own actions": Contender("planner-guided", "diffused", "-recorded"),
    "goal token, re-executed, pursuit": Contender("planner-goal-token", "pursuit"),
    "goal token, re-executed, own actions": Contender("planner-goal-token", "diffused"),
    "goal token, recorded, pursuit": Contender("planner-goal-token", "pursuit", "-recorded"),
    "goal token, recorded, own actions": Contender("planner-goal-token", "diffused", "-recorded"),
    "policy, re-executed, pursuit": Contender("policy", "pursuit"),
    "Diffuser, PD controller": Contender("diffuser", "pd"),
    "Diffuser, its own actions": Contender("diffuser", "diffused"),
    "waypoint controller (knows the maze)": Contender("waypoint"),
    "random": Contender("random"),
}
# The columns between source and scores, with the dash that stands for an unknown value.
UNKNOWN = dict.fromkeys((*BACKGROUND, "updates", "episodes"), "-")


@dataclass(frozen=True)
class Settings:
    """Budget of the comparison: the same episodes for every agent."""

    mazes: tuple[str, ...]
    episodes: int
    agents: tuple[str, ...] = tuple(RUN_HERE)


FULL = Settings(mazes=("umaze", "medium", "large"), episodes=50)
QUICK = Settings(mazes=("umaze",), episodes=10, agents=tuple(RUN_HERE)[:5])

EXPLANATION = """
Rows marked *run here* are measured with the agents of `dfplan-bench`, for the environment's fixed goal (Maze2D) or for
one random goal per episode (Multi2D). Rows marked *quoted* repeat published scores on their published scale; they come
from other episodes, and mostly from larger networks.

`trained on`: the demonstrations as recorded (here generated with D4RL's controller and noise), or *re-executed*: the
same paths, driven faster. `driven by`: the plan's own actions, a PD controller that tracks the plan at its own times,
or pursuit of the planned path; *as published* if only the source can tell. No quoted row is known to use re-executed
data or pursuit; quoted rows with own actions compare with the rows `recorded, own actions`. `plans` is the number of
plans per decision, their length, and how often they are made. Diffuser has fewer `updates` here than the planner; the
studies `schemes` and `own_actions` compare both with equal budgets.
"""


def study(settings: Settings, run: Run) -> Findings:
    """Return one table for each maze of Maze2D and Multi2D, and a figure of the rows that are measured here."""
    tables: dict[str, list[Row]] = {}
    panels: dict = {}
    for goal, name in SETTINGS.items():
        panels[name] = {}
        for maze in settings.mazes:
            rows = [_measure_row(maze, goal, label, settings, run) for label in settings.agents]
            panels[name][maze] = {row["method"]: row["normalized"] for row in rows}
            tables[f"{name} {maze}"] = [_make_limit_row(maze, goal), *rows, *_make_quoted_rows(maze, goal)]
    return Findings(tables, {"scores": draw_bars(panels, "normalized")}, EXPLANATION)


def _measure_row(maze: str, goal: GoalKind, label: str, settings: Settings, run: Run) -> Row:
    contender = RUN_HERE[label]
    checkpoint = None if contender.checkpoint is None else f"maze2d-{maze}{contender.checkpoint}"
    options = ContenderOptions(f"maze2d-{maze}-v1", checkpoint, contender.controller, run.device)
    (agent,) = make_contenders([contender.agent], options).values()
    conditions = Conditions(options.env_id, settings.episodes, run.seed, goal)
    evaluation = evaluate(agent, conditions, f"{SETTINGS[goal]} {maze}, {label}", timed=False)
    return {"method": label, "source": "run here"} | UNKNOWN | _describe_agent(agent) | make_score_row(evaluation)


def _describe_agent(agent: Agent) -> Row:
    """Return the columns that describe an agent; none for an agent without plans."""
    config = describe_config(agent)
    if not isinstance(agent, DFPlanner) or "controller" not in config:
        return {}
    return describe_background(config) | {"updates": agent.info["step"]}


def _make_limit_row(maze: str, goal: str) -> Row:
    limit = {"normalized": compute_kinematic_limit(maze, goal)}
    return {"method": "kinematic limit", "source": "computed here"} | UNKNOWN | limit


def _make_quoted_rows(maze: str, goal: str) -> list[Row]:
    rows = []
    for quoted in QUOTED[goal]:
        title = "normalized_if_stay" if quoted.scale == "normalized_if_stay" else "normalized"
        scale = "" if quoted.scale.startswith("normalized") else f" ({quoted.scale})"
        row = {"method": quoted.method, "source": f"**quoted**: {quoted.source}{scale}"} | UNKNOWN
        known = {"trained on": quoted.trained_on, "driven by": quoted.driven_by}
        rows.append(row | known | {title: quoted.scores[maze]})
    return rows


if __name__ == "__main__":
    main("table1", __doc__, study, FULL, QUICK)
