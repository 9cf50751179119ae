"""``python -m dfplan.benchmarks.table1``: the paper's Table 1, run here beside what was published (§4.2).

Every row says what it was trained on and what drove its plans, since both decide the score.
"""

from dataclasses import dataclass

from dfplan.benchmarks.ablation import Findings, Row, Run, main, score_row
from dfplan.benchmarks.charts import bars
from dfplan.benchmarks.contenders import ContenderOptions, described_config, make_contenders
from dfplan.benchmarks.evaluation import Agent, Conditions, evaluate
from dfplan.benchmarks.kinematic_limit import kinematic_limit
from dfplan.benchmarks.published import QUOTED
from dfplan.benchmarks.report import BACKGROUND, background

SETTINGS = {"fixed": "Maze2D", "random": "Multi2D"}


@dataclass(frozen=True)
class Contender:
    """One row that is run here.

    Attributes:
        agent: of dfplan-bench.
        controller: what drives its plans; None for an agent without plans.
        checkpoint: ending of the checkpoint's name, maze2d-MAZE before it; None for the agent's own.
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
# Columns between a row's source and its scores; a dash where a row has none.
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
Rows marked *run here* come from the agents of `dfplan-bench` on the environment's fixed goal (Maze2D) or on goals drawn
per episode (Multi2D). Rows marked *quoted* repeat what was published, on the scale that was published; theirs are other
episodes, and mostly larger networks.

`trained on`: the demonstrations as they were recorded (here generated with D4RL's controller and noise), or
*re-executed*, that is the same ways driven faster. `driven by`: the plan's own actions, a PD controller on the plan's
clock, or pursuit of the plan's way; *as published* where the source has to be asked. No quoted row is known to have
re-executed data or pursuit; those that act by their own actions compare with the rows `recorded, own actions`. `plans`
(how many for a decision, how long, every how many steps), `updates` and `episodes` say what stands behind a row:
Diffuser had fewer updates here than the planner; the comparison at one budget is `schemes` and `controllers`.
"""


def study(settings: Settings, run: Run) -> Findings:
    """Return one table for each of Maze2D and Multi2D and maze, and a figure of the rows that were run here."""
    tables: dict[str, list[Row]] = {}
    panels: dict = {}
    for goal, name in SETTINGS.items():
        panels[name] = {}
        for maze in settings.mazes:
            rows = [_row(maze, goal, label, settings, run) for label in settings.agents]
            panels[name][maze] = {row["method"]: row["normalized"] for row in rows}
            tables[f"{name} {maze}"] = [_limit(maze, goal), *rows, *_quoted(maze, goal)]
    return Findings(tables, {"scores": bars(panels, "normalized")}, EXPLANATION)


def _row(maze: str, goal: str, label: str, settings: Settings, run: Run) -> Row:
    contender = RUN_HERE[label]
    checkpoint = None if contender.checkpoint is None else f"maze2d-{maze}{contender.checkpoint}"
    options = ContenderOptions(f"maze2d-{maze}-v1", checkpoint, contender.controller, run.device)
    (agent,) = make_contenders([contender.agent], options).values()
    conditions = Conditions(options.env_id, settings.episodes, run.seed, goal)
    evaluation = evaluate(agent, conditions, f"{SETTINGS[goal]} {maze}, {label}", timed=False)
    return {"method": label, "source": "run here"} | UNKNOWN | _background(agent) | score_row(evaluation)


def _background(agent: Agent) -> Row:
    """Return what stands behind the scores of an agent that has just been evaluated; nothing for one without plans."""
    config = described_config(agent)
    if "controller" not in config:
        return {}
    return background(config) | {"updates": agent.info["step"]}


def _limit(maze: str, goal: str) -> Row:
    limit = {"normalized": kinematic_limit(maze, goal)}
    return {"method": "kinematic limit", "source": "computed here"} | UNKNOWN | limit


def _quoted(maze: str, goal: str) -> list[Row]:
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
