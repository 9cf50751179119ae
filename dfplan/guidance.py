"""Guides: what a plan should be good at, as log c (§3.4, App. B.5).

A guide scores a batch of plans in environment units, one score per plan, so that guidance strength cannot depend on
the batch size. Scores are sums over the plan's steps divided by the steps per token: a longer plan is pulled as hard
per token as a short one.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from dfplan.tokens import Trajectories

Guide = Callable[[Trajectories], Float[Tensor, " batch"]]

SQUASH_DISTANCE = 2.0  # environment units over which the squashed goal distance saturates


def goal_distance(goal: Float[Tensor, "batch goal"], frame_stack: int) -> Guide:
    """Return the guide −Σ_t ‖p_t − g‖: be near the goal at any time, the sooner the better (Eq. B.5)."""

    def score(plan: Trajectories) -> Float[Tensor, " batch"]:
        return -_distances(plan, goal).sum(dim=1) / frame_stack

    return score


def squashed_goal_distance(goal: Float[Tensor, "batch goal"], frame_stack: int) -> Guide:
    """Return the guide −Σ_t 2·tanh(‖p_t − g‖ / 2), whose pull fades far from the goal.

    The plain distance pulls a far step as hard as a near one, through walls if need be; this one lets the model find
    the way out.
    """

    def score(plan: Trajectories) -> Float[Tensor, " batch"]:
        squashed = SQUASH_DISTANCE * torch.tanh(_distances(plan, goal) / SQUASH_DISTANCE)
        return -squashed.sum(dim=1) / frame_stack

    return score


def predicted_return(frame_stack: int, discount: float = 1.0) -> Guide:
    """Return the guide Σ_t discount^t · r_t, the return that the plan itself predicts."""

    def score(plan: Trajectories) -> Float[Tensor, " batch"]:
        steps = torch.arange(plan.rewards.shape[1], device=plan.rewards.device)
        return (plan.rewards * discount**steps).sum(dim=1) / frame_stack

    return score


def keep_out(centre: Float[Tensor, " position"], radius: float, frame_stack: int) -> Guide:
    """Return a guide that charges each step for its depth inside a disc, in units of the radius."""

    def score(plan: Trajectories) -> Float[Tensor, " batch"]:
        return -(1 - _distances(plan, centre[None]) / radius).clamp_min(0).sum(dim=1) / frame_stack

    return score


def weighted_sum(guides: Sequence[Guide], weights: Sequence[float]) -> Guide:
    """Return the guide that adds up ``guides``, each times its weight.

    Raises:
        ValueError: if there are not as many weights as guides.
    """
    if len(guides) != len(weights):
        raise ValueError(f"{len(guides)} guides need as many weights, not {len(weights)}")

    def score(plan: Trajectories) -> Float[Tensor, " batch"]:
        return sum(weight * guide(plan) for guide, weight in zip(guides, weights))

    return score


def _distances(plan: Trajectories, point: Float[Tensor, "batch_or_1 position"]) -> Float[Tensor, "batch step"]:
    """Distance of each planned position to a point; its gradient at distance 0 is 0."""
    offset = plan.observations[..., : point.shape[-1]] - point[:, None].to(plan.observations)
    return (offset.square().sum(dim=-1) + 1e-8).sqrt()
