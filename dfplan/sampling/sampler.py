"""Sampling (Alg. 2): follow a scheduling matrix row by row, with guidance through the network's prediction of x0.

Tokens that are given keep a constant level in their column of the matrix, and are never changed. A given token that is
doubted (§4.4) has a column that falls: it is inferred together with the plan, but only planned tokens are guided.

A causal model looks at a settled token once more and then keeps it in its memory. It does not look at tokens after the
last one that moves in a row, unless a guide or ``on_row`` needs the whole plan.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dfplan.ground.errors import InputError, choose
from dfplan.model.backbones import Memory
from dfplan.model.diffusion_forcing import DiffusionForcing
from dfplan.model.noise import SOLVERS, ddim_step
from dfplan.model.tokens import FIRST_PLANNED
from dfplan.sampling.guidance import UNGUIDED, Guidance, find_guided, find_planned, guidance_gradient, shift_x0
from dfplan.sampling.prediction import find_moving_tokens, predict
from dfplan.sampling.sequence import Sequence

Tokens = Float[Tensor, "batch time channel"]


def sample(
    model: DiffusionForcing,
    sequence: Sequence,
    generators: list[torch.Generator],
    guidance: Guidance = UNGUIDED,
    solver: str = "ddim",
    on_row: Callable[[Tokens, Int[Tensor, " time"]], None] | None = None,
    memory: Memory | None = None,
) -> Tokens:
    """Return the tokens (batch, time, channel) after the last row of the scheduling matrix.

    Args:
        model: predicts x0.
        sequence: the sequences before sampling (``build_sequence``).
        generators: one random stream per sequence, for the futures of Monte-Carlo guidance.
        guidance: how to steer.
        solver: what each step aims at, a name in ``dfplan.model.noise.SOLVERS``.
        on_row: called with the predicted clean sequences and their levels before the step of every row.
        memory: a causal model's memory of constant tokens at the beginning of these sequences, or of their
            ``add_masked_copies``.

    Raises:
        InputError: if there is no such solver, or the guide could not move some of the planned tokens.
    """
    aim = choose("solver", solver, SOLVERS)
    matrix, planned, num_levels = sequence.matrix, sequence.planned, model.config.num_levels
    if guidance.guide is not None:
        _check_guided(matrix, num_levels, planned)
    in_full = not model.config.causal or guidance.guide is not None or on_row is not None
    with torch.no_grad(), torch.inference_mode(guidance.guide is None):  # the latter is faster but knows no gradients
        tokens = sequence.tokens.clone()
        used = model.codec.used_channels(tokens.shape[1] - FIRST_PLANNED)
        last_x0, last_target, last_levels = tokens, tokens, matrix[0]
        for levels, next_levels, (settled, moving) in zip(matrix[:-1], matrix[1:], find_moving_tokens(matrix)):
            if moving.start == moving.stop and on_row is None:
                continue
            # Predict the clean tokens, as far as they matter.
            guided = guidance.guide is not None and bool(find_guided(levels, num_levels, planned).any())
            through_x0 = guided and not guidance.draws_futures
            noisy = tokens.detach().requires_grad_(through_x0)
            stop, keep = len(levels) if in_full else moving.stop, settled if model.config.causal else 0
            seen = 0 if memory is None else memory.time
            with torch.set_grad_enabled(through_x0):
                later, memory = predict(model, noisy[:, :stop], levels[:stop], guidance.goal_strength, memory, keep)
                # The network's output in padding channels is meaningless, so it is set to zero.
                x0 = torch.cat([last_x0[:, :seen], later * used[seen:stop], noisy[:, stop:]], dim=1)
            last_x0 = target = x0.detach()
            if on_row is not None:
                on_row(target, levels)
            # Move the prediction to where the guide scores higher.
            if guided:
                gradient = guidance_gradient(model, noisy, x0, levels, guidance, generators, planned, memory)
                target = target + shift_x0(model, gradient, levels, guidance, planned)
            if guidance.in_painting is not None:
                target = guidance.in_painting.paint(target)
            # Take one step towards it with the tokens that move.
            last, now, then = last_levels[moving], levels[moving], next_levels[moving]
            aimed_at = aim(target[:, moving], last_target[:, moving], last, now, then)
            tokens[:, moving] = ddim_step(tokens[:, moving], aimed_at, model.alpha_bar[now], model.alpha_bar[then])
            if moving.start < moving.stop:  # a row in which nothing moves is no step
                last_levels, last_target = levels, target
    return tokens.clone()  # outside inference mode, so that gradients may start from it


def _check_guided(matrix: Int[Tensor, "row time"], num_levels: int, planned: slice) -> None:
    """Raise ``InputError`` if a planned token goes from pure noise to clean in one step, so that no guide can move it.

    At level K the exact shift of x0 is finite: the covariance of x0 times the slope of the score. It cannot be computed
    as at other levels, because the factor 1 / √ᾱ is infinite there and the network's gradient is 0.
    """
    between = ((matrix > 0) & (matrix < num_levels)).any(dim=0)
    unguided = find_planned(matrix[0], planned) & (matrix[0] != matrix[-1]) & ~between
    if unguided.any():
        raise InputError(
            f"{int(unguided.sum())} of the planned tokens go from noise to clean in one step, in which no guide can "
            f"move them; choose sampling_steps of 2 or more (or a schedule with levels in between), or no guide."
        )
