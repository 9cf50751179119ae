"""Executes plans step by step, until it is time for the next plan of an episode (§3.4)."""

from collections.abc import Sequence
from copy import copy

import numpy as np
from jaxtyping import Bool, Float, Int

from dfplan.agents.controllers import Hold, Observations, make_controller
from dfplan.agents.planner_config import ExecutionSettings
from dfplan.agents.plans import Plan
from dfplan.task import Task

Episodes = Int[np.ndarray, " episode"]


class Execution:
    """Follows plans that were made together, until it is time for the next plan.

    Args:
        plan: with a batch axis.
        settings: how to follow it.
        episodes: numbers of their episodes in the batch.
        task: what the plans are for.
    """

    def __init__(self, plan: Plan, settings: ExecutionSettings, episodes: Episodes, task: Task):
        self.plan, self.episodes, self.task, self.step = plan, episodes, task, 0
        self.replan_error = settings.replan_error
        parts = plan.observations, plan.actions, task
        self.controller = make_controller(settings.controller, *parts, settings.pursuit_lookahead)
        if settings.hold:
            self.controller = Hold(self.controller, plan.observations, task)
        self.num_steps = None  # the plan is followed to the end of the episode
        if settings.open_loop_horizon is not None:
            self.num_steps = min(settings.open_loop_horizon, plan.actions.shape[1])

    def is_due(self, observation: Observations, doubted: bool) -> Bool[np.ndarray, " batch"]:
        """Return which episodes need a new plan: the plan's time is over, or it disagrees with the world."""
        if self.replan_error is None or self.step == self.num_steps:
            return np.full(len(observation), self.step == self.num_steps)
        return self.controller.locate(self._believed(observation, doubted))[1] > self.replan_error

    def act(
        self, observation: Observations, doubted: bool
    ) -> tuple[Float[np.ndarray, "batch action"], Float[np.ndarray, " batch"]]:
        """Return the actions of this step, and the rewards that the plan predicts for it.

        A controller corrects the deviation that it observes. If the observation is doubted, the plan's own actions are
        executed instead, and the controller continues as if the planned state had been observed (§4.4).
        """
        planned = min(self.step, self.plan.actions.shape[1] - 1)
        actions = self.controller.act(self._believed(observation, doubted))
        if doubted:
            actions = self.task.clip(self.plan.actions[:, planned])
        self.step += 1
        return actions.astype(np.float32), self.plan.rewards[:, planned]

    def get_remaining(self, observation: Observations, doubted: bool, num_steps: int) -> tuple[np.ndarray, ...]:
        """Return the planned observations, actions and rewards of the next steps; the last step is repeated."""
        reached, _ = self.controller.locate(self._believed(observation, doubted))
        step = np.minimum(reached[:, None] + 1 + np.arange(num_steps), self.plan.actions.shape[1] - 1)
        episode = np.arange(len(step))[:, None]
        return tuple(part[episode, step] for part in (self.plan.observations, self.plan.actions, self.plan.rewards))

    def keep(self, kept: Bool[np.ndarray, " batch"]) -> None:
        """Drop the plans of all other episodes."""
        self.plan, self.episodes = self.plan.select(kept), self.episodes[kept]
        self.controller.keep(kept)

    def _believed(self, observation: Observations, doubted: bool) -> Observations:
        """Return the observation, or the planned one if it is doubted."""
        if not doubted:
            return observation
        last = self.plan.actions.shape[1] - 1
        return self.plan.observations[:, min(self.step - 1, last)] if self.step else self.plan.start


class Executions:
    """All executions of a batch of episodes; plans that were made together are followed together."""

    def __init__(self):
        self.running: list[Execution] = []

    def find_due(self, observations: Observations, doubted: bool) -> Episodes:
        """Return the episodes that need a new plan; at first all of them."""
        due = np.ones(len(observations), dtype=bool)
        for execution in self.running:
            due[execution.episodes] = execution.is_due(observations[execution.episodes], doubted)
        return np.flatnonzero(due)

    def add(self, execution: Execution) -> None:
        """Follow new plans instead of the earlier plans of their episodes."""
        self.drop(execution.episodes)
        self.running.append(execution)

    def drop(self, episodes: Episodes | Sequence[int]) -> None:
        """Follow the plans of some episodes no longer."""
        for running in self.running:
            running.keep(~np.isin(running.episodes, episodes))
        self.running = [running for running in self.running if len(running.episodes)]

    def act(
        self, observations: Observations, doubted: bool
    ) -> tuple[Float[np.ndarray, "batch action"], Float[np.ndarray, " batch"]]:
        """Return the actions of this step of all episodes, and the rewards that the plans predict for it."""
        parts = [running.act(observations[running.episodes], doubted) for running in self.running]
        actions, rewards = self._order(parts)
        return actions, rewards

    def get_remaining(self, observations: Observations, doubted: bool, num_steps: int) -> tuple[np.ndarray, ...]:
        """Return the planned observations, actions and rewards of the next steps of all episodes."""
        return self._order(
            [running.get_remaining(observations[running.episodes], doubted, num_steps) for running in self.running]
        )

    def copy(self) -> "Executions":
        """Return independent executions that continue from here.

        Controllers replace their arrays and never write into them, so the copies share the arrays.
        """
        twins = Executions()
        for running in self.running:
            twin = copy(running)
            twin.controller = copy(running.controller)
            twins.running.append(twin)
        return twins

    def _order(self, parts: Sequence[tuple[np.ndarray, ...]]) -> tuple[np.ndarray, ...]:
        """Return the values of all executions in the order of the batch."""
        order = np.argsort(np.concatenate([running.episodes for running in self.running]))
        return tuple(np.concatenate(part)[order] for part in zip(*parts))
