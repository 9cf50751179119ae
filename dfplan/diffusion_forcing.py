"""Diffusion Forcing: a sequence model trained with an independent noise level per token (Alg. 1)."""

import math

from jaxtyping import Float, Int
from torch import Tensor, nn

from dfplan.backbones import Transformer
from dfplan.config import ModelConfig
from dfplan.envs.errors import choose
from dfplan.loss import LOSS_WEIGHTS, weighted_mse
from dfplan.noise import add_noise, alpha_bar_table
from dfplan.tokens import FIRST_PLANNED, Statistics, TrajectoryCodec

# Matrix products with fewer rows take other kernels on CPUs, which round differently (seen below 20 rows).
STEADY_ROWS = 32


class DiffusionForcing(nn.Module):
    """Backbone, noise schedule and token codec of one checkpoint."""

    def __init__(self, config: ModelConfig, statistics: Statistics | None = None):
        super().__init__()
        self.config = config
        self.codec = TrajectoryCodec(config, statistics)
        self.backbone = Transformer(config)
        table = alpha_bar_table(config.noise_schedule, config.num_levels, config.snr_scale)
        self.register_buffer("alpha_bar", table, persistent=False)

    def predict_x0(
        self, noisy: Float[Tensor, "batch time channel"], levels: Int[Tensor, "batch time"]
    ) -> Float[Tensor, "batch time channel"]:
        """Return the clean tokens expected behind ``noisy`` tokens, each at its own level.

        Small batches are filled up with copies, so that a sequence is predicted the same to the last bit alone and
        beside others.
        """
        batch, time, _ = noisy.shape
        copies = math.ceil(STEADY_ROWS / (batch * time))
        return self.backbone(noisy.repeat(copies, 1, 1), levels.repeat(copies, 1))[:batch]

    def loss(
        self,
        tokens: Float[Tensor, "batch time channel"],
        levels: Int[Tensor, "batch time"],
        noise: Float[Tensor, "batch time channel"],
        loss_weight: str = "constant",
    ) -> Float[Tensor, ""]:
        """Return the training loss of clean ``tokens`` seen at ``levels`` (Alg. 1): the weighted error of x0.

        Padding channels are zero at every level and count for nothing, nor do tokens at level 0, where there is
        nothing to predict.
        """
        used = self.codec.used_channels(tokens.shape[1] - FIRST_PLANNED)
        alpha_bar = self.alpha_bar[levels]
        noisy = add_noise(tokens, alpha_bar, noise) * used
        weight = choose("loss weight", loss_weight, LOSS_WEIGHTS)(alpha_bar) * (levels > 0)
        return weighted_mse(self.predict_x0(noisy, levels), tokens, weight, used)
