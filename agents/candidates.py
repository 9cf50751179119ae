"""The best of several plans for the same decision, by what the plans themselves say (§3.4 leaves the choice to chance).

A selection gives each plan one score, higher is better, from its own numbers alone: what an episode chooses does not
depend on the episodes beside it. Only ``guide`` may know of walls, from the recording; but a plan that the model is
unsure of jumps, between tokens above all, and such a plan often leads through one.
"""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float

from dfplan.agents.plans import Plan
from dfplan.diffusion_forcing import DiffusionForcing
from dfplan.envs.errors import InputError
from dfplan.guidance import Guide
from dfplan.tokens import Trajectories

Goals = Float[np.ndarray, "plan goal"] | None
Scores = Float[np.ndarray, " plan"]


def arrival(plan: Plan, goal: Goals, guide: Guide | None, model: DiffusionForcing) -> Scores:
    """Return minus the mean distance to the goal: be near it, the sooner the better (cf. the guide of Eq. B.5).

    The predicted rewards would only do for the one goal of the data.

    Raises:
        InputError: if there is no goal.
    """
    return -_goal_distance(plan, goal).mean(axis=1)


def consistency(plan: Plan, goal: Goals, guide: Guide | None, model: DiffusionForcing) -> Scores:
    """Return minus the mean distance between where a planned step leads and where its planned velocity does.

    Like the controllers, it knows the first half of an observation as a position and the second as its velocity. The
    seconds between two steps, which nobody told the agent, are those that suit the plan best (least squares).
    """
    moved, velocity = _moves(plan), np.split(plan.observations, 2, axis=-1)[1]
    seconds = _sum(moved * velocity) / np.maximum(_sum(velocity * velocity), np.finfo(np.float32).tiny)
    return -np.linalg.norm(moved - seconds[:, None, None] * velocity, axis=-1).mean(axis=1)


def shortness(plan: Plan, goal: Goals, guide: Guide | None, model: DiffusionForcing) -> Scores:
    """Return minus the length of the planned way, jumps and zigzags included, and of the straight line from its end to
    the goal.

    Raises:
        InputError: if there is no goal.
    """
    return -np.linalg.norm(_moves(plan), axis=-1).sum(axis=1) - _goal_distance(plan, goal)[:, -1]


def guide_score(plan: Plan, goal: Goals, guide: Guide | None, model: DiffusionForcing) -> Scores:
    """Return the guide's score per step, less what speaks against the plan if the model's recording can tell.

    That is how far the plan leaves the recording and how far it jumps, in steps (``CostToGo.implausibility``).
    """
    device = model.alpha_bar.device
    parts = (plan.observations, plan.actions, plan.rewards)
    planned = Trajectories(*(torch.as_tensor(part, dtype=torch.float32, device=device) for part in parts))
    scores = guide(planned) / planned.rewards.shape[1]
    if model.cost_to_go is not None:
        start = torch.as_tensor(plan.start, dtype=torch.float32, device=device)
        path = torch.cat([start[:, None], planned.observations], dim=1)[..., : model.config.goal_dim]
        scores = scores - model.cost_to_go.implausibility(path)
    return scores.cpu().numpy()


SELECTIONS: dict[str, Callable[[Plan, Goals, Guide | None, DiffusionForcing], Scores]] = {
    "arrival": arrival,
    "consistency": consistency,
    "shortness": shortness,
    "guide": guide_score,
}

MOTION_SELECTIONS = ("consistency", "shortness")  # those that take the first half of an observation for a position


def best_of(
    plan: Plan, goal: Goals, candidates: int, selection: str, guide: Guide | None, model: DiffusionForcing
) -> Plan:
    """Return the best plan of each episode, whose ``candidates`` stand next to each other in the batch.

    Args:
        plan: of all candidates.
        goal: of each of these plans.
        candidates: number of plans of an episode.
        selection: a name in ``SELECTIONS``.
        guide: by which the plans were guided.
        model: that made them.
    """
    scores = SELECTIONS[selection](plan, goal, guide, model).reshape(-1, candidates)  # (episode, candidate)
    return plan.of(np.arange(len(scores)) * candidates + scores.argmax(axis=1))


def _moves(plan: Plan) -> Float[np.ndarray, "plan step position"]:
    """Return by how much each step changes the position, the first one that of the present."""
    position = np.concatenate([plan.start[:, None], plan.observations], axis=1)
    return np.diff(position[..., : position.shape[-1] // 2], axis=1)


def _goal_distance(plan: Plan, goal: Goals) -> Float[np.ndarray, "plan step"]:
    if goal is None:
        raise InputError("choosing among candidates by their goal needs a goal: reset(goal=...).")
    return np.linalg.norm(plan.observations[..., : goal.shape[-1]] - goal[:, None], axis=-1)


def _sum(values: Float[np.ndarray, "plan step position"]) -> Scores:
    """Return the sum of each plan's values."""
    return values.reshape(len(values), -1).sum(axis=1)
