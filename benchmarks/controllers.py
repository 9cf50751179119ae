"""``python -m dfplan.benchmarks.controllers``: are a plan's own actions worth executing? (§4.2, causal consistency)

Diffused actions against tracking the planned states, for Diffusion Forcing and for the full-sequence baseline Diffuser.
"""

from dataclasses import dataclass

from dfplan.agents.planner import DFPlanner
from dfplan.agents.presets import DIFFUSER, GOAL_TOKEN
from dfplan.benchmarks.ablation import Findings, Row, Run, main, score_row
from dfplan.benchmarks.charts import bars
from dfplan.benchmarks.evaluation import Conditions, evaluate

CONTROLLERS = ("diffused", "pd", "pursuit")
ONCE = {"open_loop_horizon": DIFFUSER["open_loop_horizon"]}
# Name -> (checkpoint's suffix, settings of the planner).
CONTENDERS = {
    "Diffusion Forcing": ("-mixture", GOAL_TOKEN),
    "Diffusion Forcing, pyramid": ("-mixture", GOAL_TOKEN | {"schedule": "pyramid"}),
    "Diffusion Forcing, plans once": ("-mixture", GOAL_TOKEN | ONCE),
    "Diffuser": ("-full_sequence", DIFFUSER),
    "Diffuser, goal painted in only": ("-full_sequence", DIFFUSER | {"goal_token": False}),
    "full sequence, replans": ("-full_sequence", GOAL_TOKEN),
    "shipped checkpoint, re-executed data": ("", GOAL_TOKEN),
}


@dataclass(frozen=True)
class Settings:
    """Budget of the comparison: the checkpoints have the same backbone, data, seed and number of updates."""

    mazes: tuple[str, ...]
    episodes: int
    contenders: tuple[str, ...] = tuple(CONTENDERS)
    sampling_steps: int = DIFFUSER["sampling_steps"]  # of all


FULL = Settings(mazes=("umaze", "medium"), episodes=100)
QUICK = Settings(mazes=("umaze",), episodes=10, contenders=("Diffusion Forcing", "Diffuser"))

EXPLANATION = """
`diffused` executes the actions that the plan itself holds, and nothing else; `pd` tracks the planned states on the
plan's clock; `pursuit` chases the planned way as fast as the actuators allow. Checkpoints:
`maze2d-MAZE-mixture` and `maze2d-MAZE-full_sequence`, equal but for the level sampler. Diffuser plans once, as
published, with the goal painted in at the plan's end and, as its training had it in sight, known to the network; `goal
painted in only` hides it from the network. The rows that plan once and those that replan (every 20 steps) separate what
replanning does from what the model does. The paper's claim is about `normalized`; `normalized_if_stay` tells whether an
agent arrives but does not hold. Half of the actions in the recorded data are noise; the last rows have the network that
learned from re-executed demonstrations, whose actions are those of a controller, and replans every 10 steps.
"""


def study(settings: Settings, run: Run) -> Findings:
    """Return the scores of each contender under each controller."""
    tables: dict[str, list[Row]] = {}
    panels: dict = {}
    for maze in settings.mazes:
        title = f"maze2d-{maze}"
        tables[title] = [
            _row(maze, name, controller, settings, run) for name in settings.contenders for controller in CONTROLLERS
        ]
        panels[title] = {
            controller: {row["planner"]: row["normalized"] for row in tables[title] if row["controller"] == controller}
            for controller in CONTROLLERS
        }
    return Findings(tables, {"scores": bars(panels, "normalized")}, EXPLANATION)


def _row(maze: str, name: str, controller: str, settings: Settings, run: Run) -> Row:
    suffix, preset = CONTENDERS[name]
    settings_of_row = preset | {"controller": controller, "sampling_steps": settings.sampling_steps}
    agent = DFPlanner.load(f"maze2d-{maze}{suffix}", run.device, **settings_of_row)
    conditions = Conditions(f"maze2d-{maze}-v1", settings.episodes, run.seed)
    evaluation = evaluate(agent, conditions, f"{maze}, {name}, {controller}", timed=False)
    return {"planner": name, "controller": controller} | score_row(evaluation)


if __name__ == "__main__":
    main("controllers", __doc__, study, FULL, QUICK)
