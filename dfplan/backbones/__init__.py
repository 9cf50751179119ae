"""Networks that predict clean tokens from noisy ones and their levels."""

from dfplan.backbones.base import Backbone, Memory
from dfplan.backbones.rnn import CausalRNN
from dfplan.backbones.transformer import Transformer

__all__ = ["BACKBONES", "Backbone", "CausalRNN", "Memory", "Transformer"]

BACKBONES: dict[str, type[Backbone]] = {"transformer": Transformer, "rnn": CausalRNN}
