"""``python -m dfplan.benchmarks.policy_vs_planner``: score and time per decision against the lookahead (§3.4).

The same weights plan one token ahead (a policy), as far as they can (a planner), or any number of tokens in between.
"""

from dataclasses import dataclass

from dfplan.agents.planner import DFPlanner
from dfplan.agents.presets import COST_TO_GO, GOAL_TOKEN
from dfplan.benchmarks.evaluation.episodes import Conditions, evaluate
from dfplan.benchmarks.reporting.ablation import Findings, Run, main, make_score_row
from dfplan.benchmarks.reporting.charts import draw_lines


@dataclass(frozen=True)
class Settings:
    """Budget of the comparison. Lookaheads are in tokens; the longest one of each maze is added."""

    mazes: tuple[str, ...]
    episodes: int
    lookaheads: tuple[int, ...]
    open_loop_horizon: int = 10  # steps; one token, the most that the shortest plan has


FULL = Settings(mazes=("umaze", "medium", "large"), episodes=50, lookaheads=(1, 2, 4, 8, 16, 32))
QUICK = Settings(mazes=("umaze",), episodes=10, lookaheads=(1, 4))
# How the agent is told its goal -> settings of the planner, with one candidate.
WAYS = {"guided": COST_TO_GO | {"candidates": 1}, "goal token": GOAL_TOKEN}

EXPLANATION = """
The shipped checkpoint of each maze plans 1, 2, 4, ... tokens ahead, and as far as it can; the causal network does not
see tokens beyond its plan. Nothing is retrained, and no other setting changes. The agent pursues its plan and replans
after every token (10 steps). *guided*: the model is not told its goal; guidance along the recording's cost to go leads
there, with one future and one candidate. *goal token*: a token tells the model its goal, and there is no guidance.
`lookahead` is in environment steps. `s per act` is the mean over all decisions of an episode, including those that
plan.
"""


def study(settings: Settings, run: Run) -> Findings:
    """Return score and seconds for each maze, each way of giving the goal, and each lookahead."""
    tables, scores, seconds = {}, {}, {}
    for maze in settings.mazes:
        title, rows = f"maze2d-{maze}", {}
        for way in WAYS:
            rows[way] = [
                _measure_row(maze, way, tokens, settings, run) for tokens in _list_lookaheads(maze, settings, run)
            ]
            tables[f"{title}, {way}"] = rows[way]
        scores[title] = {way: {row["lookahead"]: row["normalized"] for row in rows[way]} for way in WAYS}
        seconds[title] = {way: {row["lookahead"]: row["s per plan"] for row in rows[way]} for way in WAYS}
    figures = {
        "scores": draw_lines(scores, "lookahead (steps)", "normalized", log_x=True),
        "seconds": draw_lines(seconds, "lookahead (steps)", "seconds per plan", log_x=True),
    }
    return Findings(tables, figures, EXPLANATION)


def _list_lookaheads(maze: str, settings: Settings, run: Run) -> list[int]:
    longest = DFPlanner.load(f"maze2d-{maze}", run.device).model.config.num_tokens
    return [tokens for tokens in settings.lookaheads if tokens < longest] + [longest]


def _measure_row(maze: str, way: str, tokens: int, settings: Settings, run: Run) -> dict:
    agent = DFPlanner.load(f"maze2d-{maze}", run.device, **WAYS[way])
    lookahead = tokens * agent.model.config.frame_stack
    agent.config = agent.config.change(horizon=lookahead, open_loop_horizon=settings.open_loop_horizon)
    conditions = Conditions(f"maze2d-{maze}-v1", settings.episodes, run.seed)
    evaluation = evaluate(agent, conditions, f"{maze}, {way}, {lookahead} steps ahead")
    return {"lookahead": lookahead} | make_score_row(evaluation)


if __name__ == "__main__":
    main("policy_vs_planner", __doc__, study, FULL, QUICK)
