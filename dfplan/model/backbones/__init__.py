"""Backbones: networks that predict clean tokens from noisy tokens and their levels."""

from dfplan.model.backbones.base import Backbone, Memory
from dfplan.model.backbones.rnn import CausalRNN
from dfplan.model.backbones.transformer import Transformer

__all__ = ["BACKBONES", "Backbone", "CausalRNN", "Memory", "Transformer"]

BACKBONES: dict[str, type[Backbone]] = {"transformer": Transformer, "rnn": CausalRNN}
