"""``python -m dfplan.benchmarks.schedules``: how uncertain the future is kept while planning (§3.3, App. B.7, C.2).

The same weights follow full-sequence, pyramid (zig-zag), autoregressive and trapezoid scheduling matrices.
"""

from dataclasses import dataclass

from dfplan.agents.planner import DFPlanner
from dfplan.agents.presets import COST_TO_GO, GOAL_TOKEN
from dfplan.benchmarks.ablation import Findings, Row, Run, main, score_row
from dfplan.benchmarks.charts import bars
from dfplan.benchmarks.evaluation import Conditions, evaluate
from dfplan.schedules import scheduling_matrix

# Settings of the planner, from no to all uncertainty about the later tokens.
SCHEDULES = {
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
    guided_episodes: int  # of the planner that only guidance tells of the goal
    schedules: tuple[str, ...] = tuple(SCHEDULES)
    sampling_steps: int = 4  # with the goal token; guided plans have those of their preset
    open_loop_horizon: int = 40  # the same


# Guided along the recording's cost to go, one candidate: each costs every row once more.
GUIDED = COST_TO_GO | {"candidates": 1}
FULL = Settings(mazes=("umaze", "medium", "large"), episodes=50, guided_episodes=32)
QUICK = Settings(mazes=("umaze",), episodes=20, guided_episodes=4, schedules=("full_sequence", "pyramid 0.3"))

EXPLANATION = f"""
The shipped checkpoint of each maze plans along different scheduling matrices. The rows of one table have the same
number of denoising steps per token and the same replanning: with the goal token {FULL.sampling_steps} steps and every
{FULL.open_loop_horizon} steps, guided {GUIDED["sampling_steps"]} and every 10. `rows` are the sampling steps of one
plan; in each the causal network looks at the tokens that move and no others. `goal token` tells the model its goal and
plans as far as it can; `guided` hides the goal and leads there by the gradient of the recording's cost to go (one
future, one candidate), which is where §3.3 expects uncertainty about the far future to pay. More rows also mean more
guidance at the same scale.
"""


def study(settings: Settings, run: Run) -> Findings:
    """Return the scores of each maze, way of giving the goal, and schedule."""
    own = {"sampling_steps": settings.sampling_steps, "open_loop_horizon": settings.open_loop_horizon}
    ways = {"goal token": (GOAL_TOKEN | own, settings.episodes), "guided": (GUIDED, settings.guided_episodes)}
    tables: dict[str, list[Row]] = {}
    panels: dict = {way: {} for way in ways}
    for maze in settings.mazes:
        for way, (preset, episodes) in ways.items():
            rows = [_row(maze, name, preset, episodes, run) for name in settings.schedules]
            tables[f"maze2d-{maze}, {way}"] = rows
            panels[way][maze] = {row["schedule"]: row["normalized"] for row in rows}
    return Findings(tables, {"scores": bars(panels, "normalized")}, EXPLANATION)


def _row(maze: str, name: str, preset: dict, episodes: int, run: Run) -> Row:
    agent = DFPlanner.load(f"maze2d-{maze}", run.device, **(preset | SCHEDULES[name]))
    evaluation = evaluate(agent, Conditions(f"maze2d-{maze}-v1", episodes, run.seed), f"{maze}, {name}", timed=False)
    return {"schedule": name, "rows": _num_rows(agent)} | score_row(evaluation)


def _num_rows(agent: DFPlanner) -> int:
    """Return the network calls of a plan as long as the agent makes them."""
    model, config = agent.model.config, agent.config
    num_tokens = (config.horizon or model.horizon) // model.frame_stack
    sizes = (num_tokens, config.sampling_steps, model.num_levels)
    return len(scheduling_matrix(config.schedule, *sizes, config.uncertainty_scale)) - 1


if __name__ == "__main__":
    main("schedules", __doc__, study, FULL, QUICK)
