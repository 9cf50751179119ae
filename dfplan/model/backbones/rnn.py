"""The paper's causal RNN (§3.2, Alg. 1 and 2, App. C): each noisy token updates a latent z.

    z_t ~ p(z_t | z_{t-1}, x_t, k_t),   x0_t = head(x_t, z_t)

The update is that of a Bayes filter: the posterior for a clean token (level 0), the prior for pure noise (level K). The
latent is the hidden state of a GRU. It is a deterministic function of the noisy tokens, and random because of their
noise.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from dfplan.config import ModelConfig
from dfplan.model.backbones.base import Backbone, Memory

EXPANSION = 4  # hidden units of a residual block per unit of its width

Latent = Float[Tensor, "layer batch width"]


class ResidualBlock(nn.Module):
    """One pre-norm block of a residual MLP."""

    def __init__(self, width: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, EXPANSION * width), nn.SiLU(), nn.Linear(EXPANSION * width, width)
        )
        nn.init.zeros_(self.layers[-1].get_parameter("weight"))  # the block starts as the identity
        nn.init.zeros_(self.layers[-1].get_parameter("bias"))

    def forward(self, hidden: Float[Tensor, "batch time width"]) -> Float[Tensor, "batch time width"]:
        """Return the hidden state after the block."""
        return hidden + self.layers(hidden)


def stack_residual_blocks(width: int, depth: int) -> nn.Sequential:
    """Return a sequence of ``depth`` residual blocks."""
    return nn.Sequential(*(ResidualBlock(width) for _ in range(depth)))


class CausalRNN(Backbone):
    """A residual MLP (encoder), a GRU (latent) and a second residual MLP (head).

    Each of them has half of the configured depth (at least 1 layer) and the configured width.

    The head gets the encoder's features of token t in addition to the latent z_t, although z_t depends on them. As in
    the paper's loss (Eq. 3.1, on z_{t-1}, x_t and k_t), a token need not pass through the latent to be denoised.
    """

    def __init__(self, config: ModelConfig):
        super().__init__(config)
        width, depth = config.width, max(1, config.depth // 2)
        self.encoder = stack_residual_blocks(width, depth)
        self.features_norm = nn.LayerNorm(width)
        self.latent = nn.GRU(width, width, num_layers=depth, batch_first=True)
        self.embed_latent = nn.Linear(width, width)
        self.head = stack_residual_blocks(width, depth)
        self.output_norm = nn.LayerNorm(width)
        self.output = nn.Linear(width, config.token_dim)

    def forward(
        self,
        noisy: Float[Tensor, "batch time channel"],
        levels: Int[Tensor, "#batch time"],
        memory: Memory | None = None,
        keep: int = 0,
    ) -> tuple[Float[Tensor, "batch time channel"], Memory | None]:
        """Return the prediction of the clean tokens, and the memory: the latent after its last token.

        Without a memory the initial latent is z_0 = 0.
        """
        seen, latent = (0, None) if memory is None else (memory.time, memory.state[0].transpose(0, 1).contiguous())
        features = self.encoder(self.embed(noisy, levels, seen))
        latents, kept = self._update_latent(self.features_norm(features), latent, keep)
        if keep and kept is not None:
            memory = Memory(seen + keep, (kept.transpose(0, 1).detach(),))
        hidden = self.head(features + self.embed_latent(latents))
        return self.output(self.output_norm(hidden)), memory

    def _update_latent(
        self, features: Float[Tensor, "batch time width"], latent: Latent | None, keep: int
    ) -> tuple[Float[Tensor, "batch time width"], Latent | None]:
        """Return z_t of all tokens, and the latent of all layers after the first ``keep`` tokens."""
        if not keep:
            return self.latent(features, latent)[0], latent
        first, later = features.tensor_split([keep], dim=1)
        latents, kept = self.latent(first, latent)
        if later.shape[1]:
            latents = torch.cat([latents, self.latent(later, kept)[0]], dim=1)
        return latents, kept
