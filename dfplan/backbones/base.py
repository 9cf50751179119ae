"""What all backbones share: the embedding of (noisy token, level, role), and what they remember of earlier tokens."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from dfplan.config import ModelConfig
from dfplan.tokens import FIRST_PLANNED

MAX_LEVEL_PERIOD = 10_000.0  # of the sinusoidal embedding of levels

# All that a causal backbone keeps of the tokens it has seen: tensors whose first axis is the batch.
State = tuple[Tensor, ...]


@dataclass(frozen=True)
class Memory:
    """Known tokens and what a causal backbone keeps of them: the latent of Alg. 2 after its posterior updates.

    Attributes:
        tokens: the tokens seen so far.
        levels: the levels at which they were seen.
        state: the backbone's.
    """

    tokens: Float[Tensor, "batch time channel"]
    levels: Int[Tensor, "batch time"]
    state: State

    @property
    def time(self) -> int:
        """Number of tokens seen."""
        return self.tokens.shape[1]

    def repeat_interleave(self, copies: int) -> "Memory":
        """Return the memory of a batch in which each row is followed by ``copies`` - 1 copies of itself."""
        repeated = (part.repeat_interleave(copies, dim=0) for part in (self.tokens, self.levels, *self.state))
        tokens, levels, *state = repeated
        return Memory(tokens, levels, tuple(state))


def angles(values: Int[Tensor, "*shape"], num_frequencies: int, max_period: float) -> Float[Tensor, "*shape frequency"]:
    """Return ``values`` times frequencies that fall from 1 towards 1 / ``max_period`` (Vaswani et al. 2017)."""
    share = torch.arange(num_frequencies, device=values.device) / num_frequencies
    return values[..., None] * torch.exp(-math.log(max_period) * share)


def sinusoidal_embedding(levels: Int[Tensor, "*shape"], dim: int) -> Float[Tensor, "*shape dim"]:
    """Return sines and cosines of the levels at ``dim / 2`` frequencies."""
    angle = angles(levels, dim // 2, MAX_LEVEL_PERIOD)
    return torch.cat([angle.sin(), angle.cos()], dim=-1)


class Backbone(nn.Module):
    """A network over [goal, start, tokens] that predicts clean tokens from noisy ones and their levels.

    Its ``forward(noisy, levels, state=None)`` returns x0 and the state after these tokens, from which a later call
    goes on as if it had been shown all tokens at once.

    Attributes:
        STEADY_ROWS: number of rows (tokens of all sequences) from which on a sequence is predicted the same to the
            last bit alone and beside others; 1 where no number does that.
    """

    STEADY_ROWS = 1

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        self.embed_token = nn.Linear(config.token_dim, config.width)
        self.embed_level = nn.Sequential(
            nn.Linear(config.width, config.width), nn.SiLU(), nn.Linear(config.width, config.width)
        )
        self.embed_role = nn.Parameter(torch.randn(FIRST_PLANNED + 1, config.width))  # goal, start, planned token

    def embed(
        self,
        noisy: Float[Tensor, "batch time channel"],
        levels: Int[Tensor, "batch time"],
        times: Int[Tensor, " time"],
    ) -> Float[Tensor, "batch time width"]:
        """Return the embedded tokens, which stand at ``times`` in their sequence."""
        level = self.embed_level(sinusoidal_embedding(levels, self.config.width))
        return self.embed_token(noisy) + level + self.embed_role[times.clamp_max(FIRST_PLANNED)]
