"""What an episode has seen, and what a causal model remembers of it (Alg. 2, §3.3, §4.4).

The executed tokens are the posterior of Alg. 2. They stand before the plan in every sequence, each at the level at
which its observations are believed.
"""

from collections import deque
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from dfplan.data.trajectories import Trajectories
from dfplan.model.backbones import Memory
from dfplan.model.diffusion_forcing import DiffusionForcing
from dfplan.model.tokens import TrajectoryCodec
from dfplan.sampling.prediction import add_masked_copies

Observations = Float[np.ndarray, "batch observation"]


@dataclass(frozen=True)
class Belief:
    """How far an observation is believed.

    Attributes:
        level: share of K; 0 trusts the observation entirely, 1 says that it is missing.
        inferred: whether the model infers the true observation together with the plan (§4.4). Otherwise the observation
            keeps its level: a small one stabilises long roll-outs (k_small, §3.3).
    """

    level: float = 0.0
    inferred: bool = False

    @property
    def doubted(self) -> bool:
        """Whether the observation is known to be corrupted or missing."""
        return self.inferred and self.level > 0

    def schedule(self, first_planned: Int[Tensor, " row"], num_levels: int) -> Int[Tensor, " row"]:
        """Return the token's levels in a scheduling matrix.

        An inferred token is denoised together with the first planned token, from its own level on.
        """
        own = round(self.level * num_levels)
        return first_planned.clamp(max=own) if self.inferred else torch.full_like(first_planned, own)


def combine_beliefs(beliefs: list[Belief]) -> Belief:
    """Return the belief in a token of several steps: the highest level of them, inferred if any of them is."""
    return Belief(max(belief.level for belief in beliefs), any(belief.inferred for belief in beliefs))


@dataclass(frozen=True)
class HistoryWindow:
    """The part of the history that the model is shown, in environment units. It ends now.

    Attributes:
        start: the observation before the first step of the window; the present one if the window has no steps.
        steps: the executed steps since the start, in whole tokens; None if there are none.
        beliefs: in the start, and then in each history token.
    """

    start: Observations
    steps: Trajectories | None
    beliefs: tuple[Belief, ...]

    @property
    def num_tokens(self) -> int:
        """Number of history tokens."""
        return len(self.beliefs) - 1

    @property
    def present(self) -> Belief:
        """The belief in the last token, which holds the present observation."""
        return self.beliefs[-1]

    def select(self, episodes: Int[np.ndarray, " episode"]) -> "HistoryWindow":
        """Return the windows of some episodes of the batch."""
        steps = self.steps
        if steps is not None:
            steps = Trajectories(steps.observations[episodes], steps.actions[episodes], steps.rewards[episodes])
        return HistoryWindow(self.start[episodes], steps, self.beliefs)

    def encode(self, codec: TrajectoryCodec) -> Float[Tensor, "batch time channel"]:
        """Return the clean tokens [start, history]."""
        device = codec.mean.device
        start = codec.encode_start(torch.as_tensor(self.start, dtype=torch.float32, device=device))
        if self.steps is None:
            return start
        parts = (self.steps.observations, self.steps.actions, self.steps.rewards)
        return torch.cat([start, codec.encode(Trajectories(*(part.to(device) for part in parts)))], dim=1)


class History:
    """Records the executed steps of a batch of episodes, and cuts out the window that the model is shown.

    The agent never learns its rewards, so the rewards of executed steps are those that the plan predicted.

    Args:
        num_tokens: history tokens at most.
        frame_stack: steps per token.
    """

    def __init__(self, num_tokens: int, frame_stack: int):
        self.frame_stack = frame_stack
        self.steps: deque[tuple] = deque(maxlen=num_tokens * frame_stack)

    def record(self, observations: Observations, belief: Belief, actions: np.ndarray, rewards: np.ndarray) -> None:
        """Add a step of the batch: what was observed, how far it is believed, and what was done then."""
        self.steps.append((observations, belief, actions, rewards))

    @property
    def num_tokens(self) -> int:
        """Number of whole tokens that ``cut_window`` returns now."""
        return len(self.steps) // self.frame_stack

    def cut_window(self, observations: Observations, belief: Belief) -> HistoryWindow:
        """Return the longest window of whole tokens that ends with the present observations."""
        if not self.num_tokens:
            return HistoryWindow(observations, None, (belief,))
        executed = list(self.steps)[-self.num_tokens * self.frame_stack :]
        seen, beliefs, actions, rewards = map(list, zip(*executed))
        seen, beliefs = [*seen, observations], [*beliefs, belief]
        arrays = (np.stack(part, axis=1) for part in (seen[1:], actions, rewards))  # (batch, step, ...)
        trajectories = Trajectories(*(torch.as_tensor(array, dtype=torch.float32) for array in arrays))
        firsts = range(1, len(seen), self.frame_stack)
        tokens = [combine_beliefs(beliefs[first : first + self.frame_stack]) for first in firsts]
        return HistoryWindow(seen[0], trajectories, (beliefs[0], *tokens))


class HistoryMemory:
    """A causal model's memory of the history of a batch of episodes: its latent state, or its KV cache."""

    def __init__(self):
        self.memory: Memory | None = None
        self.remembered: tuple[Tensor, Tensor] | None = None  # the tokens in the memory, and their levels

    def update(
        self,
        model: DiffusionForcing,
        tokens: Float[Tensor, "batch time channel"],
        levels: Int[Tensor, " time"],
        goal_strength: float = 1.0,
    ) -> Memory:
        """Return the memory of given tokens, and of their masked copies for classifier-free guidance.

        The last memory is extended if the tokens continue those in it (Alg. 2). They do until the window begins to
        slide, provided that whole tokens are executed between plans. Otherwise the model is run on all of them once,
        instead of in every row of the scheduling matrix.
        """
        asked, asked_levels = add_masked_copies(model, tokens, levels, goal_strength)
        if self.memory is None or not self._is_continued_by(asked, asked_levels):
            self.memory = model.remember(asked, asked_levels)
        elif tokens.shape[1] > self.memory.time:
            new = slice(self.memory.time, None)
            self.memory = model.remember(asked[:, new], asked_levels[:, new], self.memory)
        self.remembered = asked, asked_levels
        return self.memory

    def _is_continued_by(self, tokens: Tensor, levels: Tensor) -> bool:
        if self.memory is None or self.remembered is None:
            return False
        known = self.memory.time
        return all(torch.equal(new[:, :known], old) for new, old in zip((tokens, levels), self.remembered, strict=True))
