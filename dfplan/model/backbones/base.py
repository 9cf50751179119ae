"""The parts that all backbones share: the embedding of (noisy token, level, role), and the memory of earlier tokens."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from dfplan.config import ModelConfig
from dfplan.model.tokens import FIRST_PLANNED, GOAL

MAX_LEVEL_PERIOD = 10_000.0  # longest period of the sinusoidal embedding of levels, in levels

# For small matrix products CPUs use other kernels, which round differently: below 4 rows per thread, and on some CPUs
# below 16 rows in total. Both minimums are at least as large.
MINIMUM_ROWS, MINIMUM_ROWS_PER_THREAD = 16, 8


@dataclass(frozen=True)
class Memory:
    """The memory of a causal backbone: everything it keeps of the tokens seen so far, the latent of Alg. 2.

    Attributes:
        time: number of tokens seen.
        state: tensors that depend on the kind of backbone; the first axis of each is the batch.
    """

    time: int
    state: tuple[Tensor, ...]

    def repeat_interleave(self, copies: int) -> "Memory":
        """Return the memory of a batch that contains each sequence ``copies`` times in a row."""
        return Memory(self.time, tuple(part.repeat_interleave(copies, dim=0) for part in self.state))


def compute_frequencies(number: int, max_period: float) -> Float[Tensor, " frequency"]:
    """Return ``number`` frequencies that fall geometrically from 1 towards 1 / ``max_period`` (Vaswani et al. 2017)."""
    return torch.exp(-math.log(max_period) * torch.arange(number) / number)


def sinusoidal_embedding(
    values: Float[Tensor, "*shape"] | Int[Tensor, "*shape"], frequencies: Float[Tensor, " frequency"]
) -> Float[Tensor, "*shape dim"]:
    """Return the sines of value times frequency, followed by the cosines."""
    angle = values[..., None] * frequencies
    return torch.cat([angle.sin(), angle.cos()], dim=-1)


def find_minimum_rows() -> int:
    """Return the minimum number of rows of a matrix product; ``pad_rows`` fills up products with fewer rows."""
    return max(MINIMUM_ROWS, MINIMUM_ROWS_PER_THREAD * torch.get_num_threads())


def pad_rows(features: Float[Tensor, "*shape channel"]) -> Float[Tensor, "row channel"]:
    """Return the features as contiguous rows, with rows of zeros added up to the minimum (``find_minimum_rows``).

    On CPUs, matrix products round differently if they have few rows, or if the rows are not contiguous because the
    sequences are parts of longer ones.
    """
    rows = features.flatten(0, -2)
    missing = find_minimum_rows() - rows.shape[0]
    return functional.pad(rows, (0, 0, 0, missing)) if missing > 0 else rows


class BatchInvariantLinear(nn.Linear):
    """A linear layer whose output for a token is bit-equal whatever the number of tokens in the batch.

    In evaluation mode on CPUs its rows are padded (``pad_rows``). In training the equality is not needed.
    """

    def forward(self, features: Float[Tensor, "*shape from"]) -> Float[Tensor, "*shape to"]:
        """Return the transformed features."""
        if self.training or features.is_cuda:
            return super().forward(features)
        number = math.prod(features.shape[:-1])
        return super().forward(pad_rows(features))[:number].unflatten(0, features.shape[:-1])


class Backbone(nn.Module):
    """A network over [goal, start, tokens] that predicts clean tokens from noisy tokens and their levels.

    ``forward(noisy, levels, memory=None, keep=0)`` returns the prediction x0 of the given tokens, and the memory
    extended by the first ``keep`` of them. The tokens follow those in the memory, and the prediction is the same as if
    all tokens were given at once. A memory has no gradient. ``levels`` may be one row for the whole batch.
    """

    level_frequencies: Float[Tensor, " frequency"]
    octaves: Float[Tensor, " octave"]

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        self.embed_token = BatchInvariantLinear(config.token_dim, config.width)
        self.embed_level = nn.Sequential(
            BatchInvariantLinear(config.width, config.width),
            nn.SiLU(),
            BatchInvariantLinear(config.width, config.width),
        )
        if config.fine_frequencies:
            self.embed_fine = BatchInvariantLinear(
                2 * config.task.observation_dim * config.fine_frequencies, config.width, bias=False
            )
        self.embed_role = nn.Parameter(torch.randn(FIRST_PLANNED + 1, config.width))  # goal, start, planned token
        # Constants are buffers, because computing them in each pass would take a tenth of its time at batch size 1.
        self.register_buffer(
            "level_frequencies", compute_frequencies(config.width // 2, MAX_LEVEL_PERIOD), persistent=False
        )
        self.register_buffer("octaves", torch.pi * 2.0 ** torch.arange(config.fine_frequencies), persistent=False)

    def embed(
        self,
        noisy: Float[Tensor, "batch time channel"],
        levels: Int[Tensor, "#batch time"],
        seen: int,
    ) -> Float[Tensor, "batch time width"]:
        """Return the embedded tokens, which follow ``seen`` earlier tokens of their sequences.

        A masked goal (level K) is replaced by zeros, because its noise has no information and differs in every plan.
        """
        if not seen:
            noisy = self._hide_masked_goal(noisy, levels)
        level = self.embed_level(sinusoidal_embedding(levels, self.level_frequencies))
        roles = torch.arange(seen, seen + noisy.shape[1], device=noisy.device).clamp_max(FIRST_PLANNED)
        embedded = self.embed_token(noisy) + level + self.embed_role[roles]
        given = noisy[:, : max(0, FIRST_PLANNED - seen)]
        if not self.config.fine_frequencies or not given.shape[1]:
            return embedded
        return embedded + functional.pad(self._embed_fine(given), (0, 0, 0, noisy.shape[1] - given.shape[1]))

    def _hide_masked_goal(
        self, noisy: Float[Tensor, "batch time channel"], levels: Int[Tensor, "#batch time"]
    ) -> Float[Tensor, "batch time channel"]:
        """Return the tokens with masked goals replaced by zeros."""
        hidden = torch.zeros_like(levels, dtype=torch.bool)
        hidden[:, GOAL] = levels[:, GOAL] == self.config.num_levels
        return noisy.masked_fill(hidden[..., None], 0.0)

    def _embed_fine(self, given: Float[Tensor, "batch given channel"]) -> Float[Tensor, "batch given width"]:
        """Return an embedding of the sines and cosines of goal and start (Tancik et al. 2020).

        To hold a goal, actions must react to a hundredth of the maze's size, which a linear embedding hardly resolves.
        """
        angle = (given[..., : self.config.task.observation_dim, None] * self.octaves).flatten(-2)
        return self.embed_fine(torch.cat([angle.sin(), angle.cos()], dim=-1))
