"""What the evaluation needs of agents. ``DFPlanner`` itself cannot be named here without importing torch."""

import inspect
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from dfplan.ground.errors import InputError
from dfplan.task import Task


@runtime_checkable
class Agent(Protocol):
    """What the loop needs of an agent. Agents may also have ``plan_seconds``, ``config`` and ``task``.

    An agent whose ``reset`` has an argument ``episodes`` can begin single episodes of a batch anew, unless its
    ``renews_episodes`` is False.
    """

    def reset(self, goal: Any = None, seed: Any = None, num_steps: int | None = None) -> None:
        """Begin a batch of episodes: goals (batch, goal), one seed per episode, length of the episodes in steps."""

    def act(self, obs: Any) -> Any:
        """Return actions (batch, action) for observations (batch, observation)."""


@runtime_checkable
class PlanningAgent(Agent, Protocol):
    """An agent whose plans can be asked for."""

    def plan(self, observation: Any, *, keep_rows: bool = False) -> Any:
        """Return plans for observations (batch, observation)."""


@runtime_checkable
class Planner(PlanningAgent, Protocol):
    """A planning agent with a network, such as ``DFPlanner``."""

    config: Any
    model: Any
    info: dict[str, Any]

    @property
    def task(self) -> Task:
        """What the world is that the agent plans for."""


def reset_agent(agent: Agent, **given: Any) -> None:
    """Reset an agent; what its ``reset`` has no argument for is left out."""
    accepted = _list_arguments(agent)
    agent.reset(**{name: value for name, value in given.items() if accepted is None or name in accepted})


def renews_single_episodes(agent: Agent) -> bool:
    """Return whether single episodes of a batch can begin anew while the agent goes on with the others."""
    accepted = _list_arguments(agent)
    return (accepted is None or "episodes" in accepted) and getattr(agent, "renews_episodes", True)


def find_task(agent: Agent) -> Task | None:
    """Return the task that an agent was made for; None if it does not tell."""
    model = getattr(agent, "model", None)
    for holder in (agent, getattr(model, "config", None)):
        task = getattr(holder, "task", None)
        if isinstance(task, Task):
            return task
    return None


def act(agent: Agent, observations: Any, batch: int, action_dim: int) -> Float[np.ndarray, "batch action"]:
    """Return the agent's actions for a batch of observations.

    Raises:
        InputError: if they have another shape than the environment's actions, or are not finite.
    """
    actions = np.asarray(agent.act(observations))
    if actions.shape != (batch, action_dim):
        raise InputError(f"the agent's actions have the shape {actions.shape}, not {(batch, action_dim)}.")
    if not np.isfinite(actions).all():
        raise InputError("an action of the agent is not a finite number.")
    return actions


def _list_arguments(agent: Agent) -> Sequence[str] | None:
    """Return the names of the arguments of ``agent.reset``; None if it takes any."""
    parameters = inspect.signature(agent.reset).parameters
    takes_any = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())
    return None if takes_any else list(parameters)
