"""Networks that predict clean tokens from noisy ones and their levels."""

from dfplan.backbones.transformer import Transformer

__all__ = ["Transformer"]
