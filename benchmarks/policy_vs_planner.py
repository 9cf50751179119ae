"""``python -m dfplan.benchmarks.policy_vs_planner``: score and time per decision against the lookahead (§3.4).

The same weights look ahead one token (a policy), as far as they can (a planner), or anything in between.
"""

from dataclasses import dataclass, replace

from dfplan.agents.planner import DFPlanner
from dfplan.benchmarks.ablation import Findings, Run, main, score_row
from dfplan.benchmarks.charts import lines
from dfplan.benchmarks.evaluation import Conditions, evaluate


@dataclass(frozen=True)
class Settings:
    """Budget of the comparison: lookaheads in tokens, beside which each maze's longest one is run too."""

    mazes: tuple[str, ...]
    episodes: int
    lookaheads: tuple[int, ...]
    open_loop_horizon: int = 10  # steps; one token, the longest that every lookahead can execute


FULL = Settings(mazes=("umaze", "medium", "large"), episodes=100, lookaheads=(1, 2, 4, 8, 16, 32))
QUICK = Settings(mazes=("umaze",), episodes=20, lookaheads=(1, 4))

EXPLANATION = """
The shipped checkpoint of each maze plans 1, 2, 4, ... tokens ahead and at last as far as it can; the causal network
does not look at what lies beyond. Nothing is retrained and nothing else is changed: the goal token is known, three DDIM
steps, replanning after every token (10 steps). `lookahead` is in environment steps; `s per act` is the mean over all
decisions of an episode, those that plan included.
"""


def study(settings: Settings, run: Run) -> Findings:
    """Return score and seconds for each maze and lookahead."""
    tables, scores, seconds = {}, {}, {}
    for maze in settings.mazes:
        rows = [_row(maze, tokens, settings, run) for tokens in _lookaheads(maze, settings)]
        tables[f"maze2d-{maze}"] = rows
        scores[f"maze2d-{maze}"] = {
            name: {row["lookahead"]: row[name] for row in rows} for name in ("normalized", "normalized_if_stay")
        }
        seconds[f"maze2d-{maze}"] = {"s per plan": {row["lookahead"]: row["s per plan"] for row in rows}}
    figures = {
        "scores": lines(scores, "lookahead (steps)", "normalized", log_x=True),
        "seconds": lines(seconds, "lookahead (steps)", "seconds per plan", log_x=True),
    }
    return Findings(tables, figures, EXPLANATION)


def _lookaheads(maze: str, settings: Settings) -> list[int]:
    longest = DFPlanner.load(f"maze2d-{maze}").model.config.num_tokens
    return [tokens for tokens in settings.lookaheads if tokens < longest] + [longest]


def _row(maze: str, tokens: int, settings: Settings, run: Run) -> dict:
    agent = DFPlanner.load(f"maze2d-{maze}", run.device)
    lookahead = tokens * agent.model.config.frame_stack
    agent.config = replace(agent.config, horizon=lookahead, open_loop_horizon=settings.open_loop_horizon)
    conditions = Conditions(f"maze2d-{maze}-v1", settings.episodes, run.seed)
    return {"lookahead": lookahead} | score_row(evaluate(agent, conditions, f"{maze}, {lookahead} steps ahead"))


if __name__ == "__main__":
    main("policy_vs_planner", __doc__, study, FULL, QUICK)
