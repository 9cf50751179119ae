"""What all backbones share: the embedding of (noisy token, level, role), and what they remember of earlier tokens."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from dfplan.config import ModelConfig
from dfplan.tokens import FIRST_PLANNED, GOAL

MAX_LEVEL_PERIOD = 10_000.0  # of the sinusoidal embedding of levels

# CPUs use other kernels, which round differently, for small products: below 4 rows per thread, on some CPUs below 16
# rows in all.
STEADY_ROWS, STEADY_ROWS_PER_THREAD = 16, 8


@dataclass(frozen=True)
class Memory:
    """All that a causal backbone keeps of the first tokens of sequences: the latent of Alg. 2 after its updates.

    Attributes:
        time: number of tokens seen.
        state: the backbone's own; the first axis of each part is the batch.
    """

    time: int
    state: tuple[Tensor, ...]

    def repeat_interleave(self, copies: int) -> "Memory":
        """Return the memory of a batch in which each sequence is followed by ``copies`` - 1 copies of itself."""
        return Memory(self.time, tuple(part.repeat_interleave(copies, dim=0) for part in self.state))


def falling_frequencies(number: int, max_period: float) -> Float[Tensor, " frequency"]:
    """Return frequencies that fall from 1 towards 1 / ``max_period`` (Vaswani et al. 2017)."""
    return torch.exp(-math.log(max_period) * torch.arange(number) / number)


def sinusoidal_embedding(
    values: Float[Tensor, "*shape"] | Int[Tensor, "*shape"], frequencies: Float[Tensor, " frequency"]
) -> Float[Tensor, "*shape dim"]:
    """Return sines, then cosines, of the values at each frequency."""
    angle = values[..., None] * frequencies
    return torch.cat([angle.sin(), angle.cos()], dim=-1)


def fewest_steady_rows() -> int:
    """Return the number of rows to which products of fewer rows are filled up."""
    return max(STEADY_ROWS, STEADY_ROWS_PER_THREAD * torch.get_num_threads())


def line_up(features: Float[Tensor, "*shape channel"]) -> Float[Tensor, "row channel"]:
    """Return features as rows that follow each other in memory, filled up with zeros to the fewest steady rows.

    On CPUs, matrix products round otherwise with few rows, or when those of a batch are parts of longer sequences.
    """
    rows = features.flatten(0, -2)
    missing = fewest_steady_rows() - rows.shape[0]
    return functional.pad(rows, (0, 0, 0, missing)) if missing > 0 else rows


class SteadyLinear(nn.Linear):
    """A linear layer whose outputs are the same to the last bit however few rows (tokens) stand beside each other.

    When a model is used, its rows are lined up (``line_up``); in training they need not be.
    """

    def forward(self, features: Float[Tensor, "*shape from"]) -> Float[Tensor, "*shape to"]:
        """Return the transformed features."""
        if self.training or features.is_cuda:
            return super().forward(features)
        number = math.prod(features.shape[:-1])
        return super().forward(line_up(features))[:number].unflatten(0, features.shape[:-1])


class Backbone(nn.Module):
    """A network over [goal, start, tokens] that predicts clean tokens from noisy ones and their levels.

    Its ``forward(noisy, levels, memory=None, keep=0)`` returns x0 of tokens that follow those remembered, as if it had
    been shown all of them at once, and the memory extended by the first ``keep`` of these tokens. A memory carries no
    gradient. Levels may be one row for the whole batch.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        self.embed_token = SteadyLinear(config.token_dim, config.width)
        self.embed_level = nn.Sequential(
            SteadyLinear(config.width, config.width), nn.SiLU(), SteadyLinear(config.width, config.width)
        )
        if config.fine_frequencies:
            self.embed_fine = SteadyLinear(
                2 * config.observation_dim * config.fine_frequencies, config.width, bias=False
            )
        self.embed_role = nn.Parameter(torch.randn(FIRST_PLANNED + 1, config.width))  # goal, start, planned token
        # Constants: made anew in each pass, they would be a tenth of it at batch 1.
        self.register_buffer(
            "level_frequencies", falling_frequencies(config.width // 2, MAX_LEVEL_PERIOD), persistent=False
        )
        self.register_buffer("octaves", torch.pi * 2.0 ** torch.arange(config.fine_frequencies), persistent=False)

    def embed(
        self,
        noisy: Float[Tensor, "batch time channel"],
        levels: Int[Tensor, "#batch time"],
        seen: int,
    ) -> Float[Tensor, "batch time width"]:
        """Return the embedded tokens, before which ``seen`` others stand in their sequence.

        A masked goal (level K) is shown as zeros: its noise would tell the network nothing, and differ in every plan.
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
        """Return the tokens with zeros in place of the goals that are masked."""
        hidden = torch.zeros_like(levels, dtype=torch.bool)
        hidden[:, GOAL] = levels[:, GOAL] == self.config.num_levels
        return noisy.masked_fill(hidden[..., None], 0.0)

    def _embed_fine(self, given: Float[Tensor, "batch given channel"]) -> Float[Tensor, "batch given width"]:
        """Return embedded sines and cosines of goal and start (Tancik et al. 2020).

        An action that holds the goal turns on a hundredth of the maze, to which a linear embedding is nearly blind.
        """
        angle = (given[..., : self.config.observation_dim, None] * self.octaves).flatten(-2)
        return self.embed_fine(torch.cat([angle.sin(), angle.cos()], dim=-1))
