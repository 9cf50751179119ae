"""Evaluates agents in any environment, over numbered episodes; all commands and studies score by ``evaluate``."""

import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv
from jaxtyping import Float
from tqdm import tqdm

from dfplan.benchmarks.evaluation.conditions import FIRST_REPORTED_SEED, Conditions, GoalKind, draw_episode_seeds
from dfplan.benchmarks.evaluation.environments import World, find_world
from dfplan.benchmarks.evaluation.episode_scores import score_episodes
from dfplan.benchmarks.evaluation.estimates import Evaluation
from dfplan.benchmarks.evaluation.protocols import Agent, Planner, PlanningAgent, act, find_task, reset_agent
from dfplan.benchmarks.evaluation.slots import Episode, find_goals, run_episodes
from dfplan.ground.processes import SINGLE_PROCESS, Processes

__all__ = [  # everything that studies need to score agents
    "FIRST_REPORTED_SEED",
    "Agent",
    "Conditions",
    "Evaluation",
    "GoalKind",
    "Planner",
    "PlanningAgent",
    "begin_first_episode",
    "draw_episode_seeds",
    "evaluate",
    "find_world_of",
    "measure_latency",
]
LATENCY_SECONDS = 5.0  # seconds of acting after which the measurement of latency stops, even within an episode


def evaluate(
    agent: Agent,
    conditions: Conditions,
    label: str = "",
    timed: bool = True,
    processes: Processes = SINGLE_PROCESS,
    world: World | None = None,
) -> Evaluation:
    """Return what ``agent`` does in all episodes of ``conditions``, with a progress bar.

    Scores come from episodes that run side by side. Latency is measured in an episode of its own (``measure_latency``),
    because the time of a batched call divided by the batch is not the time that one robot would wait for its plan.

    Args:
        agent: is reset for every episode.
        conditions: the environment, the episodes and the seeds.
        label: of the progress bar.
        timed: whether to measure latency.
        processes: share the episodes. Each process returns all episodes; only the first one shows its progress and
            measures latency, while the others wait.
        world: the environment, if it is not the one that ``conditions`` name.

    Raises:
        InputError: if the environment cannot be used or does not fit the agent, an episode of unknown length does not
            end, or a reward or an action is not finite.
    """
    world = _fit_world(agent, world or find_world_of(conditions))
    mine = [(options, seeds[processes.slice_of(len(seeds))]) for options, seeds in conditions.parts]
    steps = None if world.num_steps is None else sum(len(seeds) for _, seeds in mine) * world.num_steps
    episodes: list[Episode] = []
    with tqdm(total=steps, unit="step", desc=label or None, disable=not processes.is_first) as progress:
        for options, seeds in mine:
            found = run_episodes(agent, world, seeds, conditions.side_by_side, progress.update, options)
            episodes += chain.from_iterable(processes.gather(found))
    is_timed = timed and processes.is_first
    plan_seconds, act_seconds = measure_latency(agent, conditions, world) if is_timed else (np.empty(0), np.empty(0))
    processes.wait()
    return Evaluation(
        conditions,
        _stack([episode.goal for episode in episodes]),
        _stack([episode.path for episode in episodes]),
        _pad([episode.rewards for episode in episodes]),
        score_episodes(episodes, world.reference),
        plan_seconds,
        act_seconds,
        world.layout,
        world.num_steps,
    )


def find_world_of(conditions: Conditions) -> World:
    """Return the world that the conditions name."""
    return find_world(conditions.env_id, conditions.max_steps, conditions.coordinates)


def measure_latency(
    agent: Agent, conditions: Conditions, world: World | None = None
) -> tuple[Float[np.ndarray, " plan"], Float[np.ndarray, " act"]]:
    """Return the wall seconds of each planning call, and of each ``act`` call, in one episode at batch 1.

    An ``act`` call that plans counts in both arrays. One call before the episode is not counted, because the first call
    also allocates memory and fills caches. The episode ends early once its ``act`` calls took ``LATENCY_SECONDS``.
    """
    world = _fit_world(agent, world or find_world_of(conditions))
    with world.open(1) as env:
        observations, _ = _begin_episode(agent, conditions, world, env)
        agent.act(observations)
        observations, _ = _begin_episode(agent, conditions, world, env)
        act_seconds: list[float] = []
        over = np.zeros(1, bool)
        while not over.any() and sum(act_seconds) < LATENCY_SECONDS:
            began = time.perf_counter()
            actions = act(agent, observations, env.num_envs, world.spaces.action_dim)
            act_seconds.append(time.perf_counter() - began)
            observations, _, terminated, truncated, _ = env.step(actions)
            over = terminated | truncated
    return np.asarray(getattr(agent, "plan_seconds", []), dtype=float), np.asarray(act_seconds)


def begin_first_episode(agent: Agent, conditions: Conditions) -> tuple[Any, Any]:
    """Return the first observation (1, observation) and the goal (goal,) of the first episode; reset the agent for it.

    The goal is None in a world without goals.
    """
    world = _fit_world(agent, find_world_of(conditions))
    with world.open(1) as env:
        observations, goals = _begin_episode(agent, conditions, world, env)
    return observations, None if goals is None else goals[0]


def _fit_world(agent: Agent, world: World) -> World:
    """Return the world for an agent: where the length of episodes is not limited, the agent's task may limit it.

    Raises:
        InputError: if the agent was made for a task with other sizes or bounds.
    """
    task = find_task(agent)
    if task is None:
        return world
    world.spaces.check(task, "the agent", world.name)
    return replace(world, num_steps=world.num_steps or task.max_episode_steps)


def _begin_episode(
    agent: Agent, conditions: Conditions, world: World, env: VectorEnv
) -> tuple[Any, Float[np.ndarray, "1 goal"] | None]:
    """Begin the first episode in an environment with one slot; return its first observation and its goal."""
    options, [(env_seed, agent_seed), *_] = conditions.parts[0]
    seeds: Any = [env_seed]  # Gymnasium's annotation says one seed for all slots
    observations, infos = env.reset(seed=seeds, options=options)
    goals = find_goals(observations, infos, find_task(agent))
    reset_agent(agent, goal=goals, seed=[agent_seed], num_steps=world.num_steps)
    return observations, goals


def _stack(parts: Sequence[Float[np.ndarray, "..."] | None]) -> Float[np.ndarray, "..."] | None:
    """Return one array of the parts of all episodes; None if there are none."""
    found = [part for part in parts if part is not None]
    return _pad(found) if len(found) == len(parts) else None


def _pad(parts: Sequence[Float[np.ndarray, "..."]]) -> Float[np.ndarray, "episode ..."]:
    """Return one array of arrays that differ in their first length; shorter ones end in NaN."""
    padded = np.full((len(parts), max(map(len, parts)), *parts[0].shape[1:]), np.nan)
    for row, part in zip(padded, parts, strict=True):
        row[: len(part)] = part
    return padded
