"""What an environment tells of itself: its spaces, and the task that is read from them."""

import copy
import warnings
from dataclasses import dataclass, replace
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from gymnasium.wrappers import ClipAction
from jaxtyping import Float

from dfplan.ground.errors import InputError, find_reason, unknown_name
from dfplan.task import FACTS, Task

AnyEnv = gymnasium.Env | VectorEnv
GOAL_EPISODES, GOAL_STEPS = 3, 5  # episodes in which the goal channels are looked for, and steps of each
GOAL_TOLERANCE = 1e-6  # by which an observation may differ there from the achieved goal
NOT_SUPPORTED = "dfplan plans with vectors of numbers: observations and actions must be Box spaces with one axis"
NAME_GOAL_CHANNELS = "name them, such as goal=(0, 1) or --goal 0,1, or plan without a goal: goal=() or --goal none"
GOAL_MUST_BE_OBSERVED = (
    "what is to reach the goal must be part of the observation, to which a wrapper can append achieved_goal"
)


@dataclass(frozen=True)
class Spaces:
    """What the spaces of an environment tell.

    Attributes:
        observation_dim: number of observation channels.
        action_dim: number of action channels.
        action_low: lowest action, one number per channel; may be infinite.
        action_high: highest action, one number per channel; may be infinite.
        goal_dim: size of a goal; 0 if the environment does not tell of goals.
    """

    observation_dim: int
    action_dim: int
    action_low: tuple[float, ...]
    action_high: tuple[float, ...]
    goal_dim: int = 0

    @property
    def bounds(self) -> tuple[Float[np.ndarray, " action"], Float[np.ndarray, " action"]]:
        """The lowest and the highest action."""
        return np.array(self.action_low), np.array(self.action_high)

    def check(self, task: Task, whose: str, name: str) -> None:
        """Check that a task has the sizes of these spaces, and their bounds of actions where these are finite.

        Args:
            task: what a model is or was trained for.
            whose: task it is, for the message, such as ``the agent``.
            name: of the environment.

        Raises:
            InputError: if sizes or bounds differ.
        """
        tells_goal = bool(task.goal and self.goal_dim)  # an environment need not tell that it has goals
        what = "observations, actions and goals" if tells_goal else "observations and actions"
        given, expected = (
            (one.observation_dim, one.action_dim, one.goal_dim)[: 3 if tells_goal else 2] for one in (task, self)
        )
        if given != expected:
            raise InputError(f"{whose} has {what} of sizes {given}, but {name} has {expected}.")
        bounds, limits = np.array(task.bounds), np.array(self.bounds)
        is_limited = np.isfinite(limits)
        if not np.allclose(bounds[is_limited], limits[is_limited]):
            own, its = (" to ".join(str(one.round(4).tolist()) for one in pair) for pair in (bounds, limits))
            raise InputError(f"{whose} has actions from {own}, but {name} has actions from {its}.")


def name_env(env: AnyEnv) -> str:
    """Return Gymnasium's id of an environment, or the name of its class."""
    return env.spec.id if env.spec else type(env.unwrapped).__name__


def find_single(env: AnyEnv) -> Any:
    """Return the first single environment of a vector environment if it has any here, or else the given one."""
    envs = getattr(env.unwrapped, "envs", None) if isinstance(env, VectorEnv) else None
    return envs[0] if envs else env


def read_task(env: AnyEnv, **facts: Any) -> Task:
    """Return the task of an environment, or of the single environments of a vector environment.

    An environment that has an attribute ``dfplan_task`` says by it what its task is. Of any other environment the
    sizes, the action bounds and the episode length are read. In a goal environment, whose observations are dictionaries
    with ``desired_goal``, the goal channels are those of ``observation`` that are always equal to ``achieved_goal``.
    To find them, the environment is reset and makes a few steps.

    Args:
        env: the environment.
        facts: fields of ``Task`` that replace what is read, such as ``goal=(0, 1)``.

    Raises:
        InputError: if there is no such fact or it contradicts the environment, observations or actions are of a kind
            that is not supported, or the goal channels cannot be found.
    """
    for name in facts:
        if name not in FACTS:
            raise unknown_name("field of a task", name, FACTS)
    found, own = read_spaces(env), find_own_task(env)
    if own is None:
        read = {name: getattr(found, name) for name in ("observation_dim", "action_dim", "action_low", "action_high")}
        read["max_episode_steps"] = env.spec.max_episode_steps if env.spec else None
        if found.goal_dim and "goal" not in facts:
            read["goal"] = _find_goal_channels(env)
        task = Task(**(read | facts))
        if "goal" in facts and found.goal_dim == task.goal_dim > 0:
            _compare_with_achieved_goal(env, task.goal)
    else:
        task = replace(own, **facts)
    found.check(task, "the task", name_env(env))
    return task


def find_own_task(env: AnyEnv) -> Task | None:
    """Return the task that an environment says itself, by its attribute ``dfplan_task``; None if it says none.

    Raises:
        InputError: if the attribute is something else.
    """
    base = find_single(env).unwrapped
    own = getattr(env.unwrapped, "dfplan_task", getattr(base, "dfplan_task", None))
    if own is not None and not isinstance(own, Task):
        raise InputError(f"dfplan_task of {name_env(env)} must be a dfplan.Task, not {own!r}.")
    return own


def read_spaces(env: AnyEnv) -> Spaces:
    """Return what the spaces of an environment tell, or those of the single environments of a vector environment.

    ``gymnasium.wrappers.ClipAction`` allows all actions and clips them; the bounds are those at which it clips.

    Raises:
        InputError: if observations or actions are of a kind that is not supported.
    """
    observations = env.single_observation_space if isinstance(env, VectorEnv) else env.observation_space
    own, goal_dim = find_own_task(env), 0
    if isinstance(observations, spaces.Dict):
        if "observation" not in observations.spaces:
            raise InputError(f"{NOT_SUPPORTED}; a dictionary needs 'observation', {_describe(observations)} has none.")
        if "desired_goal" in observations.spaces:
            goal_dim = _check_box("goal", observations["desired_goal"]).shape[0]
        observations = observations["observation"]
    observations, actions = _check_box("observation", observations), _check_box("action", _find_action_space(env))
    if not np.issubdtype(actions.dtype, np.floating):
        raise InputError(f"{NOT_SUPPORTED}; the action space {_describe(actions)} has whole numbers.")
    bounds = tuple(actions.low.tolist()), tuple(actions.high.tolist())
    return Spaces(observations.shape[0], actions.shape[0], *bounds, own.goal_dim if own else goal_dim)


def _find_action_space(env: AnyEnv) -> Any:
    """Return the space of the actions of a single environment; with ``ClipAction`` the one to which it clips.

    Wrappers outside ``ClipAction`` must leave actions as they are. If one changes them, the space of the outermost
    wrapper is returned.
    """
    space = env.single_action_space if isinstance(env, VectorEnv) else env.action_space
    # A wrapper of a vector environment may change actions, too; only without one its single environments are looked at.
    wrapper: Any = find_single(env) if env.unwrapped is env else env
    while isinstance(wrapper, gymnasium.Wrapper) and wrapper.action_space == space:
        if isinstance(wrapper, ClipAction):
            return wrapper.env.action_space
        if isinstance(wrapper, gymnasium.ActionWrapper):
            break
        wrapper = wrapper.env
    return space


def _find_goal_channels(env: AnyEnv) -> tuple[int, ...]:
    """Return the observation channels in a row that are equal to ``achieved_goal`` in a few observations.

    Raises:
        InputError: if there are none, or several, or all of these observations are the same.
    """
    samples = _sample_goal_observations(env)
    matches: list[tuple[int, ...]] = []
    if samples:
        observed, achieved = (np.concatenate(column) for column in zip(*samples, strict=True))
        size = achieved.shape[1]
        windows = (tuple(range(first, first + size)) for first in range(observed.shape[1] - size + 1))
        matches = [
            window for window in windows if np.allclose(observed[:, window], achieved, rtol=0, atol=GOAL_TOLERANCE)
        ]
        if len(matches) > 1:
            raise InputError(
                f"the observation channels of the goal may be {' or '.join(map(str, matches))}, which were equal to "
                f"achieved_goal in a few steps; {NAME_GOAL_CHANNELS}."
            )
        if matches and np.ptp(achieved, axis=0).max() <= GOAL_TOLERANCE:
            raise InputError(
                f"achieved_goal has not changed in a few steps, so that the goal channels {matches[0]} are a guess; "
                f"{NAME_GOAL_CHANNELS}."
            )
    if not matches:
        raise InputError(
            "the environment has goals, but no observation channels that are equal to achieved_goal: "
            f"{GOAL_MUST_BE_OBSERVED}; if they are there in another order, {NAME_GOAL_CHANNELS}."
        )
    return matches[0]


def _compare_with_achieved_goal(env: AnyEnv, goal: tuple[int, ...]) -> None:
    """Warn if the goal channels that a user has named are not those that the environment compares with its goals."""
    samples = _sample_goal_observations(env)
    if samples:
        observed, achieved = (np.concatenate(column) for column in zip(*samples, strict=True))
        difference = float(np.abs(observed[:, list(goal)] - achieved).max())
        if difference > GOAL_TOLERANCE:
            warnings.warn(
                f"the goal channels {goal} differ from achieved_goal by up to {difference:.3g}, so plans will not lead "
                f"to the goals of {name_env(env)}: {GOAL_MUST_BE_OBSERVED}.",
                stacklevel=3,
            )


def _sample_goal_observations(env: AnyEnv) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return observations and achieved goals, each (slot, channel), at the beginning of a few episodes.

    Raises:
        InputError: if the environment cannot be reset, or cannot make a step.
    """
    seen, actions = [], copy.deepcopy(env.action_space)  # a copy, because its random numbers are the caller's
    actions.seed(0)
    try:
        for seed in range(GOAL_EPISODES):
            seen.append(env.reset(seed=seed)[0])
            for _ in range(GOAL_STEPS):
                observation, _, terminated, truncated, _ = env.step(actions.sample())
                seen.append(observation)
                if np.any(terminated | truncated):
                    break
    except Exception as error:  # environments raise errors of any kind
        raise InputError(f"{name_env(env)} cannot be reset and make a step: {find_reason(error)}.") from error
    return [
        (np.atleast_2d(one["observation"]), np.atleast_2d(one["achieved_goal"]))
        for one in seen
        if "achieved_goal" in one
    ]


def _check_box(name: str, space: Any) -> Any:
    """Return a space of vectors.

    Raises:
        InputError: if it is another space.
    """
    if not isinstance(space, spaces.Box) or len(space.shape) != 1:
        raise InputError(f"{NOT_SUPPORTED}; the {name} space {_describe(space)} is not supported yet.")
    return space


def _describe(space: Any) -> str:
    """Return a space as text of one line."""
    text = " ".join(str(space).split())
    return text if len(text) <= 80 else f"{text[:77]}..."
