"""Samplers of the noise levels in training.

Diffusion Forcing, next-token diffusion and full-sequence diffusion differ in this sampler only (Alg. 1, App. C.8).
"""

from collections.abc import Callable

import torch
from jaxtyping import Int
from torch import Generator, Tensor

from dfplan.config import TrainingConfig
from dfplan.ground.errors import choose
from dfplan.model.tokens import FIRST_PLANNED, GOAL, START

Levels = Int[Tensor, "batch time"]


def draw_independent(batch: int, num_tokens: int, num_levels: int, generator: Generator) -> Levels:
    """Draw one level for each token, uniformly from 0 to K: Diffusion Forcing."""
    return torch.randint(num_levels + 1, (batch, num_tokens), generator=generator)


def draw_teacher_forcing(batch: int, num_tokens: int, num_levels: int, generator: Generator) -> Levels:
    """Draw levels with a clean past, one noisy token and a masked future: next-token diffusion."""
    now = torch.randint(num_tokens, (batch, 1), generator=generator)
    level = torch.randint(1, num_levels + 1, (batch, 1), generator=generator)
    time = torch.arange(num_tokens)
    return torch.where(time < now, 0, torch.where(time == now, level, num_levels))


def draw_full_sequence(batch: int, num_tokens: int, num_levels: int, generator: Generator) -> Levels:
    """Draw one level for all tokens of a window: full-sequence diffusion (Diffuser)."""
    return torch.randint(num_levels + 1, (batch, 1), generator=generator).expand(batch, num_tokens)


def draw_ramp(batch: int, num_tokens: int, num_levels: int, generator: Generator) -> Levels:
    """Draw levels that rise linearly in time, as in the rows of the sampling schedules.

    Half of the windows have the slope 0, as in full-sequence diffusion. The logarithm of the other slopes, in levels
    per token, is uniform. The steepest slope is K: tokens are denoised one after another. The flattest slope is
    K / ``num_tokens``²: the last token has almost the level of the first.
    """
    draw = torch.rand(3, batch, 1, generator=generator)
    slope = torch.where(draw[0] < 1 / 2, 0.0, num_levels * num_tokens ** (-2 * draw[1]))  # levels per token
    top = draw[2] * (num_levels + slope * (num_tokens - 1))  # level of the last token before it is clipped
    levels = top - slope * (num_tokens - 1 - torch.arange(num_tokens))
    return levels.round().long().clamp(0, num_levels)


def draw_mixture(batch: int, num_tokens: int, num_levels: int, generator: Generator) -> Levels:
    """Draw independent levels for half of the windows, ramps for the others: the recipe of the shipped checkpoints."""
    sizes = (batch, num_tokens, num_levels)
    levels, rising = draw_independent(*sizes, generator), draw_ramp(*sizes, generator)
    return torch.where(torch.rand(batch, 1, generator=generator) < 0.5, levels, rising)


LEVEL_SAMPLERS: dict[str, Callable[[int, int, int, Generator], Levels]] = {
    "independent": draw_independent,
    "teacher_forcing": draw_teacher_forcing,
    "full_sequence": draw_full_sequence,
    "mixture": draw_mixture,
}


def draw_levels(config: TrainingConfig, batch: int, num_tokens: int, num_levels: int, generator: Generator) -> Levels:
    """Return the levels of whole sequences [goal, start, tokens].

    The goal is clean or masked. The start is nearly clean, so that the model tolerates small errors of an observation
    (§3.3), or its level is drawn like those of the planned tokens. In a share ``masked_tail`` of the windows, all
    tokens after a random one are masked by level K. From such windows a network that is not causal learns plans that
    end early. The paper's released code masks the tail of every window when it trains such a network, and multiplies
    the loss of masked tokens by 1/20. Here their loss has the full weight.

    Args:
        config: names the level sampler and gives the shares.
        batch: number of windows.
        num_tokens: planned tokens in each window.
        num_levels: K.
        generator: source of all random numbers.

    Raises:
        InputError: if there is no such level sampler.
    """
    draw = choose("level sampler", config.level_sampler, LEVEL_SAMPLERS)
    levels = torch.empty(batch, FIRST_PLANNED + num_tokens, dtype=torch.long)
    levels[:, START:] = draw(batch, 1 + num_tokens, num_levels, generator)
    chance = torch.rand(3, batch, generator=generator)
    levels[:, GOAL] = torch.where(chance[0] < config.goal_known, 0, num_levels)
    nearly_clean = (chance[2] * config.start_level * num_levels).long()
    levels[:, START] = torch.where(chance[1] < config.start_known, nearly_clean, levels[:, START])
    if config.masked_tail:
        levels[:, FIRST_PLANNED:] = _mask_tails(levels[:, FIRST_PLANNED:], config.masked_tail, num_levels, generator)
    return levels


def _mask_tails(levels: Levels, share: float, num_levels: int, generator: Generator) -> Levels:
    """Return the levels; in a ``share`` of the windows, the tokens after a uniformly drawn one have level K."""
    batch, num_tokens = levels.shape
    kept = torch.randint(1, num_tokens + 1, (batch, 1), generator=generator)
    is_tail = (torch.arange(num_tokens) >= kept) & (torch.rand(batch, 1, generator=generator) < share)
    return torch.where(is_tail, num_levels, levels)
