"""The recipes of the shipped checkpoints, one for each maze, and those for any other world and recording."""

from dataclasses import replace
from typing import Any

from dfplan.config import ModelConfig, Recipe, TrainingConfig
from dfplan.data.recording import Recording
from dfplan.data.value import find_return_bounds
from dfplan.ground.errors import InputError
from dfplan.task import Task

FEWEST_TOKENS = 4  # of the longest episode; tokens are shorter if episodes are

# Value of dfplan-train's option --backbone -> the changes of a recipe's model. The RNN has about as many weights as the
# transformers.
BACKBONE_SETTINGS: dict[str, dict[str, Any]] = {
    "transformer": {"backbone": "transformer", "causal": False},
    "causal_transformer": {"backbone": "transformer", "causal": True},
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

# Any other world: windows are cut from the recording as it is, and may reach beyond the end of an episode.
_OWN_WORLD = TrainingConfig(
    demonstrations="recorded", hold_goal=False, short_windows=True, start_level=0.001, next_token_weight=4.0, rows=None
)
# With a goal, plans are long: they follow the cost to go over 128 steps.
_WITH_GOAL = ModelConfig(frame_stack=8, num_tokens=16, width=96, depth=3, causal=True)
_GOAL_TRAINING = replace(_OWN_WORLD, steps=3_000, batch_size=64, goal_known=0.5)
# Where actions move positions directly, the planner is told sub-goals by the goal token, so goals are known more often.
# Plans need not be long. Windows are drawn in proportion to how far they go, because demonstrators may rest for half of
# the time.
_WITH_SUBGOALS = replace(_WITH_GOAL, num_tokens=8, fine_frequencies=5)
_SUBGOAL_TRAINING = replace(_GOAL_TRAINING, steps=8_000, goal_known=0.8, goal_on_the_way=0.7, long_ways=0.7)
# Without a goal, plans are short: the value says what follows 8 steps. One step per token, whose frames are not
# redundant, so that the signal-to-noise ratio needs no factor.
_WITHOUT_GOAL = ModelConfig(frame_stack=1, num_tokens=8, width=64, depth=3, snr_scale=1.0, causal=True)
_RETURN_TRAINING = replace(_OWN_WORLD, steps=2_500, batch_size=128, goal_known=0.0, next_token_weight=1.0)


def choose_recipe(env_id: str, task: Task, recording: Recording) -> Recipe:
    """Return the recipe for a recording of a world: that of a D4RL maze, or the one for any other world.

    The episodes of a recording may be short; a plan is then at most as long as the longest one.

    Args:
        env_id: Gymnasium's id of the world, or another name.
        task: what the world is.
        recording: of this world.

    Raises:
        InputError: if the recording is not of this world, or there is nothing to plan for.
    """
    recording.check(task)
    if not task.goal and find_return_bounds(recording, task) is None:
        raise InputError(
            f"there is nothing to plan for: by the rewards and ends in {recording.source} no return is better than "
            "another, and the task has no goal; name the observation channels of a goal, such as goal=(0, 1) or "
            "--goal 0,1."
        )
    for recipe in RECIPES.values():
        if recipe.env_id == env_id:
            training = replace(recipe.training, dataset=recording.source, rows=None)
            return replace(recipe, model=replace(recipe.model, task=task), training=training)
    recipe = suit_recipe(env_id, task, recording.source)
    model = recipe.model
    frame_stack = min(model.frame_stack, max(1, recording.longest // FEWEST_TOKENS))
    num_tokens = min(model.num_tokens, max(1, recording.longest // frame_stack))
    return replace(recipe, model=replace(model, frame_stack=frame_stack, num_tokens=num_tokens))


def suit_recipe(env_id: str, task: Task, dataset: str) -> Recipe:
    """Return the recipe for a world that is no maze and whose episodes are long enough.

    Args:
        env_id: Gymnasium's id of the world, or another name.
        task: what the world is.
        dataset: name of the recording.
    """
    model, training = (_WITH_GOAL, _GOAL_TRAINING) if task.goal else (_WITHOUT_GOAL, _RETURN_TRAINING)
    if task.goal and task.step_length:
        model, training = _WITH_SUBGOALS, _SUBGOAL_TRAINING
    return Recipe(env_id, replace(model, task=task), replace(training, dataset=dataset))
