"""``python -m dfplan.benchmarks.uncertainty``: compares scheduling matrices (§3.3, App. B.7, C.2).

They differ in how uncertain the far future stays while the near future is denoised. The same weights follow
full-sequence, pyramid (zig-zag), autoregressive and trapezoid matrices.
"""

from dataclasses import dataclass
from typing import Any

from dfplan.agents.planner import DFPlanner
from dfplan.agents.presets import COST_TO_GO, GOAL_TOKEN
from dfplan.benchmarks.evaluation.episodes import Conditions, evaluate
from dfplan.benchmarks.evaluation.estimates import Row
from dfplan.benchmarks.reporting.ablation import Findings, Run, main, make_score_row
from dfplan.benchmarks.reporting.charts import draw_bars
from dfplan.sampling.schedules import scheduling_matrix

# Name -> settings of the planner; the uncertainty about later tokens grows from none to its maximum.
SCHEDULES: dict[str, dict[str, Any]] = {
    "full_sequence": {"schedule": "full_sequence"},
    "pyramid 0.1": {"schedule": "pyramid", "uncertainty_scale": 0.1},
    "pyramid 0.3": {"schedule": "pyramid", "uncertainty_scale": 0.3},
    "pyramid 1": {"schedule": "pyramid", "uncertainty_scale": 1.0},
    "autoregressive": {"schedule": "autoregressive"},
    "trapezoid 1": {"schedule": "trapezoid", "uncertainty_scale": 1.0},
}


@dataclass(frozen=True)
class Settings:
    """Budget of the comparison: the same episodes and denoising steps per token for every schedule."""

    mazes: tuple[str, ...]
    episodes: int
    guided_episodes: int  # of the planner that is told its goal by guidance only
    schedules: tuple[str, ...] = tuple(SCHEDULES)
    sampling_steps: int = 4  # of plans with the goal token; guided plans have those of their preset
    open_loop_horizon: int = 40  # steps, of plans with the goal token


# Guided along the recording's cost to go, with one candidate, since each candidate costs a pass in every row.
GUIDED = COST_TO_GO | {"candidates": 1}
FULL = Settings(mazes=("umaze", "medium", "large"), episodes=50, guided_episodes=32)
QUICK = Settings(mazes=("umaze",), episodes=20, guided_episodes=4, schedules=("full_sequence", "pyramid 0.3"))

EXPLANATION = f"""
The shipped checkpoint of each maze plans along different scheduling matrices. The rows of one table have the same
number of denoising steps per token and the same replanning. With the goal token a token takes {FULL.sampling_steps}
denoising steps, and the agent replans every {FULL.open_loop_horizon} steps; tokens of guided plans take
{GUIDED["sampling_steps"]} denoising steps, and the agent replans every 10 steps. `rows` is the number of rows of the
scheduling matrix; in each row the causal network computes only the tokens whose level changes. `goal token`: a token
tells the model its goal, and plans are as long as possible. `guided`: the model is not told its goal, and the gradient
of the recording's cost to go leads there (one future, one candidate); here §3.3 expects a gain from uncertainty about
the far future. More rows also mean more guidance at the same scale.
"""


def study(settings: Settings, run: Run) -> Findings:
    """Return the scores of each maze, way of giving the goal, and schedule."""
    own = {"sampling_steps": settings.sampling_steps, "open_loop_horizon": settings.open_loop_horizon}
    ways = {"goal token": (GOAL_TOKEN | own, settings.episodes), "guided": (GUIDED, settings.guided_episodes)}
    tables: dict[str, list[Row]] = {}
    panels: dict = {way: {} for way in ways}
    for maze in settings.mazes:
        for way, (preset, episodes) in ways.items():
            rows = [_measure_row(maze, name, preset, episodes, run) for name in settings.schedules]
            tables[f"maze2d-{maze}, {way}"] = rows
            panels[way][maze] = {row["schedule"]: row["normalized"] for row in rows}
    return Findings(tables, {"scores": draw_bars(panels, "normalized")}, EXPLANATION)


def _measure_row(maze: str, name: str, preset: dict, episodes: int, run: Run) -> Row:
    agent = DFPlanner.load(f"maze2d-{maze}", run.device, **(preset | SCHEDULES[name]))
    evaluation = evaluate(agent, Conditions(f"maze2d-{maze}-v1", episodes, run.seed), f"{maze}, {name}", timed=False)
    return {"schedule": name, "rows": _count_rows(agent)} | make_score_row(evaluation)


def _count_rows(agent: DFPlanner) -> int:
    """Return the number of rows of the agent's scheduling matrix, each of which is one network pass."""
    model, config = agent.model.config, agent.config
    num_tokens = (config.sampling.horizon or model.horizon) // model.frame_stack
    sizes = (num_tokens, config.sampling.sampling_steps, model.num_levels)
    return len(scheduling_matrix(config.sampling.schedule, *sizes, config.sampling.uncertainty_scale)) - 1


if __name__ == "__main__":
    main("uncertainty", __doc__, study, FULL, QUICK)
