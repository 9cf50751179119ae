"""The recipes of the shipped checkpoints, one for each maze, and those of checkpoints of recorded demonstrations."""

from dataclasses import replace
from typing import Any

from dfplan.config import ModelConfig, Recipe, TrainingConfig

# Value of dfplan-train's option --backbone -> the changes of a recipe's model. The RNN has about as many weights as the
# transformers.
BACKBONE_SETTINGS: dict[str, dict[str, Any]] = {
    "transformer": {"causal": False},
    "causal_transformer": {"causal": True},
    "rnn": {"backbone": "rnn", "causal": True, "width": 132, "num_heads": 2},
}
_RE_EXECUTED = TrainingConfig(
    demonstrations="re-executed",
    goal_on_the_way=0.0,
    long_ways=0.4,
    short_ways=0.3,
    start_level=0.001,
    next_token_weight=4.0,
)


def _make_planner_recipe(maze: str, num_tokens: int, steps: int) -> Recipe:
    model = ModelConfig(num_tokens=num_tokens, causal=True, fine_frequencies=5)
    return Recipe(f"maze2d-{maze}-v1", model, replace(_RE_EXECUTED, steps=steps))


def _make_recorded_recipe(maze: str, num_tokens: int, steps: int) -> Recipe:
    return Recipe(f"maze2d-{maze}-v1", ModelConfig(num_tokens=num_tokens), TrainingConfig(steps=steps))


# Maze -> recipe of its shipped planner. The horizon covers the path between the two cells that are farthest apart.
RECIPES = {
    "open": _make_planner_recipe("open", num_tokens=12, steps=8_000),
    "umaze": _make_planner_recipe("umaze", num_tokens=18, steps=8_000),
    "medium": _make_planner_recipe("medium", num_tokens=24, steps=12_000),
    "large": _make_planner_recipe("large", num_tokens=34, steps=16_000),
}
# Maze -> recipe for demonstrations as they were recorded, by which the checkpoints of the ablations are trained.
RECORDED_RECIPES = {
    "open": _make_recorded_recipe("open", num_tokens=16, steps=4_000),
    "umaze": _make_recorded_recipe("umaze", num_tokens=20, steps=4_000),
    "medium": _make_recorded_recipe("medium", num_tokens=36, steps=7_000),
    "large": _make_recorded_recipe("large", num_tokens=48, steps=9_000),
}
