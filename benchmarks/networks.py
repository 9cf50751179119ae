"""``python -m dfplan.benchmarks.networks``: compares the paper's RNN with two transformers (§3.2, App. C.1).

Causal networks keep executed tokens in memory: in a latent state or a KV cache. Each is trained from several seeds.
"""

from dataclasses import dataclass, replace
from functools import partial

from dfplan.agents.presets import GOAL_TOKEN, POLICY
from dfplan.benchmarks.evaluation.estimates import Row
from dfplan.benchmarks.reporting.ablation import TRAINING_SEEDS, Findings, Run, main
from dfplan.benchmarks.reporting.charts import draw_bars
from dfplan.benchmarks.scoring import score_trainings
from dfplan.benchmarks.small_models import set_budget, train_small_models
from dfplan.config import Recipe
from dfplan.envs.datasets import load_dataset
from dfplan.recipes import BACKBONE_SETTINGS, RECORDED_RECIPES

# Name of the row -> backbone of ``dfplan-train``, and level sampler of the training.
NETWORKS = {
    "transformer": ("transformer", "independent"),
    "transformer, mixture": ("transformer", "mixture"),
    "causal transformer": ("causal_transformer", "independent"),
    "RNN": ("rnn", "independent"),
}
HISTORY = 8  # executed tokens that an agent with history sees
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
        maze: where the networks are trained and evaluated.
        episodes: number of episodes of each network.
        updates: number of training updates of each network.
        networks: keys of ``NETWORKS``.
        ways: keys of ``WAYS``; each network is sampled in all these ways.
        training_seeds: each kind has one network per seed, which is trained on data of the same seed.
        rows: number of rows of these data.
        precision: of the training.
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
The networks are trained on recorded demonstrations with independent noise levels by recipes that differ only in
`--backbone`. The agent is told its goal by a token. `transformer, mixture` is the first network trained with
`--level-sampler mixture`, which also draws levels that rise in time. Each network is trained from every training seed,
which determines data, initial weights and batches. The network of the first training seed acts in the episodes of the
first evaluation seed, the second network in those of the second, and so on.

`planner with history` shows the model the last {HISTORY} executed tokens, which causal networks keep in memory. It
tracks the plan with a PD controller, and so does `planner, pd`, which has no history. In this maze the future depends
only on the present state (the Markov property), so history should neither help nor harm. The plan is shorter by the
number of tokens of history.
"""


def study(settings: Settings, run: Run) -> Findings:
    """Return the number of parameters of each network, and its scores for each way of sampling."""
    rows = [row for name in settings.networks for row in _measure_network(name, settings, run)]
    title = f"maze2d-{settings.maze}"
    panel = {way: {row["backbone"]: row["normalized"] for row in rows if row["agent"] == way} for way in settings.ways}
    figures = {"scores": draw_bars({title: panel}, "normalized")}
    return Findings({title: rows}, figures, EXPLANATION, len(settings.training_seeds))


def make_recipe(name: str, settings: Settings) -> Recipe:
    """Return the recipe of a kind of network; its seed is replaced by each training seed."""
    backbone, level_sampler = NETWORKS[name]
    own = RECORDED_RECIPES[settings.maze]
    own = replace(own, model=replace(own.model, **BACKBONE_SETTINGS[backbone]))
    return set_budget(own, settings.updates, settings.rows, settings.precision, level_sampler=level_sampler)


def _measure_network(name: str, settings: Settings, run: Run) -> list[Row]:
    """Train the networks of one kind; return one row per way of sampling."""
    recipe = make_recipe(name, settings)
    data = partial(load_dataset, settings.maze, rows=settings.rows, progress=True)
    models = train_small_models(recipe, data, run, f"network-{list(NETWORKS).index(name)}", settings.training_seeds)
    parameters = sum(parameter.numel() for parameter in models[0].parameters())
    same = {"backbone": name, "parameters": parameters}
    return [
        same | {"agent": way} | score_trainings(models, recipe, WAYS[way], settings.episodes, run, f"{name}, {way}")
        for way in settings.ways
    ]


if __name__ == "__main__":
    main("networks", __doc__, study, FULL, QUICK)
