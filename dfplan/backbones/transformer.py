"""The transformer backbone: (noisy tokens, levels) -> prediction of the clean tokens (App. C.1).

Level K masks a token, so even without a causal mask plans of any length can be drawn: what lies beyond is simply not
there. With a causal mask, the keys and values of tokens seen earlier stand for them (KV cache).
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from dfplan.backbones.base import Backbone, State, angles
from dfplan.config import ModelConfig

MAX_TIME_PERIOD = 100.0  # of the rotary embedding of time, in tokens: about the length of a sequence

Rotation = tuple[Float[Tensor, "time frequency"], Float[Tensor, "time frequency"]]
# Keys and values of the tokens seen so far, in one block; without a name for their number, which grows in a call.
KeysValues = tuple[Float[Tensor, "batch head _ dim"], Float[Tensor, "batch head _ dim"]]


def time_rotation(times: Int[Tensor, " time"], dim: int) -> Rotation:
    """Return cosines and sines of the angles by which queries and keys of size ``dim`` turn (Su et al. 2021)."""
    angle = angles(times, dim // 2, MAX_TIME_PERIOD)
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
        self, hidden: Float[Tensor, "batch time width"], rotation: Rotation, past: KeysValues | None = None
    ) -> tuple[Float[Tensor, "batch time width"], KeysValues]:
        """Return the attended values, and keys and values of the ``past`` and these tokens."""
        batch, time, width = hidden.shape
        heads = self.query_key_value(hidden).view(batch, time, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        (query, key), value = rotate(heads[:2], rotation), heads[2]  # each (batch, head, time, width / head)
        if past is not None:
            key, value = torch.cat([past[0], key], dim=2), torch.cat([past[1], value], dim=2)
            mask = torch.ones(time, key.shape[2], dtype=torch.bool, device=key.device).tril(key.shape[2] - time)
            attended = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        elif hidden.is_cuda or self.causal:
            attended = functional.scaled_dot_product_attention(query, key, value, is_causal=self.causal)
        else:  # on CPUs in bf16 three products are several times faster than the fused kernel, in float32 as fast
            scores = (query / math.sqrt(query.shape[-1])) @ key.transpose(-1, -2)  # (batch, head, time, time)
            attended = scores.softmax(dim=-1).to(value.dtype) @ value
        return self.output(attended.transpose(1, 2).reshape(batch, time, width)), (key, value)


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
        self, hidden: Float[Tensor, "batch time width"], rotation: Rotation, past: KeysValues | None = None
    ) -> tuple[Float[Tensor, "batch time width"], KeysValues]:
        """Return the hidden state one block on, and keys and values of the ``past`` and these tokens."""
        attended, seen = self.attention(self.attention_norm(hidden), rotation, past)
        hidden = hidden + attended
        return hidden + self.mlp(self.mlp_norm(hidden)), seen


class Transformer(Backbone):
    """Transformer over [goal, start, tokens], each with an embedding of its own noise level."""

    STEADY_ROWS = 32  # matrix products with fewer take other kernels on CPUs, which round differently (seen below 20)

    def __init__(self, config: ModelConfig):
        super().__init__(config)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.output_norm = nn.LayerNorm(config.width)
        self.output = nn.Linear(config.width, config.token_dim)
        for block in self.blocks:  # residual branches start small, so that depth does not set the scale
            for layer in (block.attention.output, block.mlp[-1]):
                nn.init.normal_(layer.weight, std=0.02 / math.sqrt(2 * config.depth))
                nn.init.zeros_(layer.bias)

    def forward(
        self,
        noisy: Float[Tensor, "batch time channel"],
        levels: Int[Tensor, "batch time"],
        state: State | None = None,
    ) -> tuple[Float[Tensor, "batch time channel"], State | None]:
        """Return the prediction of the clean tokens, and the state: keys and values of block 1, of block 2, ...

        Raises:
            ValueError: if a state is given without a causal mask: what earlier tokens are depends on later ones then.
        """
        if state is not None and not self.config.causal:
            raise ValueError("a transformer that is not causal goes on from no state.")
        seen = 0 if state is None else state[0].shape[2]
        times = torch.arange(seen, seen + noisy.shape[1], device=noisy.device)
        hidden = self.embed(noisy, levels, times)
        rotation = time_rotation(times, self.config.width // self.config.num_heads)
        keys_values = []
        for index, block in enumerate(self.blocks):
            past = None if state is None else (state[2 * index], state[2 * index + 1])
            hidden, now_seen = block(hidden, rotation, past)
            keys_values += now_seen
        return self.output(self.output_norm(hidden)), tuple(keys_values) if self.config.causal else None
