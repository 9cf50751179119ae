"""The one evaluation loop: every agent, command and ablation is judged by ``evaluate`` and nothing else."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal, Protocol, runtime_checkable

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv
from jaxtyping import Float
from tqdm import tqdm

from dfplan.distributed import ALONE, Processes
from dfplan.envs.layouts import maze_name
from dfplan.envs.scores import episode_scores

# Defaults and recipes are chosen on episodes of the seeds 0 to 99; reported scores are of the seeds from this one on.
FIRST_REPORTED_SEED = 1000
LATENCY_SECONDS = 5.0  # budget of the timing pass; an agent that is slower than that is timed on fewer decisions


@runtime_checkable
class Agent(Protocol):
    """What the loop asks of an agent; ``plan_seconds`` and ``config`` are optional."""

    def reset(self, goal: Any = None, seed: Any = None, num_steps: int | None = None) -> None:
        """Begin a batch of episodes: goals (batch, 2), one seed per episode, episode length in steps."""

    def act(self, obs: Any) -> Any:
        """Return actions (batch, 2) for observations (batch, 4)."""


@dataclass(frozen=True)
class Conditions:
    """The conditions under which agents are compared.

    Attributes:
        env_id: a registered maze with a vector entry point, such as ``maze2d-large-v1``.
        episodes: how many episodes of each seed, each from its own start.
        seed: the start, the goal and the agent's randomness of episode i depend on (seed, i) only.
        goal: ``fixed`` is the maze's own goal, ``random`` draws one per episode (Multi2D).
        seeds: how many seeds, ``seed`` and those that follow it.
        side_by_side: episodes that run in one batch; changes the speed, not an episode's start, goal or random numbers.
    """

    env_id: str
    episodes: int = 100
    seed: int = 0
    goal: Literal["fixed", "random"] = "fixed"
    seeds: int = 1
    side_by_side: int = 50

    def __post_init__(self):
        if min(self.episodes, self.seeds, self.side_by_side) < 1 or self.seed < 0:
            counts = f"{self.episodes} episodes, {self.side_by_side} at a time, {self.seeds} seeds"
            raise ValueError(f"cannot run {counts} from seed {self.seed}")

    @property
    def cases(self) -> list[tuple[int, int]]:
        """Seed and number of every episode, seed by seed: the order of all that an ``Evaluation`` holds."""
        seeds = range(self.seed, self.seed + self.seeds)
        return [(seed, episode) for seed in seeds for episode in range(self.episodes)]

    @property
    def num_steps(self) -> int:
        """Length of every episode in steps."""
        return gym.spec(self.env_id).max_episode_steps

    @property
    def reset_options(self) -> dict[str, str] | None:
        """Options for the environment's ``reset``."""
        return {"goal": "random"} if self.goal == "random" else None


@dataclass(frozen=True, eq=False)  # arrays have no single truth to compare by; each evaluation is only itself
class Evaluation:
    """What one agent did: everything that scores, tables and pictures are made from; episodes as in ``cases``.

    Attributes:
        conditions: what was asked for.
        goals: goal of each episode, environment units.
        paths: executed positions, the start first, environment units.
        rewards: the environment's reward of each step.
        scores: per-episode arrays ``return``, ``normalized``, ``normalized_if_stay``, ``success``, ``first_reach``.
        plan_seconds: wall seconds of single planning calls at batch 1; empty for an agent that does not plan.
        act_seconds: wall seconds of single ``act`` calls at batch 1, those that plan included; empty if not timed.
    """

    conditions: Conditions
    goals: Float[np.ndarray, "episode 2"]
    paths: Float[np.ndarray, "episode time_and_start 2"]
    rewards: Float[np.ndarray, "episode time"]
    scores: dict[str, np.ndarray]
    plan_seconds: Float[np.ndarray, " plan"]
    act_seconds: Float[np.ndarray, " act"]


def episode_seeds(seed: int, episode: int) -> tuple[int, int]:
    """Return the environment's and the agent's seed of one episode, independent of all other episodes."""
    env_seed, agent_seed = np.random.SeedSequence((seed, episode)).generate_state(2)
    return int(env_seed), int(agent_seed)


def evaluate(
    agent: Agent, conditions: Conditions, label: str = "", timed: bool = True, processes: Processes = ALONE
) -> Evaluation:
    """Return what ``agent`` does in all episodes of ``conditions``, with a progress bar called ``label``.

    Scores come from episodes that run side by side. Latency is measured apart from them (``measure_latency``), because
    a batched call divided by its batch says nothing about how long a robot would wait for its plan; not at all unless
    ``timed``. Several ``processes`` share the episodes, and each returns them all; the first alone shows its progress,
    and measures latency while the others wait.
    """
    cases, at_once = conditions.cases, conditions.side_by_side
    mine = cases[processes.part(len(cases))]
    steps = len(mine) * conditions.num_steps
    with tqdm(total=steps, unit="step", desc=label or None, disable=not processes.is_first) as progress:
        batches = [mine[first : first + at_once] for first in range(0, len(mine), at_once)]
        parts = processes.collected([_run_batch(agent, conditions, batch, progress) for batch in batches])
    goals, paths, rewards = (np.concatenate(part) for part in zip(*chain(*parts)))
    is_timed = timed and processes.is_first
    plan_seconds, act_seconds = measure_latency(agent, conditions) if is_timed else (np.empty(0), np.empty(0))
    processes.wait()
    scores = episode_scores(maze_name(conditions.env_id), rewards)
    return Evaluation(conditions, goals, paths, rewards, scores, plan_seconds, act_seconds)


def measure_latency(
    agent: Agent, conditions: Conditions
) -> tuple[Float[np.ndarray, " plan"], Float[np.ndarray, " act"]]:
    """Return wall seconds of planning calls and of ``act`` calls in one episode at batch 1.

    ``act`` calls that plan are in both, so the 95th percentile of the second shows the wait that its median hides. The
    very first call, which also allocates and warms caches, is made once beforehand and not counted. The episode is cut
    off after ``LATENCY_SECONDS`` inside the agent.
    """
    with _vector_env(conditions, 1) as env:
        obs = _reset(env, agent, conditions, conditions.cases[:1])[0]
        agent.act(obs)
        obs = _reset(env, agent, conditions, conditions.cases[:1])[0]
        act_seconds, truncated = [], np.zeros(1, bool)
        while not truncated.all() and sum(act_seconds) < LATENCY_SECONDS:
            began = time.perf_counter()
            action = agent.act(obs)
            act_seconds.append(time.perf_counter() - began)
            obs, _, _, truncated, _ = env.step(action)
    return np.asarray(getattr(agent, "plan_seconds", []), dtype=float), np.asarray(act_seconds)


def first_observation(agent: Agent, conditions: Conditions) -> tuple[Float[np.ndarray, "1 4"], Float[np.ndarray, " 2"]]:
    """Return the first episode's first observation and goal, with the agent reset for it."""
    with _vector_env(conditions, 1) as env:
        obs, goals = _reset(env, agent, conditions, conditions.cases[:1])
    return obs, goals[0]


def _run_batch(
    agent: Agent, conditions: Conditions, cases: Sequence[tuple[int, int]], progress: tqdm
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return goals (batch, 2), paths (batch, time + 1, 2) and rewards (batch, time) of some episodes side by side."""
    with _vector_env(conditions, len(cases)) as env:
        obs, goals = _reset(env, agent, conditions, cases)
        path, rewards, truncated = [obs[:, :2]], [], np.zeros(len(cases), bool)
        while not truncated.all():  # all episodes of a maze have the same length
            obs, reward, _, truncated, _ = env.step(agent.act(obs))
            path.append(obs[:, :2])
            rewards.append(reward)
            progress.update(len(cases))
    return goals, np.stack(path, axis=1), np.stack(rewards, axis=1)


def _reset(
    env: VectorEnv, agent: Agent, conditions: Conditions, cases: Sequence[tuple[int, int]]
) -> tuple[np.ndarray, np.ndarray]:
    """Return first observations (batch, 4) and goals (batch, 2), with the agent told of the new episodes."""
    seeds = [episode_seeds(*case) for case in cases]
    obs, info = env.reset(seed=[env_seed for env_seed, _ in seeds], options=conditions.reset_options)
    goals = np.array(info["goal"], dtype=float)
    agent.reset(goal=goals, seed=[agent_seed for _, agent_seed in seeds], num_steps=conditions.num_steps)
    return obs, goals


@contextmanager
def _vector_env(conditions: Conditions, num_envs: int) -> Iterator[VectorEnv]:
    """Open and close the vectorised environment."""
    env = gym.make_vec(conditions.env_id, num_envs=num_envs, vectorization_mode="vector_entry_point")
    try:
        yield env
    finally:
        env.close()
