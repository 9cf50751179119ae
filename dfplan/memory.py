"""Predicts x0 of a plan without looking at every token: finished tokens are cached, and tokens after the last
unfinished one are skipped.

Both need a causal model. To it the executed past (the posterior of Alg. 2) and the finished tokens of a plan are the
same: a memory that is extended token by token. Any other model looks at whole sequences in every row.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dfplan.backbones import Memory
from dfplan.diffusion_forcing import DiffusionForcing
from dfplan.tokens import FIRST_PLANNED, GOAL

__all__ = ["Foresight", "Memory", "columns_at_work", "predict", "questions"]

Tokens = Float[Tensor, "batch time channel"]


def questions(
    model: DiffusionForcing, tokens: Tokens, levels: Int[Tensor, " time"], goal_strength: float
) -> tuple[Float[Tensor, "question time channel"], Int[Tensor, "_ time"]]:
    """Return the sequences that the network is asked about, and their levels: one row if all have the same.

    With classifier-free guidance they are followed by copies whose goal is masked.
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
    """Return x0 of the tokens after those remembered, and the memory of the first ``keep`` tokens, if it had fewer.

    x0 is extrapolated from the unconditional towards the goal-conditioned prediction by ``goal_strength``. A token at
    level 0 is its own x0: training never supervises what the network says of it.

    Args:
        model: predicts x0.
        tokens: sequences from their beginning.
        levels: of the tokens.
        goal_strength: 1 is the conditioned prediction alone.
        memory: a causal model's, of the beginning of these ``questions``.
        keep: 0 unless the model is causal.
    """
    seen = 0 if memory is None else memory.time
    asked, asked_levels = questions(model, tokens, levels, goal_strength)
    x0, memory = model.continued(asked[:, seen:], asked_levels[:, seen:], memory, max(0, keep - seen))
    if goal_strength != 1.0:
        conditioned, unconditional = x0.chunk(2)
        x0 = unconditional + goal_strength * (conditioned - unconditional)
    return torch.where((levels[seen:] == 0)[:, None], tokens[:, seen:], x0), memory


def columns_at_work(matrix: Int[Tensor, "row time"]) -> list[tuple[int, slice]]:
    """Return for each step from row to row how many columns at the beginning are settled, and those at work.

    Settled columns never move from this row on; the last column of all counts for none, so that there is always one to
    look at. At work are those from the first to the last that moves in this step.
    """
    work, settled = [], matrix.shape[1] - 1
    for moves in (matrix[1:] != matrix[:-1]).cpu().numpy()[::-1]:  # from the last step to the first
        columns = moves.nonzero()[0].tolist()
        moving = slice(columns[0], columns[-1] + 1) if columns else slice(0, 0)
        settled = min([settled, *columns[:1]])
        work.append((settled, moving))
    return work[::-1]


class Foresight:
    """The x0 of a batch of sequences, row after row, for which each token is looked at while it may move.

    Attributes:
        memory: of the tokens that are settled; None unless the model is causal.
    """

    def __init__(self, model: DiffusionForcing, tokens: Tokens, goal_strength: float, memory: Memory | None):
        self.model, self.goal_strength, self.memory = model, goal_strength, memory
        # The network's output in padding channels is meaningless, so it is set to zero.
        self.used = model.codec.used_channels(tokens.shape[1] - FIRST_PLANNED)
        self.x0 = tokens  # as last predicted; what was remembered from the outset is as it is given

    def __call__(self, tokens: Tokens, levels: Int[Tensor, " time"], settled: int, stop: int) -> Tokens:
        """Return x0 of the first ``stop`` tokens, and the others as they are.

        Args:
            tokens: at ``levels``.
            levels: of this row.
            settled: number of tokens at the beginning that move in no later row.
            stop: position in time behind the last token that somebody asks for.
        """
        seen = 0 if self.memory is None else self.memory.time
        keep = settled if self.model.config.causal else 0
        later, self.memory = predict(self.model, tokens[:, :stop], levels[:stop], self.goal_strength, self.memory, keep)
        x0 = torch.cat([self.x0[:, :seen], later * self.used[seen:stop], tokens[:, stop:]], dim=1)
        self.x0 = x0.detach()
        return x0
