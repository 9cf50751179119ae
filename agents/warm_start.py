"""Warm start: the next plan begins from what is left of the last one instead of from pure noise."""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from dfplan.diffusion_forcing import DiffusionForcing
from dfplan.noise import add_noise
from dfplan.tokens import Trajectories

Tokens = Float[Tensor, "batch time channel"]


def warm_start(
    model: DiffusionForcing,
    matrix: Int[Tensor, "row time"],
    tokens: Tokens,
    planned: slice,
    rest: list[np.ndarray],
    share: float,
) -> tuple[Int[Tensor, "remaining_row time"], Tokens]:
    """Return scheduling matrix and first row of sequences whose plan begins from a guess at a middle level.

    The levels of planned tokens begin no higher than that, and rows in which nothing is left to do are dropped. What
    was drawn as pure noise becomes the noise on the guess.
    Source: SDEdit (Meng et al. 2022), with the rest of the last plan as the guess; Diffuser's warm start (Janner et al.
    2022, §5.4) noises its last plan for a few steps too.

    Args:
        model: knows levels and tokens.
        matrix: levels as for a plan from pure noise.
        tokens: sequences before sampling, pure noise where the plan will be.
        planned: positions in time of the plan.
        rest: observations, actions and rewards of the guess, step by step in environment units.
        share: the level, as a share of K.
    """
    level = max(1, round(share * model.config.num_levels))
    matrix, tokens = matrix.clone(), tokens.clone()
    matrix[:, planned] = matrix[:, planned].clamp(max=level)
    parts = (torch.as_tensor(part, dtype=torch.float32, device=tokens.device) for part in rest)
    guess = model.codec.encode(Trajectories(*parts))
    alpha_bar = model.alpha_bar[matrix[0, planned]].expand(len(tokens), -1)
    tokens[:, planned] = add_noise(guess, alpha_bar, tokens[:, planned])
    return torch.unique_consecutive(matrix, dim=0), tokens
