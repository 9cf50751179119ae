"""The conditions under which agents are compared, and the seeds of the episodes."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

# Defaults and recipes were chosen on episodes of the seeds 0 to 99. Reported scores use seeds from this one on.
FIRST_REPORTED_SEED = 1000

GoalKind = Literal["fixed", "random"]


@dataclass(frozen=True)
class Conditions:
    """The conditions under which agents are compared.

    Attributes:
        env_id: Gymnasium's id of the environment, such as ``maze2d-large-v1`` or ``module:Env-v0``.
        episodes: number of episodes of each seed.
        seed: the first seed. The start, the goal and the agent's random numbers of episode i depend on (seed, i) only.
        goal: of D4RL's mazes: ``fixed`` for the maze's own goal, ``random`` for one per episode (Multi2D). None for
            environments that do not offer this choice.
        seeds: number of seeds: ``seed``, ``seed + 1``, ...
        side_by_side: number of episodes at a time. It changes the speed, but no start, goal or random number.
        max_steps: length at which episodes are cut; None for the environment's own.
        coordinates: ``own``, or ``d4rl`` to turn a PointMaze of gymnasium-robotics to D4RL's coordinates.

    Raises:
        ValueError: if a count is below 1, or ``seed`` is negative.
    """

    env_id: str
    episodes: int = 100
    seed: int = 0
    goal: GoalKind | None = "fixed"
    seeds: int = 1
    side_by_side: int = 50
    max_steps: int | None = None
    coordinates: str = "own"

    def __post_init__(self):
        if min(self.episodes, self.seeds, self.side_by_side) < 1 or self.seed < 0:
            counts = f"{self.episodes} episodes, {self.side_by_side} at a time, {self.seeds} seeds"
            raise ValueError(f"cannot run {counts} from seed {self.seed}")

    @property
    def cases(self) -> list[tuple[int, int]]:
        """(seed, number) of every episode, in the order of the arrays of an ``Evaluation``."""
        seeds = range(self.seed, self.seed + self.seeds)
        return [(seed, episode) for seed in seeds for episode in range(self.episodes)]

    @property
    def reset_options(self) -> dict[str, str] | None:
        """Options for the environment's ``reset``."""
        return {"goal": "random"} if self.goal == "random" else None


def draw_episode_seeds(seed: int, episode: int) -> tuple[int, int]:
    """Return the environment's seed and the agent's seed of one episode; other episodes have independent seeds."""
    env_seed, agent_seed = np.random.SeedSequence((seed, episode)).generate_state(2)
    return int(env_seed), int(agent_seed)
