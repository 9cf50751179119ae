"""``python -m dfplan.benchmarks.schemes``: one backbone, all training schemes, every way of sampling (App. C.8).

Diffusion Forcing, teacher forcing and full-sequence diffusion differ in how training draws noise levels only.
"""

from dataclasses import dataclass

from dfplan.agents.config import DIFFUSER, POLICY, TEACHER_FORCING
from dfplan.agents.planner import DFPlanner
from dfplan.benchmarks.ablation import Findings, Row, Run, main, score_row
from dfplan.benchmarks.charts import bars
from dfplan.benchmarks.evaluation import Conditions, evaluate

SCHEMES = {
    "mixture": "Diffusion Forcing, mixture",
    "independent": "Diffusion Forcing, independent",
    "teacher_forcing": "teacher forcing",
    "full_sequence": "full-sequence diffusion",
}
# The agents of dfplan-bench, as settings of one planner.
WAYS = {
    "policy": POLICY,
    "planner": {},
    "planner, pyramid": {"schedule": "pyramid"},
    "teacher-forcing": TEACHER_FORCING,
    "diffuser": DIFFUSER,
}


@dataclass(frozen=True)
class Settings:
    """Budget of the comparison: the checkpoints have the same backbone, data, seed and number of updates."""

    mazes: tuple[str, ...]
    episodes: int
    ways: tuple[str, ...] = tuple(WAYS)


FULL = Settings(mazes=("umaze", "medium"), episodes=50)
QUICK = Settings(mazes=("umaze",), episodes=10, ways=("policy", "planner"))

EXPLANATION = """
Four checkpoints of each maze (`maze2d-MAZE-mixture`, `-independent`, `-teacher_forcing`, `-full_sequence`) were trained
by the same command but for `--level-sampler`; each is sampled in the way of every agent, also in those that its
training never showed it. `independent` is the paper's: every token has its own level; `mixture` has levels that rise
linearly in time in half of the windows, as the shipped checkpoints have. The loss of teacher forcing counts the masked
tokens behind the next one too. `policy` draws one token in one step; `planner` all tokens together; `planner, pyramid`
the near ones first; `teacher-forcing` token after token; `diffuser` plans once, all tokens together, with the goal also
painted in at the end, and tracks the plan by PD.
"""


def study(settings: Settings, run: Run) -> Findings:
    """Return the scores of every training scheme under every way of sampling."""
    tables: dict[str, list[Row]] = {}
    panels: dict = {}
    for maze in settings.mazes:
        title = f"maze2d-{maze}"
        tables[title] = [_row(maze, scheme, way, settings, run) for scheme in SCHEMES for way in settings.ways]
        panels[title] = {
            way: {row["trained by"]: row["normalized"] for row in tables[title] if row["sampled by"] == way}
            for way in settings.ways
        }
    return Findings(tables, {"scores": bars(panels, "normalized")}, EXPLANATION)


def _row(maze: str, scheme: str, way: str, settings: Settings, run: Run) -> Row:
    agent = DFPlanner.load(f"maze2d-{maze}-{scheme}", run.device, **WAYS[way])
    conditions = Conditions(f"maze2d-{maze}-v1", settings.episodes, run.seed)
    evaluation = evaluate(agent, conditions, f"{maze}, {scheme} as {way}", timed=False)
    return {"trained by": SCHEMES[scheme], "sampled by": way} | score_row(evaluation)


if __name__ == "__main__":
    main("schemes", __doc__, study, FULL, QUICK)
