"""Diffusion Forcing: a sequence model trained with an independent noise level per token (Alg. 1)."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from dfplan.config import ModelConfig
from dfplan.data.cost_to_go import CostToGo
from dfplan.data.trajectories import Statistics
from dfplan.data.value import Value
from dfplan.ground.errors import InputError, choose
from dfplan.model.backbones import BACKBONES, Memory
from dfplan.model.loss import LOSS_WEIGHTS, count_weighted, weigh_tokens, weighted_mse
from dfplan.model.noise import add_noise, tabulate_alpha_bar
from dfplan.model.tokens import FIRST_PLANNED, TrajectoryCodec


class DiffusionForcing(nn.Module):
    """The backbone, the noise schedule, the token codec, and the cost to go or the value of one checkpoint.

    Args:
        config: sizes of tokens, noise schedule and backbone.
        statistics: of the data, by which tokens are normalised; without them tokens are in environment units.
        cost_to_go: fitted to the recording of a task with a goal; None if there is none.
        value: fitted to the recording of a task without a goal; None if there is none.

    Raises:
        InputError: if there is no such backbone or noise schedule.
    """

    alpha_bar: Float[Tensor, " level"]

    def __init__(
        self,
        config: ModelConfig,
        statistics: Statistics | None = None,
        cost_to_go: CostToGo | None = None,
        value: Value | None = None,
    ):
        super().__init__()
        self.config, self.cost_to_go, self.value = config, cost_to_go, value
        self.codec = TrajectoryCodec(config, statistics)
        self.backbone = choose("backbone", config.backbone, BACKBONES)(config)
        table = tabulate_alpha_bar(config.noise_schedule, config.num_levels, config.snr_scale)
        self.register_buffer("alpha_bar", table, persistent=False)

    def predict_x0(
        self, noisy: Float[Tensor, "batch time channel"], levels: Int[Tensor, "#batch time"]
    ) -> Float[Tensor, "batch time channel"]:
        """Return the prediction of the clean tokens x0, given ``noisy`` tokens and the level of each."""
        return self.backbone(noisy, levels)[0]

    @torch.no_grad()
    def remember(
        self,
        tokens: Float[Tensor, "batch time channel"],
        levels: Int[Tensor, "#batch time"],
        memory: Memory | None = None,
    ) -> Memory:
        """Return ``memory`` extended by known tokens: the posterior update of the latent (Alg. 2).

        Args:
            tokens: executed and observed tokens that follow those in the memory; without a memory, sequences that begin
                with [goal, start].
            levels: the noise level of each token, 0 for a token that is known exactly.
            memory: memory of the same batch, or None.

        Raises:
            InputError: if the model is not causal.
        """
        if not self.config.causal:
            raise InputError("only a causal model has a memory; this one was trained with causal=False.")
        return self.backbone(tokens, levels, memory, keep=tokens.shape[1])[1]

    def loss(
        self,
        tokens: Float[Tensor, "batch time channel"],
        levels: Int[Tensor, "batch time"],
        noise: Float[Tensor, "batch time channel"],
        loss_weight: str = "constant",
        next_token_weight: float = 1.0,
        is_known: Bool[Tensor, "batch time"] | None = None,
    ) -> Float[Tensor, ""]:
        """Return the training loss: the weighted squared error of the predicted x0 (Alg. 1).

        Padding channels do not count, and neither do tokens at level 0, where nothing is to be predicted.

        Args:
            tokens: clean sequences [goal, start, tokens].
            levels: the level of each token.
            noise: standard normal noise for each token.
            loss_weight: name of the weight of a level, in ``LOSS_WEIGHTS``.
            next_token_weight: weight of the first planned token, see ``weigh_tokens``.
            is_known: which tokens are recorded; None if all are. The others must be masked by level K and do not count.

        Raises:
            InputError: if there is no such loss weight.
        """
        used = self.codec.used_channels(tokens.shape[1] - FIRST_PLANNED)
        weight = self._weigh(levels, loss_weight, next_token_weight, is_known)
        noisy = add_noise(tokens, self.alpha_bar[levels], noise) * used
        return weighted_mse(self.predict_x0(noisy, levels), tokens, weight, used)

    def count_predicted(
        self,
        levels: Int[Tensor, "batch time"],
        loss_weight: str = "constant",
        next_token_weight: float = 1.0,
        is_known: Bool[Tensor, "batch time"] | None = None,
    ) -> Int[Tensor, " batch"]:
        """Return how many values of each window the mean in ``loss`` counts."""
        used = self.codec.used_channels(levels.shape[1] - FIRST_PLANNED)
        return count_weighted(self._weigh(levels, loss_weight, next_token_weight, is_known), used)

    def _weigh(
        self,
        levels: Int[Tensor, "batch time"],
        loss_weight: str,
        next_token_weight: float,
        is_known: Bool[Tensor, "batch time"] | None,
    ) -> Float[Tensor, "batch time"]:
        """Return the weight of each token in the loss: that of its level times that of its position, if it is known."""
        weight = choose("loss weight", loss_weight, LOSS_WEIGHTS)(self.alpha_bar[levels]) * (levels > 0)
        weight = weight * weigh_tokens(levels.shape[1] - FIRST_PLANNED, next_token_weight).to(weight)
        return weight if is_known is None else weight * is_known
