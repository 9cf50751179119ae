"""The transformer backbone: (noisy tokens, levels) -> prediction of the clean tokens (App. C.1).

Level K masks a token, so even without a causal mask plans of any length can be drawn: what lies beyond is simply not
there. With a causal mask, the keys and values of tokens seen earlier stand for them (KV cache).
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from dfplan.backbones.base import Backbone, Memory, falling_frequencies, line_up
from dfplan.config import ModelConfig
from dfplan.tokens import FIRST_PLANNED

MAX_TIME_PERIOD = 100.0  # of the rotary embedding of time, in tokens: about the length of a sequence

Rotation = tuple[Float[Tensor, "time dim"], Float[Tensor, "time dim"]]
# Keys and values of the tokens seen so far, in one block; without a name for their number, which grows in a call.
KeysValues = tuple[Float[Tensor, "batch head _ dim"], Float[Tensor, "batch head _ dim"]]
Mask = Float[Tensor, "time seen_and_time"]
# The tokens of all sequences, one after the other, and below them rows that only fill up (``line_up``).
Rows = Float[Tensor, "row width"]


def time_rotation(times: Int[Tensor, " time"], dim: int) -> Rotation:
    """Return cosines and signed sines of the angles by which queries and keys of size ``dim`` turn (Su et al. 2021)."""
    angle = times[:, None] * falling_frequencies(dim // 2, MAX_TIME_PERIOD)
    cosine, sine = angle.cos(), angle.sin()
    return torch.cat([cosine, cosine], dim=-1), torch.cat([-sine, sine], dim=-1)


def rotate(heads: Float[Tensor, "*batch time dim"], rotation: Rotation) -> Float[Tensor, "*batch time dim"]:
    """Return queries or keys turned by their time: their products then depend on how far apart they are (RoPE).

    The halves of a head are the two coordinates of what turns.
    """
    cosine, sine = (part.to(heads.dtype) for part in rotation)
    return torch.addcmul(heads * cosine, heads.roll(heads.shape[-1] // 2, dims=-1), sine)


def causal_mask(time: int) -> Float[Tensor, "time time"]:
    """Return 0 where each of ``time`` tokens may look, −∞ where it may not: at later ones."""
    return torch.full((time, time), -math.inf).triu(1)


def attend(
    query: Float[Tensor, "batch head time dim"],
    key: Float[Tensor, "batch head seen_and_time dim"],
    value: Float[Tensor, "batch head seen_and_time dim"],
    mask: Mask | None,
) -> Float[Tensor, "batch head time dim"]:
    """Return the mean of the values, weighted by the softmax of query times key where the mask, if any, is 0."""
    if query.is_cuda:
        whole = mask is not None and query.shape == key.shape  # nothing seen before: the kernel needs no mask for that
        return functional.scaled_dot_product_attention(
            query, key, value, attn_mask=None if whole or mask is None else mask.to(query.dtype), is_causal=whole
        )
    # On CPUs in bf16 three products are several times faster than the fused kernel, in float32 as fast.
    scale = 1 / math.sqrt(query.shape[-1])
    if mask is None:
        scores = (scale * query) @ key.transpose(-1, -2)  # (batch, head, time, seen + time)
    else:  # scaled and masked by the product itself
        products = query.flatten(0, 1), key.flatten(0, 1).transpose(-1, -2)
        scores = torch.baddbmm(mask.to(query.dtype), *products, alpha=scale).unflatten(0, query.shape[:2])
    return scores.softmax(dim=-1).to(value.dtype) @ value


class Attention(nn.Module):
    """Multi-head self-attention over time, with rotary embeddings."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.num_heads = config.num_heads
        self.query_key_value = nn.Linear(config.width, 3 * config.width)
        self.output = nn.Linear(config.width, config.width)

    def forward(
        self,
        rows: Rows,
        sizes: tuple[int, int],
        rotation: Rotation,
        mask: Mask | None = None,
        past: KeysValues | None = None,
    ) -> tuple[Rows, KeysValues]:
        """Return the attended values, and keys and values of the ``past`` and these tokens.

        Args:
            rows: the tokens of all sequences, and rows that only fill up.
            sizes: number of sequences and of tokens in each.
            rotation: of these tokens' times.
            mask: where each token may look.
            past: keys and values of the tokens before these.
        """
        number = sizes[0] * sizes[1]
        heads = self.query_key_value(rows)[:number].view(*sizes, 3, self.num_heads, -1)
        heads = heads.permute(2, 0, 3, 1, 4).contiguous()  # strides, too, decide how products of few rows round
        (query, key), value = rotate(heads[:2], rotation), heads[2]  # each (batch, head, time, width / head)
        if past is not None:
            key, value = torch.cat([past[0], key], dim=2), torch.cat([past[1], value], dim=2)
        attended = attend(query, key, value, mask).transpose(1, 2).reshape(number, -1)
        if number < len(rows):
            attended = functional.pad(attended, (0, 0, 0, len(rows) - number))
        return self.output(attended), (key, value)


class Block(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.width)
        self.attention = Attention(config)
        self.mlp_norm = nn.LayerNorm(config.width)
        self.mlp = nn.Sequential(
            nn.Linear(config.width, 4 * config.width),
            nn.GELU(),
            nn.Linear(4 * config.width, config.width),
        )

    def forward(
        self,
        rows: Rows,
        sizes: tuple[int, int],
        rotation: Rotation,
        mask: Mask | None = None,
        past: KeysValues | None = None,
    ) -> tuple[Rows, KeysValues]:
        """Return the rows one block on, and keys and values of the ``past`` and these tokens (see ``Attention``)."""
        attended, seen = self.attention(self.attention_norm(rows), sizes, rotation, mask, past)
        rows = rows + attended
        return rows + self.mlp(self.mlp_norm(rows)), seen


class Transformer(Backbone):
    """Transformer over [goal, start, tokens], each with an embedding of its own noise level."""

    def __init__(self, config: ModelConfig):
        super().__init__(config)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.output_norm = nn.LayerNorm(config.width)
        self.output = nn.Linear(config.width, config.token_dim)
        for block in self.blocks:  # residual branches start small, so that depth does not set the scale
            for layer in (block.attention.output, block.mlp[-1]):
                nn.init.normal_(layer.weight, std=0.02 / math.sqrt(2 * config.depth))
                nn.init.zeros_(layer.bias)
        longest = FIRST_PLANNED + config.num_tokens
        for name, constant in zip(
            ("cosine", "sine"), time_rotation(torch.arange(longest), config.width // config.num_heads)
        ):
            self.register_buffer(name, constant, persistent=False)
        self.register_buffer("mask", causal_mask(longest) if config.causal else None, persistent=False)

    def forward(
        self,
        noisy: Float[Tensor, "batch time channel"],
        levels: Int[Tensor, "#batch time"],
        memory: Memory | None = None,
        keep: int = 0,
    ) -> tuple[Float[Tensor, "batch time channel"], Memory | None]:
        """Return the prediction of the clean tokens, and the memory: keys and values of block 1, of block 2, ...

        Raises:
            ValueError: if something is to be remembered without a causal mask: what earlier tokens are depends on
                later ones then. Or if the sequence is longer than the longest plan.
        """
        if (memory is not None or keep) and not self.config.causal:
            raise ValueError("a transformer that is not causal remembers nothing.")
        seen = 0 if memory is None else memory.time
        times = slice(seen, seen + noisy.shape[1])
        if times.stop > len(self.cosine):
            raise ValueError(f"a sequence of {times.stop} tokens is longer than the model's {len(self.cosine)}.")
        hidden = self.embed(noisy, levels, seen)
        sizes = hidden.shape[:2]
        rows = hidden.flatten(0, 1) if self.training or hidden.is_cuda else line_up(hidden)
        rotation = self.cosine[times], self.sine[times]
        mask = self.mask[times, : times.stop] if self.config.causal else None
        keys_values = []
        for index, block in enumerate(self.blocks):
            past = None if memory is None else memory.state[2 * index : 2 * index + 2]
            rows, now_seen = block(rows, sizes, rotation, mask, past)
            keys_values += now_seen
        if keep:
            memory = Memory(seen + keep, tuple(part[:, :, : seen + keep].detach() for part in keys_values))
        return self.output(self.output_norm(rows))[: sizes.numel()].unflatten(0, sizes), memory
