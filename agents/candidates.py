"""Chooses the best of several plans for the same decision (§3.4 leaves the choice to chance).

A selection gives each plan one score, higher is better, from its own numbers alone. So the choice of an episode does
not depend on the other episodes. Only the selection ``guide`` knows about walls, from the recording. The others notice
bad plans by their jumps: where the model is unsure, a plan jumps, mostly between tokens, and often through a wall.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from dfplan.agents.named_guides import make_return_guide
from dfplan.agents.plans import Plan
from dfplan.data.trajectories import Trajectories
from dfplan.ground.errors import InputError
from dfplan.model.diffusion_forcing import DiffusionForcing
from dfplan.sampling.guides import Guide
from dfplan.task import Task, index_channels

RETURN_MARGIN = 1e-3  # by which the return of a later candidate must be higher, as a share of the range of returns

Goals = Float[np.ndarray, "plan goal"] | None
Scores = Float[np.ndarray, " plan"]


def score_arrival(plan: Plan, goal: Goals, guide: Guide | None, model: DiffusionForcing) -> Scores:
    """Return minus the mean distance to the goal, which is best for early arrivals (cf. the guide of Eq. B.5).

    The predicted rewards would not do: they are about the one goal of the data.

    Raises:
        InputError: if there is no goal.
    """
    return -_goal_distance(plan, goal, model.config.task).mean(axis=1)


def score_consistency(plan: Plan, goal: Goals, guide: Guide | None, model: DiffusionForcing) -> Scores:
    """Return minus the mean distance between each planned position and the one that its planned velocity leads to.

    The task names the channels of positions and velocities. The agent is not told the seconds between two steps, so
    they are fitted to the plan by least squares. Where actions move positions directly, it is the planned action that
    leads there.
    """
    task = model.config.task
    moved = _moves(plan, task)
    if task.step_length:
        planned = plan.actions / task.bounds[1] * task.step_length
        return -np.linalg.norm(moved - planned, axis=-1).mean(axis=1)
    velocity = plan.observations[..., index_channels(task.velocity)]
    seconds = _sum(moved * velocity) / np.maximum(_sum(velocity * velocity), np.finfo(np.float32).tiny)
    return -np.linalg.norm(moved - seconds[:, None, None] * velocity, axis=-1).mean(axis=1)


def score_shortness(plan: Plan, goal: Goals, guide: Guide | None, model: DiffusionForcing) -> Scores:
    """Return minus the length of the planned path, and minus the distance from its end to the goal.

    Raises:
        InputError: if there is no goal.
    """
    task = model.config.task
    return -np.linalg.norm(_moves(plan, task), axis=-1).sum(axis=1) - _goal_distance(plan, goal, task)[:, -1]


def score_by_guide(plan: Plan, goal: Goals, guide: Guide | None, model: DiffusionForcing) -> Scores:
    """Return the guide's score per step, minus the implausibility of the plan if the model has a cost-to-go.

    The implausibility says how far the plan leaves the recording and how far it jumps, in steps
    (``CostToGo.measure_implausibility``).
    """
    if guide is None:
        raise ValueError("plans cannot be scored by a guide, because there is none")
    planned = _to_trajectories(plan, model)
    scores = guide(planned) / planned.rewards.shape[1]
    if model.cost_to_go is not None:
        start = torch.as_tensor(plan.start, dtype=torch.float32, device=planned.rewards.device)
        path = torch.cat([start[:, None], planned.observations], dim=1)[..., index_channels(model.config.task.goal)]
        scores = scores - model.cost_to_go.measure_implausibility(path)
    return scores.cpu().numpy()


def score_return(plan: Plan, goal: Goals, guide: Guide | None, model: DiffusionForcing) -> Scores:
    """Return the λ-return of each plan, or its predicted return if the model holds no value."""
    return make_return_guide(model)(_to_trajectories(plan, model)).cpu().numpy()


def find_return_margin(model: DiffusionForcing) -> float:
    """Return ``RETURN_MARGIN`` in the units of ``score_return``; 0 without a value, whose range is unknown."""
    value = model.value
    return 0.0 if value is None else RETURN_MARGIN * float((value.highest - value.lowest) / value.spread)


@dataclass(frozen=True)
class Selection:
    """A way to choose the best of several plans.

    Attributes:
        score: returns one score for each plan, higher is better.
        find_margin: returns by how much a later candidate must be better than the first one. Where all plans are
            equally good, the errors of predicted rewards and of the value would otherwise choose unusual actions.
        needs_motion: whether the task must say how actions move positions (``Task.has_motion``).
        needs_goal: whether the task must have a goal.
    """

    score: Callable[[Plan, Goals, Guide | None, DiffusionForcing], Scores]
    find_margin: Callable[[DiffusionForcing], float] = lambda model: 0.0
    needs_motion: bool = False
    needs_goal: bool = False


SELECTIONS = {
    "arrival": Selection(score_arrival, needs_goal=True),
    "consistency": Selection(score_consistency, needs_motion=True),
    "shortness": Selection(score_shortness, needs_motion=True, needs_goal=True),
    "guide": Selection(score_by_guide),
    "return": Selection(score_return, find_return_margin),
}


def default_selection(task: Task) -> str:
    """Return the name of the selection that suits a task."""
    return "consistency" if task.has_motion else "return"


def choose_best(
    plan: Plan,
    goal: Goals,
    candidates: int,
    selection: str | Callable[[Plan], Scores] | None,
    guide: Guide | None,
    model: DiffusionForcing,
) -> Plan:
    """Return the best plan of each episode.

    Args:
        plan: all candidates; those of an episode stand next to each other in the batch.
        goal: of each candidate, environment units.
        candidates: number of plans per episode.
        selection: a name in ``SELECTIONS``, a function of all candidates that returns one score for each, or None for
            the selection that suits the task.
        guide: the guide that steered the plans.
        model: the model that made them.

    Raises:
        InputError: if a function returns scores of another shape, or scores that are not numbers.
    """
    if callable(selection):
        scores, margin = _check_scores(selection(plan), len(plan.rewards)), 0.0
    else:
        chosen = SELECTIONS[selection or default_selection(model.config.task)]
        scores, margin = chosen.score(plan, goal, guide, model), chosen.find_margin(model)
    scores = scores.reshape(-1, candidates)  # (episode, candidate)
    scores = scores - margin * (np.arange(candidates) > 0)
    return plan.select(np.arange(len(scores)) * candidates + scores.argmax(axis=1))


def _check_scores(scores: object, num_plans: int) -> Scores:
    """Return what a user's function has computed, as an array."""
    array = np.asarray(scores, dtype=np.float64)
    if array.shape != (num_plans,) or np.isnan(array).any():
        found = "holds NaN" if array.shape == (num_plans,) else f"has the shape {array.shape}"
        raise InputError(f"the selection must return {num_plans} scores, one for each plan; its result {found}.")
    return array


def _to_trajectories(plan: Plan, model: DiffusionForcing) -> Trajectories:
    """Return the planned steps as tensors on the model's device."""
    parts = (plan.observations, plan.actions, plan.rewards)
    return Trajectories(*(torch.as_tensor(part, dtype=torch.float32, device=model.alpha_bar.device) for part in parts))


def _moves(plan: Plan, task: Task) -> Float[np.ndarray, "plan step position"]:
    """Return the change of the position in each step, beginning at the present position."""
    observations = np.concatenate([plan.start[:, None], plan.observations], axis=1)
    return np.diff(observations[..., index_channels(task.position)], axis=1)


def _goal_distance(plan: Plan, goal: Goals, task: Task) -> Float[np.ndarray, "plan step"]:
    if goal is None:
        raise InputError("choosing among candidates by their goal needs a goal: reset(goal=...).")
    return np.linalg.norm(plan.observations[..., index_channels(task.goal)] - goal[:, None], axis=-1)


def _sum(values: Float[np.ndarray, "plan step position"]) -> Scores:
    """Return the sum of each plan's values."""
    return values.reshape(len(values), -1).sum(axis=1)
