"""Runs episodes in a world that a study has made itself; ``evaluate`` runs those in registered environments."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from tqdm import tqdm

from dfplan.benchmarks.evaluation.episodes import Agent


@runtime_checkable
class Physics(Protocol):
    """Moves a batch of bodies by one environment step."""

    def step(
        self, states: Float[np.ndarray, "batch state"], actions: Float[np.ndarray, "batch action"]
    ) -> Float[np.ndarray, "batch state"]:
        """Return the states one step later."""


@dataclass(frozen=True, eq=False)
class EpisodeBatch:
    """What an agent did in a batch of episodes.

    Attributes:
        states: the state before the first action, and the state after every action (environment units).
        actions: the actions.
    """

    states: Float[np.ndarray, "episode start_and_step state"]
    actions: Float[np.ndarray, "episode step action"]

    @property
    def paths(self) -> Float[np.ndarray, "episode start_and_step 2"]:
        """The positions: the first two channels of the states."""
        return self.states[..., :2]


def run_episodes(
    agent: Agent,
    physics: Physics,
    states: Float[np.ndarray, "batch state"],
    num_steps: int,
    goals: Any,
    seeds: Sequence[int],
    label: str = "",
) -> EpisodeBatch:
    """Return what ``agent`` does in a batch of episodes that run side by side, with a progress bar.

    Args:
        agent: it is reset first.
        physics: moves the bodies.
        states: where the episodes start.
        num_steps: length of every episode.
        goals: (batch, goal), or None for an agent without goals.
        seeds: the agent's seed for each episode.
        label: of the progress bar.
    """
    agent.reset(goal=goals, seed=list(seeds), num_steps=num_steps)
    seen, actions = [states], []
    for _ in tqdm(range(num_steps), desc=label or None, unit="step"):
        actions.append(agent.act(seen[-1]))
        seen.append(physics.step(seen[-1], actions[-1]))
    return EpisodeBatch(np.stack(seen, axis=1), np.stack(actions, axis=1))
