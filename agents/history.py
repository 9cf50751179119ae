"""What an episode remembers: executed steps, and what a causal model makes of them (Alg. 2, §3.3, §4.4).

The posterior of Alg. 2 is the model's view of the executed tokens. They stand before the plan in every sequence, each
at the level at which its observations are believed.
"""

from collections import deque
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from dfplan.backbones import Memory
from dfplan.diffusion_forcing import DiffusionForcing
from dfplan.memory import questions
from dfplan.tokens import Trajectories, TrajectoryCodec

Observations = Float[np.ndarray, "batch observation"]


@dataclass(frozen=True)
class Belief:
    """How far observations are believed.

    Attributes:
        level: share of K; 0 trusts them entirely, 1 says that they are missing.
        inferred: whether the model is to find out what they really were, together with the plan (§4.4). Otherwise
            they keep their level: a small one stabilises long roll-outs (k_small, §3.3).
    """

    level: float = 0.0
    inferred: bool = False

    @property
    def doubted(self) -> bool:
        """Whether the observation is known to be corrupted or missing."""
        return self.inferred and self.level > 0

    def column(self, first_planned: Int[Tensor, " row"], num_levels: int) -> Int[Tensor, " row"]:
        """Return the levels in a scheduling matrix; a doubted token is cleaned with the first planned one, from its
        own level on.
        """
        own = round(self.level * num_levels)
        return first_planned.clamp(max=own) if self.inferred else torch.full_like(first_planned, own)


def weakest(beliefs: list[Belief]) -> Belief:
    """Return the belief in a token of several steps: the highest level of any, inferred if any is."""
    return Belief(max(belief.level for belief in beliefs), any(belief.inferred for belief in beliefs))


@dataclass(frozen=True)
class Past:
    """The window of an episode that the model is shown, in environment units: it ends now.

    Attributes:
        start: the observation before the first step of the window; the present one when there is no history.
        steps: the executed steps since then, in whole tokens; None when there is no history.
        beliefs: of the start, then of each history token.
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

    def of(self, episodes: Int[np.ndarray, " episode"]) -> "Past":
        """Return the windows of some episodes of the batch."""
        steps = self.steps
        if steps is not None:
            steps = Trajectories(steps.observations[episodes], steps.actions[episodes], steps.rewards[episodes])
        return Past(self.start[episodes], steps, self.beliefs)

    def tokens(self, codec: TrajectoryCodec) -> Float[Tensor, "batch time channel"]:
        """Return the clean tokens [start, history]."""
        device = codec.mean.device
        start = codec.encode_start(torch.as_tensor(self.start, dtype=torch.float32, device=device))
        if self.steps is None:
            return start
        parts = (self.steps.observations, self.steps.actions, self.steps.rewards)
        return torch.cat([start, codec.encode(Trajectories(*(part.to(device) for part in parts)))], dim=1)


class History:
    """Records executed steps, and cuts out the window that the model is shown.

    The agent is never told its rewards: those of executed steps are what the plan expected for them.

    Args:
        num_tokens: history tokens at most.
        frame_stack: steps per token.
    """

    def __init__(self, num_tokens: int, frame_stack: int):
        self.frame_stack = frame_stack
        self.steps: deque[tuple] = deque(maxlen=num_tokens * frame_stack)

    def record(self, observations: Observations, belief: Belief, actions: np.ndarray, rewards: np.ndarray) -> None:
        """Take in a step of the batch: what was observed and how far it is believed, then what was done."""
        self.steps.append((observations, belief, actions, rewards))

    @property
    def num_tokens(self) -> int:
        """Number of whole tokens that ``window`` holds now."""
        return len(self.steps) // self.frame_stack

    def window(self, observations: Observations, belief: Belief) -> Past:
        """Return the longest window of whole tokens that ends with the present observations."""
        if not self.num_tokens:
            return Past(observations, None, (belief,))
        executed = list(self.steps)[-self.num_tokens * self.frame_stack :]
        seen, beliefs, actions, rewards = map(list, zip(*executed))
        seen, beliefs = [*seen, observations], [*beliefs, belief]
        arrays = (np.stack(part, axis=1) for part in (seen[1:], actions, rewards))  # (batch, step, ...)
        trajectories = Trajectories(*(torch.as_tensor(array, dtype=torch.float32) for array in arrays))
        tokens = [weakest(beliefs[first : first + self.frame_stack]) for first in range(1, len(seen), self.frame_stack)]
        return Past(seen[0], trajectories, (beliefs[0], *tokens))


class Recollection:
    """A causal model's memory of the given tokens of a batch of episodes: its latent state, or its KV cache."""

    def __init__(self):
        self.memory: Memory | None = None
        self.questions: tuple[Tensor, Tensor] | None = None  # the sequences remembered, and their levels

    def of(
        self,
        model: DiffusionForcing,
        tokens: Float[Tensor, "batch time channel"],
        levels: Int[Tensor, " time"],
        goal_strength: float = 1.0,
    ) -> Memory:
        """Return the memory of given tokens, or rather of the ``questions`` that begin with them.

        The last one is extended if they go on from it (Alg. 2): until the window slides, if whole tokens are executed
        between plans. Otherwise they are run anew, once, instead of in every row of the scheduling matrix.
        """
        asked, asked_levels = questions(model, tokens, levels, goal_strength)
        if self.memory is None or not self._goes_on(asked, asked_levels):
            self.memory = model.remember(asked, asked_levels)
        elif tokens.shape[1] > self.memory.time:
            new = slice(self.memory.time, None)
            self.memory = model.remember(asked[:, new], asked_levels[:, new], self.memory)
        self.questions = asked, asked_levels
        return self.memory

    def _goes_on(self, tokens: Tensor, levels: Tensor) -> bool:
        return all(
            torch.equal(new[:, : self.memory.time], old)
            for new, old in zip((tokens, levels), self.questions, strict=True)
        )
