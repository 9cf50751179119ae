"""The function by which users evaluate any agent in any environment: ``dfplan.evaluate``."""

import warnings
from collections.abc import Mapping
from numbers import Integral

from dfplan.benchmarks.evaluation import episodes as loop
from dfplan.benchmarks.evaluation.conditions import FIRST_REPORTED_SEED, Conditions, GoalKind
from dfplan.benchmarks.evaluation.environments import EnvLike, describe_other_world, find_env_id, find_maze, find_world
from dfplan.benchmarks.evaluation.estimates import Evaluation
from dfplan.benchmarks.evaluation.protocols import Agent
from dfplan.ground.errors import InputError

SIDE_BY_SIDE = 50  # episodes at a time


def evaluate(
    agent: Agent,
    env: EnvLike,
    episodes: int = 20,
    seed: int = FIRST_REPORTED_SEED,
    max_steps: int | None = None,
    coordinates: str = "own",
) -> Evaluation:
    """Return the scores of an agent in an environment: ``print(evaluate(agent, "Pendulum-v1"))``.

    Episode i is reset with the seed ``seed + i``; in D4RL's mazes with a seed drawn from (``seed``, i). Its random
    numbers do not depend on the episodes beside it. ``scores`` of the result has an array over the episodes for each
    score.

    Args:
        agent: has ``reset(goal, seed, num_steps)`` and ``act(observations)`` for a batch of episodes, as ``DFPlanner``
            has. If its ``reset`` also takes ``episodes``, single episodes of the batch begin anew when others end.
        env: any Gymnasium id, ``module:Env-v0`` and ``maze2d-large`` included; a function that returns a new
            environment; or an environment or a vector environment, which stays open.
        episodes: number of episodes.
        seed: of the episodes.
        max_steps: length at which episodes are cut; None for the environment's own, or else that of the agent's task.
        coordinates: ``d4rl`` converts a PointMaze of gymnasium-robotics to D4RL's coordinates, in which the shipped
            checkpoints plan.

    Raises:
        InputError: if there is no such environment, it does not fit the agent, an episode of unknown length does not
            end, or a reward or an action is not finite.
    """
    if not isinstance(agent, Agent):
        raise InputError(f"an agent has reset() and act(), as that of DFPlanner.load(...) has, and {agent!r} has not.")
    for name, value, least in (("episodes", episodes, 1), ("seed", seed, 0)):
        if not isinstance(value, Integral) or value < least:
            raise InputError(f"{name} must be a whole number of at least {least}, not {value!r}.")
    env = find_env_id(env) if isinstance(env, str) else env
    world = find_world(env, max_steps, coordinates)
    info = getattr(agent, "info", None)
    trained_on = info.get("env_id") if isinstance(info, Mapping) else None
    difference = describe_other_world(trained_on, world) if isinstance(trained_on, str) else None
    if difference:
        warnings.warn(f"the agent's model {difference}.", stacklevel=2)
    goal: GoalKind | None = "fixed" if isinstance(env, str) and find_maze(env) else None
    conditions = Conditions(world.name, episodes, seed, goal, 1, SIDE_BY_SIDE, max_steps, coordinates)
    return loop.evaluate(agent, conditions, timed=False, world=world)
