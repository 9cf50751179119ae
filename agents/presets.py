"""Named sets of planner settings, and the settings that suit a checkpoint. Each set is for ``PlannerConfig``."""

from typing import Any

from dfplan.agents.candidates import default_selection
from dfplan.agents.controllers import default_controller
from dfplan.agents.named_guides import BY_COST, BY_RETURN, list_guides
from dfplan.agents.planner_config import PlannerConfig
from dfplan.agents.preset_names import PRESET_NAMES
from dfplan.model.diffusion_forcing import DiffusionForcing
from dfplan.task import Task

# The paper's own planner (§3.4): the model is not told its goal. Guidance over the zig-zag schedule leads to the goal
# along the recording's cost-to-go, so plans need not reach it. Of several plans the agent follows the one with the
# lowest mean cost-to-go that stays in the recording and does not jump.
COST_TO_GO: dict[str, Any] = {
    "goal_token": False,
    "guide": "cost_to_go",
    "guidance_scale": 0.1,
    "max_shift": 1.0,
    "candidates": 4,
    "selection": "guide",
    "schedule": "pyramid",
    "uncertainty_scale": 0.1,
    "sampling_steps": 5,
}
COST_TO_GO_HORIZON = 110  # steps; less if the model knows no plans as long as that
# In tasks without rest at the goal, of which no maze is one: steps to plan, and tokens that are executed of each plan.
RECORDED_HORIZON, RECORDED_TOKENS = 80, 2
OWN_ACTIONS_HORIZON = 5  # steps until a new plan if a guided plan's own actions are executed, which drift from it
# The same with one plan and Monte-Carlo guidance: the tokens committed next follow the mean gradient over futures.
MONTE_CARLO_GUIDANCE = COST_TO_GO | {"candidates": 1, "num_futures": 8}
# The paper's own planner for tasks without a goal: guidance over the zig-zag schedule leads to a high λ-return. The
# scale is large, so ``max_shift`` decides how far a row moves a token. Every step is planned anew.
RETURN: dict[str, Any] = {
    "goal_token": False,
    "guide": "return",
    "guidance_scale": 50.0,
    "max_shift": 1.0,
    "candidates": 4,
    "selection": "return",
    "schedule": "pyramid",
    "uncertainty_scale": 0.1,
    "sampling_steps": 5,
    "open_loop_horizon": 1,
}
RETURN_HORIZON = 4  # steps; the value says what follows them
RETURN_MONTE_CARLO = RETURN | {"candidates": 1, "num_futures": 8}
# A token tells the model its goal, without a guide: the defaults of ``PlannerConfig`` for the settings above.
GOAL_TOKEN = {name: PlannerConfig().settings[name] for name in (*COST_TO_GO, "horizon")}
# The goal token stands at a sub-goal, a place on the way to the goal that the recording knows. Plans are short and no
# guide steers them. They are pursued at full speed, in worlds where actions move positions directly.
SUBGOAL = GOAL_TOKEN | {
    "subgoal": 20,
    "guide": "cost_to_go",  # which only chooses
    "guidance_scale": 0.0,
    "candidates": 8,
    "selection": "guide",
    "horizon": 64,
    "open_loop_horizon": 8,
    "pursuit_lookahead": 12,
}
# A policy draws its one token in one step: in training, a half-noisy token is rarely followed by a masked future.
POLICY = GOAL_TOKEN | {"mode": "policy", "sampling_steps": 1, "open_loop_horizon": 5}
# Diffuser (Janner et al. 2022) as the paper's baseline (§4.2): one plan of the greatest length, denoised all at once,
# with the goal painted in at its end. For models trained with the level sampler ``full_sequence``. Diffuser's network
# sees the goal in training; this one sees it as the goal token. A goal that is only painted in while sampling comes too
# late, because the first rows choose the way without it (``python -m dfplan.benchmarks.own_actions`` has both).
DIFFUSER = GOAL_TOKEN | {
    "in_paint_goal": True,
    "schedule": "full_sequence",
    "sampling_steps": 10,
    "controller": "pd",
    "horizon": None,
    "open_loop_horizon": None,
}
# Next-token diffusion (App. C.8): each token is denoised entirely before the next. For models trained with the level
# sampler ``teacher_forcing``. A plan takes ``sampling_steps`` rows for each of its tokens, so it plans less often.
TEACHER_FORCING = GOAL_TOKEN | {"schedule": "autoregressive", "sampling_steps": 3, "open_loop_horizon": 40}
# The presets of ``dfplan-bench --preset`` trade score for speed; ``python -m dfplan.benchmarks.speed`` measures both.
# The default preset is what suits the checkpoint.
FAST = GOAL_TOKEN | {"sampling_steps": 1, "horizon": 40, "open_loop_horizon": 20}
BEST: dict[str, Any] = {"open_loop_horizon": 5}
PRESETS = dict(zip(PRESET_NAMES, (FAST, {}, BEST), strict=True))
# The same in tasks without a goal.
RETURN_FAST = RETURN | {"candidates": 1, "sampling_steps": 3}
RETURN_BEST = RETURN | {"candidates": 8, "sampling_steps": 10}
WITHOUT_GOAL = ((MONTE_CARLO_GUIDANCE, RETURN_MONTE_CARLO), (FAST, RETURN_FAST), (BEST, RETURN_BEST))
# The same where actions move positions directly.
WITH_SUBGOALS: tuple[tuple[dict[str, Any], dict[str, Any]], ...] = (
    (FAST, {"sampling_steps": 1}),
    (BEST, {"sampling_steps": 10}),
)
# Settings that replace the defaults, by the kind of training data. Plans that are as slow as recorded demonstrations
# are followed better with other settings.
BY_DEMONSTRATIONS: dict[str, dict[str, Any]] = {
    "recorded": {"pursuit_lookahead": 40, "open_loop_horizon": 20},
    "re-executed": {},
}


def config_for(model: DiffusionForcing, demonstrations: str, **settings: Any) -> PlannerConfig:
    """Return the settings that suit a model, changed by ``settings``.

    A model of a task without a goal is guided by the λ-return. Where actions move positions directly, a model with a
    cost-to-go is told sub-goals by the goal token (``SUBGOAL``). Any other model with a cost-to-go is guided along it
    if it was trained on re-executed demonstrations, or if nothing rests at a goal in its task. All other models are
    told their goal by a token: their guided plans would be as slow and as hesitant as the recorded demonstrators.
    ``settings`` may choose another guide or a policy. With the guide ``cost_to_go``, settings that are not given are
    those of ``COST_TO_GO``.

    Args:
        model: whose plans are to be followed.
        demonstrations: the model's training data, a key of ``BY_DEMONSTRATIONS``.
        settings: single settings of ``PlannerConfig``, which replace the suitable ones.

    Raises:
        InputError: if a setting cannot be used.
    """
    task, mode = model.config.task, settings.get("mode")
    suited = dict(BY_DEMONSTRATIONS[demonstrations])
    if task.step_length:
        suited["pursuit_lookahead"] = SUBGOAL["pursuit_lookahead"]
        is_told = settings.get("goal_token", True) and (mode == "policy" or "guide" not in settings)
        if model.cost_to_go is not None and is_told:
            settings = _lead_by_subgoals(mode, model) | settings
    guides = list_guides(settings.get("guide", None if mode == "policy" else _choose_guide(model, demonstrations)))
    if BY_RETURN in guides:
        suited |= RETURN | {"horizon": min(RETURN_HORIZON, model.config.horizon)}
    elif BY_COST in guides:
        suited |= COST_TO_GO | {"horizon": min(COST_TO_GO_HORIZON, model.config.horizon)}
        if not task.rests:
            suited |= {"horizon": min(RECORDED_HORIZON, model.config.horizon)}
            suited |= {"open_loop_horizon": RECORDED_TOKENS * model.config.frame_stack}
        elif settings.get("controller") == "diffused":
            suited["open_loop_horizon"] = OWN_ACTIONS_HORIZON
    elif mode == "policy":
        suited |= POLICY
    chosen = suited | settings
    for name, default in (("controller", default_controller), ("selection", default_selection)):
        if chosen.get(name) is None:
            chosen[name] = default(task)
    return PlannerConfig(**chosen)


def suit_task(preset: dict[str, Any], task: Task) -> dict[str, Any]:
    """Return a preset, or the one that replaces it without a goal, or where actions move positions directly."""
    if task.goal and not task.step_length:
        return preset
    pairs = WITH_SUBGOALS if task.goal else WITHOUT_GOAL
    return next((replaced for general, replaced in pairs if general is preset), preset)


def _lead_by_subgoals(mode: str | None, model: DiffusionForcing) -> dict[str, Any]:
    """Return the settings ``SUBGOAL``, or those of a policy that is told sub-goals, too."""
    if mode == "policy":
        return POLICY | {"subgoal": SUBGOAL["subgoal"]}
    return SUBGOAL | {"horizon": min(SUBGOAL["horizon"], model.config.horizon)}


def _choose_guide(model: DiffusionForcing, demonstrations: str) -> str | None:
    """Return the name of the guide that leads the plans of a model best."""
    task = model.config.task
    if not task.goal:
        return BY_RETURN
    leads = demonstrations == "re-executed" or not task.rests
    return BY_COST if leads and model.cost_to_go is not None else None
