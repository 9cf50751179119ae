"""Sampling (Alg. 2): follow a scheduling matrix row by row, with guidance through the network's x0-prediction.

A sequence is [goal, start, tokens]; whatever is known keeps a constant level in its column of the matrix and is never
written to.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dfplan.diffusion_forcing import DiffusionForcing
from dfplan.guidance import Guide
from dfplan.noise import add_noise, ddim_step, draw_noise
from dfplan.tokens import FIRST_PLANNED, GOAL

Tokens = Float[Tensor, "batch time channel"]


@dataclass(frozen=True)
class Guidance:
    """How a plan is steered while it is denoised.

    Attributes:
        guide: scores plans in environment units; None leaves the model to itself.
        scale: factor on the gradient of the score.
        num_futures: N of Monte-Carlo guidance (§3.4); 1 is plain guidance.
        goal_strength: weight of the goal-conditioned over the unconditional prediction (classifier-free guidance); 1
            is the former alone.
    """

    guide: Guide | None = None
    scale: float = 1.0
    num_futures: int = 1
    goal_strength: float = 1.0


def sample(
    model: DiffusionForcing,
    tokens: Tokens,
    matrix: Int[Tensor, "row time"],
    generators: list[torch.Generator],
    guidance: Guidance = Guidance(),
    on_row: Callable[[Tokens, Int[Tensor, "time"]], None] | None = None,
) -> Tokens:
    """Return the sequences after the last row of ``matrix``.

    Args:
        model: predicts x0.
        tokens: sequences at the levels of the first row: known tokens with their values, the others pure noise.
        matrix: levels over [goal, start, tokens].
        generators: one per sequence, for the futures of Monte-Carlo guidance.
        guidance: how to steer.
        on_row: called with the predicted clean sequences and the levels before every row's step.
    """
    for levels, next_levels in pairwise(matrix):
        x0 = predict(model, tokens, levels, guidance.goal_strength)
        if on_row is not None:
            on_row(x0, levels)
        if guidance.guide is not None:
            x0 = x0 + guidance.scale * _guided_shift(model, tokens, x0, levels, guidance, generators)
        tokens = ddim_step(tokens, x0, model.alpha_bar[levels], model.alpha_bar[next_levels])
    return tokens


def predict(model: DiffusionForcing, tokens: Tokens, levels: Int[Tensor, "time"], goal_strength: float = 1.0) -> Tokens:
    """Return x0, extrapolated from the unconditional towards the goal-conditioned prediction by ``goal_strength``."""
    levels = levels.expand(tokens.shape[0], -1)
    conditioned = model.predict_x0(tokens, levels)
    if goal_strength == 1.0:
        return conditioned
    masked_tokens, masked_levels = tokens.clone(), levels.clone()
    masked_tokens[:, GOAL], masked_levels[:, GOAL] = 0, model.config.num_levels
    unconditional = model.predict_x0(masked_tokens, masked_levels)
    return unconditional + goal_strength * (conditioned - unconditional)


def _guided_shift(
    model: DiffusionForcing, tokens: Tokens, x0: Tokens, levels: Int[Tensor, "time"], guidance: Guidance, generators
) -> Tokens:
    """Return by how much a unit of guidance moves x0: (1 − ᾱ) / √ᾱ · ∇ log c, the x0 of ε − √(1 − ᾱ) ∇ log c.

    Pure noise says nothing about x0, nor a gradient about pure noise: tokens at the last level are not moved.
    """
    gradient = monte_carlo_gradient(model, tokens, x0, levels, guidance, generators)
    alpha_bar = model.alpha_bar[levels][:, None]
    movable = (levels > 0) & (levels < model.config.num_levels)
    return torch.where(movable[:, None], (1 - alpha_bar) / alpha_bar.clamp_min(1e-12).sqrt() * gradient, 0.0)


def monte_carlo_gradient(
    model: DiffusionForcing, tokens: Tokens, x0: Tokens, levels: Int[Tensor, "time"], guidance: Guidance, generators
) -> Tokens:
    """Return ∇ log c with respect to ``tokens``, the mean over N futures, each drawn independently (§3.4, App. C.5).

    The tokens about to be committed, those at the lowest level above 0, are the same in all futures; the later, still
    uncertain ones are drawn anew in each. With ``num_futures=1`` nothing is redrawn: plain guidance.
    """
    futures = tokens[:, None]  # (batch, future, time, channel)
    if guidance.num_futures > 1:
        futures = draw_futures(model, tokens, x0, levels, guidance.num_futures, generators)
    batch, num_futures = futures.shape[:2]
    with torch.enable_grad():
        futures = futures.flatten(0, 1).detach().requires_grad_()  # (batch * future, time, channel)
        predicted = predict(model, futures, levels, guidance.goal_strength)
        # The guide knows of one goal per plan, so it is shown one future of every plan at a time.
        plans = predicted[:, FIRST_PLANNED:].unflatten(0, (batch, num_futures))
        scores = sum(guidance.guide(model.codec.decode(plans[:, future])) for future in range(num_futures))
        (gradient,) = torch.autograd.grad(scores.sum(), futures)
    return gradient.unflatten(0, (batch, num_futures)).mean(dim=1)


def draw_futures(
    model: DiffusionForcing, tokens: Tokens, x0: Tokens, levels: Int[Tensor, "time"], num_futures: int, generators
) -> Float[Tensor, "batch future time channel"]:
    """Return N copies of ``tokens`` whose uncertain tokens, the ones about to be committed excepted, are drawn
    independently.

    One step backward, one forward (App. B.5): from level k down to k/2 along the model's prediction, and back up with
    new noise. Pure noise is simply drawn anew, which is what the same formula gives there.
    """
    uncertain = levels > 0
    committed = levels == torch.where(uncertain, levels, model.config.num_levels).min()
    redrawn = uncertain & ~committed
    lower = torch.where(redrawn & (levels < model.config.num_levels), levels // 2, levels)
    alpha_bar, lower_alpha_bar = model.alpha_bar[levels], model.alpha_bar[lower]
    backward = ddim_step(tokens, x0, alpha_bar, lower_alpha_bar)
    kept = torch.where(levels == model.config.num_levels, 0.0, alpha_bar / lower_alpha_bar.clamp_min(1e-12))
    noise = draw_noise((num_futures, *tokens.shape[1:]), generators, tokens.device)
    noise = noise * model.codec.used_channels(tokens.shape[1] - FIRST_PLANNED)
    forward = add_noise(backward[:, None].expand_as(noise), kept.expand(noise.shape[:-1]), noise)
    return torch.where(redrawn[:, None], forward, tokens[:, None])
