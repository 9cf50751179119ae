"""The conditions under which agents are compared, and the seeds of the episodes."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from dfplan.benchmarks.evaluation.environments import find_maze
from dfplan.envs.ogbench_names import TASKS, find_ogbench

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
            Several seeds of an environment that is no D4RL maze make one sequence of episodes.
        goal: of D4RL's mazes: ``fixed`` for the maze's own goal, ``random`` for one per episode (Multi2D). None for
            environments that do not offer this choice.
        seeds: number of seeds: ``seed``, ``seed + 1``, ...
        side_by_side: number of episodes at a time. It changes the speed, but no start, goal or random number.
        max_steps: length at which episodes are cut; None for the environment's own.
        coordinates: ``own``, or ``d4rl`` to convert a PointMaze of gymnasium-robotics to D4RL's coordinates.
        tasks: numbers of the environment's tasks (OGBench's ``task_id``), each of which has all episodes of all seeds.
            Empty for an environment without tasks, or that draws one in each episode.

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
    tasks: tuple[int, ...] = ()

    def __post_init__(self):
        if min(self.episodes, self.seeds, self.side_by_side) < 1 or self.seed < 0:
            counts = f"{self.episodes} episodes, {self.side_by_side} at a time, {self.seeds} seeds"
            raise ValueError(f"cannot run {counts} from seed {self.seed}")

    @property
    def cases(self) -> list[tuple[int, int]]:
        """(seed, number) of every episode, in the order of the arrays of an ``Evaluation``: those of each task."""
        seeds = range(self.seed, self.seed + self.seeds)
        return [(seed, episode) for seed in seeds for episode in range(self.episodes)] * max(1, len(self.tasks))

    @property
    def task_of_cases(self) -> list[int | None]:
        """The task of every episode, in the order of ``cases``; None without tasks."""
        return [task for task in self.tasks or (None,) for _ in range(self.seeds * self.episodes)]

    @property
    def episode_seeds(self) -> list[tuple[int, int]]:
        """The environment's seed and the agent's seed of every episode, in the order of ``cases``.

        Episode i of a D4RL maze has seeds drawn from (seed, i). In any other environment it is reset with the seed
        ``seed + i``, which is Gymnasium's convention, so that the episodes are those of other tools with these seeds.
        """
        drawn = [draw_episode_seeds(*case) for case in self.cases]
        if self.goal is not None:
            return drawn
        return [(self.seed + number, agent_seed) for number, (_, agent_seed) in enumerate(drawn)]

    @property
    def parts(self) -> list[tuple[dict[str, Any] | None, list[tuple[int, int]]]]:
        """The episodes in parts of equal options for the environment's ``reset``: the options, and the seeds."""
        if not self.tasks:
            return [({"goal": "random"} if self.goal == "random" else None, self.episode_seeds)]
        seeds, length = self.episode_seeds, self.seeds * self.episodes
        return [
            ({"task_id": task}, seeds[number * length : (number + 1) * length])
            for number, task in enumerate(self.tasks)
        ]


def make_conditions(env_id: str, episodes: int, seed: int, dataset: str = "") -> Conditions:
    """Return the usual conditions of an environment.

    In D4RL's mazes they have the maze's own goal. A model of a data set of OGBench is evaluated in OGBench's tasks,
    among which the episodes are divided.
    """
    if find_ogbench(dataset):
        return Conditions(env_id, max(1, episodes // len(TASKS)), seed, goal=None, tasks=TASKS)
    return Conditions(env_id, episodes, seed, "fixed" if find_maze(env_id) else None)


def draw_episode_seeds(seed: int, episode: int) -> tuple[int, int]:
    """Return the environment's seed and the agent's seed of one episode; other episodes have independent seeds."""
    env_seed, agent_seed = np.random.SeedSequence((seed, episode)).generate_state(2)
    return int(env_seed), int(agent_seed)
