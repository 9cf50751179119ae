"""The transformer backbone: (noisy tokens, levels) -> prediction of the clean tokens (App. C.1).

Level K masks a token, so even without a causal mask plans of any length can be drawn: what lies beyond is simply not
there.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from dfplan.config import ModelConfig
from dfplan.tokens import FIRST_PLANNED

MAX_LEVEL_PERIOD = 10_000.0  # of the sinusoidal embedding of levels
MAX_TIME_PERIOD = 100.0  # of the rotary embedding of time, in tokens: about the length of a sequence


def angles(values: Int[Tensor, "*shape"], num_frequencies: int, max_period: float) -> Float[Tensor, "*shape frequency"]:
    """Return ``values`` times frequencies that fall from 1 towards 1 / ``max_period`` (Vaswani et al. 2017)."""
    share = torch.arange(num_frequencies, device=values.device) / num_frequencies
    return values[..., None] * torch.exp(-math.log(max_period) * share)


def sinusoidal_embedding(levels: Int[Tensor, "*shape"], dim: int) -> Float[Tensor, "*shape dim"]:
    """Return sines and cosines of the levels at ``dim / 2`` frequencies."""
    angle = angles(levels, dim // 2, MAX_LEVEL_PERIOD)
    return torch.cat([angle.sin(), angle.cos()], dim=-1)


Rotation = tuple[Float[Tensor, "time frequency"], Float[Tensor, "time frequency"]]


def time_rotation(time: int, dim: int, device: torch.device) -> Rotation:
    """Return cosines and sines of the angles by which queries and keys of size ``dim`` turn (Su et al. 2021)."""
    angle = angles(torch.arange(time, device=device), dim // 2, MAX_TIME_PERIOD)
    return angle.cos(), angle.sin()


def rotate(heads: Float[Tensor, "*batch time dim"], rotation: Rotation) -> Float[Tensor, "*batch time dim"]:
    """Return queries or keys turned by their time: their products then depend on how far apart they are (RoPE)."""
    cosine, sine = (part.to(heads.dtype) for part in rotation)
    first, second = heads.chunk(2, dim=-1)
    return torch.cat([first * cosine - second * sine, second * cosine + first * sine], dim=-1)


class Attention(nn.Module):
    """Multi-head self-attention over time, with rotary embeddings."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.num_heads = config.num_heads
        self.causal = config.causal
        self.query_key_value = nn.Linear(config.width, 3 * config.width)
        self.output = nn.Linear(config.width, config.width)

    def forward(
        self, hidden: Float[Tensor, "batch time width"], rotation: Rotation
    ) -> Float[Tensor, "batch time width"]:
        """Return the attended values."""
        batch, time, width = hidden.shape
        heads = self.query_key_value(hidden).view(batch, time, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        (query, key), value = rotate(heads[:2], rotation), heads[2]  # each (batch, head, time, width / head)
        if hidden.is_cuda or self.causal:
            attended = functional.scaled_dot_product_attention(query, key, value, is_causal=self.causal)
        else:  # on CPUs in bf16 three products are several times faster than the fused kernel, in float32 as fast
            scores = (query / math.sqrt(query.shape[-1])) @ key.transpose(-1, -2)  # (batch, head, time, time)
            attended = scores.softmax(dim=-1).to(value.dtype) @ value
        return self.output(attended.transpose(1, 2).reshape(batch, time, width))


class Block(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.width)
        self.attention = Attention(config)
        self.mlp_norm = nn.LayerNorm(config.width)
        self.mlp = nn.Sequential(
            nn.Linear(config.width, 4 * config.width),
            nn.GELU(approximate="tanh"),
            nn.Linear(4 * config.width, config.width),
        )

    def forward(
        self, hidden: Float[Tensor, "batch time width"], rotation: Rotation
    ) -> Float[Tensor, "batch time width"]:
        """Return the hidden state one block on."""
        hidden = hidden + self.attention(self.attention_norm(hidden), rotation)
        return hidden + self.mlp(self.mlp_norm(hidden))


class Transformer(nn.Module):
    """Transformer over [goal, start, tokens], each with an embedding of its own noise level."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        self.embed_token = nn.Linear(config.token_dim, config.width)
        self.embed_level = nn.Sequential(
            nn.Linear(config.width, config.width), nn.SiLU(), nn.Linear(config.width, config.width)
        )
        self.embed_role = nn.Parameter(torch.randn(FIRST_PLANNED + 1, config.width))  # goal, start, planned token
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.output_norm = nn.LayerNorm(config.width)
        self.output = nn.Linear(config.width, config.token_dim)
        for block in self.blocks:  # residual branches start small, so that depth does not set the scale
            for layer in (block.attention.output, block.mlp[-1]):
                nn.init.normal_(layer.weight, std=0.02 / math.sqrt(2 * config.depth))
                nn.init.zeros_(layer.bias)

    def forward(
        self, noisy: Float[Tensor, "batch time channel"], levels: Int[Tensor, "batch time"]
    ) -> Float[Tensor, "batch time channel"]:
        """Return the prediction of the clean tokens."""
        level = self.embed_level(sinusoidal_embedding(levels, self.config.width))
        role = torch.arange(noisy.shape[1], device=noisy.device).clamp_max(FIRST_PLANNED)
        hidden = self.embed_token(noisy) + level + self.embed_role[role]
        rotation = time_rotation(noisy.shape[1], self.config.width // self.config.num_heads, noisy.device)
        for block in self.blocks:
            hidden = block(hidden, rotation)
        return self.output(self.output_norm(hidden))
