"""The forward process, which adds noise to tokens, and the steps of the sampler back (§2.2).

Noise levels run from 0 (clean) to ``num_levels`` = K (pure noise). Each token of a sequence has its own level.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dfplan.ground.errors import choose

Tokens = Float[Tensor, "batch time channel"]
Levels = Int[Tensor, " time"]


def cosine_alpha_bar(time: Float[Tensor, " level"]) -> Float[Tensor, " level"]:
    """Return cos²(π/2 · time), time in [0, 1] (Nichol & Dhariwal 2021, without their offset)."""
    return torch.cos(torch.pi / 2 * time) ** 2


def linear_alpha_bar(time: Float[Tensor, " level"]) -> Float[Tensor, " level"]:
    """Return alpha_bar for a beta that rises linearly from 0.1 to 20 per unit of time (Ho et al. 2020, continuous)."""
    return torch.exp(-0.1 * time - 0.5 * (20 - 0.1) * time**2)


ALPHA_BARS: dict[str, Callable[[Tensor], Tensor]] = {"cosine": cosine_alpha_bar, "linear": linear_alpha_bar}


def tabulate_alpha_bar(schedule: str, num_levels: int, snr_scale: float = 1.0) -> Float[Tensor, " level"]:
    """Return alpha_bar of the levels 0 to K; it is exactly 1 at level 0 and exactly 0 at level K.

    Args:
        schedule: a name in ``ALPHA_BARS``.
        num_levels: K.
        snr_scale: factor on the signal-to-noise ratio alpha_bar / (1 - alpha_bar) of every level. The frames of a token
            are redundant, so a token is still recognisable at high levels; a factor below 1 compensates for this.

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
    """Return the noisy tokens √alpha_bar · x0 + √(1 − alpha_bar) · noise, given the ``alpha_bar`` of each token."""
    alpha_bar = alpha_bar[..., None]
    return alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * noise


def ddim_step(
    noisy: Float[Tensor, "batch time channel"],
    x0: Float[Tensor, "batch time channel"],
    alpha_bar: Float[Tensor, " time"],
    next_alpha_bar: Float[Tensor, " time"],
) -> Float[Tensor, "batch time channel"]:
    """Return the tokens at the next levels, without new noise (DDIM, Song et al. 2021, eta = 0).

    Tokens whose level does not change are copied, independent of ``x0``.

    Args:
        noisy: tokens at the present levels.
        x0: prediction of the clean tokens.
        alpha_bar, next_alpha_bar: of the present and of the next level of each token.
    """
    signal, spread = alpha_bar.sqrt()[:, None], (1 - alpha_bar).sqrt()[:, None]
    noise = (noisy - signal * x0) / spread.clamp_min(1e-6)
    moved = next_alpha_bar.sqrt()[:, None] * x0 + (1 - next_alpha_bar).sqrt()[:, None] * noise
    return torch.where((alpha_bar == next_alpha_bar)[:, None], noisy, moved)


def keep_x0(x0: Tokens, last_x0: Tokens, last_levels: Levels, levels: Levels, next_levels: Levels) -> Tokens:
    """Return ``x0`` unchanged: a DDIM step uses the prediction at its beginning (first order)."""
    return x0


def extrapolate_x0(x0: Tokens, last_x0: Tokens, last_levels: Levels, levels: Levels, next_levels: Levels) -> Tokens:
    """Return x0 extrapolated to the middle of each token's step, from its last two predictions (second order).

        x0 + (x0 − last_x0) (k − k_next) / (2 (k_last − k))

    A DDIM step with this x0 is a step of DPM-Solver++(2M) (Lu et al. 2022, Alg. 2) with one change: it extrapolates
    over the level k, and DPM-Solver++ extrapolates over the log-SNR. The log-SNR is infinite at the levels 0 and K, so
    the first two steps and the last step of DPM-Solver++ are of first order, i.e. every step of a plan with three
    steps. Here only the first and the last step are, and each step of a token whose level was constant before.

    Args:
        x0, last_x0: predictions in this row and in the row before.
        last_levels, levels, next_levels: levels of the row before, of this row and of the next one.
    """
    ratio = (levels - next_levels) / (2 * (last_levels - levels))  # infinite if the level was constant
    ratio = torch.where((last_levels > levels) & (next_levels > 0), ratio, 0.0)[:, None]
    return x0 + ratio * (x0 - last_x0)


# Solver -> function of (x0, last_x0, last_levels, levels, next_levels) that returns the x0 for a step of the sampler.
SOLVERS: dict[str, Callable[[Tokens, Tokens, Levels, Levels, Levels], Tokens]] = {
    "ddim": keep_x0,
    "multistep": extrapolate_x0,
}


def draw_noise(shape: tuple[int, ...], generators: list[torch.Generator], device) -> Float[Tensor, "batch ..."]:
    """Return standard normal noise of shape (batch, *shape) on ``device``; row b is drawn from ``generators[b]``.

    Each plan has its own generator, so its noise does not depend on the size of the batch. The noise is drawn on the
    CPU, so that a seed gives the same noise on every device.
    """
    return torch.stack([torch.randn(shape, generator=generator) for generator in generators]).to(device)
