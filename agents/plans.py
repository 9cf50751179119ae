"""What the agent intends, and the execution of it step by step (§3.4)."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int

from dfplan.agents.config import PlannerConfig
from dfplan.agents.controllers import CONTROLLERS


@dataclass(frozen=True)
class Plan:
    """What the agent intends, in environment units; without the batch axis when planned from a single observation.

    Attributes:
        observations: after each planned step.
        actions: of each planned step.
        rewards: about each planned observation.
        levels: of each step after the last sampling row; 0 is clean.
        start: the present observation as believed: the model's own idea of it when it was told to be doubtful.
        rows: the plan as believed at each sampling row, if asked for: observations and the levels of each step.
    """

    observations: Float[np.ndarray, "*batch step observation"]
    actions: Float[np.ndarray, "*batch step action"]
    rewards: Float[np.ndarray, "*batch step"]
    levels: Int[np.ndarray, " step"]
    start: Float[np.ndarray, "*batch observation"]
    rows: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)

    def first(self) -> "Plan":
        """Return the plan of the first episode of the batch, without the batch axis."""
        rows = [(observations[0], levels) for observations, levels in self.rows]
        return Plan(self.observations[0], self.actions[0], self.rewards[0], self.levels, self.start[0], rows)


class Execution:
    """Follows one batch of plans until it is time to plan anew."""

    def __init__(self, plan: Plan, config: PlannerConfig):
        self.plan, self.step = plan, 0
        self.controller = CONTROLLERS[config.controller](plan.observations, plan.actions)
        self.num_steps = None  # without an end: the last planned state is held
        if config.open_loop_horizon is not None:
            self.num_steps = min(config.open_loop_horizon, plan.actions.shape[1])

    @property
    def finished(self) -> bool:
        """Whether it is time to plan anew."""
        return self.step == self.num_steps

    def act(
        self, observation: Float[np.ndarray, "batch observation"], doubted: bool
    ) -> tuple[Float[np.ndarray, "batch action"], Float[np.ndarray, " batch"]]:
        """Return the actions of this step, and the rewards that the plan expects after them.

        A controller corrects what it sees. A doubted observation is no ground for that: the plan's own actions are
        executed, and the controller goes on as if all were as planned (§4.4).
        """
        last = self.plan.actions.shape[1] - 1
        planned = min(self.step, last)
        if doubted:
            believed = self.plan.observations[:, min(self.step - 1, last)] if self.step else self.plan.start
            self.controller.act(believed)
            actions = np.clip(self.plan.actions[:, planned], -1, 1)
        else:
            actions = self.controller.act(observation)
        self.step += 1
        return actions.astype(np.float32), self.plan.rewards[:, planned]
