"""The transformer backbone: it predicts clean tokens from noisy tokens and their levels (App. C.1).

Plans may be shorter than the longest one even without a causal mask: later tokens are left out. With a causal mask, the
keys and values of earlier tokens are the memory (KV cache).
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from dfplan.config import ModelConfig
from dfplan.model.backbones.base import Backbone, Memory, compute_frequencies, pad_rows
from dfplan.model.tokens import FIRST_PLANNED

MAX_TIME_PERIOD = 100.0  # longest period of the rotary embedding, in tokens; about the length of a sequence

Rotation = tuple[Float[Tensor, "time dim"], Float[Tensor, "time dim"]]
# Keys and values of the tokens seen so far, in one block. Their number changes within a call, so its axis has no name.
KeysValues = tuple[Float[Tensor, "batch head _ dim"], Float[Tensor, "batch head _ dim"]]
Mask = Float[Tensor, "time seen_and_time"]
# The tokens of all sequences, one sequence after another, followed by the rows that ``pad_rows`` adds.
Rows = Float[Tensor, "row width"]


def compute_rotation(times: Int[Tensor, " time"], dim: int) -> Rotation:
    """Return the cosines and signed sines that rotate queries and keys of size ``dim`` (RoPE, Su et al. 2021)."""
    angle = times[:, None] * compute_frequencies(dim // 2, MAX_TIME_PERIOD)
    cosine, sine = angle.cos(), angle.sin()
    return torch.cat([cosine, cosine], dim=-1), torch.cat([-sine, sine], dim=-1)


def rotate(heads: Float[Tensor, "*batch time dim"], rotation: Rotation) -> Float[Tensor, "*batch time dim"]:
    """Return queries or keys rotated by their time (RoPE), so that their products depend on the distance in time only.

    Each rotation acts on a pair of channels, one from the first half of a head and one from the second half.
    """
    cosine, sine = (part.to(heads.dtype) for part in rotation)
    return torch.addcmul(heads * cosine, heads.roll(heads.shape[-1] // 2, dims=-1), sine)


def make_causal_mask(time: int) -> Float[Tensor, "time time"]:
    """Return the mask that is added to attention scores: 0 for a token and earlier ones, −∞ for later ones."""
    return torch.full((time, time), -math.inf).triu(1)


def attend(
    query: Float[Tensor, "batch head time dim"],
    key: Float[Tensor, "batch head seen_and_time dim"],
    value: Float[Tensor, "batch head seen_and_time dim"],
    mask: Mask | None,
) -> Float[Tensor, "batch head time dim"]:
    """Return the attention: means of the values, weighted by the softmax of scaled query-key products plus mask."""
    if query.is_cuda:
        whole = mask is not None and query.shape == key.shape  # without earlier tokens the kernel needs no mask
        return functional.scaled_dot_product_attention(
            query, key, value, attn_mask=None if whole or mask is None else mask.to(query.dtype), is_causal=whole
        )
    # On CPUs separate products are several times faster than the fused kernel in bfloat16, and as fast in float32.
    scale = 1 / math.sqrt(query.shape[-1])
    if mask is None:
        scores = (scale * query) @ key.transpose(-1, -2)  # (batch, head, time, seen + time)
    else:  # the product scales and masks in one call
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
        """Return the attended values, and the keys and values of the ``past`` and of the given tokens.

        Args:
            rows: the tokens of all sequences, followed by padding rows.
            sizes: number of sequences, and number of tokens in each.
            rotation: rotation at the times of the tokens.
            mask: the causal mask at the times of the tokens; None without one.
            past: keys and values of the earlier tokens.
        """
        number = sizes[0] * sizes[1]
        heads = self.query_key_value(rows)[:number].view(*sizes, 3, self.num_heads, -1)
        heads = heads.permute(2, 0, 3, 1, 4).contiguous()  # the rounding of small products depends on strides too
        (query, key), value = rotate(heads[:2], rotation), heads[2]  # each (batch, head, time, width / head)
        if past is not None:
            key, value = torch.cat([past[0], key], dim=2), torch.cat([past[1], value], dim=2)
        attended = attend(query, key, value, mask).transpose(1, 2).reshape(number, -1)
        if number < len(rows):
            attended = functional.pad(attended, (0, 0, 0, len(rows) - number))
        return self.output(attended), (key, value)


class Block(nn.Module):
    """A pre-norm transformer block."""

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
        """Return the rows after the block, and the keys and values (see ``Attention``)."""
        attended, seen = self.attention(self.attention_norm(rows), sizes, rotation, mask, past)
        rows = rows + attended
        return rows + self.mlp(self.mlp_norm(rows)), seen


class Transformer(Backbone):
    """A transformer over [goal, start, tokens]; the embedding of a token contains its noise level."""

    cosine: Tensor
    sine: Tensor
    mask: Mask | None

    def __init__(self, config: ModelConfig):
        super().__init__(config)
        blocks = [Block(config) for _ in range(config.depth)]
        self.blocks = nn.ModuleList(blocks)
        self.output_norm = nn.LayerNorm(config.width)
        self.output = nn.Linear(config.width, config.token_dim)
        for block in blocks:  # residual branches start small, so that the scale does not grow with depth
            for layer in (block.attention.output, block.mlp[-1]):
                nn.init.normal_(layer.get_parameter("weight"), std=0.02 / math.sqrt(2 * config.depth))
                nn.init.zeros_(layer.get_parameter("bias"))
        longest = FIRST_PLANNED + config.num_tokens
        for name, constant in zip(
            ("cosine", "sine"), compute_rotation(torch.arange(longest), config.width // config.num_heads)
        ):
            self.register_buffer(name, constant, persistent=False)
        self.register_buffer("mask", make_causal_mask(longest) if config.causal else None, persistent=False)

    def forward(
        self,
        noisy: Float[Tensor, "batch time channel"],
        levels: Int[Tensor, "#batch time"],
        memory: Memory | None = None,
        keep: int = 0,
    ) -> tuple[Float[Tensor, "batch time channel"], Memory | None]:
        """Return the prediction of the clean tokens, and the memory: keys and values of block 1, block 2, and so on.

        Raises:
            ValueError: if a memory is given or wanted without a causal mask, because earlier tokens then depend on
                later ones; or if the sequence is longer than the longest plan.
        """
        if (memory is not None or keep) and not self.config.causal:
            raise ValueError("a transformer that is not causal has no memory; call it with memory=None and keep=0.")
        seen = 0 if memory is None else memory.time
        times = slice(seen, seen + noisy.shape[1])
        if times.stop > len(self.cosine):
            raise ValueError(f"a sequence of {times.stop} tokens is longer than the model's {len(self.cosine)}.")
        hidden = self.embed(noisy, levels, seen)
        sizes = hidden.shape[:2]
        rows = hidden.flatten(0, 1) if self.training or hidden.is_cuda else pad_rows(hidden)
        rotation = self.cosine[times], self.sine[times]
        mask = None if self.mask is None else self.mask[times, : times.stop]
        keys_values = []
        for index, block in enumerate(self.blocks):
            past = None if memory is None else memory.state[2 * index : 2 * index + 2]
            rows, now_seen = block(rows, sizes, rotation, mask, past)
            keys_values += now_seen
        if keep:
            memory = Memory(seen + keep, tuple(part[:, :, : seen + keep].detach() for part in keys_values))
        return self.output(self.output_norm(rows))[: sizes.numel()].unflatten(0, sizes), memory
