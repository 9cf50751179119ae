"""Sampling (Alg. 2): follow a scheduling matrix row by row, with guidance through the network's x0-prediction.

A sequence is [goal, start, tokens]; whatever is known keeps a constant level in its column of the matrix and is never
written to. What is given but doubted (§4.4) has a column that falls, and is inferred together with the plan, but only
planned tokens are guided.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dfplan.diffusion_forcing import DiffusionForcing
from dfplan.guidance import Guide
from dfplan.noise import add_noise, ddim_step, draw_noise
from dfplan.tokens import FIRST_PLANNED, GOAL

Tokens = Float[Tensor, "batch time channel"]


@dataclass(frozen=True)
class InPainting:
    """Parts of a sequence that are known to be so, though their tokens are planned: Diffuser's goal (App. C.1).

    The known values replace those of x0 in each step (Janner et al. 2022 write them into the noisy sequence). The step
    then adds the plan's own noise to them, so that they always stand at the level of their token, as in training.

    Attributes:
        values: normalised; whatever stands where ``mask`` is false plays no part.
        mask: which channels of which tokens are known.
    """

    values: Float[Tensor, "batch time channel"]
    mask: Bool[Tensor, "time channel"]

    def into(self, x0: Tokens) -> Tokens:
        """Return ``x0`` with the known values in their places."""
        return torch.where(self.mask, self.values, x0)


@dataclass(frozen=True)
class Guidance:
    """How a plan is steered while it is denoised.

    Attributes:
        guide: scores plans in environment units, with what the model expects beyond their horizon; None leaves the
            model to itself.
        scale: factor on the gradient of the score.
        num_futures: N of Monte-Carlo guidance (§3.4); 1 is plain guidance.
        goal_strength: weight of the goal-conditioned over the unconditional prediction (classifier-free guidance); 1
            is the former alone.
        first_planned: position in time of the first token that may be guided; executed history stands before it.
        in_painting: what must be in the plan, whatever the model and the guide say.
    """

    guide: Guide | None = None
    scale: float = 1.0
    num_futures: int = 1
    goal_strength: float = 1.0
    first_planned: int = FIRST_PLANNED
    in_painting: InPainting | None = None


def sample(
    model: DiffusionForcing,
    tokens: Tokens,
    matrix: Int[Tensor, "row time"],
    generators: list[torch.Generator],
    guidance: Guidance = Guidance(),
    on_row: Callable[[Tokens, Int[Tensor, " time"]], None] | None = None,
) -> Tokens:
    """Return the sequences after the last row of ``matrix``.

    Args:
        model: predicts x0.
        tokens: sequences at the levels of the first row: known tokens with their values, the others noise, zeros in
            channels that are padding.
        matrix: levels over [goal, start, tokens].
        generators: one per sequence, for the futures of Monte-Carlo guidance.
        guidance: how to steer.
        on_row: called with the predicted clean sequences and the levels before every row's step.
    """
    used = model.codec.used_channels(tokens.shape[1] - FIRST_PLANNED)  # the network says anything about padding
    for levels, next_levels in pairwise(matrix):
        x0 = predict(model, tokens, levels, guidance.goal_strength) * used
        if on_row is not None:
            on_row(x0, levels)
        if guidance.guide is not None:
            x0 = x0 + guidance.scale * _guided_shift(model, tokens, x0, levels, guidance, generators)
        if guidance.in_painting is not None:
            x0 = guidance.in_painting.into(x0)
        tokens = ddim_step(tokens, x0, model.alpha_bar[levels], model.alpha_bar[next_levels])
    return tokens


def predict(
    model: DiffusionForcing, tokens: Tokens, levels: Int[Tensor, " time"], goal_strength: float = 1.0
) -> Tokens:
    """Return x0, extrapolated from the unconditional towards the goal-conditioned prediction by ``goal_strength``.

    The masked goal of the former is shown as the mean of the noise that it is in training.
    """
    levels = levels.expand(tokens.shape[0], -1)
    conditioned = model.predict_x0(tokens, levels)
    if goal_strength == 1.0:
        return conditioned
    masked_tokens, masked_levels = tokens.clone(), levels.clone()
    masked_tokens[:, GOAL], masked_levels[:, GOAL] = 0, model.config.num_levels
    unconditional = model.predict_x0(masked_tokens, masked_levels)
    return unconditional + goal_strength * (conditioned - unconditional)


def _guided_shift(
    model: DiffusionForcing, tokens: Tokens, x0: Tokens, levels: Int[Tensor, " time"], guidance: Guidance, generators
) -> Tokens:
    """Return by how much a unit of guidance moves x0: (1 − ᾱ) / √ᾱ · ∇ log c, the x0 of ε − √(1 − ᾱ) ∇ log c.

    Pure noise says nothing about x0, nor a gradient about pure noise: tokens at the last level are not moved.
    """
    movable = planned_at(levels, guidance.first_planned) & (levels > 0) & (levels < model.config.num_levels)
    if not movable.any():
        return torch.zeros_like(x0)
    gradient = monte_carlo_gradient(model, tokens, x0, levels, guidance, generators)
    alpha_bar = model.alpha_bar[levels][:, None]
    return torch.where(movable[:, None], (1 - alpha_bar) / alpha_bar.clamp_min(1e-12).sqrt() * gradient, 0.0)


def planned_at(levels: Int[Tensor, " time"], first_planned: int = FIRST_PLANNED) -> Bool[Tensor, " time"]:
    """Return which positions in time hold planned tokens; goal, start and history before them are given or masked."""
    return torch.arange(len(levels), device=levels.device) >= first_planned


def about_to_be_committed(
    levels: Int[Tensor, " time"], num_levels: int, first_planned: int = FIRST_PLANNED
) -> Bool[Tensor, " time"]:
    """Return which planned tokens have the lowest level above 0."""
    uncertain = planned_at(levels, first_planned) & (levels > 0)
    return uncertain & (levels == torch.where(uncertain, levels, num_levels).min())


def monte_carlo_gradient(
    model: DiffusionForcing, tokens: Tokens, x0: Tokens, levels: Int[Tensor, " time"], guidance: Guidance, generators
) -> Tokens:
    """Return ∇ log c with respect to ``tokens`` (§3.4, App. C.5).

    For the tokens about to be committed it is the mean over N futures, in each of which all later uncertain tokens are
    drawn anew. The later tokens have the plain gradient, which is all there is with ``num_futures=1``.
    """
    copies = tokens[:, None]  # (batch, copy, time, channel): the tokens themselves, then their futures
    if guidance.num_futures > 1:
        futures = draw_futures(model, tokens, x0, levels, guidance, generators)
        copies = torch.cat([copies, futures], dim=1)
    gradients = _gradients(model, copies, levels, guidance)
    if guidance.num_futures == 1:
        return gradients[:, 0]
    committed = about_to_be_committed(levels, model.config.num_levels, guidance.first_planned)[:, None]
    return torch.where(committed, gradients[:, 1:].mean(dim=1), gradients[:, 0])


def _gradients(
    model: DiffusionForcing,
    copies: Float[Tensor, "batch copy time channel"],
    levels: Int[Tensor, " time"],
    guidance: Guidance,
) -> Float[Tensor, "batch copy time channel"]:
    """Return the gradient of each copy's score through the network, all copies in one batch."""
    batch, num_copies = copies.shape[:2]
    with torch.enable_grad():
        flat = copies.flatten(0, 1).detach().requires_grad_()  # (batch * copy, time, channel)
        predicted = predict(model, flat, levels, guidance.goal_strength).unflatten(0, (batch, num_copies))
        # The guide knows of one goal per plan, so it is shown one copy of every plan at a time.
        plans = (model.codec.decode(predicted[:, copy, guidance.first_planned :]) for copy in range(num_copies))
        (gradient,) = torch.autograd.grad(sum(guidance.guide(plan).sum() for plan in plans), flat)
    return gradient.unflatten(0, (batch, num_copies))


def draw_futures(
    model: DiffusionForcing, tokens: Tokens, x0: Tokens, levels: Int[Tensor, " time"], guidance: Guidance, generators
) -> Float[Tensor, "batch future time channel"]:
    """Return N copies in which every uncertain token but those about to be committed is drawn independently.

    One step backward, one forward (App. B.5): from level k down to k/2 along the model's prediction, and back up with
    new noise. Pure noise is simply drawn anew, which is what the same formula gives there.
    """
    num_levels, first = model.config.num_levels, guidance.first_planned
    redrawn = planned_at(levels, first) & (levels > 0) & ~about_to_be_committed(levels, num_levels, first)
    lower = torch.where(redrawn & (levels < num_levels), levels // 2, levels)
    alpha_bar, lower_alpha_bar = model.alpha_bar[levels], model.alpha_bar[lower]
    backward = ddim_step(tokens, x0, alpha_bar, lower_alpha_bar)
    kept = torch.where(levels == num_levels, 0.0, alpha_bar / lower_alpha_bar.clamp_min(1e-12))
    noise = draw_noise((guidance.num_futures, *tokens.shape[1:]), generators, tokens.device)
    noise = noise * model.codec.used_channels(tokens.shape[1] - FIRST_PLANNED)
    forward = add_noise(backward[:, None].expand_as(noise), kept.expand(noise.shape[:-1]), noise)
    return torch.where(redrawn[:, None], forward, tokens[:, None])
