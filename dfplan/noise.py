"""The forward process: how much of a token survives at each noise level (§2.2).

A level k counts from 0 (clean) to ``num_levels`` = K (pure noise). Each token of a sequence has its own.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dfplan.envs.errors import choose

Tokens = Float[Tensor, "batch time channel"]
Levels = Int[Tensor, " time"]


def cosine_alpha_bar(time: Float[Tensor, " level"]) -> Float[Tensor, " level"]:
    """Return cos²(π/2 · time), time in [0, 1] (Nichol & Dhariwal 2021, without their offset)."""
    return torch.cos(torch.pi / 2 * time) ** 2


def linear_alpha_bar(time: Float[Tensor, " level"]) -> Float[Tensor, " level"]:
    """Return alpha_bar when beta rises linearly from 0.1 to 20 per unit of time (Ho et al. 2020, continuous)."""
    return torch.exp(-0.1 * time - 0.5 * (20 - 0.1) * time**2)


ALPHA_BARS: dict[str, Callable[[Tensor], Tensor]] = {"cosine": cosine_alpha_bar, "linear": linear_alpha_bar}


def alpha_bar_table(schedule: str, num_levels: int, snr_scale: float = 1.0) -> Float[Tensor, " level"]:
    """Return alpha_bar for the levels 0..num_levels: exactly 1 at level 0 and exactly 0 at the last.

    Args:
        schedule: a name in ``ALPHA_BARS``.
        num_levels: K.
        snr_scale: factor on the signal-to-noise ratio alpha_bar / (1 - alpha_bar) of every level. Below 1 it moves the
            decisions of the sampler towards lower levels, which tokens of many redundant frames need.

    Raises:
        InputError: if there is no such schedule.
    """
    alpha_bar = choose("noise schedule", schedule, ALPHA_BARS)(
        torch.linspace(0, 1, num_levels + 1, dtype=torch.float64)
    )
    alpha_bar = snr_scale * alpha_bar / (1 - alpha_bar + snr_scale * alpha_bar)
    alpha_bar[0], alpha_bar[-1] = 1, 0
    return alpha_bar.float()


def add_noise(
    x0: Float[Tensor, "*batch time channel"],
    alpha_bar: Float[Tensor, "*batch time"],
    noise: Float[Tensor, "*batch time channel"],
) -> Float[Tensor, "*batch time channel"]:
    """Return the tokens at the levels whose ``alpha_bar`` is given."""
    alpha_bar = alpha_bar[..., None]
    return alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * noise


def ddim_step(
    noisy: Float[Tensor, "batch time channel"],
    x0: Float[Tensor, "batch time channel"],
    alpha_bar: Float[Tensor, " time"],
    next_alpha_bar: Float[Tensor, " time"],
) -> Float[Tensor, "batch time channel"]:
    """Return the tokens moved, without new noise, from one row of alpha_bars to the next (Song et al. 2021, eta = 0).

    Tokens whose alpha_bar does not change are copied, whatever ``x0`` says.
    """
    signal, spread = alpha_bar.sqrt()[:, None], (1 - alpha_bar).sqrt()[:, None]
    noise = (noisy - signal * x0) / spread.clamp_min(1e-6)
    moved = next_alpha_bar.sqrt()[:, None] * x0 + (1 - next_alpha_bar).sqrt()[:, None] * noise
    return torch.where((alpha_bar == next_alpha_bar)[:, None], noisy, moved)


def first_order(x0: Tokens, last_x0: Tokens, last_levels: Levels, levels: Levels, next_levels: Levels) -> Tokens:
    """Return ``x0``: a DDIM step aims at what is predicted where it begins."""
    return x0


def second_order(x0: Tokens, last_x0: Tokens, last_levels: Levels, levels: Levels, next_levels: Levels) -> Tokens:
    """Return x0 half-way through each token's step, on the line through its last two predictions.

        x0 + (x0 - last x0) (k - k_next) / (2 (k_last - k))

    With it a DDIM step is one of DPM-Solver++(2M) (Lu et al. 2022, Alg. 2), except that they extrapolate over the
    log-SNR. That is infinite at pure noise and at level 0, so the first two of its steps and the last are of first
    order: all there are in a plan of three. Over levels k only the first and the last are, and tokens at rest before.
    """
    ratio = (levels - next_levels) / (2 * (last_levels - levels))  # infinite where the token was at rest
    ratio = torch.where((last_levels > levels) & (next_levels > 0), ratio, 0.0)[:, None]
    return x0 + ratio * (x0 - last_x0)


# What a step of the sampler aims at, given the predictions of the last row and this, and the levels of three rows.
SOLVERS: dict[str, Callable[[Tokens, Tokens, Levels, Levels, Levels], Tokens]] = {
    "ddim": first_order,
    "multistep": second_order,
}


def draw_noise(shape: tuple[int, ...], generators: list[torch.Generator], device) -> Float[Tensor, "batch ..."]:
    """Return standard normal noise whose row b comes from ``generators[b]`` alone.

    One stream per plan: what an episode draws does not depend on how many run beside it. Drawn on the CPU, so that a
    seed gives the same noise on every device.
    """
    return torch.stack([torch.randn(shape, generator=generator) for generator in generators]).to(device)
