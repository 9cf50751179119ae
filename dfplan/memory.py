"""Planning on from remembered tokens (Alg. 2): the posterior of the executed past is computed once, not in every step.

``DiffusionForcing.remember`` makes the memory; ``RememberingModel`` takes the model's place in ``sampler.sample``.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from dfplan.backbones import Memory
from dfplan.diffusion_forcing import DiffusionForcing

__all__ = ["Memory", "RememberingModel"]


class RememberingModel(DiffusionForcing):
    """A causal model that predicts full sequences but runs only the tokens after those in its memory.

    A memory can only save time: sequences that begin otherwise than remembered (with the goal masked for
    classifier-free guidance, say) are run in full.
    """

    def __init__(self, model: DiffusionForcing, memory: Memory):
        nn.Module.__init__(self)  # all parts are the model's own
        self.config, self.codec, self.backbone, self.alpha_bar = (
            model.config,
            model.codec,
            model.backbone,
            model.alpha_bar,
        )
        self.memory = memory

    def predict_x0(
        self, noisy: Float[Tensor, "batch time channel"], levels: Int[Tensor, "batch time"]
    ) -> Float[Tensor, "batch time channel"]:
        """Return x0 of the full sequences; the remembered tokens come back as they are given.

        Raises:
            ValueError: if the sequences are shorter than the memory, or their number is no multiple of its number.
                Copies of one remembered sequence stand next to each other.
        """
        time = self.memory.time
        remembered = self._memory_of(noisy.shape)
        if time == noisy.shape[1]:
            return noisy
        if torch.equal(remembered.tokens, noisy[:, :time]) and torch.equal(remembered.levels, levels[:, :time]):
            later, _ = self.continued(noisy[:, time:], levels[:, time:], remembered.state)
        else:
            later = super().predict_x0(noisy, levels)[:, time:]
        return torch.cat([noisy[:, :time], later], dim=1)

    def _memory_of(self, shape: tuple[int, ...]) -> Memory:
        """Return the memory with each row as often as a batch of this shape holds it."""
        batch, time, _ = shape
        remembered_batch = len(self.memory.tokens)
        if batch % remembered_batch or time < self.memory.time:
            raise ValueError(
                f"{batch} sequences of {time} tokens do not go on from {remembered_batch} remembered ones of "
                f"{self.memory.time}."
            )
        return self.memory.repeat_interleave(batch // remembered_batch)
