"""Builds the sequences that a model denoises, and the scheduling matrix that they follow (Alg. 2).

A sequence is ``[goal, start, history, plan, beyond]``. The planner, the roll-outs and the studies build theirs here.
Goal, start and history are given; the plan is drawn; the tokens beyond the plan are masked by the last level.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from dfplan.config import ModelConfig
from dfplan.model.diffusion_forcing import DiffusionForcing
from dfplan.model.noise import add_noise, draw_noise
from dfplan.model.tokens import FIRST_PLANNED, GOAL, START
from dfplan.sampling.schedules import place_columns

Tokens = Float[Tensor, "batch time channel"]
AlphaBar = Float[Tensor, "batch time"]
Matrix = Int[Tensor, "row time"]


def show_relabelled(tokens: Tokens, alpha_bar: AlphaBar, noise: Tokens) -> Tokens:
    """Return the tokens unchanged; only their level says that they are noisy."""
    return tokens


def show_scaled(tokens: Tokens, alpha_bar: AlphaBar, noise: Tokens) -> Tokens:
    """Return the mean of the noisy tokens, √ᾱ x; the paper's released code does so when it samples by DDIM."""
    return add_noise(tokens, alpha_bar, torch.zeros_like(noise))


def show_noised(tokens: Tokens, alpha_bar: AlphaBar, noise: Tokens) -> Tokens:
    """Return the tokens with the noise of their level; the paper's released code does so when it samples by DDPM."""
    return add_noise(tokens, alpha_bar, noise)


# How tokens that are given at a level above 0 are shown to the model.
DISGUISES: dict[str, Callable[[Tokens, AlphaBar, Tokens], Tokens]] = {
    "relabelled": show_relabelled,
    "scaled": show_scaled,
    "noised": show_noised,
}


@dataclass(frozen=True)
class Sequence:
    """A batch of sequences before they are sampled.

    Attributes:
        tokens: each token at its level in the first row of ``matrix``; zeros in padding channels.
        matrix: the scheduling matrix, levels over [goal, start, history, plan, beyond].
        planned: positions in time of the planned tokens.
    """

    tokens: Float[Tensor, "batch time channel"]
    matrix: Int[Tensor, "row time"]
    planned: slice


def build_sequence(
    model: DiffusionForcing,
    given: Float[Tensor, "batch given channel"],
    given_levels: Int[Tensor, "row given"],
    plan_levels: Int[Tensor, "row token"],
    generators: list[Generator],
    goal: Float[Tensor, "batch goal"] | None = None,
    disguise: Callable[[Tokens, AlphaBar, Tokens], Tokens] = show_scaled,
) -> Sequence:
    """Return the sequences of plans that continue what is given.

    The same amount of noise is drawn for a short sequence as for the longest one, so a shorter plan begins with the
    same noise.

    Args:
        model: the model that will denoise the sequences.
        given: clean tokens [start, history].
        given_levels: their levels in every row. A token whose level falls is inferred together with the plan; a token
            at the last level is missing, and its values are replaced by noise.
        plan_levels: the scheduling matrix of the plan.
        generators: one random stream per sequence.
        goal: in environment units, given exactly; None masks the goal.
        disguise: how given tokens are shown at their level, a value of ``DISGUISES``.
    """
    codec, config, device = model.codec, model.config, given.device
    planned = slice(START + given.shape[1], START + given.shape[1] + plan_levels.shape[1])
    levels = torch.full((sequence_length(config, planned.stop),), config.num_levels)
    levels[GOAL] = config.num_levels if goal is None else 0
    columns = torch.cat([given_levels, plan_levels], dim=1)
    matrix = place_columns(levels, slice(START, planned.stop), columns).to(device)
    noise = draw_noise((FIRST_PLANNED + config.num_tokens, config.token_dim), generators, device)
    tokens = noise[:, : len(levels)] * codec.used_channels(len(levels) - FIRST_PLANNED)
    # The network hides a masked goal by itself. Zeros let a causal model's memory of it serve the next plan too.
    tokens[:, GOAL] = 0.0 if goal is None else codec.encode_goal(goal)[:, 0]
    known = slice(START, planned.start)
    alpha_bar = model.alpha_bar[matrix[0, known]].expand(len(given), -1)
    shown = disguise(given, alpha_bar, tokens[:, known])
    is_missing = (matrix[0, known] == config.num_levels)[:, None]
    tokens[:, known] = torch.where(is_missing, tokens[:, known], shown)
    return Sequence(tokens, matrix, planned)


def sequence_length(config: ModelConfig, stop: int) -> int:
    """Return the number of tokens in a sequence whose plan ends before position ``stop``.

    A causal model does not see the tokens beyond the plan, so the sequence ends with the plan. Any other model needs a
    sequence that is as long as in training.
    """
    return stop if config.causal else FIRST_PLANNED + config.num_tokens


def count_constant_tokens(matrix: Matrix, first_planned: int) -> int:
    """Return how many tokens at the beginning keep their level in all rows, so that a memory can hold them."""
    moves = (matrix[:, :first_planned].diff(dim=0) != 0).any(dim=0)
    return int(torch.argmax(moves.int())) if moves.any() else first_planned
