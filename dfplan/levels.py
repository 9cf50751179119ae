"""How training draws noise levels, in which alone Diffusion Forcing differs from its relatives (Alg. 1, App. C.8)."""

from collections.abc import Callable

import torch
from jaxtyping import Int
from torch import Generator, Tensor

from dfplan.config import TrainingConfig
from dfplan.envs.errors import choose
from dfplan.tokens import FIRST_PLANNED, GOAL, START

Levels = Int[Tensor, "batch time"]


def independent(batch: int, num_tokens: int, num_levels: int, generator: Generator) -> Levels:
    """Every token its own level, uniformly over 0..K: Diffusion Forcing."""
    return torch.randint(num_levels + 1, (batch, num_tokens), generator=generator)


def teacher_forcing(batch: int, num_tokens: int, num_levels: int, generator: Generator) -> Levels:
    """A clean past, one noisy token and nothing of what follows: next-token diffusion."""
    now = torch.randint(num_tokens, (batch, 1), generator=generator)
    level = torch.randint(1, num_levels + 1, (batch, 1), generator=generator)
    time = torch.arange(num_tokens)
    return torch.where(time < now, 0, torch.where(time == now, level, num_levels))


def full_sequence(batch: int, num_tokens: int, num_levels: int, generator: Generator) -> Levels:
    """One level for all tokens: full-sequence diffusion (Diffuser)."""
    return torch.randint(num_levels + 1, (batch, 1), generator=generator).expand(batch, num_tokens)


def ramp(batch: int, num_tokens: int, num_levels: int, generator: Generator) -> Levels:
    """Levels that rise linearly in time: rows of the schedules pyramid, full_sequence and autoregressive.

    Half of the windows have the slope 0, the full sequence at once. The slopes of the others, in levels per token, are
    spread evenly in their logarithm from K, where one token is cleaned after the other, down to K / ``num_tokens``²,
    where the last token is hardly noisier than the first.
    """
    draw = torch.rand(3, batch, 1, generator=generator)
    slope = torch.where(draw[0] < 1 / 2, 0.0, num_levels * num_tokens ** (-2 * draw[1]))  # levels per token
    top = draw[2] * (num_levels + slope * (num_tokens - 1))  # level of the last token, were it not clipped
    levels = top - slope * (num_tokens - 1 - torch.arange(num_tokens))
    return levels.round().long().clamp(0, num_levels)


def mixture(batch: int, num_tokens: int, num_levels: int, generator: Generator) -> Levels:
    """Half of the rows independent, half of them ramps; the recipe of the shipped checkpoints."""
    sizes = (batch, num_tokens, num_levels)
    levels, rising = independent(*sizes, generator), ramp(*sizes, generator)
    return torch.where(torch.rand(batch, 1, generator=generator) < 0.5, levels, rising)


LEVEL_SAMPLERS: dict[str, Callable[[int, int, int, Generator], Levels]] = {
    "independent": independent,
    "teacher_forcing": teacher_forcing,
    "full_sequence": full_sequence,
    "mixture": mixture,
}


def draw_levels(config: TrainingConfig, batch: int, num_tokens: int, num_levels: int, generator: Generator) -> Levels:
    """Return the levels of whole sequences [goal, start, tokens].

    The goal is clean or masked; the start is nearly clean (so that small errors of an observation do no harm, §3.3)
    or drawn like the first planned token. In a share ``masked_tail`` of the windows, all tokens behind a random one are
    masked by level K: a network that is not causal learns from them what lies beyond a shorter plan. The paper's
    released code does so with every window when it trains such a network, and gives the loss of these tokens a
    twentieth of its weight; here their loss counts as that of all others.
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
    """Return the levels with K behind a random token, from the first to the last, in a share of the windows."""
    batch, num_tokens = levels.shape
    kept = torch.randint(1, num_tokens + 1, (batch, 1), generator=generator)
    is_tail = (torch.arange(num_tokens) >= kept) & (torch.rand(batch, 1, generator=generator) < share)
    return torch.where(is_tail, num_levels, levels)
