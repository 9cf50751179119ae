"""Warm start: a plan begins from the rest of the last plan instead of from pure noise."""

from collections.abc import Sequence as Parts

import numpy as np
import torch

from dfplan.data.trajectories import Trajectories
from dfplan.model.diffusion_forcing import DiffusionForcing
from dfplan.model.noise import add_noise
from dfplan.sampling.sequence import Sequence


def start_warm(model: DiffusionForcing, sequence: Sequence, guess: Parts[np.ndarray], share: float) -> Sequence:
    """Return sequences whose plan begins from a guess at a middle level.

    The planned tokens begin no higher than that level, and rows in which nothing is left to do are dropped. The noise
    that was drawn for the plan becomes the noise on the guess.
    Source: SDEdit (Meng et al. 2022), with the rest of the last plan as the guess; Diffuser's warm start (Janner et al.
    2022, §5.4) also noises its last plan for a few steps.

    Args:
        model: knows levels and tokens.
        sequence: as for a plan from pure noise.
        guess: observations, actions and rewards of each step, in environment units.
        share: the level, as a share of K.
    """
    level, planned = max(1, round(share * model.config.num_levels)), sequence.planned
    matrix, tokens = sequence.matrix.clone(), sequence.tokens.clone()
    matrix[:, planned] = matrix[:, planned].clamp(max=level)
    parts = (torch.as_tensor(part, dtype=torch.float32, device=tokens.device) for part in guess)
    encoded = model.codec.encode(Trajectories(*parts))
    alpha_bar = model.alpha_bar[matrix[0, planned]].expand(len(tokens), -1)
    tokens[:, planned] = add_noise(encoded, alpha_bar, tokens[:, planned])
    return Sequence(tokens, torch.unique_consecutive(matrix, dim=0), planned)
