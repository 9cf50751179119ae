"""The execution of plans step by step (§3.4): each episode until it is time for it to plan anew."""

from copy import copy

import numpy as np
from jaxtyping import Bool, Float, Int

from dfplan.agents.config import PlannerConfig
from dfplan.agents.controllers import CONTROLLERS, Hold, Observations
from dfplan.agents.plans import Plan

Episodes = Int[np.ndarray, " episode"]


class Execution:
    """Follows plans that were made together until it is time to plan anew.

    Args:
        plan: with a batch axis.
        config: how to follow it.
        episodes: whose plans these are, as numbers in the batch.
    """

    def __init__(self, plan: Plan, config: PlannerConfig, episodes: Episodes):
        self.plan, self.episodes, self.step = plan, episodes, 0
        self.replan_error = config.replan_error
        self.controller = CONTROLLERS[config.controller](plan.observations, plan.actions, config.pursuit_lookahead)
        if config.hold:
            self.controller = Hold(self.controller, plan.observations)
        self.num_steps = None  # without an end: the controller goes on as it does when a plan is over
        if config.open_loop_horizon is not None:
            self.num_steps = min(config.open_loop_horizon, plan.actions.shape[1])

    def due(self, observation: Observations, doubted: bool) -> Bool[np.ndarray, " batch"]:
        """Return for which episodes it is time to plan anew: the time is over, or the plan disagrees with the world."""
        if self.replan_error is None or self.step == self.num_steps:
            return np.full(len(observation), self.step == self.num_steps)
        return self.controller.place(self._believed(observation, doubted))[1] > self.replan_error

    def act(
        self, observation: Observations, doubted: bool
    ) -> tuple[Float[np.ndarray, "batch action"], Float[np.ndarray, " batch"]]:
        """Return the actions of this step, and the rewards that the plan expects after them.

        A controller corrects what it sees. A doubted observation is no ground for that: the plan's own actions are
        executed, and the controller goes on as if all were as planned (§4.4).
        """
        planned = min(self.step, self.plan.actions.shape[1] - 1)
        actions = self.controller.act(self._believed(observation, doubted))
        if doubted:
            actions = np.clip(self.plan.actions[:, planned], -1, 1)
        self.step += 1
        return actions.astype(np.float32), self.plan.rewards[:, planned]

    def rest(self, observation: Observations, doubted: bool, num_steps: int) -> tuple[np.ndarray, ...]:
        """Return observations, actions and rewards that the plans hold for the steps to come; the last one lasts."""
        reached, _ = self.controller.place(self._believed(observation, doubted))
        step = np.minimum(reached[:, None] + 1 + np.arange(num_steps), self.plan.actions.shape[1] - 1)
        episode = np.arange(len(step))[:, None]
        return tuple(part[episode, step] for part in (self.plan.observations, self.plan.actions, self.plan.rewards))

    def keep(self, kept: Bool[np.ndarray, " batch"]) -> None:
        """Go on with the plans of some episodes only."""
        self.plan, self.episodes = self.plan.of(kept), self.episodes[kept]
        self.controller.keep(kept)

    def _believed(self, observation: Observations, doubted: bool) -> Observations:
        """Return what is observed, or else what was planned to be."""
        if not doubted:
            return observation
        last = self.plan.actions.shape[1] - 1
        return self.plan.observations[:, min(self.step - 1, last)] if self.step else self.plan.start


class Executions:
    """What a batch of episodes is about; those that planned together are followed together."""

    def __init__(self):
        self.running: list[Execution] = []

    def due(self, observations: Observations, doubted: bool) -> Episodes:
        """Return the episodes for which it is time to plan; at first all of them."""
        due = np.ones(len(observations), dtype=bool)
        for execution in self.running:
            due[execution.episodes] = execution.due(observations[execution.episodes], doubted)
        return np.flatnonzero(due)

    def add(self, execution: Execution) -> None:
        """Follow new plans in place of what their episodes followed."""
        for old in self.running:
            old.keep(~np.isin(old.episodes, execution.episodes))
        self.running = [*(old for old in self.running if len(old.episodes)), execution]

    def act(
        self, observations: Observations, doubted: bool
    ) -> tuple[Float[np.ndarray, "batch action"], Float[np.ndarray, " batch"]]:
        """Return the actions of this step of all episodes, and the rewards that the plans expect after them."""
        return self._gathered([running.act(observations[running.episodes], doubted) for running in self.running])

    def rest(self, observations: Observations, doubted: bool, num_steps: int) -> tuple[np.ndarray, ...]:
        """Return observations, actions and rewards that the plans of all episodes hold for the steps to come."""
        return self._gathered(
            [running.rest(observations[running.episodes], doubted, num_steps) for running in self.running]
        )

    def copied(self) -> "Executions":
        """Return executions that go on from here and leave these where they are.

        Controllers replace their arrays and never write into them, so that the arrays can be shared.
        """
        twins = Executions()
        for running in self.running:
            twin = copy(running)
            twin.controller = copy(running.controller)
            twins.running.append(twin)
        return twins

    def _gathered(self, parts: list[tuple[np.ndarray, ...]]) -> tuple[np.ndarray, ...]:
        """Return what each execution gave for its episodes in the order of the batch."""
        order = np.argsort(np.concatenate([running.episodes for running in self.running]))
        return tuple(np.concatenate(part)[order] for part in zip(*parts))
