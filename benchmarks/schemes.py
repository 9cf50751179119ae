"""``python -m dfplan.benchmarks.schemes``: all training schemes with one backbone and every way of sampling (App. C.8).

Diffusion Forcing, teacher forcing and full-sequence diffusion differ only in how training draws noise levels. Each
scheme is trained from several seeds, and the intervals are over training seeds and episodes.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

from dfplan.agents.presets import DIFFUSER, GOAL_TOKEN, POLICY, TEACHER_FORCING
from dfplan.benchmarks.evaluation.estimates import Row
from dfplan.benchmarks.reporting.ablation import TRAINING_SEEDS, Findings, Run, main
from dfplan.benchmarks.reporting.charts import draw_bars
from dfplan.benchmarks.scoring import score_trainings
from dfplan.benchmarks.small_models import set_budget, train_small_models
from dfplan.config import Recipe
from dfplan.envs.datasets import load_dataset
from dfplan.recipes import RECORDED_RECIPES

# Scheme -> the settings of the training that it changes.
SCHEMES: dict[str, dict[str, Any]] = {
    "Diffusion Forcing, mixture": {"level_sampler": "mixture"},
    "Diffusion Forcing, independent": {"level_sampler": "independent"},
    "teacher forcing": {"level_sampler": "teacher_forcing"},
    "full-sequence diffusion": {"level_sampler": "full_sequence"},
    "Diffusion Forcing, independent, masked tail": {"level_sampler": "independent", "masked_tail": 1.0},
}
# Way of sampling -> settings of the planner. They are the agents of dfplan-bench that are told their goal by a token.
WAYS = {
    "policy": POLICY,
    "planner": GOAL_TOKEN,
    "planner, pyramid": GOAL_TOKEN | {"schedule": "pyramid"},
    "teacher-forcing": TEACHER_FORCING,
    "diffuser": DIFFUSER,
}
GOAL_KNOWN = 0.5  # share of training windows that show the goal, for all schemes


@dataclass(frozen=True)
class Settings:
    """Budget of the comparison, the same for every scheme.

    Attributes:
        mazes: where the schemes are compared.
        episodes: number of episodes of each network.
        updates: number of training updates, one for each of ``mazes``.
        ways: keys of ``WAYS``; each network is sampled in all these ways.
        schemes: keys of ``SCHEMES``.
        training_seeds: each scheme has one network per seed, which is trained on data of the same seed.
        rows: number of rows of these data.
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
All networks are the bidirectional transformer of the recipe for recorded demonstrations, trained with the same number
of updates. They differ only in how training draws noise levels. Each scheme has one network per training seed, which
determines data, initial weights and batches. In every row, the network of the first training seed acts in the episodes
of the first evaluation seed, the second network in those of the second, and so on. Each network is sampled in all ways,
including ways whose levels did not occur in its training.

`independent` is the paper's scheme: every token has its own level. `mixture`, used for the shipped checkpoints: in half
of the windows the levels rise linearly in time. `masked tail`: all tokens after a random one are pure noise in every
window, as in the paper's released code for networks that are not causal, such as these. With independent levels alone
such a network never sees a plan that ends early, and almost never one that is all noise. The loss of teacher forcing
also counts the masked tokens after the next one.

`policy` samples one token in one step. `planner` samples all tokens together, `planner, pyramid` near tokens first,
`teacher-forcing` one token after another. `diffuser` plans once, samples all tokens together, sets the end of the plan
to the goal (inpainting), and tracks the plan with a PD controller.
"""


def study(settings: Settings, run: Run) -> Findings:
    """Return the scores of every training scheme under every way of sampling."""
    tables: dict[str, list[Row]] = {}
    panels: dict = {}
    for maze, updates in zip(settings.mazes, settings.updates, strict=True):
        title = f"maze2d-{maze}"
        tables[title] = [
            row for scheme in settings.schemes for row in _measure_scheme(maze, updates, scheme, settings, run)
        ]
        panels[title] = {
            way: {row["trained by"]: row["normalized"] for row in tables[title] if row["sampled by"] == way}
            for way in settings.ways
        }
    return Findings(tables, {"scores": draw_bars(panels, "normalized")}, EXPLANATION, len(settings.training_seeds))


def make_recipe(maze: str, updates: int, scheme: str, settings: Settings) -> Recipe:
    """Return the recipe of a scheme; its seed is replaced by each training seed."""
    changes = {"goal_known": GOAL_KNOWN} | SCHEMES[scheme]
    return set_budget(RECORDED_RECIPES[maze], updates, settings.rows, settings.precision, **changes)


def _measure_scheme(maze: str, updates: int, scheme: str, settings: Settings, run: Run) -> list[Row]:
    """Train the networks of a scheme; return one row per way of sampling."""
    recipe = make_recipe(maze, updates, scheme, settings)
    data = partial(load_dataset, maze, rows=settings.rows, progress=True)
    name = f"{maze}-scheme-{list(SCHEMES).index(scheme)}"
    models = train_small_models(recipe, data, run, name, settings.training_seeds)
    same = {"trained by": scheme, "updates": updates}
    return [
        same
        | {"sampled by": way}
        | score_trainings(models, recipe, WAYS[way], settings.episodes, run, f"{maze}, {way}")
        for way in settings.ways
    ]


if __name__ == "__main__":
    main("schemes", __doc__, study, FULL, QUICK)
