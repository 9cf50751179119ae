"""The question that the agent puts to the model: a sequence, the levels it goes through, and how it is steered."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dfplan.agents.config import PlannerConfig
from dfplan.agents.history import Belief, Past
from dfplan.config import ModelConfig
from dfplan.diffusion_forcing import DiffusionForcing
from dfplan.envs.errors import InputError
from dfplan.guidance import Guide
from dfplan.noise import draw_noise
from dfplan.sampler import Guidance, InPainting
from dfplan.schedules import scheduling_matrix
from dfplan.tokens import FIRST_PLANNED, GOAL, START, TrajectoryCodec

Goals = Float[Tensor, "batch goal"] | None


def level_matrix(
    model: ModelConfig, config: PlannerConfig, goal_known: bool, beliefs: tuple[Belief, ...], num_tokens: int
) -> Int[Tensor, "row time"]:
    """Return the levels (row, time) of [goal, start, history, plan, beyond].

    The goal keeps its level; start and history have that of their beliefs. What lies beyond the horizon is masked by
    the last level (App. C.1).
    """
    planned = scheduling_matrix(
        config.schedule, num_tokens, config.sampling_steps, model.num_levels, config.uncertainty_scale
    )
    goal = torch.full((len(planned), 1), 0 if goal_known else model.num_levels)
    given = torch.stack([belief.column(planned[:, 0], model.num_levels) for belief in beliefs], dim=1)
    stop = 1 + len(beliefs) + num_tokens
    beyond = torch.full((len(planned), sequence_length(model, stop) - stop), model.num_levels)
    return torch.cat([goal, given, planned, beyond], dim=1)


def sequence_length(model: ModelConfig, stop: int) -> int:
    """Return how many tokens a sequence has whose plan stops before position ``stop``.

    A causal model sees nothing of what lies beyond, so that the sequence ends with the plan. For any other model it is
    as long as in training.
    """
    return stop if model.causal else FIRST_PLANNED + model.num_tokens


def first_row(
    model: DiffusionForcing, levels: Int[Tensor, " time"], goal: Goals, past: Past, streams: list[torch.Generator]
) -> Float[Tensor, "batch time channel"]:
    """Return the sequences before sampling: what is given at its level, noise elsewhere.

    Observations are scaled to the level at which they are believed; their own errors stand in for that level's noise.
    Of what is missing (level K) nothing is left: it is noise; a goal that is masked is zeros. As much is drawn for a
    short sequence as for a long one, whose beginning it is then.
    """
    codec, config, num_levels = model.codec, model.config, model.config.num_levels
    noise = draw_noise((FIRST_PLANNED + config.num_tokens, config.token_dim), streams, levels.device)
    tokens = noise[:, : len(levels)] * codec.used_channels(len(levels) - FIRST_PLANNED)
    # The network hides a masked goal by itself; zeros let a memory of it go on from plan to plan.
    tokens[:, GOAL] = codec.encode_goal(goal)[:, 0] if levels[GOAL] == 0 else 0.0
    given = slice(START, FIRST_PLANNED + past.num_tokens)
    signal = model.alpha_bar[levels[given]].sqrt()[:, None]  # (time, 1)
    missing = (levels[given] == num_levels)[:, None]
    tokens[:, given] = torch.where(missing, tokens[:, given], signal * past.tokens(codec))
    return tokens


def guidance_of(
    config: PlannerConfig, model: DiffusionForcing, goal: Goals, guide: Guide | None, planned: slice, num_plans: int
) -> Guidance:
    """Return how so many plans, which take the positions ``planned`` in time, are steered.

    Raises:
        InputError: if the goal is needed and there is none.
    """
    codec = model.codec
    in_painting = None
    if config.in_paint_goal:
        if goal is None:
            raise InputError("in_paint_goal needs a goal: reset(goal=...).")
        in_painting = arrival(codec, goal, planned.stop - 1, sequence_length(codec.config, planned.stop))
    return Guidance(
        guide=guide,
        scale=candidate_scales(config, num_plans, model.alpha_bar.device),
        num_futures=config.num_futures,
        goal_strength=config.goal_strength,
        first_planned=planned.start,
        end=planned.stop,
        in_painting=in_painting,
        solver=config.solver,
        max_shift=config.max_shift,
        future_steps=config.future_steps,
    )


def candidate_scales(
    config: PlannerConfig, num_plans: int, device: torch.device
) -> float | Float[torch.Tensor, " batch"]:
    """Return the guidance scale of all plans, or of each one if the candidates of an episode have different ones."""
    if not isinstance(config.guidance_scale, list | tuple):
        return config.guidance_scale
    scales = torch.tensor(config.guidance_scale, dtype=torch.float32, device=device)
    return scales[torch.arange(num_plans, device=device) % config.candidates % len(scales)]


def arrival(codec: TrajectoryCodec, goal: Float[Tensor, "batch goal"], time: int, length: int) -> InPainting:
    """Return what makes plans stand still at their goals in the token at ``time`` (Diffuser, Janner et al. 2022).

    Sequences have ``length`` tokens.
    """
    token, known = codec.encode_arrival(goal)
    values = token.new_zeros(len(goal), length, codec.config.token_dim)
    mask = torch.zeros(length, codec.config.token_dim, dtype=torch.bool, device=token.device)
    values[:, time], mask[time] = token, known
    return InPainting(values, mask)


def num_known(matrix: Int[Tensor, "row time"], first_planned: int) -> int:
    """Return how many tokens at the beginning are given at a level that stays: what a memory can hold."""
    moving = (matrix[:, :first_planned].diff(dim=0) != 0).any(dim=0)
    return int(torch.argmax(moving.int())) if moving.any() else first_planned
