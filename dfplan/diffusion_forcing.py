"""Diffusion Forcing: a sequence model trained with an independent noise level per token (Alg. 1)."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from dfplan.backbones import BACKBONES, Memory
from dfplan.config import ModelConfig
from dfplan.cost_to_go import CostToGo
from dfplan.envs.errors import InputError, choose
from dfplan.likelihood import BoundSettings, bound_matrix, elbo
from dfplan.loss import LOSS_WEIGHTS, token_weights, weighted_mse
from dfplan.noise import add_noise, alpha_bar_table
from dfplan.tokens import FIRST_PLANNED, Statistics, TrajectoryCodec


class DiffusionForcing(nn.Module):
    """Backbone, noise schedule and token codec of one checkpoint, and what its recording knows of the cost to go."""

    def __init__(self, config: ModelConfig, statistics: Statistics | None = None, cost_to_go: CostToGo | None = None):
        super().__init__()
        self.config, self.cost_to_go = config, cost_to_go
        self.codec = TrajectoryCodec(config, statistics)
        self.backbone = choose("backbone", config.backbone, BACKBONES)(config)
        table = alpha_bar_table(config.noise_schedule, config.num_levels, config.snr_scale)
        self.register_buffer("alpha_bar", table, persistent=False)

    def predict_x0(
        self, noisy: Float[Tensor, "batch time channel"], levels: Int[Tensor, "#batch time"]
    ) -> Float[Tensor, "batch time channel"]:
        """Return the clean tokens expected behind ``noisy`` tokens, each at its own level."""
        return self.backbone(noisy, levels)[0]

    def continued(
        self,
        noisy: Float[Tensor, "batch time channel"],
        levels: Int[Tensor, "#batch time"],
        memory: Memory | None = None,
        keep: int = 0,
    ) -> tuple[Float[Tensor, "batch time channel"], Memory | None]:
        """Return x0 of tokens that follow those remembered, and the memory extended by the first ``keep`` of them.

        A model that is not causal remembers nothing: its memory is None.
        """
        if not self.config.causal:
            return self.predict_x0(noisy, levels.expand(len(noisy), -1)), None
        return self.backbone(noisy, levels, memory, keep)

    @torch.no_grad()
    def remember(
        self,
        tokens: Float[Tensor, "batch time channel"],
        levels: Int[Tensor, "#batch time"],
        memory: Memory | None = None,
    ) -> Memory:
        """Return ``memory`` extended by known tokens: the posterior update by what was executed and seen (Alg. 2).

        Args:
            tokens: goes on where the memory ends; without a memory the sequence begins: [goal, start, ...].
            levels: the levels at which they are believed, 0 for tokens known exactly.
            memory: of the same batch.

        Raises:
            InputError: if the backbone is not causal.
        """
        if not self.config.causal:
            raise InputError("only a causal model remembers tokens; this one was trained with causal=False.")
        return self.continued(tokens, levels, memory, keep=tokens.shape[1])[1]

    def loss(
        self,
        tokens: Float[Tensor, "batch time channel"],
        levels: Int[Tensor, "batch time"],
        noise: Float[Tensor, "batch time channel"],
        loss_weight: str = "constant",
        next_token_weight: float = 1.0,
    ) -> Float[Tensor, ""]:
        """Return the training loss of clean ``tokens`` seen at ``levels`` (Alg. 1): the weighted error of x0.

        Padding channels are zero at every level and count for nothing, nor do tokens at level 0, where there is
        nothing to predict. The weight of a level is ``loss_weight``, that of a token's place ``token_weights``.
        """
        num_tokens = tokens.shape[1] - FIRST_PLANNED
        used = self.codec.used_channels(num_tokens)
        alpha_bar = self.alpha_bar[levels]
        noisy = add_noise(tokens, alpha_bar, noise) * used
        weight = choose("loss weight", loss_weight, LOSS_WEIGHTS)(alpha_bar) * (levels > 0)
        weight = weight * token_weights(num_tokens, next_token_weight).to(weight)
        return weighted_mse(self.predict_x0(noisy, levels), tokens, weight, used)

    def elbo(
        self,
        tokens: Float[Tensor, "batch time channel"],
        generators: list[torch.Generator],
        unknown: Bool[Tensor, " time"] | None = None,
        given: Bool[Tensor, " time"] | None = None,
        settings: BoundSettings | None = None,
    ) -> Float[Tensor, " batch"]:
        """Return a lower bound on log p(unknown | given), in bits per dimension: higher is better (Thm. 3.1).

        Bits are those of a density of normalised tokens, so that they may be positive; ``dfplan.likelihood`` has the
        derivation and the offset to environment units.

        Args:
            tokens: clean sequences [goal, start, tokens].
            generators: one per sequence.
            unknown: positions in time whose likelihood is bounded; the planned tokens by default.
            given: positions shown clean; all others than ``unknown`` by default. What is neither is marginalised.
            settings: path and precision of the estimate; the defaults of ``BoundSettings`` if None.

        Raises:
            InputError: if the masks contradict each other or the tokens.
        """
        settings = settings or BoundSettings()
        unknown = torch.arange(tokens.shape[1]) >= FIRST_PLANNED if unknown is None else unknown
        matrix = bound_matrix(self.alpha_bar, unknown, ~unknown if given is None else given, settings)
        return elbo(self, tokens, matrix, generators, settings.samples)
