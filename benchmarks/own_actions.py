"""``python -m dfplan.benchmarks.own_actions``: executing a plan's own actions against tracking its states (§4.2).

It compares Diffusion Forcing with the full-sequence baseline Diffuser: are a plan's actions consistent with its states?
"""

from dataclasses import dataclass

from dfplan.agents.presets import DIFFUSER, GOAL_TOKEN
from dfplan.benchmarks.evaluation.estimates import Row
from dfplan.benchmarks.reporting.ablation import Findings, Run, main
from dfplan.benchmarks.reporting.charts import draw_bars
from dfplan.benchmarks.scoring import score_checkpoint

CONTROLLERS = ("diffused", "pd", "pursuit")
ONCE = {"open_loop_horizon": DIFFUSER["open_loop_horizon"]}
# Name -> (suffix of the checkpoint's name, settings of the planner).
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
    sampling_steps: int = DIFFUSER["sampling_steps"]  # of all contenders


FULL = Settings(mazes=("umaze", "medium"), episodes=100)
QUICK = Settings(mazes=("umaze",), episodes=10, contenders=("Diffusion Forcing", "Diffuser"))

EXPLANATION = """
`diffused` executes the actions of the plan and nothing else. `pd` tracks the planned states at the times of the plan.
`pursuit` follows the planned path as fast as the actuators allow. The checkpoints `maze2d-MAZE-mixture` and
`maze2d-MAZE-full_sequence` differ only in the level sampler of their training. Diffuser plans once, as published, and
the end of its plan is set to the goal (inpainting). The network also sees the goal token, as it did in training; `goal
painted in only` masks this token. Rows that plan once and rows that replan (every 20 steps) separate the effect of
replanning from that of the model. The paper's claim is about `normalized`; a higher `normalized_if_stay` shows that an
agent arrives but does not stay. Half of the actions in the recorded data are noise. The last rows have the network that
was trained on re-executed demonstrations, whose actions are those of a controller; it replans every 10 steps.
"""


def study(settings: Settings, run: Run) -> Findings:
    """Return the scores of each contender with each controller."""
    tables: dict[str, list[Row]] = {}
    panels: dict = {}
    for maze in settings.mazes:
        title = f"maze2d-{maze}"
        tables[title] = [
            _measure_row(maze, name, controller, settings, run)
            for name in settings.contenders
            for controller in CONTROLLERS
        ]
        panels[title] = {
            controller: {row["planner"]: row["normalized"] for row in tables[title] if row["controller"] == controller}
            for controller in CONTROLLERS
        }
    return Findings(tables, {"scores": draw_bars(panels, "normalized")}, EXPLANATION)


def _measure_row(maze: str, name: str, controller: str, settings: Settings, run: Run) -> Row:
    suffix, preset = CONTENDERS[name]
    settings_of_row = preset | {"controller": controller, "sampling_steps": settings.sampling_steps}
    label = f"{maze}, {name}, {controller}"
    scores = score_checkpoint(f"maze2d-{maze}{suffix}", maze, settings_of_row, settings.episodes, run, label)
    return {"planner": name, "controller": controller} | scores


if __name__ == "__main__":
    main("own_actions", __doc__, study, FULL, QUICK)
