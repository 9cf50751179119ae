"""``python -m dfplan.benchmarks.backbones``: the paper's RNN and transformers, behind one interface (§3.2, App. C.1).

Causal backbones keep what was executed in memory: a latent or a KV cache. Each network is trained from several seeds.
"""

from dataclasses import dataclass, replace
from functools import partial

from dfplan.agents.planner import DFPlanner
from dfplan.agents.presets import GOAL_TOKEN, POLICY, config_for
from dfplan.benchmarks.ablation import TRAINING_SEEDS, Findings, Row, Run, main, score_row
from dfplan.benchmarks.charts import bars
from dfplan.benchmarks.evaluation import Conditions, evaluate
from dfplan.benchmarks.small_models import small_models
from dfplan.config import BACKBONE_SETTINGS, RECORDED_RECIPES, Recipe
from dfplan.diffusion_forcing import DiffusionForcing
from dfplan.envs.datasets import load_dataset
from dfplan.envs.demonstrations import Dataset

# Name of the row -> the network as dfplan-train knows it, and how its training draws levels.
NETWORKS = {
    "transformer": ("transformer", "independent"),
    "transformer, mixture": ("transformer", "mixture"),
    "causal transformer": ("causal_transformer", "independent"),
    "RNN": ("rnn", "independent"),
}
HISTORY = 8  # tokens of executed history, where it is shown
WAYS = {
    "policy": POLICY,
    "planner": GOAL_TOKEN,
    "planner, pyramid": GOAL_TOKEN | {"schedule": "pyramid"},
    "planner with history": GOAL_TOKEN | {"history": HISTORY, "controller": "pd"},
    "planner, pd": GOAL_TOKEN | {"controller": "pd"},
}


@dataclass(frozen=True)
class Settings:
    """Budget of the comparison: the networks have about as many parameters and the same data and updates.

    Attributes:
        maze: where they are trained and evaluated.
        episodes: of each training.
        updates: of each training.
        networks: keys of ``NETWORKS``.
        ways: keys of ``WAYS``, in which each network is sampled.
        training_seeds: one network of each kind is trained from each, on data of the same seed.
        rows: of that data.
        precision: of training.
    """

    maze: str
    episodes: int
    updates: int
    networks: tuple[str, ...] = tuple(NETWORKS)
    ways: tuple[str, ...] = tuple(WAYS)
    training_seeds: tuple[int, ...] = TRAINING_SEEDS
    rows: int = 1_000_000
    precision: str = "bfloat16"


FULL = Settings(maze="umaze", episodes=50, updates=2000)
QUICK = Settings(
    maze="umaze",
    episodes=5,
    updates=150,
    networks=("transformer, mixture", "RNN"),
    ways=("policy", "planner"),
    training_seeds=TRAINING_SEEDS[:1],
    rows=100_000,
    precision="float32",
)

EXPLANATION = f"""
Networks trained on recorded demonstrations by the same recipe but for `--backbone`, with independent noise levels, and
sampled by the same agent, which is told its goal by a token; beside them the first one trained with `--level-sampler
mixture`, which also shows levels that rise in time. Each was trained from every training seed, which decides data,
initial weights and batches; the network of the first seed is evaluated on the episodes of the first evaluation seed,
the next one on those of the next. `planner with history` shows the model the last {HISTORY} executed tokens, which
causal backbones keep in memory; it tracks the plan by PD, on the plan's clock, and `planner, pd` is the same without
history: the maze is Markov, so history need not help, but it must not harm. History takes its room from the plan, which
is that much shorter.
"""


def study(settings: Settings, run: Run) -> Findings:
    """Return size and scores of each backbone under each way of sampling."""
    rows = [row for name in settings.networks for row in _rows(name, settings, run)]
    title = f"maze2d-{settings.maze}"
    panel = {way: {row["backbone"]: row["normalized"] for row in rows if row["agent"] == way} for way in settings.ways}
    figures = {"scores": bars({title: panel}, "normalized")}
    return Findings({title: rows}, figures, EXPLANATION, len(settings.training_seeds))


def recipe(name: str, settings: Settings) -> Recipe:
    """Return how the networks of a row are trained, whatever their seed."""
    backbone, level_sampler = NETWORKS[name]
    own = RECORDED_RECIPES[settings.maze]
    budget = {"steps": settings.updates, "rows": settings.rows, "precision": settings.precision}
    training = replace(own.training, level_sampler=level_sampler, **budget)
    return replace(own, model=replace(own.model, **BACKBONE_SETTINGS[backbone]), training=training)


def _rows(name: str, settings: Settings, run: Run) -> list[Row]:
    """Return one row for each way of sampling the networks of one kind."""
    data = partial(_dataset, settings)
    models = small_models(
        recipe(name, settings), data, run, f"network-{list(NETWORKS).index(name)}", settings.training_seeds
    )
    parameters = sum(parameter.numel() for parameter in models[0].parameters())
    same = {"backbone": name, "parameters": parameters}
    return [same | {"agent": way} | _scores(models, name, way, settings, run) for way in settings.ways]


def _dataset(settings: Settings, seed: int) -> Dataset:
    return load_dataset(settings.maze, rows=settings.rows, seed=seed, progress=True)


def _scores(models: list[DiffusionForcing], name: str, way: str, settings: Settings, run: Run) -> Row:
    """Return the scores of networks from different training seeds, each in episodes of its own."""
    evaluations = []
    for number, model in enumerate(models):
        agent = DFPlanner(model, config_for(model, "recorded", **WAYS[way]))
        conditions = Conditions(f"maze2d-{settings.maze}-v1", settings.episodes, run.seed + number)
        label = f"{name}, {way}, training {number + 1} of {len(models)}"
        evaluations.append(evaluate(agent, conditions, label, timed=False))
    return score_row(evaluations)


if __name__ == "__main__":
    main("backbones", __doc__, study, FULL, QUICK)
