"""Sets of planner settings by name, and the ones that suit a checkpoint. Each is a dictionary for ``PlannerConfig``."""

from typing import Any

from dfplan.agents.config import PlannerConfig
from dfplan.agents.guides import BY_COST, single_guides
from dfplan.diffusion_forcing import DiffusionForcing

# The paper's own planner (§3.4): the model is not told its goal. Guidance over the zig-zag schedule leads there, along
# the cost to go that the recording knows, which is why plans need not reach the goal. Of several plans the one is
# followed that has least to go on average, does not leave the recording and does not jump.
COST_TO_GO = {
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
OWN_ACTIONS_HORIZON = 5  # steps until a new plan, where a guided plan's own actions are executed: they drift from it
# The same with one plan and Monte-Carlo guidance: the gradient for the tokens to be committed is the mean over futures.
MONTE_CARLO_GUIDANCE = COST_TO_GO | {"candidates": 1, "num_futures": 8}
# A token tells the model its goal, and nothing guides: the defaults of ``PlannerConfig``, said once more.
GOAL_TOKEN = {name: PlannerConfig.__dataclass_fields__[name].default for name in (*COST_TO_GO, "horizon")}
# A policy's one token is drawn in one step: in training, half-noisy tokens hardly ever stand before a masked future.
POLICY = GOAL_TOKEN | {"mode": "policy", "sampling_steps": 1, "open_loop_horizon": 5}
# Diffuser (Janner et al. 2022) as the paper's baseline (§4.2): one plan, as long as the model can, all cleaned at once,
# with the goal painted in at its end. For models trained with the level sampler ``full_sequence``. Diffuser's network
# is trained with the goal in sight; so is ours, by the goal token. A goal that is painted in while sampling only comes
# too late: the first rows decide on the way without it (``python -m dfplan.benchmarks.controllers`` has both).
DIFFUSER = GOAL_TOKEN | {
    "in_paint_goal": True,
    "schedule": "full_sequence",
    "sampling_steps": 10,
    "controller": "pd",
    "horizon": None,
    "open_loop_horizon": None,
}
# Next-token diffusion (App. C.8): each token is cleaned entirely before the next. For models trained with the level
# sampler ``teacher_forcing``. A plan takes ``sampling_steps`` rows for each of its tokens, hence fewer plans.
TEACHER_FORCING = GOAL_TOKEN | {"schedule": "autoregressive", "sampling_steps": 3, "open_loop_horizon": 40}
# The dial of the planner between score and speed: ``dfplan-bench --preset``; what each costs and gains is measured by
# ``python -m dfplan.benchmarks.speed``. The default is what suits the checkpoint.
FAST = GOAL_TOKEN | {"sampling_steps": 1, "horizon": 40, "open_loop_horizon": 20}
BEST = {"open_loop_horizon": 5}
PRESETS = {"fast": FAST, "default": {}, "best": BEST}
# Settings that replace the defaults, by the kind of training data: plans as slow as the recorded demonstrations are
# followed better with others.
BY_DEMONSTRATIONS = {"recorded": {"pursuit_lookahead": 40, "open_loop_horizon": 20}, "re-executed": {}}


def config_for(model: DiffusionForcing, demonstrations: str, **settings: Any) -> PlannerConfig:
    """Return the settings that suit a model, changed by ``settings``.

    A model of re-executed demonstrations that holds a cost to go is guided by it, unless ``settings`` choose another
    guide or a policy. Any other is told its goal by a token: guided plans are as slow and as hesitant as the
    demonstrators were. Wherever ``cost_to_go`` is chosen, the settings that are not given are those of ``COST_TO_GO``.

    Args:
        model: whose plans are to be followed.
        demonstrations: what it learned from, a key of ``BY_DEMONSTRATIONS``.
        settings: fields of ``PlannerConfig`` that replace the suitable ones.

    Raises:
        InputError: if a setting cannot be used.
    """
    suited, mode = dict(BY_DEMONSTRATIONS[demonstrations]), settings.get("mode")
    leads = demonstrations == "re-executed" and model.cost_to_go is not None and mode != "policy"
    if BY_COST in single_guides(settings.get("guide", BY_COST if leads else None)):
        suited |= COST_TO_GO | {"horizon": min(COST_TO_GO_HORIZON, model.config.horizon)}
        if settings.get("controller") == "diffused":
            suited["open_loop_horizon"] = OWN_ACTIONS_HORIZON
    elif mode == "policy":
        suited |= POLICY
    return PlannerConfig(**(suited | settings))
