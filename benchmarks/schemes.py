"""``python -m dfplan.benchmarks.schemes``: one backbone, all training schemes, every way of sampling (App. C.8).

Diffusion Forcing, teacher forcing and full-sequence diffusion differ in how training draws noise levels only. Each is
trained from several seeds, and the intervals are over seeds and episodes.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from dfplan.agents.planner import DFPlanner
from dfplan.agents.presets import DIFFUSER, GOAL_TOKEN, POLICY, TEACHER_FORCING, config_for
from dfplan.benchmarks.ablation import TRAINING_SEEDS, Findings, Row, Run, main, score_row
from dfplan.benchmarks.charts import bars
from dfplan.benchmarks.evaluation import Conditions, evaluate
from dfplan.benchmarks.small_models import small_models
from dfplan.config import RECORDED_RECIPES, Recipe
from dfplan.diffusion_forcing import DiffusionForcing
from dfplan.envs.datasets import load_dataset
from dfplan.envs.demonstrations import Dataset

# Name -> what it changes in the training of all schemes.
SCHEMES: dict[str, dict[str, Any]] = {
    "Diffusion Forcing, mixture": {"level_sampler": "mixture"},
    "Diffusion Forcing, independent": {"level_sampler": "independent"},
    "teacher forcing": {"level_sampler": "teacher_forcing"},
    "full-sequence diffusion": {"level_sampler": "full_sequence"},
    "Diffusion Forcing, independent, masked tail": {"level_sampler": "independent", "masked_tail": 1.0},
}
# The agents of dfplan-bench that are told their goal by a token, as settings of one planner.
WAYS = {
    "policy": POLICY,
    "planner": GOAL_TOKEN,
    "planner, pyramid": GOAL_TOKEN | {"schedule": "pyramid"},
    "teacher-forcing": TEACHER_FORCING,
    "diffuser": DIFFUSER,
}
GOAL_KNOWN = 0.5  # share of windows that show the goal, in the training of all schemes


@dataclass(frozen=True)
class Settings:
    """Budget of the comparison, the same for every scheme.

    Attributes:
        mazes: in which the schemes are compared.
        episodes: of each network.
        ways: names in ``WAYS`` by which each network is sampled.
        schemes: names in ``SCHEMES``.
        updates: of each network, maze by maze.
        training_seeds: one network of each scheme is trained from each, on data of the same seed.
        rows: of these data.
        precision: of the training.
    """

    mazes: tuple[str, ...]
    episodes: int
    updates: tuple[int, ...]
    ways: tuple[str, ...] = tuple(WAYS)
    schemes: tuple[str, ...] = tuple(SCHEMES)
    training_seeds: tuple[int, ...] = TRAINING_SEEDS
    rows: int = 1_000_000
    precision: str = "float32"


FULL = Settings(mazes=("medium",), episodes=20, updates=(3000,), precision="bfloat16")
QUICK = Settings(
    mazes=("umaze",),
    episodes=5,
    updates=(50,),
    ways=("policy", "planner"),
    training_seeds=TRAINING_SEEDS[:2],
    rows=100_000,
)

EXPLANATION = """
Networks of one size, the bidirectional transformer of the recipe for recorded demonstrations, are trained with the same
number of updates and differ in how training draws noise levels. Each scheme has one network for each training seed,
which decides data, initial weights and batches; the network of the first seed is evaluated on the episodes of the first
evaluation seed, the next one on those of the next, in every row alike. Each network is sampled in the way of every
agent, also in those that its training never showed it. `independent` is the paper's: every token has its own level;
`mixture` has levels that rise linearly in time in half of the windows, as the shipped checkpoints have. `masked tail`
masks all tokens behind a random one in every window, as the paper's released code does when it trains a network that is
not causal, as this one is not: with independent levels alone such a network never sees a plan that ends early, and
hardly ever one that is all noise. The loss of
teacher forcing counts the masked tokens behind the next one too. `policy` draws one token in one step; `planner` all
tokens together; `planner, pyramid` the near ones first; `teacher-forcing` token after token; `diffuser` plans once, all
tokens together, with the goal also painted in at the end, and tracks the plan by PD.
"""


def study(settings: Settings, run: Run) -> Findings:
    """Return the scores of every training scheme under every way of sampling."""
    tables: dict[str, list[Row]] = {}
    panels: dict = {}
    for maze, updates in zip(settings.mazes, settings.updates, strict=True):
        title = f"maze2d-{maze}"
        tables[title] = [row for scheme in settings.schemes for row in _rows(maze, updates, scheme, settings, run)]
        panels[title] = {
            way: {row["trained by"]: row["normalized"] for row in tables[title] if row["sampled by"] == way}
            for way in settings.ways
        }
    return Findings(tables, {"scores": bars(panels, "normalized")}, EXPLANATION, len(settings.training_seeds))


def recipe(maze: str, updates: int, scheme: str, settings: Settings) -> Recipe:
    """Return how the networks of a scheme are trained, whatever their seed."""
    own = RECORDED_RECIPES[maze]
    same = {"steps": updates, "goal_known": GOAL_KNOWN, "rows": settings.rows, "precision": settings.precision}
    return replace(own, training=replace(own.training, **same, **SCHEMES[scheme]))


def _rows(maze: str, updates: int, scheme: str, settings: Settings, run: Run) -> list[Row]:
    """Return one row for each way of sampling the networks of a scheme."""
    data = partial(_dataset, maze, settings.rows)
    name = f"{maze}-scheme-{list(SCHEMES).index(scheme)}"
    models = small_models(recipe(maze, updates, scheme, settings), data, run, name, settings.training_seeds)
    same = {"trained by": scheme, "updates": updates}
    return [same | {"sampled by": way} | _scores(models, maze, way, settings, run) for way in settings.ways]


def _dataset(maze: str, rows: int, seed: int) -> Dataset:
    return load_dataset(maze, rows=rows, seed=seed, progress=True)


def _scores(models: list[DiffusionForcing], maze: str, way: str, settings: Settings, run: Run) -> Row:
    """Return the scores of networks from different training seeds, each in episodes of its own."""
    evaluations = []
    for number, model in enumerate(models):
        conditions = Conditions(f"maze2d-{maze}-v1", settings.episodes, run.seed + number)
        agent = DFPlanner(model, config_for(model, "recorded", **WAYS[way]))
        label = f"{maze}, {way}, training {number + 1} of {len(models)}"
        evaluations.append(evaluate(agent, conditions, label, timed=False))
    return score_row(evaluations)


if __name__ == "__main__":
    main("schemes", __doc__, study, FULL, QUICK)
