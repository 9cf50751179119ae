"""``python -m dfplan.benchmarks.decisions``: which settings improve decisions.

Each row changes one setting of the planner that is told its goal by a token, or of the recipe of its network.
``python -m dfplan.benchmarks.monte_carlo_guidance`` does the same for the guided planner.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from dfplan.agents.presets import GOAL_TOKEN
from dfplan.benchmarks.evaluation.estimates import Row
from dfplan.benchmarks.evaluation.kinematic_limit import compute_kinematic_limit
from dfplan.benchmarks.reporting.ablation import TRAINING_SEEDS, Findings, Run, main
from dfplan.benchmarks.reporting.charts import draw_dots
from dfplan.benchmarks.scoring import score_checkpoint, score_trainings
from dfplan.benchmarks.small_models import set_budget, train_small_models
from dfplan.config import Recipe
from dfplan.envs.datasets import load_dataset
from dfplan.recipes import RECIPES, RECORDED_RECIPES

SHIPPED, RECORDED = "", "-recorded"
DIFFUSED = {"controller": "diffused"}
# Idea -> (suffix of the checkpoint's name, settings of the planner that it changes).
IDEAS: dict[str, tuple[str, dict[str, Any]]] = {
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
# Idea -> settings that it changes in the recipe's model, and in its training.
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
    """Budget of the comparison: of ideas for acting, and of ideas for training, which have few updates each."""

    mazes: tuple[str, ...]
    episodes: int
    trained_maze: str
    updates: int
    rows: int = 1_000_000
    trained_episodes: int = 20  # of each trained network
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
The first row is the agent `planner-goal-token` of `dfplan-bench`: three DDIM steps, a plan of maximal length every 10
steps, pursuit 20 steps ahead, one candidate. Every other row changes only the setting that it names. Rows of one maze
have the same starts. `share of limit` is the score divided by the kinematic limit. `recorded demonstrations`: the
checkpoint `maze2d-MAZE-recorded`, a bidirectional network that is trained on the demonstrations as recorded; it pursues
40 steps ahead and replans every 20. The shipped network is causal and is trained on the same paths, re-executed faster
(`dfplan/data/reexecution.py`).

The networks of the last table are trained for this comparison only, each from several training seeds, and all with the
same small number of updates, far fewer than the shipped networks have. The table therefore shows how early a recipe
works, not its final score. It has the scores of the same agent, and of the same agent with diffused actions. The decay
of the weight average is at most (1 + update) / (10 + update), which is below 0.99 up to 800 updates; therefore `average
over a tenth of the updates` has the same average as the first row.
"""


def study(settings: Settings, run: Run) -> Findings:
    """Return the scores of each idea for acting in each maze, and of each idea for training."""
    tables = {
        f"maze2d-{maze}": [_measure_idea(maze, idea, settings, run) for idea in settings.ideas]
        for maze in settings.mazes
    }
    tables[f"maze2d-{settings.trained_maze}, {settings.updates} updates"] = _measure_training_ideas(settings, run)
    panels = {title: {row["idea"]: row["normalized"] for row in rows} for title, rows in tables.items()}
    return Findings(tables, {"scores": draw_dots(panels, "normalized")}, EXPLANATION)


def _measure_idea(maze: str, idea: str, settings: Settings, run: Run) -> Row:
    suffix, changed = IDEAS[idea]
    own, label = GOAL_TOKEN | changed, f"{maze}, {idea}"
    scores = score_checkpoint(f"maze2d-{maze}{suffix}", maze, own, settings.episodes, run, label)
    share = scores["normalized"].value / compute_kinematic_limit(maze)
    return {"idea": idea} | scores | {"share of limit": f"{share:.0%}"}


def _measure_training_ideas(settings: Settings, run: Run) -> list[Row]:
    """Return the scores of each idea for training, with pursuit and with the plans' own actions."""
    rows = []
    for idea in settings.training_ideas:
        recipe = _make_recipe(idea, settings)
        name = f"idea-{list(TRAINING_IDEAS).index(idea)}"
        data = partial(load_dataset, settings.trained_maze, rows=settings.rows, progress=True)
        models = train_small_models(recipe, data, run, name, settings.training_seeds)
        label = f"{settings.trained_maze}, {idea}"
        scores, diffused = (
            score_trainings(models, recipe, GOAL_TOKEN | changed, settings.trained_episodes, run, label)
            for changed in ({}, DIFFUSED)
        )
        rows.append({"idea": idea} | scores | {"normalized, diffused actions": diffused["normalized"]})
    return rows


def _make_recipe(idea: str, settings: Settings) -> Recipe:
    """Return the maze's recipe with the changes of an idea and the budget of the study; the seed is replaced later."""
    recipe = (RECORDED_RECIPES if idea == RECORDED_RECIPE else RECIPES)[settings.trained_maze]
    of_model, of_training = TRAINING_IDEAS[idea]
    model = replace(recipe.model, **of_model)
    model = replace(model, num_tokens=recipe.model.horizon // model.frame_stack)
    recipe = replace(recipe, model=model)
    return set_budget(recipe, settings.updates, settings.rows, settings.precision, **of_training)


if __name__ == "__main__":
    main("decisions", __doc__, study, FULL, QUICK)
