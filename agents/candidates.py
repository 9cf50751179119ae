"""The best of several plans for the same decision, by what the plans themselves say (§3.4 leaves the choice to chance).

A selection gives each plan one score, higher is better, from its own numbers alone: what an episode chooses does not
depend on the episodes beside it. Only ``cost_to_go`` knows of walls, from the recording; but a plan that the model is
unsure of jumps, between tokens above all, and such a plan often leads through one.
"""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float

from dfplan.agents.plans import Plan
from dfplan.cost_to_go import CELL
from dfplan.diffusion_forcing import DiffusionForcing
from dfplan.envs.errors import InputError

# What speaks against a plan, in steps of cost to go for each step of length, averaged over the plan.
OFF_RECORDING_WEIGHT = 5.0  # of the distance beyond one cell from the nearest landmark
JUMP_WEIGHT = 20.0  # of a move beyond ``LONGEST_MOVE``
LONGEST_MOVE = 1.5  # steps at full speed that one step may take, diagonally for example

Goals = Float[np.ndarray, "plan goal"] | None
Scores = Float[np.ndarray, " plan"]


def arrival(plan: Plan, goal: Goals, model: DiffusionForcing) -> Scores:
    """Return minus the mean distance to the goal: be near it, the sooner the better (cf. the guide of Eq. B.5).

    The predicted rewards would only do for the one goal of the data.

    Raises:
        InputError: if there is no goal.
    """
    return -_goal_distance(plan, goal).mean(axis=1)


def consistency(plan: Plan, goal: Goals, model: DiffusionForcing) -> Scores:
    """Return minus the mean distance between where a planned step leads and where its planned velocity does.

    Like the controllers, it knows the first half of an observation as a position and the second as its velocity. The
    seconds between two steps, which nobody told the agent, are those that suit the plan best (least squares).
    """
    moved, velocity = _moves(plan), np.split(plan.observations, 2, axis=-1)[1]
    seconds = _sum(moved * velocity) / np.maximum(_sum(velocity * velocity), np.finfo(np.float32).tiny)
    return -np.linalg.norm(moved - seconds[:, None, None] * velocity, axis=-1).mean(axis=1)


def shortness(plan: Plan, goal: Goals, model: DiffusionForcing) -> Scores:
    """Return minus the length of the planned way, jumps and zigzags included, and of the straight line from its end to
    the goal.

    Raises:
        InputError: if there is no goal.
    """
    return -np.linalg.norm(_moves(plan), axis=-1).sum(axis=1) - _goal_distance(plan, goal)[:, -1]


def cost_to_go(plan: Plan, goal: Goals, model: DiffusionForcing) -> Scores:
    """Return minus the mean cost to go of the planned positions, with what speaks against believing it, all in steps.

    A plan that leaves what the recording has visited is charged for the distance, one that jumps for the jumps.

    Raises:
        InputError: if there is no goal, or the model holds no cost to go.
    """
    if goal is None or model.cost_to_go is None:
        raise InputError("the selection 'cost_to_go' needs a goal and a checkpoint that holds a cost to go.")
    field = model.cost_to_go.to_goals(torch.as_tensor(goal, dtype=torch.float32))
    positions = torch.as_tensor(plan.observations[..., : goal.shape[-1]], dtype=torch.float32)
    start = torch.as_tensor(plan.start[:, None, : goal.shape[-1]], dtype=torch.float32)
    moves = torch.cat([start, positions], dim=1).diff(dim=1) / field.stride
    jumps = (moves.norm(dim=-1) - LONGEST_MOVE).clamp_min(0)
    off_recording = (field.off_recording(positions) - CELL).clamp_min(0)
    costs = field(positions) + OFF_RECORDING_WEIGHT * off_recording + JUMP_WEIGHT * jumps
    return -costs.mean(dim=1).numpy()


SELECTIONS: dict[str, Callable[[Plan, Goals, DiffusionForcing], Scores]] = {
    "arrival": arrival,
    "consistency": consistency,
    "shortness": shortness,
    "cost_to_go": cost_to_go,
}

MOTION_SELECTIONS = ("consistency", "shortness")  # those that take the first half of an observation for a position


def best_of(plan: Plan, goal: Goals, candidates: int, selection: str, model: DiffusionForcing) -> Plan:
    """Return the best plan of each episode, whose ``candidates`` stand next to each other in the batch."""
    scores = SELECTIONS[selection](plan, goal, model).reshape(-1, candidates)  # (episode, candidate)
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
