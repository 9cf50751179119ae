"""Sampling (Alg. 2): follow a scheduling matrix row by row, with guidance through the network's x0-prediction.

A sequence is [goal, start, tokens]; whatever is known keeps a constant level in its column of the matrix and is never
written to. What is given but doubted (§4.4) has a column that falls, and is inferred together with the plan, but only
planned tokens are guided.

To a causal model a token that has reached its last level is as good as known: it is looked at once more and then
remembered, and tokens behind the last that moves in a row are not looked at, unless somebody asks for them.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dfplan.backbones import Memory
from dfplan.diffusion_forcing import DiffusionForcing
from dfplan.envs.errors import InputError, choose
from dfplan.guidance import Guide
from dfplan.memory import Foresight, columns_at_work, predict
from dfplan.noise import SOLVERS, add_noise, ddim_step, draw_noise
from dfplan.tokens import FIRST_PLANNED, Trajectories

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

    def into(self, x0: Float[Tensor, "batch first_tokens channel"]) -> Float[Tensor, "batch first_tokens channel"]:
        """Return ``x0``, of all tokens or the first ones, with the known values in their places."""
        time = x0.shape[1]
        return torch.where(self.mask[:time], self.values[:, :time], x0)


@dataclass(frozen=True)
class Guidance:
    """How a plan is steered while it is denoised.

    Attributes:
        guide: scores plans in environment units; None leaves the model to itself.
        scale: factor on the gradient of the score; one for all plans, or one for each.
        num_futures: N of Monte-Carlo guidance (§3.4); 1 is plain guidance unless there are ``future_steps``.
        goal_strength: weight of the goal-conditioned over the unconditional prediction (classifier-free guidance); 1
            is the former alone.
        first_planned: position in time of the first token that may be guided; executed history stands before it.
        end: position behind the last planned token, None for the end of the sequence. A guide sees nothing beyond it,
            where a network that is not causal has masked tokens.
        in_painting: what must be in the plan, whatever the model and the guide say.
        solver: what a row's step aims at, a name in ``dfplan.noise.SOLVERS``.
        max_shift: the most by which one row's guidance may move x0 of a token: the root mean square over its channels,
            in standard deviations of the data; None for no limit. At high levels the factor on the gradient is large
            and the gradient says little about places as far away as that.
        future_steps: denoising steps of each drawn future; the guide scores what the last one predicts. With 1 step
            that is the prediction from the noise itself: where it is pure noise, nearly the mean of all futures.
    """

    guide: Guide | None = None
    scale: float | Float[Tensor, " batch"] = 1.0
    num_futures: int = 1
    goal_strength: float = 1.0
    first_planned: int = FIRST_PLANNED
    end: int | None = None
    in_painting: InPainting | None = None
    solver: str = "ddim"
    max_shift: float | None = None
    future_steps: int = 1

    @property
    def draws_futures(self) -> bool:
        """Whether the gradient is that of drawn futures; otherwise it goes through the prediction itself."""
        return self.num_futures > 1 or self.future_steps > 1


def sample(
    model: DiffusionForcing,
    tokens: Tokens,
    matrix: Int[Tensor, "row time"],
    generators: list[torch.Generator],
    guidance: Guidance = Guidance(),
    on_row: Callable[[Tokens, Int[Tensor, " time"]], None] | None = None,
    memory: Memory | None = None,
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
        memory: a causal model's, of tokens at the beginning of these ``questions`` that move in no row.

    Raises:
        InputError: if the solver is unknown, or the guide would have no say in some of the tokens.
    """
    aim = choose("solver", guidance.solver, SOLVERS)
    _check_guided(matrix, model.config.num_levels, guidance)
    in_full = not model.config.causal or guidance.guide is not None or on_row is not None
    with torch.no_grad(), torch.inference_mode(guidance.guide is None):  # the latter is faster but knows no gradients
        tokens = tokens.clone()
        foresight = Foresight(model, tokens, guidance.goal_strength, memory)
        last_levels, last_target = matrix[0], tokens
        for levels, next_levels, (settled, moving) in zip(matrix[:-1], matrix[1:], columns_at_work(matrix)):
            if moving.start == moving.stop and on_row is None:
                continue
            # What the model expects, of all tokens that may still matter.
            guided = guidance.guide is not None and bool(guided_at(levels, model.config.num_levels, guidance).any())
            through_x0 = guided and not guidance.draws_futures
            noisy = tokens.detach().requires_grad_(through_x0)
            with torch.set_grad_enabled(through_x0):
                x0 = foresight(noisy, levels, settled, len(levels) if in_full else moving.stop)
            target = x0.detach()
            if on_row is not None:
                on_row(target, levels)
            # What it is to become instead.
            if guided:
                gradient = monte_carlo_gradient(model, noisy, x0, levels, guidance, generators, foresight.memory)
                target = target + _shift(model, gradient, levels, guidance)
            if guidance.in_painting is not None:
                target = guidance.in_painting.into(target)
            # One step towards it, for the tokens that move.
            last, now, then = last_levels[moving], levels[moving], next_levels[moving]
            aimed_at = aim(target[:, moving], last_target[:, moving], last, now, then)
            tokens[:, moving] = ddim_step(tokens[:, moving], aimed_at, model.alpha_bar[now], model.alpha_bar[then])
            if moving.start < moving.stop:  # rows in which nothing moves are no steps, whether looked at or not
                last_levels, last_target = levels, target
    return tokens.clone()  # outside, so that gradients may start from it


def _check_guided(matrix: Int[Tensor, "row time"], num_levels: int, guidance: Guidance) -> None:
    """Raise ``InputError`` if a planned token goes from pure noise to clean in one step, so that no guide can move it.

    At level K the exact shift of x0 is finite: the covariance of x0 times the slope of the score. It cannot be computed
    as at other levels, because the factor 1 / √ᾱ is infinite there and the network's gradient is 0.
    """
    if guidance.guide is None:
        return
    between = ((matrix > 0) & (matrix < num_levels)).any(dim=0)
    unguided = planned_at(matrix[0], guidance.first_planned) & (matrix[0] != matrix[-1]) & ~between
    if unguided.any():
        raise InputError(
            f"{int(unguided.sum())} of the planned tokens go from noise to clean in one step, in which no guide can "
            f"move them; choose sampling_steps of 2 or more (or a schedule with levels in between), or no guide."
        )


def _shift(model: DiffusionForcing, gradient: Tokens, levels: Int[Tensor, " time"], guidance: Guidance) -> Tokens:
    """Return by how much guidance moves x0: s (1 − ᾱ) / √ᾱ · ∇ log c, the x0 of ε − s √(1 − ᾱ) ∇ log c, at most
    ``max_shift``.
    """
    alpha_bar = model.alpha_bar[levels][:, None]
    factor = (1 - alpha_bar) / alpha_bar.clamp_min(1e-12).sqrt()
    is_guided = guided_at(levels, model.config.num_levels, guidance)[:, None]
    scale = guidance.scale[:, None, None] if isinstance(guidance.scale, Tensor) else guidance.scale
    shift = torch.where(is_guided, scale * factor * gradient, 0.0)
    if guidance.max_shift is None:
        return shift
    size = shift.square().mean(dim=-1, keepdim=True).sqrt()  # of each token
    return shift * (guidance.max_shift / size.clamp_min(guidance.max_shift))


def guided_at(levels: Int[Tensor, " time"], num_levels: int, guidance: Guidance) -> Bool[Tensor, " time"]:
    """Return which tokens a guide moves: planned ones between clean and pure noise.

    Pure noise says nothing about x0, nor a gradient about pure noise.
    """
    return planned_at(levels, guidance.first_planned) & (levels > 0) & (levels < num_levels)


def planned_at(levels: Int[Tensor, " time"], first_planned: int = FIRST_PLANNED) -> Bool[Tensor, " time"]:
    """Return which positions in time hold planned tokens; goal, start and history before them are given or masked."""
    return torch.arange(len(levels), device=levels.device) >= first_planned


def about_to_be_committed(
    levels: Int[Tensor, " time"], num_levels: int, first_planned: int = FIRST_PLANNED
) -> Bool[Tensor, " time"]:
    """Return which planned tokens have the lowest level above 0."""
    uncertain = planned_at(levels, first_planned) & (levels > 0)
    return uncertain & (levels == torch.where(uncertain, levels, num_levels).min())


def redrawn_at(
    levels: Int[Tensor, " time"], num_levels: int, first_planned: int = FIRST_PLANNED
) -> Bool[Tensor, " time"]:
    """Return which planned tokens differ between futures: those above level 0 that are not about to be committed."""
    uncertain = planned_at(levels, first_planned) & (levels > 0)
    return uncertain & ~about_to_be_committed(levels, num_levels, first_planned)


def monte_carlo_gradient(
    model: DiffusionForcing,
    tokens: Tokens,
    x0: Tokens,
    levels: Int[Tensor, " time"],
    guidance: Guidance,
    generators: list[torch.Generator],
    memory: Memory | None = None,
) -> Tokens:
    """Return ∇ log c with respect to ``tokens`` (§3.4, App. C.5).

    For the tokens about to be committed it is the mean over N futures, in each of which all later uncertain tokens are
    drawn anew. The later tokens have the plain gradient, which is all there is with one future of one step. With more
    ``future_steps`` they have none: they are what may happen after the committed ones, and guiding them would be
    planning to be lucky.

    Args:
        model: predicts x0.
        tokens: noisy; unless futures are drawn they require a gradient.
        x0: predicted from them.
        levels: of the tokens.
        guidance: how to steer.
        generators: one per sequence.
        memory: of the tokens at the beginning that are settled.
    """
    if not guidance.draws_futures:
        with torch.enable_grad():
            return torch.autograd.grad(_score(model, x0[:, None], guidance), tokens)[0]
    tokens, x0 = tokens.detach(), x0.detach()
    copies = draw_futures(model, tokens, x0, levels, guidance, generators)
    if guidance.future_steps == 1:  # the sequence itself goes along as one more copy
        copies = torch.cat([copies, tokens[:, None]], dim=1)
    copies.requires_grad_()
    with torch.enable_grad():
        predicted = _predict_futures(model, copies, x0, levels, guidance, memory)
        (gradients,) = torch.autograd.grad(_score(model, predicted, guidance), copies)
    futures = gradients[:, : guidance.num_futures].mean(dim=1)
    later = gradients[:, -1] if guidance.future_steps == 1 else torch.zeros_like(tokens)
    committed = about_to_be_committed(levels, model.config.num_levels, guidance.first_planned)[:, None]
    return torch.where(committed, futures, later)


def _predict_futures(
    model: DiffusionForcing,
    futures: Float[Tensor, "batch future time channel"],
    x0: Tokens,
    levels: Int[Tensor, " time"],
    guidance: Guidance,
    memory: Memory | None,
) -> Float[Tensor, "batch future time channel"]:
    """Return x0 of all futures, from one batch, after ``future_steps`` denoising steps of the redrawn tokens.

    The tokens about to be committed stay at their level, so that all futures of a sequence begin alike. What is
    remembered is the same in all.
    """
    sizes, alpha_bar = futures.shape[:2], model.alpha_bar
    if memory is not None:
        memory = memory.repeat_interleave(sizes[1])
    seen = 0 if memory is None else memory.time
    noisy, redrawn = futures.flatten(0, 1), redrawn_at(levels, model.config.num_levels, guidance.first_planned)
    now = levels
    for left in reversed(range(guidance.future_steps)):
        later, _ = predict(model, noisy, now, guidance.goal_strength, memory)
        if left:
            then = torch.where(redrawn, levels * left // guidance.future_steps, levels)
            moved = ddim_step(noisy[:, seen:], later, alpha_bar[now[seen:]], alpha_bar[then[seen:]])
            noisy, now = torch.cat([noisy[:, :seen], moved], dim=1), then
    remembered = x0[:, None, :seen].expand(*sizes, -1, -1)
    return torch.cat([remembered, later.unflatten(0, sizes)], dim=2)


def _score(
    model: DiffusionForcing, x0: Float[Tensor, "batch copy time channel"], guidance: Guidance
) -> Float[Tensor, ""]:
    """Return the sum of log c over all copies of all plans: the scores divided by the steps per token.

    The guide knows of one goal per plan, so it is shown one copy of every plan at a time.
    """
    plans = model.codec.decode(x0[:, :, guidance.first_planned : guidance.end].flatten(0, 1))
    parts = (plans.observations, plans.actions, plans.rewards)
    copies = zip(*(part.unflatten(0, x0.shape[:2]).unbind(dim=1) for part in parts))
    return sum(guidance.guide(Trajectories(*copy)).sum() for copy in copies) / model.config.frame_stack


def draw_futures(
    model: DiffusionForcing, tokens: Tokens, x0: Tokens, levels: Int[Tensor, " time"], guidance: Guidance, generators
) -> Float[Tensor, "batch future time channel"]:
    """Return N copies in which every uncertain token but those about to be committed is drawn independently.

    One step backward, one forward (App. B.5): from level k down to k/2 along the model's prediction, and back up with
    new noise. Pure noise is simply drawn anew, which is what the same formula gives there.
    """
    num_levels, first = model.config.num_levels, guidance.first_planned
    redrawn = redrawn_at(levels, num_levels, first)
    lower = torch.where(redrawn & (levels < num_levels), levels // 2, levels)
    alpha_bar, lower_alpha_bar = model.alpha_bar[levels], model.alpha_bar[lower]
    backward = ddim_step(tokens, x0, alpha_bar, lower_alpha_bar)
    kept = torch.where(levels == num_levels, 0.0, alpha_bar / lower_alpha_bar.clamp_min(1e-12))
    noise = draw_noise((guidance.num_futures, *tokens.shape[1:]), generators, tokens.device)
    noise = noise * model.codec.used_channels(tokens.shape[1] - FIRST_PLANNED)
    forward = add_noise(backward[:, None].expand_as(noise), kept.expand(noise.shape[:-1]), noise)
    return torch.where(redrawn[:, None], forward, tokens[:, None])
