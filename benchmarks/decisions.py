"""``python -m dfplan.benchmarks.decisions``: what makes decisions better, one idea at a time.

Each row changes one setting of the planner that is told its goal by a token, or of the recipe by which its network is
trained. ``python -m dfplan.benchmarks.guidance`` does the same for the planner that is guided.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from dfplan.agents.planner import DFPlanner
from dfplan.agents.presets import GOAL_TOKEN, config_for
from dfplan.benchmarks.ablation import TRAINING_SEEDS, Findings, Row, Run, main, score_row
from dfplan.benchmarks.charts import dots
from dfplan.benchmarks.evaluation import Conditions, evaluate
from dfplan.benchmarks.kinematic_limit import kinematic_limit
from dfplan.benchmarks.small_models import small_models
from dfplan.config import RECIPES, RECORDED_RECIPES, Recipe
from dfplan.diffusion_forcing import DiffusionForcing
from dfplan.envs.datasets import load_dataset
from dfplan.envs.demonstrations import Dataset

SHIPPED, RECORDED = "", "-recorded"
DIFFUSED = {"controller": "diffused"}
# Idea -> (checkpoint's suffix, what it changes).
IDEAS = {
    "planner-goal-token": (SHIPPED, {}),
    "trained on recorded demonstrations": (RECORDED, {}),
    "diffused actions": (SHIPPED, DIFFUSED),
    "diffused actions, recorded demonstrations": (RECORDED, DIFFUSED),
    "diffused actions, replans every 5 steps": (SHIPPED, DIFFUSED | {"open_loop_horizon": 5}),
    "diffused actions, the plan's end held": (SHIPPED, DIFFUSED | {"hold": True}),
    "planned clock (PD)": (SHIPPED, {"controller": "pd"}),
    "pursuit 15 steps ahead": (SHIPPED, {"pursuit_lookahead": 15}),
    "pursuit 25 steps ahead": (SHIPPED, {"pursuit_lookahead": 25}),
    "pursuit 30 steps ahead": (SHIPPED, {"pursuit_lookahead": 30}),
    "replans every 5 steps": (SHIPPED, {"open_loop_horizon": 5}),
    "replans every 20 steps": (SHIPPED, {"open_loop_horizon": 20}),
    "replans every 40 steps": (SHIPPED, {"open_loop_horizon": 40}),
    "replans on disagreement (0.3)": (SHIPPED, {"open_loop_horizon": 80, "replan_error": 0.3}),
    "4 candidates, the most consistent": (SHIPPED, {"candidates": 4, "selection": "consistency"}),
    "4 candidates, the soonest to arrive": (SHIPPED, {"candidates": 4, "selection": "arrival"}),
    "warm start from level 0.5": (SHIPPED, {"warm_start": 0.5}),
    "goal strength 1.5": (SHIPPED, {"goal_strength": 1.5}),
    "guided to the goal as well": (SHIPPED, {"guide": "squashed_goal_distance", "guidance_scale": 0.2}),
    "1 sampling step": (SHIPPED, {"sampling_steps": 1}),
    "10 sampling steps": (SHIPPED, {"sampling_steps": 10}),
    "second-order solver": (SHIPPED, {"solver": "multistep"}),
    "plans 40 steps": (SHIPPED, {"horizon": 40}),
}
OWN_RECIPE, RECORDED_RECIPE = "the shipped recipe", "recorded demonstrations, bidirectional"
# Idea -> what it changes in the recipe's model and in its training.
TRAINING_IDEAS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    OWN_RECIPE: ({}, {}),
    RECORDED_RECIPE: ({}, {}),
    "5 steps in a token": ({"frame_stack": 5}, {}),
    "20 steps in a token": ({"frame_stack": 20}, {}),
    "bidirectional": ({"causal": False}, {}),
    "width 192": ({"width": 192, "num_heads": 6}, {}),
    "no fine embedding of goal and start": ({"fine_frequencies": 0}, {}),
    "SNR not divided by 16": ({"snr_scale": 1.0}, {}),
    "min-SNR loss weight": ({}, {"loss_weight": "min_snr"}),
    "independent levels": ({}, {"level_sampler": "independent"}),
    "average over a tenth of the updates": ({}, {"ema_decay": 0.99}),
    "starts drawn evenly": ({}, {"long_ways": 0.0, "short_ways": 0.0}),
    "no starts drawn near goals": ({}, {"short_ways": 0.0}),
    "all tokens weigh alike": ({}, {"next_token_weight": 1.0}),
}


@dataclass(frozen=True)
class Settings:
    """Budget of the comparison: of ideas for acting, and of ideas for training, with few updates each."""

    mazes: tuple[str, ...]
    episodes: int
    trained_maze: str
    updates: int
    rows: int = 1_000_000
    trained_episodes: int = 20  # of each training
    training_seeds: tuple[int, ...] = TRAINING_SEEDS
    precision: str = "bfloat16"
    ideas: tuple[str, ...] = tuple(IDEAS)
    training_ideas: tuple[str, ...] = tuple(TRAINING_IDEAS)


FULL = Settings(mazes=("umaze", "medium", "large"), episodes=50, trained_maze="medium", updates=800)
QUICK = Settings(
    mazes=("umaze",),
    episodes=10,
    trained_maze="umaze",
    updates=100,
    rows=100_000,
    ideas=("planner-goal-token", "diffused actions", "plans 40 steps"),
    training_ideas=(OWN_RECIPE, "20 steps in a token"),
    trained_episodes=5,
    training_seeds=TRAINING_SEEDS[:2],
    precision="float32",
)

EXPLANATION = """
The first row is the agent `planner-goal-token` of `dfplan-bench`: three DDIM steps, a plan as long as the model can
every 10 steps, pursuit 20 steps ahead, one candidate. Every other row changes what it says and nothing else; rows of
one maze have the same starts. `share of limit` is the part of the kinematic limit. `recorded demonstrations`: the
checkpoint `maze2d-MAZE-recorded`, a bidirectional network trained on the demonstrations as they were recorded, pursued
40 steps ahead and replanning every 20; the shipped one is causal and learns from the same ways re-executed faster
(`dfplan/reexecution.py`).

The last table has networks trained for this comparison alone, each from several training seeds and all with the same
few updates, far fewer than what ships has had: it tells how soon a recipe works, not how far it gets. Its agent is the
same, and beside it the same agent with diffused actions. The average's decay is at most (1 + update) / (10 + update),
so that after 800 updates an average over a tenth of the updates is the same.
"""


def study(settings: Settings, run: Run) -> Findings:
    """Return the scores of each idea on each maze."""
    tables = {f"maze2d-{maze}": [_row(maze, idea, settings, run) for idea in settings.ideas] for maze in settings.mazes}
    tables[f"maze2d-{settings.trained_maze}, {settings.updates} updates"] = _training_rows(settings, run)
    panels = {title: {row["idea"]: row["normalized"] for row in rows} for title, rows in tables.items()}
    return Findings(tables, {"scores": dots(panels, "normalized")}, EXPLANATION)


def _row(maze: str, idea: str, settings: Settings, run: Run) -> Row:
    suffix, changed = IDEAS[idea]
    agent = DFPlanner.load(f"maze2d-{maze}{suffix}", run.device, **(GOAL_TOKEN | changed))
    scores = _scores(agent, maze, idea, settings, run)
    share = scores["normalized"].value / kinematic_limit(maze)
    return {"idea": idea} | scores | {"share of limit": f"{share:.0%}"}


def _training_rows(settings: Settings, run: Run) -> list[Row]:
    """Return the scores of each idea for training, with the plans pursued and with their own actions."""
    rows = []
    for idea in settings.training_ideas:
        recipe = _recipe(idea, settings)
        name = f"idea-{list(TRAINING_IDEAS).index(idea)}"
        models = small_models(recipe, partial(_dataset, settings), run, name, settings.training_seeds)
        scores, diffused = (_trained_scores(models, recipe, idea, changed, settings, run) for changed in ({}, DIFFUSED))
        rows.append({"idea": idea} | scores | {"normalized, diffused actions": diffused["normalized"]})
    return rows


def _dataset(settings: Settings, seed: int) -> Dataset:
    return load_dataset(settings.trained_maze, rows=settings.rows, seed=seed, progress=True)


def _trained_scores(
    models: list[DiffusionForcing], recipe: Recipe, idea: str, changed: dict[str, Any], settings: Settings, run: Run
) -> Row:
    """Return the scores of networks from different training seeds, each in episodes of its own."""
    evaluations = []
    for number, model in enumerate(models):
        config = config_for(model, recipe.training.demonstrations, **(GOAL_TOKEN | changed))
        conditions = Conditions(recipe.env_id, settings.trained_episodes, run.seed + number)
        label = f"{settings.trained_maze}, {idea}, training {number + 1} of {len(models)}"
        evaluations.append(evaluate(DFPlanner(model, config), conditions, label, timed=False))
    return score_row(evaluations)


def _recipe(idea: str, settings: Settings) -> Recipe:
    """Return the maze's recipe with what an idea changes, and with fewer updates, whatever the seed."""
    recipe = (RECORDED_RECIPES if idea == RECORDED_RECIPE else RECIPES)[settings.trained_maze]
    of_model, of_training = TRAINING_IDEAS[idea]
    model = replace(recipe.model, **of_model)
    model = replace(model, num_tokens=recipe.model.horizon // model.frame_stack)
    budget = {"steps": settings.updates, "rows": settings.rows, "precision": settings.precision}
    training = replace(recipe.training, **budget, **of_training)
    return replace(recipe, model=model, training=training)


def _scores(agent: DFPlanner, maze: str, idea: str, settings: Settings, run: Run) -> Row:
    conditions = Conditions(f"maze2d-{maze}-v1", settings.episodes, run.seed)
    return score_row(evaluate(agent, conditions, f"{maze}, {idea}", timed=False))


if __name__ == "__main__":
    main("decisions", __doc__, study, FULL, QUICK)
