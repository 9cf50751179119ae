"""The paper's causal RNN (§3.2, Alg. 1 and 2, App. C): a latent z that each noisy token updates.

    z_t ~ p(z_t | z_{t-1}, x_t, k_t),   x0_t = head(x_t, z_t)

A clean token (level 0) updates the latent as the posterior of a Bayes filter does, pure noise (level K) as its prior.
The latent is the hidden state of a GRU: deterministic given the noisy tokens, random through their noise.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from dfplan.backbones.base import Backbone, Memory
from dfplan.config import ModelConfig

EXPANSION = 4  # hidden units of a residual block, in widths

Latent = Float[Tensor, "layer batch width"]


class ResidualBlock(nn.Module):
    """One block of a ResMLP, pre-norm."""

    def __init__(self, width: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, EXPANSION * width), nn.SiLU(), nn.Linear(EXPANSION * width, width)
        )
        nn.init.zeros_(self.layers[-1].weight)  # the block starts as the identity
        nn.init.zeros_(self.layers[-1].bias)

    def forward(self, hidden: Float[Tensor, "batch time width"]) -> Float[Tensor, "batch time width"]:
        """Return the hidden state one block on."""
        return hidden + self.layers(hidden)


def res_mlp(width: int, depth: int) -> nn.Sequential:
    """Return ``depth`` residual blocks in a row."""
    return nn.Sequential(*(ResidualBlock(width) for _ in range(depth)))


class CausalRNN(Backbone):
    """ResMLP, GRU, ResMLP; half of the configured depth each (at least 1), all of the configured width.

    The head reads the latent z_t beside the encoder's features of token t, which z_t has seen already: as in the
    paper's loss (Eq. 3.1, on z_{t-1}, x_t and k_t), a token is denoised without being squeezed through the latent.
    """

    def __init__(self, config: ModelConfig):
        super().__init__(config)
        width, depth = config.width, max(1, config.depth // 2)
        self.encoder = res_mlp(width, depth)
        self.features_norm = nn.LayerNorm(width)
        self.latent = nn.GRU(width, width, num_layers=depth, batch_first=True)
        self.embed_latent = nn.Linear(width, width)
        self.head = res_mlp(width, depth)
        self.output_norm = nn.LayerNorm(width)
        self.output = nn.Linear(width, config.token_dim)

    def forward(
        self,
        noisy: Float[Tensor, "batch time channel"],
        levels: Int[Tensor, "#batch time"],
        memory: Memory | None = None,
        keep: int = 0,
    ) -> tuple[Float[Tensor, "batch time channel"], Memory | None]:
        """Return the prediction of the clean tokens, and the memory: the latent after the last token remembered.

        Without a memory the latent is z_0 = 0.
        """
        seen, latent = (0, None) if memory is None else (memory.time, memory.state[0].transpose(0, 1).contiguous())
        features = self.encoder(self.embed(noisy, levels, seen))
        latents, kept = self._latents(self.features_norm(features), latent, keep)
        if keep:
            memory = Memory(seen + keep, (kept.transpose(0, 1).detach(),))
        hidden = self.head(features + self.embed_latent(latents))
        return self.output(self.output_norm(hidden)), memory

    def _latents(
        self, features: Float[Tensor, "batch time width"], latent: Latent | None, keep: int
    ) -> tuple[Float[Tensor, "batch time width"], Latent | None]:
        """Return z_t of all tokens, and the latent of all layers after the first ``keep`` of them."""
        if not keep:
            return self.latent(features, latent)[0], latent
        first, later = features.tensor_split([keep], dim=1)
        latents, kept = self.latent(first, latent)
        if later.shape[1]:
            latents = torch.cat([latents, self.latent(later, kept)[0]], dim=1)
        return latents, kept
