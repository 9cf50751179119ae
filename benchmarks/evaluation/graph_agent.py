"""The agent without a network: it shows what the recording's graph alone would score."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from dfplan.agents.observations import check_array
from dfplan.data.cost_to_go import CostToGo
from dfplan.data.pursuit import push_towards
from dfplan.ground.errors import InputError
from dfplan.task import Task, index_channels

STEPS = 20  # ahead at full speed; farther sub-goals lie behind corners


class GraphAgent:
    """Goes straight to a sub-goal on the recorded way (``CostField.find_subgoals``), which moves on with the agent.

    Args:
        graph: of the recording.
        task: names positions, which are the goal channels, and how actions move them.
        steps: to the sub-goal, at full speed.

    Raises:
        InputError: if the task does not name them.
    """

    def __init__(self, graph: CostToGo | None, task: Task, steps: int = STEPS):
        if graph is None or not task.step_length or task.position != task.goal:
            raise InputError(
                "the agent graph needs a checkpoint with a cost to go, and a task whose goal channels are positions "
                "that actions move directly (step_length)."
            )
        self.graph, self.task, self.steps = graph, task, steps
        self._goals: np.ndarray | None = None

    def reset(self, goal: Any = None, seed: Any = None, num_steps: int | None = None) -> None:
        """Begin one episode or a batch of episodes; ``seed`` and ``num_steps`` play no part.

        Args:
            goal: (goal,) for all episodes, or (batch, goal) for one per episode, in environment units.
            seed: ignored.
            num_steps: ignored.

        Raises:
            InputError: if ``goal`` is missing, or is not an array of finite numbers.
        """
        if goal is None:
            raise InputError("the agent graph needs a goal: reset(goal=...).")
        self._goals = check_array(goal, self.task.goal_dim, "goal")

    def act(self, obs: Float[np.ndarray, "*batch observation"]) -> Float[np.ndarray, "*batch action"]:
        """Return the actions that lead straight to the sub-goals.

        Raises:
            InputError: if the number of observations differs from that of the goals, or an observation is not finite.
            RuntimeError: before the first ``reset``.
        """
        if self._goals is None:
            raise RuntimeError("call reset(goal) of the agent graph before act()")
        observations = check_array(obs, self.task.observation_dim, "observation")
        if len(self._goals) not in (1, len(observations)):
            raise InputError(
                f"{len(observations)} observations do not fit {len(self._goals)} goals; call reset() first."
            )
        position = index_channels(self.task.position)
        goals = torch.tensor(np.broadcast_to(self._goals, observations[:, position].shape), dtype=torch.float32)
        places = torch.tensor(observations[:, position], dtype=torch.float32)
        targets = observations.copy()
        targets[:, position] = self.graph.solve_for(goals).find_subgoals(places, self.steps).numpy()
        actions = push_towards(targets, observations, self.task)
        return actions.astype(np.float32).reshape(*np.shape(obs)[:-1], -1)
