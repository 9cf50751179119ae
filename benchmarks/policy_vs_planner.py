"""``python -m dfplan.benchmarks.policy_vs_planner``: score and time per decision against the lookahead (§3.4).

The same weights look ahead one token (a policy), as far as they can (a planner), or anything in between.
"""

from dataclasses import dataclass, replace

from dfplan.agents.planner import DFPlanner
from dfplan.agents.presets import COST_TO_GO, GOAL_TOKEN
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


FULL = Settings(mazes=("umaze", "medium", "large"), episodes=50, lookaheads=(1, 2, 4, 8, 16, 32))
QUICK = Settings(mazes=("umaze",), episodes=10, lookaheads=(1, 4))
# How the agent knows of its goal -> settings of the planner. One candidate, so that lookaheads cost what they cost.
WAYS = {"guided": COST_TO_GO | {"candidates": 1}, "goal token": GOAL_TOKEN}

EXPLANATION = """
The shipped checkpoint of each maze plans 1, 2, 4, ... tokens ahead and at last as far as it can; the causal network
does not look at what lies beyond. Nothing is retrained and nothing else is changed; plans are pursued and made anew
after every token (10 steps). *guided* hides the goal from the model: guidance along the recording's cost to go leads
there, with one future and one candidate. *goal token* tells the model its goal and guides nothing. `lookahead` is in
environment steps; `s per act` is the mean over all decisions of an episode, those that plan included.
"""


def study(settings: Settings, run: Run) -> Findings:
    """Return score and seconds for each maze, way of knowing the goal, and lookahead."""
    tables, scores, seconds = {}, {}, {}
    for maze in settings.mazes:
        title, rows = f"maze2d-{maze}", {}
        for way in WAYS:
            rows[way] = [_row(maze, way, tokens, settings, run) for tokens in _lookaheads(maze, settings)]
            tables[f"{title}, {way}"] = rows[way]
        scores[title] = {way: {row["lookahead"]: row["normalized"] for row in rows[way]} for way in WAYS}
        seconds[title] = {way: {row["lookahead"]: row["s per plan"] for row in rows[way]} for way in WAYS}
    figures = {
        "scores": lines(scores, "lookahead (steps)", "normalized", log_x=True),
        "seconds": lines(seconds, "lookahead (steps)", "seconds per plan", log_x=True),
    }
    return Findings(tables, figures, EXPLANATION)


def _lookaheads(maze: str, settings: Settings) -> list[int]:
    longest = DFPlanner.load(f"maze2d-{maze}").model.config.num_tokens
    return [tokens for tokens in settings.lookaheads if tokens < longest] + [longest]


def _row(maze: str, way: str, tokens: int, settings: Settings, run: Run) -> dict:
    agent = DFPlanner.load(f"maze2d-{maze}", run.device, **WAYS[way])
    lookahead = tokens * agent.model.config.frame_stack
    agent.config = replace(agent.config, horizon=lookahead, open_loop_horizon=settings.open_loop_horizon)
    conditions = Conditions(f"maze2d-{maze}-v1", settings.episodes, run.seed)
    evaluation = evaluate(agent, conditions, f"{maze}, {way}, {lookahead} steps ahead")
    return {"lookahead": lookahead} | score_row(evaluation)


if __name__ == "__main__":
    main("policy_vs_planner", __doc__, study, FULL, QUICK)
