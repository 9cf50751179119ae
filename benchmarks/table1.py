"""``python -m dfplan.benchmarks.table1``: the paper's Table 1, run here beside what was published (§4.2)."""

from dataclasses import dataclass

from dfplan.benchmarks.ablation import Findings, Row, Run, main, score_row
from dfplan.benchmarks.charts import bars
from dfplan.benchmarks.contenders import ContenderOptions, make_contenders
from dfplan.benchmarks.evaluation import Conditions, evaluate
from dfplan.benchmarks.kinematic_limit import kinematic_limit
from dfplan.benchmarks.published import QUOTED

SETTINGS = {"fixed": "Maze2D", "random": "Multi2D"}
# Name of the row -> (agent of dfplan-bench, controller or None for the agent's own, whether it is slow).
RUN_HERE = {
    "dfplan planner": ("planner", None, False),
    "dfplan planner, its own actions": ("planner", "diffused", False),
    "dfplan policy": ("policy", None, False),
    "Diffusion Forcing with MCG": ("planner-mcg", "pd", True),
    "Diffuser, PD controller": ("diffuser", None, False),
    "Diffuser, its own actions": ("diffuser", "diffused", False),
    "waypoint controller (knows the maze)": ("waypoint", None, False),
    "random": ("random", None, False),
}


@dataclass(frozen=True)
class Settings:
    """Budget of the comparison: the same episodes for every agent, fewer for those that guide by gradients."""

    mazes: tuple[str, ...]
    episodes: int
    guided_episodes: int
    agents: tuple[str, ...] = tuple(RUN_HERE)


FULL = Settings(mazes=("umaze", "medium", "large"), episodes=100, guided_episodes=16)
QUICK = Settings(mazes=("umaze",), episodes=10, guided_episodes=2, agents=("dfplan planner", "dfplan policy"))

EXPLANATION = """
Rows marked *run here* come from the agents of `dfplan-bench` on the environment's fixed goal (Maze2D) or on goals drawn
per episode (Multi2D). Rows marked *quoted* repeat what was published, on the scale that was published; theirs are other
episodes, and mostly other data and larger networks. `updates` and `episodes` say what stands behind a row: Diffuser had
fewer updates here than the shipped checkpoint of the planner; the comparison at one budget is `schemes` and
`controllers`.
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
    agent_name, controller, is_slow = RUN_HERE[label]
    options = ContenderOptions(f"maze2d-{maze}-v1", controller=controller, device=run.device)
    (agent,) = make_contenders([agent_name], options).values()
    episodes = settings.guided_episodes if is_slow else settings.episodes
    conditions = Conditions(options.env_id, episodes, run.seed, goal)
    evaluation = evaluate(agent, conditions, f"{SETTINGS[goal]} {maze}, {label}", timed=False)
    updates = getattr(agent, "info", {}).get("step", "-")
    return {"method": label, "source": "run here", "updates": updates, "episodes": episodes} | score_row(evaluation)


def _limit(maze: str, goal: str) -> Row:
    return {"method": "kinematic limit", "source": "computed here", "normalized": kinematic_limit(maze, goal)}


def _quoted(maze: str, goal: str) -> list[Row]:
    rows = []
    for quoted in QUOTED[goal]:
        title = "normalized_if_stay" if quoted.scale == "normalized_if_stay" else "normalized"
        scale = "" if quoted.scale.startswith("normalized") else f" ({quoted.scale})"
        source = f"**quoted**: {quoted.source}{scale}"
        rows.append({"method": quoted.method, "source": source, title: quoted.scores[maze]})
    return rows


if __name__ == "__main__":
    main("table1", __doc__, study, FULL, QUICK)
