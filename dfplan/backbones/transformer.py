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

MAX_PERIOD = 10_000  # of the sinusoidal embedding, in levels


def sinusoidal_embedding(values: Int[Tensor, "*shape"], dim: int) -> Float[Tensor, "*shape dim"]:
    """Return sines and cosines at ``dim / 2`` frequencies from 1 to 1 / ``MAX_PERIOD`` (Vaswani et al. 2017)."""
    frequencies = torch.exp(-math.log(MAX_PERIOD) * torch.arange(dim // 2, device=values.device) / (dim // 2))
    angles = values[..., None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


class Attention(nn.Module):
    """Multi-head self-attention over time."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.num_heads = config.num_heads
        self.causal = config.causal
        self.query_key_value = nn.Linear(config.width, 3 * config.width)
        self.output = nn.Linear(config.width, config.width)

    def forward(self, hidden: Float[Tensor, "batch time width"]) -> Float[Tensor, "batch time width"]:
        """Return the attended values."""
        batch, time, width = hidden.shape
        heads = self.query_key_value(hidden).view(batch, time, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        query, key, value = heads  # each (batch, head, time, width / head)
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

    def forward(self, hidden: Float[Tensor, "batch time width"]) -> Float[Tensor, "batch time width"]:
        """Return the hidden state one block on."""
        hidden = hidden + self.attention(self.attention_norm(hidden))
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
        self.embed_time = nn.Parameter(torch.randn(FIRST_PLANNED + config.num_tokens, config.width) * 0.02)
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
        hidden = self.embed_token(noisy) + level + self.embed_time[: noisy.shape[1]]
        for block in self.blocks:
            hidden = block(hidden)
        return self.output(self.output_norm(hidden))
