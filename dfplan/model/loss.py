"""The weighted loss of a network that predicts x0, and its weights per level and per token (§3.2, App. C.8)."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dfplan.model.tokens import FIRST_PLANNED

MIN_SNR_GAMMA = 5.0  # γ (Hang et al. 2023)
NEXT_TOKEN_DECAY = 3.0  # the part of a token's weight above 1 is divided by this for each later token


def weigh_equally(alpha_bar: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return the weight 1 for every level.

    A third of a token's channels are actions with noise that is not predictable. A weight that grows with the SNR
    makes the network fit this noise.
    """
    return torch.ones_like(alpha_bar)


def weigh_by_snr(alpha_bar: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return min(SNR, γ) / γ, the weight that the paper uses, for a network that predicts x0 (Hang et al. 2023)."""
    snr = alpha_bar / (1 - alpha_bar).clamp_min(1e-8)
    return snr.clamp_max(MIN_SNR_GAMMA) / MIN_SNR_GAMMA


LOSS_WEIGHTS: dict[str, Callable[[Tensor], Tensor]] = {"constant": weigh_equally, "min_snr": weigh_by_snr}


def weigh_tokens(num_tokens: int, next_token_weight: float) -> Float[Tensor, " time"]:
    """Return the loss weights of [goal, start, token 1, ..., token N]: 1 + (w - 1) / 3^(i - 1) for token i, 1 before.

    An agent executes only the first tokens of a plan before it plans again. They are a small part of a long window, so
    the mean loss hardly depends on them, but small errors in them move the agent away from its goal. Diffuser (Janner
    et al. 2022) weights the first action for the same reason.

    Args:
        num_tokens: N.
        next_token_weight: w, the weight of the first planned token.
    """
    weights = torch.ones(FIRST_PLANNED + num_tokens)
    weights[FIRST_PLANNED:] += (next_token_weight - 1) / NEXT_TOKEN_DECAY ** torch.arange(num_tokens)
    return weights


def weighted_mse(
    prediction: Float[Tensor, "batch time channel"],
    target: Float[Tensor, "batch time channel"],
    weight: Float[Tensor, "batch time"],
    used: Bool[Tensor, "time channel"],
) -> Float[Tensor, ""]:
    """Return the weighted squared error, divided by the number of values that count (``count_weighted``)."""
    error = (prediction.float() - target) ** 2 * (weight[..., None] * used)
    return error.sum() / count_weighted(weight, used).sum().clamp_min(1)


def count_weighted(weight: Float[Tensor, "batch time"], used: Bool[Tensor, "time channel"]) -> Int[Tensor, " batch"]:
    """Return how many values of each window count in the loss: the used channels of tokens with a weight above 0."""
    return ((weight > 0) * used.sum(dim=1)).sum(dim=1)
