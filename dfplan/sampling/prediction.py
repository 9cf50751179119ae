"""Predicts the clean tokens of sequences while the sampler denoises them row by row.

A causal model need not look at every token in every row. Tokens that have reached their last level are kept in its
memory, like the executed history (the posterior of Alg. 2). Tokens after the last one that moves in a row are left out.
Any other model looks at whole sequences in every row.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dfplan.model.backbones import Memory
from dfplan.model.diffusion_forcing import DiffusionForcing
from dfplan.model.tokens import GOAL

Tokens = Float[Tensor, "batch time channel"]


def add_masked_copies(
    model: DiffusionForcing, tokens: Tokens, levels: Int[Tensor, " time"], goal_strength: float
) -> tuple[Float[Tensor, "sequence time channel"], Int[Tensor, "_ time"]]:
    """Return the sequences that the network is run on, and their levels: one row if all sequences have the same.

    For classifier-free guidance (``goal_strength`` other than 1) these are the sequences and then copies of them whose
    goal is masked.
    """
    if goal_strength == 1.0:
        return tokens, levels[None]
    masked_levels = levels.clone()
    masked_levels[GOAL] = model.config.num_levels  # the network itself hides a goal at this level
    both = torch.stack([levels, masked_levels]).repeat_interleave(len(tokens), dim=0)
    return torch.cat([tokens, tokens]), both


def predict(
    model: DiffusionForcing,
    tokens: Tokens,
    levels: Int[Tensor, " time"],
    goal_strength: float = 1.0,
    memory: Memory | None = None,
    keep: int = 0,
) -> tuple[Float[Tensor, "batch later_time channel"], Memory | None]:
    """Return x0 of the tokens after those in ``memory``, and the memory extended to the first ``keep`` tokens.

    With classifier-free guidance x0 is extrapolated from the unconditional towards the goal-conditioned prediction. A
    token at level 0 is its own x0, because training does not supervise the network's output there.

    Args:
        model: predicts x0.
        tokens: whole sequences, from the goal on.
        levels: of the tokens.
        goal_strength: weight of the goal-conditioned prediction; 1 uses it alone.
        memory: a causal model's memory of the first tokens of ``add_masked_copies(...)``.
        keep: number of tokens that the memory is to hold; 0 unless the model is causal. A longer memory stays.
    """
    seen = 0 if memory is None else memory.time
    asked, asked_levels = add_masked_copies(model, tokens, levels, goal_strength)
    if model.config.causal:
        x0, memory = model.backbone(asked[:, seen:], asked_levels[:, seen:], memory, max(0, keep - seen))
    else:
        x0, memory = model.backbone(asked, asked_levels.expand(len(asked), -1))
    if goal_strength != 1.0:
        conditioned, unconditional = x0.chunk(2)
        x0 = unconditional + goal_strength * (conditioned - unconditional)
    return torch.where((levels[seen:] == 0)[:, None], tokens[:, seen:], x0), memory


def find_moving_tokens(matrix: Int[Tensor, "row time"]) -> list[tuple[int, slice]]:
    """Return for each step from row to row the number of settled tokens, and the range of tokens that move.

    Settled tokens stand at the beginning and move in no later step. The last token never counts as settled, so that the
    network always has a token to look at. The range reaches from the first to the last token that moves in the step.
    """
    steps, settled = [], matrix.shape[1] - 1
    for moves in (matrix[1:] != matrix[:-1]).cpu().numpy()[::-1]:  # from the last step to the first
        times = moves.nonzero()[0].tolist()
        moving = slice(times[0], times[-1] + 1) if times else slice(0, 0)
        settled = min([settled, *times[:1]])
        steps.append((settled, moving))
    return steps[::-1]
