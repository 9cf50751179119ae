"""Scheduling matrices (§3.2, App. B.7, C.2): which noise level every token has after every step of sampling.

Row m holds the level of every token after m sampling steps, in levels of the model: the first row is pure noise
(``num_levels``), the last row is clean (0), and levels never rise from row to row. The matrix is chosen at sampling
time: the same weights can follow any of them.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from dfplan.ground.errors import InputError, choose

ROUNDING = 1e-9  # levels or steps; far below one of them, above the errors of double precision

Matrix = Int[Tensor, "row time"]


def make_pyramid(num_tokens: int, sampling_steps: int, num_levels: int, uncertainty_scale: float = 1.0) -> Matrix:
    """Return levels that denoise the near future before the far future, the zig-zag (App. B.7, Eq. B.1).

    A sampling step lowers a token by ``num_levels / sampling_steps`` levels. Token t lags behind token 0 by
    ``t * uncertainty_scale`` of these steps, measured in levels and rounded down to a whole level. The paper's released
    code rounds the lag down to whole sampling steps, so at a small scale many tokens move together.

    Args:
        num_tokens: tokens in the plan.
        sampling_steps: denoising steps of a token. If a token's lag is a fraction of a step, its first and its last
            step are fractions of a step too.
        num_levels: K of the model; level K is pure noise, level 0 is clean.
        uncertainty_scale: sampling steps by which a token lags behind its predecessor; 0 denoises the full sequence
            at once.

    Raises:
        ValueError: if a count is below 1, there are more steps than levels, or ``uncertainty_scale`` is negative.
    """
    if num_tokens < 1 or not 1 <= sampling_steps <= num_levels or not uncertainty_scale >= 0:
        raise ValueError(f"no pyramid for {num_tokens=}, {sampling_steps=}, {num_levels=}, {uncertainty_scale=}")
    lag = torch.arange(num_tokens, dtype=torch.float64) * uncertainty_scale  # sampling steps, (time,)
    step = torch.arange(sampling_steps + math.ceil(lag[-1] - ROUNDING) + 1)  # (row,)
    levels = (sampling_steps + lag - step[:, None]) * num_levels / sampling_steps
    return (levels + ROUNDING).floor().long().clamp(0, num_levels)


def make_full_sequence(num_tokens: int, sampling_steps: int, num_levels: int, uncertainty_scale: float = 1.0) -> Matrix:
    """Return levels that are equal over time, as in full-sequence diffusion; ``uncertainty_scale`` is ignored."""
    return make_pyramid(num_tokens, sampling_steps, num_levels, uncertainty_scale=0.0)


def make_autoregressive(
    num_tokens: int, sampling_steps: int, num_levels: int, uncertainty_scale: float = 1.0
) -> Matrix:
    """Return levels that denoise one token entirely before the next; ``uncertainty_scale`` is ignored."""
    return make_pyramid(num_tokens, sampling_steps, num_levels, uncertainty_scale=float(sampling_steps))


def make_trapezoid(num_tokens: int, sampling_steps: int, num_levels: int, uncertainty_scale: float = 1.0) -> Matrix:
    """Return levels that denoise both ends before the middle (App. C.2), for plans whose start and end are known.

    Every column starts at pure noise, also the middle one, which starts clean in the paper's released code.
    """
    distance_to_end = torch.minimum(torch.arange(num_tokens), torch.arange(num_tokens).flip(0))
    return make_pyramid((num_tokens + 1) // 2, sampling_steps, num_levels, uncertainty_scale)[:, distance_to_end]


def place_columns(
    levels: Int[Tensor, " time"], where: slice | Bool[Tensor, " time"], columns: Int[Tensor, "row some_time"]
) -> Matrix:
    """Return a matrix in which ``columns`` stand at the positions ``where``, and all other tokens keep ``levels``."""
    matrix = levels.repeat(len(columns), 1)
    matrix[:, where] = columns
    return matrix


SCHEDULES: dict[str, Callable[[int, int, int, float], Matrix]] = {
    "pyramid": make_pyramid,
    "full_sequence": make_full_sequence,
    "autoregressive": make_autoregressive,
    "trapezoid": make_trapezoid,
}


def scheduling_matrix(
    schedule: str | np.ndarray | Tensor, num_tokens: int, sampling_steps: int, num_levels: int, uncertainty_scale: float
) -> Matrix:
    """Return the matrix of a named schedule, or the user's own after a check, in the model's levels.

    Args:
        schedule: a name in ``SCHEDULES``, or an array (row, time) of model levels, of which a shorter plan takes the
            first columns.
        num_tokens: tokens in the plan.
        sampling_steps: denoising steps of each token; they divide the model's levels evenly. Ignored for an array.
        num_levels: K of the model.
        uncertainty_scale: see ``make_pyramid``.

    Raises:
        InputError: if the name is unknown, there are more steps than levels, or the array has another number of tokens
            or is no scheduling matrix.
    """
    if isinstance(schedule, str):
        if sampling_steps > num_levels:
            raise InputError(f"{sampling_steps} sampling steps are more than the model's {num_levels} levels.")
        return choose("schedule", schedule, SCHEDULES)(num_tokens, sampling_steps, num_levels, uncertainty_scale)
    matrix = torch.as_tensor(schedule)
    if matrix.ndim != 2 or matrix.shape[1] < num_tokens or matrix.is_floating_point():
        given = f"{tuple(matrix.shape)} of {matrix.dtype}"
        raise InputError(f"a schedule {given} does not fit integers (row, {num_tokens} or more).")
    if (matrix[0] != num_levels).any() or (matrix[-1] != 0).any() or (matrix.diff(dim=0) > 0).any():
        raise InputError(
            f"a schedule must fall from {num_levels} in its first row to 0 in its last and never rise in between."
        )
    return matrix[:, :num_tokens].long()
