"""``python -m dfplan.benchmarks.schedules``: how uncertain the future is kept while planning (§3.3, App. B.7, C.2).

The same weights follow full-sequence, pyramid (zig-zag), autoregressive and trapezoid scheduling matrices.
"""

from dataclasses import dataclass

from dfplan.agents.planner import DFPlanner
from dfplan.agents.presets import MONTE_CARLO_GUIDANCE
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
    sampling_steps: int = 4
    open_loop_horizon: int = 40


FULL = Settings(mazes=("umaze", "medium"), episodes=50, guided_episodes=16)
QUICK = Settings(mazes=("umaze",), episodes=20, guided_episodes=4, schedules=("full_sequence", "pyramid 0.3"))

EXPLANATION = """
The shipped checkpoint of each maze plans as far ahead as it can along different scheduling matrices, all with the same
number of denoising steps per token and the same replanning. `rows` are the sampling steps of a longest plan; in each
the causal network looks at the tokens that move and no others. `goal token` tells the model its goal; `guided` hides it
and leads there by the gradient of the goal distance alone (one future), which is where §3.3 expects uncertainty about
the far future to pay. More rows also mean more guidance at the same scale.
"""


def study(settings: Settings, run: Run) -> Findings:
    """Return the scores of each maze, way of giving the goal, and schedule."""
    ways = {"goal token": ({}, settings.episodes), "guided": (_guided(), settings.guided_episodes)}
    tables: dict[str, list[Row]] = {}
    panels: dict = {way: {} for way in ways}
    for maze in settings.mazes:
        for way, (preset, episodes) in ways.items():
            rows = [_row(maze, name, preset, episodes, settings, run) for name in settings.schedules]
            tables[f"maze2d-{maze}, {way}"] = rows
            panels[way][maze] = {row["schedule"]: row["normalized"] for row in rows}
    return Findings(tables, {"scores": bars(panels, "normalized")}, EXPLANATION)


def _guided() -> dict:
    """Return the settings of the paper's planner with plain guidance: N multiplies the cost of each of the rows."""
    return MONTE_CARLO_GUIDANCE | {"num_futures": 1}


def _row(maze: str, name: str, preset: dict, episodes: int, settings: Settings, run: Run) -> Row:
    own = {"sampling_steps": settings.sampling_steps, "open_loop_horizon": settings.open_loop_horizon}
    agent = DFPlanner.load(f"maze2d-{maze}", run.device, **(preset | own | SCHEDULES[name]))
    evaluation = evaluate(agent, Conditions(f"maze2d-{maze}-v1", episodes, run.seed), f"{maze}, {name}", timed=False)
    return {"schedule": name, "rows": _num_rows(agent)} | score_row(evaluation)


def _num_rows(agent: DFPlanner) -> int:
    """Return the network calls of a longest plan."""
    model, config = agent.model.config, agent.config
    sizes = (model.num_tokens, config.sampling_steps, model.num_levels)
    return len(scheduling_matrix(config.schedule, *sizes, config.uncertainty_scale)) - 1


if __name__ == "__main__":
    main("schedules", __doc__, study, FULL, QUICK)
