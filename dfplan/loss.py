"""Loss weights per noise level, for a network that predicts x0 (§3.2, App. C.8)."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dfplan.tokens import FIRST_PLANNED

MIN_SNR_GAMMA = 5.0  # Hang et al. 2023
NEXT_TOKEN_DECAY = 3.0  # from token to token, the part of the weight above 1 is divided by this


def constant(alpha_bar: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The same weight for every level.

    A third of a token's channels are noisy actions that nothing can predict; any weight that grows with the SNR
    spends the network on them.
    """
    return torch.ones_like(alpha_bar)


def min_snr(alpha_bar: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """min(SNR, gamma) / gamma: the paper's choice, in terms of x0."""
    snr = alpha_bar / (1 - alpha_bar).clamp_min(1e-8)
    return snr.clamp_max(MIN_SNR_GAMMA) / MIN_SNR_GAMMA


LOSS_WEIGHTS: dict[str, Callable[[Tensor], Tensor]] = {"constant": constant, "min_snr": min_snr}


def token_weights(num_tokens: int, next_token_weight: float) -> Float[Tensor, " time"]:
    """Return the factors on the losses of [goal, start, token 1, ..., token N]: 1 + (w - 1) / 3^(i - 1) for token i.

    An agent executes the first tokens of a plan and plans anew. They are few in a long window, so the mean loss hardly
    counts them. Yet small errors in them move the agent away from its goal. Diffuser (Janner et al. 2022) weights the
    first action for the same reason.
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
    """Return the mean squared error over ``used`` channels, each token weighted; tokens of weight 0 do not count."""
    weight = weight[..., None] * used
    error = (prediction.float() - target) ** 2 * weight
    return error.sum() / (weight > 0).sum().clamp_min(1)
