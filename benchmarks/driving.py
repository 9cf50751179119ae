"""Episodes in a world of a study's own, side by side. Agents in registered environments go through ``evaluate``."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from tqdm import tqdm

from dfplan.benchmarks.evaluation import Agent


@runtime_checkable
class Physics(Protocol):
    """Moves a batch of bodies by one step."""

    def step(
        self, states: Float[np.ndarray, "batch state"], actions: Float[np.ndarray, "batch action"]
    ) -> Float[np.ndarray, "batch state"]:
        """Return the states one step later."""


@dataclass(frozen=True, eq=False)
class Drive:
    """What an agent did.

    Attributes:
        states: of each episode, the first one before the first action.
        actions: of each episode.
    """

    states: Float[np.ndarray, "episode start_and_step state"]
    actions: Float[np.ndarray, "episode step action"]

    @property
    def paths(self) -> Float[np.ndarray, "episode start_and_step 2"]:
        """The positions, which are the first two numbers of a state."""
        return self.states[..., :2]


def drive(
    agent: Agent,
    physics: Physics,
    states: Float[np.ndarray, "batch state"],
    num_steps: int,
    goals: Any,
    seeds: Sequence[int],
    label: str = "",
) -> Drive:
    """Return what ``agent`` does from the first ``states`` on, with a progress bar called ``label``.

    ``goals`` are (batch, goal), or None for an agent without one; ``seeds`` are the agent's, one for each episode.
    """
    agent.reset(goal=goals, seed=list(seeds), num_steps=num_steps)
    seen, actions = [states], []
    for _ in tqdm(range(num_steps), desc=label or None, unit="step"):
        actions.append(agent.act(seen[-1]))
        seen.append(physics.step(seen[-1], actions[-1]))
    return Drive(np.stack(seen, axis=1), np.stack(actions, axis=1))
