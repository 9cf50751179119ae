"""Guidance: how plans are steered while they are denoised (§3.4, App. B.5, C.5).

The gradient of the guide's score moves the predicted x0 of the planned tokens. With Monte-Carlo guidance the tokens
that are committed next follow the mean gradient over several random futures.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dfplan.data.trajectories import Trajectories
from dfplan.model.backbones import Memory
from dfplan.model.diffusion_forcing import DiffusionForcing
from dfplan.model.noise import add_noise, ddim_step, draw_noise
from dfplan.model.tokens import FIRST_PLANNED
from dfplan.sampling.guides import Guide, StepwiseGuide, check_scores
from dfplan.sampling.prediction import predict
from dfplan.sampling.sequence import Sequence

Tokens = Float[Tensor, "batch time channel"]
Levels = Int[Tensor, " time"]
EVERY_TOKEN = slice(FIRST_PLANNED, None)  # of the plan, where no history stands before it and nothing behind


@dataclass(frozen=True)
class InPainting:
    """Known parts of planned tokens, such as the goal at the end of Diffuser's plans (App. C.1).

    In each step the known values replace those of the predicted x0 (Janner et al. 2022 write them into the noisy
    sequence). The step then adds the plan's own noise to them, so they are at the level of their token, as in training.

    Attributes:
        values: normalised; only the channels where ``mask`` is true are used.
        mask: which channels of which tokens are known.
    """

    values: Float[Tensor, "batch time channel"]
    mask: Bool[Tensor, "time channel"]

    def paint(self, x0: Float[Tensor, "batch first_tokens channel"]) -> Float[Tensor, "batch first_tokens channel"]:
        """Return ``x0``, of all tokens or the first ones, with the known values in their places."""
        time = x0.shape[1]
        return torch.where(self.mask[:time], self.values[:, :time], x0)


def paint_goal(model: DiffusionForcing, goal: Float[Tensor, "batch goal"], sequence: Sequence) -> InPainting:
    """Return the in-painting that makes each plan end at rest at its goal (Diffuser, Janner et al. 2022)."""
    last, length = sequence.planned.stop - 1, sequence.tokens.shape[1]
    token, known = model.codec.encode_rest_at_goal(goal)
    values = token.new_zeros(len(goal), length, model.config.token_dim)
    mask = torch.zeros(length, model.config.token_dim, dtype=torch.bool, device=token.device)
    values[:, last], mask[last] = token, known
    return InPainting(values, mask)


@dataclass(frozen=True)
class Guidance:
    """What steers a plan while it is denoised.

    Attributes:
        guide: scores plans in environment units; None leaves the plan to the model.
        scale: factor on the gradient of the score, one for all plans or one for each plan.
        num_futures: N of Monte-Carlo guidance (§3.4). With 1, and one of ``future_steps``, the gradient goes through
            the prediction itself (plain guidance).
        future_steps: denoising steps of each random future before the guide scores it. After 1 step the future of pure
            noise is nearly the mean of all futures.
        max_shift: the largest change of x0 in one row, as the root mean square over a token's channels in standard
            deviations of the data; None for no limit. At high levels the factor on the gradient is large, while the
            gradient is only valid close by.
        goal_strength: weight of the goal-conditioned prediction against the unconditional one (classifier-free
            guidance); 1 uses the former alone.
        in_painting: values that the plan must have, whatever the model and the guide say.
    """

    guide: Guide | None = None
    scale: float | Float[Tensor, " batch"] = 1.0
    num_futures: int = 1
    future_steps: int = 1
    max_shift: float | None = None
    goal_strength: float = 1.0
    in_painting: InPainting | None = None

    @property
    def draws_futures(self) -> bool:
        """Whether the gradient is taken over random futures instead of through the prediction itself."""
        return self.num_futures > 1 or self.future_steps > 1


UNGUIDED = Guidance()


def find_planned(levels: Levels, planned: slice = EVERY_TOKEN) -> Bool[Tensor, " time"]:
    """Return which positions in time are not before the plan; tokens beyond it are masked and never move."""
    return torch.arange(len(levels), device=levels.device) >= planned.start


def find_guided(levels: Levels, num_levels: int, planned: slice = EVERY_TOKEN) -> Bool[Tensor, " time"]:
    """Return which tokens a guide moves: planned tokens at levels between clean and pure noise.

    Pure noise carries no information about x0, so the network's gradient with respect to it is 0.
    """
    return find_planned(levels, planned) & (levels > 0) & (levels < num_levels)


def find_next_committed(levels: Levels, num_levels: int, planned: slice = EVERY_TOKEN) -> Bool[Tensor, " time"]:
    """Return which planned tokens are committed next: those at the lowest level above 0."""
    uncertain = find_planned(levels, planned) & (levels > 0)
    return uncertain & (levels == torch.where(uncertain, levels, num_levels).min())


def find_redrawn(levels: Levels, num_levels: int, planned: slice = EVERY_TOKEN) -> Bool[Tensor, " time"]:
    """Return which planned tokens differ between futures: uncertain tokens that are not committed next."""
    uncertain = find_planned(levels, planned) & (levels > 0)
    return uncertain & ~find_next_committed(levels, num_levels, planned)


def guidance_gradient(
    model: DiffusionForcing,
    tokens: Tokens,
    x0: Tokens,
    levels: Levels,
    guidance: Guidance,
    generators: list[torch.Generator],
    planned: slice = EVERY_TOKEN,
    memory: Memory | None = None,
) -> Tokens:
    """Return ∇ log c with respect to ``tokens`` (§3.4, App. C.5).

    Plain guidance takes the gradient of the score of the predicted plan. Monte-Carlo guidance takes, for the tokens
    that are committed next, the mean gradient over N futures, in which all later uncertain tokens are drawn anew.

    With one of ``future_steps`` the later tokens follow the plain gradient. With more they are not guided: they stand
    for what may happen after the committed tokens, and guiding them would assume luck.

    Args:
        model: predicts x0.
        tokens: noisy sequences; they require a gradient unless futures are drawn.
        x0: predicted from them.
        levels: of the tokens.
        guidance: how to steer.
        generators: one random stream per sequence.
        planned: positions in time of the plan. The guide is shown these tokens only.
        memory: a causal model's memory of the settled tokens.
    """
    if not guidance.draws_futures:
        with torch.enable_grad():
            return torch.autograd.grad(score_plans(model, x0[:, None], guidance, planned), tokens)[0]
    tokens, x0 = tokens.detach(), x0.detach()
    copies = draw_futures(model, tokens, x0, levels, guidance.num_futures, generators, planned)
    if guidance.future_steps == 1:  # the sequence itself is one more copy, for the plain gradient
        copies = torch.cat([copies, tokens[:, None]], dim=1)
    copies.requires_grad_()
    sizes, num_levels = copies.shape[:2], model.config.num_levels
    if memory is not None:
        memory = memory.repeat_interleave(sizes[1])
    seen = 0 if memory is None else memory.time
    redrawn = find_redrawn(levels, num_levels, planned)
    with torch.enable_grad():
        noisy, now = copies.flatten(0, 1), levels
        for left in reversed(range(guidance.future_steps)):  # the tokens committed next keep their level
            later, _ = predict(model, noisy, now, guidance.goal_strength, memory)
            if left:
                then = torch.where(redrawn, levels * left // guidance.future_steps, levels)
                moved = ddim_step(noisy[:, seen:], later, model.alpha_bar[now[seen:]], model.alpha_bar[then[seen:]])
                noisy, now = torch.cat([noisy[:, :seen], moved], dim=1), then
        remembered = x0[:, None, :seen].expand(*sizes, -1, -1)
        predicted = torch.cat([remembered, later.unflatten(0, sizes)], dim=2)
        (gradients,) = torch.autograd.grad(score_plans(model, predicted, guidance, planned), copies)
    futures = gradients[:, : guidance.num_futures].mean(dim=1)
    plain = gradients[:, -1] if guidance.future_steps == 1 else torch.zeros_like(tokens)
    return torch.where(find_next_committed(levels, num_levels, planned)[:, None], futures, plain)


def score_plans(
    model: DiffusionForcing,
    x0: Float[Tensor, "batch copy time channel"],
    guidance: Guidance,
    planned: slice = EVERY_TOKEN,
) -> Float[Tensor, ""]:
    """Return the sum of log c over all copies of all plans: the guide's scores divided by the steps per token.

    A guide has one goal per plan. A ``StepwiseGuide`` scores all copies of a plan as one long plan; any other guide
    scores one copy of every plan at a time.
    """
    guide = guidance.guide
    if guide is None:
        raise ValueError("plans cannot be scored, because there is no guide")
    if isinstance(guide, StepwiseGuide):
        plans = model.codec.decode(x0[:, :, planned].flatten(1, 2))
        return check_scores(guide(plans), len(plans.rewards)).sum() / model.config.frame_stack
    plans = model.codec.decode(x0[:, :, planned].flatten(0, 1))
    parts = (plans.observations, plans.actions, plans.rewards)
    copies = zip(*(part.unflatten(0, x0.shape[:2]).unbind(dim=1) for part in parts))
    scores = [check_scores(guide(Trajectories(*copy)), len(x0)).sum() for copy in copies]
    return sum(scores[1:], scores[0]) / model.config.frame_stack


def draw_futures(
    model: DiffusionForcing,
    tokens: Tokens,
    x0: Tokens,
    levels: Levels,
    num_futures: int,
    generators: list[torch.Generator],
    planned: slice = EVERY_TOKEN,
) -> Float[Tensor, "batch future time channel"]:
    """Return copies of the sequences whose later uncertain tokens are drawn independently in each copy.

    A token at level k takes one step back to k/2 along the model's prediction, and one step forth with new noise (App.
    B.5). Pure noise is drawn anew, which is the limit of the same formula.
    """
    num_levels = model.config.num_levels
    redrawn = find_redrawn(levels, num_levels, planned)
    lower = torch.where(redrawn & (levels < num_levels), levels // 2, levels)
    alpha_bar, lower_alpha_bar = model.alpha_bar[levels], model.alpha_bar[lower]
    backward = ddim_step(tokens, x0, alpha_bar, lower_alpha_bar)
    kept = torch.where(levels == num_levels, 0.0, alpha_bar / lower_alpha_bar.clamp_min(1e-12))
    noise = draw_noise((num_futures, *tokens.shape[1:]), generators, tokens.device)
    noise = noise * model.codec.used_channels(tokens.shape[1] - FIRST_PLANNED)
    forward = add_noise(backward[:, None].expand_as(noise), kept.expand(noise.shape[:-1]), noise)
    return torch.where(redrawn[:, None], forward, tokens[:, None])


def shift_x0(
    model: DiffusionForcing, gradient: Tokens, levels: Levels, guidance: Guidance, planned: slice = EVERY_TOKEN
) -> Tokens:
    """Return the change of x0 by guidance: s (1 − ᾱ) / √ᾱ · ∇ log c, at most ``max_shift``.

    It is the x0 that belongs to the guided noise ε − s √(1 − ᾱ) ∇ log c (Dhariwal & Nichol 2021).
    """
    alpha_bar = model.alpha_bar[levels][:, None]
    factor = (1 - alpha_bar) / alpha_bar.clamp_min(1e-12).sqrt()
    is_guided = find_guided(levels, model.config.num_levels, planned)[:, None]
    scale = guidance.scale[:, None, None] if isinstance(guidance.scale, Tensor) else guidance.scale
    shift = torch.where(is_guided, scale * factor * gradient, 0.0)
    if guidance.max_shift is None:
        return shift
    size = shift.square().mean(dim=-1, keepdim=True).sqrt()  # of each token
    return shift * (guidance.max_shift / size.clamp_min(guidance.max_shift))
