"""Makes plans: from what an episode has seen to the plan that it follows (§3.4).

``make_plans`` builds the sequences, lets the sampler denoise them, decodes the planned tokens, and keeps the best of
several candidates. All plans of a batch are made together.
"""

from collections.abc import Sequence as Parts
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from dfplan.agents.candidates import choose_best
from dfplan.agents.history import HistoryMemory, HistoryWindow
from dfplan.agents.planner_config import PlannerConfig
from dfplan.agents.plans import Plan
from dfplan.ground.errors import InputError
from dfplan.model.diffusion_forcing import DiffusionForcing
from dfplan.model.tokens import START
from dfplan.sampling.guidance import Guidance, paint_goal
from dfplan.sampling.guides import Guide
from dfplan.sampling.sampler import sample
from dfplan.sampling.schedules import scheduling_matrix
from dfplan.sampling.sequence import Sequence, build_sequence, count_constant_tokens
from dfplan.sampling.warm_start import start_warm

Goals = Float[np.ndarray, "plan goal"] | None


@dataclass(frozen=True)
class PlanRequest:
    """What plans are asked for; the candidates of an episode stand next to each other in the batch.

    Attributes:
        window: the start and the history that each plan continues.
        goals: environment units; None without goals.
        guide: scores the plans; None for none.
        num_tokens: tokens to plan.
        generators: one random stream per plan.
        memory: a causal model's memory of the last history that was shown to it; it is updated.
        last_plan: the steps that the last plans have left (observations, actions, rewards), to begin from them; None
            to begin from noise.
        keep_rows: whether to keep the predicted plan of every sampling row.
    """

    window: HistoryWindow
    goals: Goals
    guide: Guide | None
    num_tokens: int
    generators: list[torch.Generator]
    memory: HistoryMemory
    last_plan: Parts[np.ndarray] | None = None
    keep_rows: bool = False


@torch.no_grad()
def make_plans(model: DiffusionForcing, config: PlannerConfig, request: PlanRequest) -> Plan:
    """Return one plan for each episode, the best of its candidates.

    Raises:
        InputError: if a plan is not finite, or a setting needs a goal and there is none.
    """
    sequence = _build_sequence(model, config, request)
    planned, rows = sequence.planned, []

    def keep_row(x0: Tensor, levels: Tensor) -> None:
        observations = model.codec.decode(x0[:, planned]).observations
        rows.append((observations.cpu().numpy(), _find_step_levels(model, levels, planned).cpu().numpy()))

    tokens = sample(
        model,
        sequence,
        request.generators,
        _choose_guidance(model, config, request, sequence),
        config.sampling.solver,
        keep_row if request.keep_rows else None,
        _remember_history(model, config, request, sequence),
    )
    if request.keep_rows:
        keep_row(tokens, sequence.matrix[-1])
    steps = model.codec.decode(tokens[:, planned])
    levels = _find_step_levels(model, sequence.matrix[-1], planned)
    start = _find_present(model, request.window, tokens, planned)
    parts = (steps.observations, steps.actions, steps.rewards, levels, start)
    if not all(torch.isfinite(part).all() for part in (tokens, *parts)):
        raise _explain_not_finite(config)
    plan = Plan(
        observations=steps.observations.cpu().numpy(),
        actions=steps.actions.cpu().numpy(),
        rewards=steps.rewards.cpu().numpy(),
        levels=levels.cpu().numpy(),
        start=start.cpu().numpy(),
        rows=rows,
    )
    if config.sampling.candidates == 1:
        return plan
    sampling = config.sampling
    return choose_best(plan, request.goals, sampling.candidates, sampling.selection, request.guide, model)


def to_tensor(values: np.ndarray | None, model: DiffusionForcing) -> Tensor | None:
    """Return numbers as a float32 tensor on the model's device; None for None."""
    return None if values is None else torch.as_tensor(values, dtype=torch.float32, device=model.alpha_bar.device)


def _build_sequence(model: DiffusionForcing, config: PlannerConfig, request: PlanRequest) -> Sequence:
    """Return the sequences before sampling: from noise, or warm from the last plans."""
    sampling, num_levels, beliefs = config.sampling, model.config.num_levels, request.window.beliefs
    goals = to_tensor(request.goals, model) if config.guidance.goal_token else None
    plan_levels = scheduling_matrix(
        sampling.schedule, request.num_tokens, sampling.sampling_steps, num_levels, sampling.uncertainty_scale
    )
    given_levels = torch.stack([belief.schedule(plan_levels[:, 0], num_levels) for belief in beliefs], dim=1)
    given = request.window.encode(model.codec)
    sequence = build_sequence(model, given, given_levels, plan_levels, request.generators, goals)
    if request.last_plan is None or sampling.warm_start is None:
        return sequence
    return start_warm(model, sequence, request.last_plan, sampling.warm_start)


def _choose_guidance(
    model: DiffusionForcing, config: PlannerConfig, request: PlanRequest, sequence: Sequence
) -> Guidance:
    """Return what steers the plans.

    Raises:
        InputError: if the goal is to be painted in and there is none.
    """
    chosen, in_painting = config.guidance, None
    if chosen.in_paint_goal:
        goals = to_tensor(request.goals, model)
        if goals is None:
            raise InputError("in_paint_goal needs a goal: reset(goal=...).")
        in_painting = paint_goal(model, goals, sequence)
    return Guidance(
        guide=request.guide if any(chosen.scales) else None,  # with a scale of 0 a guide only chooses among candidates
        scale=candidate_scales(config, len(sequence.tokens), model.alpha_bar.device),
        num_futures=chosen.num_futures,
        future_steps=chosen.future_steps,
        max_shift=chosen.max_shift,
        goal_strength=chosen.goal_strength,
        in_painting=in_painting,
    )


def candidate_scales(config: PlannerConfig, num_plans: int, device: torch.device) -> float | Float[Tensor, " plan"]:
    """Return the guidance scale of all plans, or of each plan if the candidates of an episode have different ones."""
    if not isinstance(config.guidance.guidance_scale, list | tuple):
        return config.guidance.guidance_scale
    scales = torch.tensor(config.guidance.guidance_scale, dtype=torch.float32, device=device)
    return scales[torch.arange(num_plans, device=device) % config.sampling.candidates % len(scales)]


def _remember_history(model: DiffusionForcing, config: PlannerConfig, request: PlanRequest, sequence: Sequence):
    """Return a causal model's memory of the history, which need not be looked at again in every row (Alg. 2)."""
    if not (config.observation.history and model.config.causal):
        return None
    known = slice(0, count_constant_tokens(sequence.matrix, sequence.planned.start))
    levels = sequence.matrix[0, known]
    return request.memory.update(model, sequence.tokens[:, known], levels, config.guidance.goal_strength)


def _find_present(
    model: DiffusionForcing, window: HistoryWindow, tokens: Tensor, planned: slice
) -> Float[Tensor, "plan observation"]:
    """Return the present observation: inferred by the model if it was doubted, otherwise as it was given."""
    given = tokens[:, START : planned.start] if window.present.inferred else window.encode(model.codec)
    if not window.num_tokens:
        return model.codec.decode_start(given[:, 0])
    return model.codec.decode(given[:, -1:]).observations[:, -1]


def _find_step_levels(model: DiffusionForcing, levels: Int[Tensor, " time"], planned: slice) -> Int[Tensor, " step"]:
    """Return the level of each planned environment step, from the levels of the tokens."""
    return levels[planned].repeat_interleave(model.config.frame_stack)


def _explain_not_finite(config: PlannerConfig) -> InputError:
    """Return the error for a plan that holds infinity or NaN."""
    if config.guidance.guide is not None:
        scale = config.guidance.guidance_scale
        return InputError(f"the plan is not finite; choose a guidance_scale below {scale}.")
    return InputError(
        "the plan is not finite; check the units of observation and goal, or choose another checkpoint "
        f"or a goal_strength below {config.guidance.goal_strength}."
    )
