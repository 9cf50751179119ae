"""Guides: functions that score plans, as log c (§3.4, App. B.5).

A guide scores a batch of plans in environment units, one score per plan, so the strength of guidance does not depend on
the batch size. Most scores are sums over the plan's steps. The sampler divides a score by the steps per token, so a
token is pulled equally hard in plans of any length and with tokens of any size.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dfplan.data.cost_to_go import CostField
from dfplan.data.trajectories import Trajectories
from dfplan.data.value import Value
from dfplan.ground.errors import InputError
from dfplan.task import index_channels

Guide = Callable[[Trajectories], Float[Tensor, " batch"]]

TRACE_DECAY = 0.5  # λ of the λ-return
SQUASH_DISTANCE = 2.0  # environment units over which the squashed goal distance saturates
# Steps at full speed. The pull to stay at the goal grows with the distance up to here, and fades beyond. A pull that is
# strong near the goal makes an agent at rest swing; a pull that reaches farther leads through walls.
HOLD_REACH = 10.0


@dataclass(frozen=True)
class StepwiseGuide:
    """A guide that adds up scores of single steps, none of which depends on another step.

    Several plans for one goal may therefore be scored as one long plan. Monte-Carlo guidance scores its futures so.

    Attributes:
        score_steps: returns the score of each step of each plan.
    """

    score_steps: Callable[[Trajectories], Float[Tensor, "batch step"]]

    def __call__(self, plan: Trajectories) -> Float[Tensor, " batch"]:
        """Return the score of each plan."""
        return self.score_steps(plan).sum(dim=1)


@dataclass(frozen=True)
class WayPoint:
    """A point that plans pass before they go to their goal, together with the guide ``cost_to_go``.

    Attributes:
        point: values of the observation channels ``channels``, environment units.
        radius: distance within which the point counts as passed, environment units.
        channels: of the observation; empty for the goal channels of the agent's task.
    """

    point: tuple[float, ...]
    radius: float = 0.5
    channels: tuple[int, ...] = ()

    def __post_init__(self):
        if not self.radius > 0:
            raise InputError(f"the radius of a way point must be above 0, not {self.radius}.")

    def is_near(self, observations: Float[Tensor, "batch step observation"]) -> Bool[Tensor, "batch step"]:
        """Return which observations lie within the radius."""
        return _distances(observations, torch.tensor([self.point], dtype=torch.float32), self.channels) < self.radius


@dataclass(frozen=True)
class Leg:
    """A part of the way that ends at a way point.

    Attributes:
        way_point: at its end.
        field: the cost to go to the way point, for each plan of a batch.
        onward: the cost from there on to the goal, by all later way points, in steps.
        is_over: which plans' agents have passed the way point.
    """

    way_point: WayPoint
    field: CostField
    onward: Float[Tensor, " batch"]
    is_over: Bool[Tensor, " batch"]


def cost_to_go(field: CostField, legs: Sequence[Leg] = (), channels: Sequence[int] = ()) -> Guide:
    """Return the guide −Σ_t [V(p_t) + hold(p_t)], which leads to the goal and keeps plans there.

    V is the cost-to-go in steps, so the score does not depend on the units of the world. Near the goal V is nearly
    flat; there hold = 2 r tanh(d / r) keeps the plan in place, with r = ``HOLD_REACH`` and the straight distance d to
    the goal, smoothed to √(d² + r²) − r.

    With ``legs``, V is the cost of the way through their way points. A step of a plan belongs to the first leg that
    neither the agent nor an earlier step of the plan has finished.

    Args:
        field: the cost to go to the goal of each plan.
        legs: the parts of the way before the last way point.
        channels: the goal channels of the observation; empty for the first ones.
    """
    index = _index(channels, field.goals.shape[-1])
    if not legs:
        return StepwiseGuide(lambda plan: -_held(field, plan.observations[..., index]))

    def score(plan: Trajectories) -> Float[Tensor, " batch"]:
        positions = plan.observations[..., index]
        costs = _held(field, positions)
        is_over = torch.ones_like(costs, dtype=torch.bool)
        for leg, over in zip(legs, _legs_over(plan, legs)):
            costs = torch.where(is_over & ~over, _held(leg.field, positions) + leg.onward[:, None], costs)
            is_over = over
        return -costs.sum(dim=1)

    return score


def _held(field: CostField, positions: Float[Tensor, "batch step goal"]) -> Float[Tensor, "batch step"]:
    """Return V + hold of each position."""
    offset = (positions - field.goals[:, None]) / field.stride
    distance = (offset.square().sum(dim=-1) + HOLD_REACH**2).sqrt() - HOLD_REACH
    return field(positions) + 2 * HOLD_REACH * torch.tanh(distance / HOLD_REACH)


def _legs_over(plan: Trajectories, legs: Sequence[Leg]) -> Iterator[Bool[Tensor, "batch step"]]:
    """Yield for each leg, in order, at which steps of the plan it is finished."""
    is_over = torch.ones(plan.rewards.shape, dtype=torch.bool, device=plan.rewards.device)
    for leg in legs:
        passed = is_over & leg.way_point.is_near(plan.observations)
        is_over = leg.is_over[:, None] | (passed.int().cummax(dim=1).values > 0)
        yield is_over


def goal_distance(goal: Float[Tensor, "batch goal"], channels: Sequence[int] = ()) -> Guide:
    """Return the guide −Σ_t ‖p_t − g‖, which rewards plans that are near the goal early (Eq. B.5).

    p_t are the observation channels ``channels``, which are the first ones if it is empty.
    """
    return StepwiseGuide(lambda plan: -_distances(plan.observations, goal, channels))


def squashed_goal_distance(goal: Float[Tensor, "batch goal"], channels: Sequence[int] = ()) -> Guide:
    """Return the guide −Σ_t 2·tanh(‖p_t − g‖ / 2), whose pull fades far from the goal.

    The plain distance pulls a far step as hard as a near one, even through walls; this one leaves the way from far away
    to the model. ``channels`` as in ``goal_distance``.
    """
    return StepwiseGuide(
        lambda plan: -SQUASH_DISTANCE * torch.tanh(_distances(plan.observations, goal, channels) / SQUASH_DISTANCE)
    )


def predicted_return(discount: float = 1.0, weight: float = 1.0) -> Guide:
    """Return the guide weight · Σ_t discount^t · r_t, the return that the plan itself predicts."""

    def score(plan: Trajectories) -> Float[Tensor, " batch"]:
        steps = torch.arange(plan.rewards.shape[1], device=plan.rewards.device)
        return weight * (plan.rewards * discount**steps).sum(dim=1)

    return score


def lambda_return(value: Value, trace_decay: float = TRACE_DECAY) -> Guide:
    """Return the guide that scores a plan by its λ-return (Sutton & Barto 2018, §12.1), in spreads of the value.

    The h-step return is Σ_{i<h} γ^i r_i + γ^h V(s_h): what the plan predicts for h steps, and then the value, so that
    a return does not end at the horizon. The λ-return is the mean over h with weights proportional to λ^(h-1). Steps
    far ahead are predicted worse, and matter less.

    Args:
        value: V, fitted to the recording.
        trace_decay: λ in [0, 1]; 0 looks one step ahead, 1 averages all lengths equally.
    """

    def score(plan: Trajectories) -> Float[Tensor, " batch"]:
        step = torch.arange(plan.rewards.shape[1], device=plan.rewards.device)
        discount = value.discount.to(plan.rewards)
        returns = (plan.rewards * discount**step).cumsum(dim=1) + discount ** (step + 1) * value(plan.observations)
        weights = trace_decay**step
        return (returns * weights).sum(dim=1) / weights.sum() / value.spread.to(plan.rewards)

    return score


@dataclass(frozen=True)
class KeepOut:
    """A guide that subtracts each step's depth inside a disc, in units of the radius, times ``weight``.

    Together with the guide ``cost_to_go`` (``dfplan.agents.named_guides``) the costs are those of ways around the disc:
    landmarks inside it, and edges that cross it, are removed from the graph.

    Attributes:
        centre: values of the observation channels ``channels``, environment units.
        radius: environment units.
        weight: score per radius of depth and step.
        channels: of the observation. If it is empty, an agent takes the goal channels of its task, and a plan that is
            scored without an agent has the centre in its first channels.
    """

    centre: tuple[float, ...]
    radius: float
    weight: float = 1.0
    channels: tuple[int, ...] = ()

    def __post_init__(self):
        if not self.radius > 0:
            raise InputError(f"the radius of a disc to keep out of must be above 0, not {self.radius}.")

    def __call__(self, plan: Trajectories) -> Float[Tensor, " batch"]:
        """Return the score of each plan."""
        distances = _distances(plan.observations, self._centre, self.channels)
        return -self.weight * (1 - distances / self.radius).clamp_min(0).sum(dim=1)

    def holds(self, positions: Float[Tensor, "landmark goal"]) -> Bool[Tensor, " landmark"]:
        """Return which positions lie inside the disc."""
        return _distances(positions[None], self._centre)[0] < self.radius

    def crosses(self, start: Float[Tensor, "edge goal"], stop: Float[Tensor, "edge goal"]) -> Bool[Tensor, " edge"]:
        """Return which straight lines from a start to a stop enter the disc."""
        size = len(self.centre)
        start, stop, centre = start[:, :size], stop[:, :size], torch.tensor(self.centre, dtype=start.dtype)
        along, to_centre = stop - start, centre - start
        share = (to_centre * along).sum(dim=1) / along.square().sum(dim=1).clamp_min(torch.finfo(start.dtype).tiny)
        nearest = start + share.clamp(0, 1)[:, None] * along
        return (nearest - centre).norm(dim=1) < self.radius

    @property
    def _centre(self) -> Float[Tensor, "1 position"]:
        return torch.tensor([self.centre], dtype=torch.float32)


def speed_limit(speed: float, channels: slice, weight: float = 1.0) -> Guide:
    """Return a guide that subtracts each step's speed above a limit, times ``weight``.

    Args:
        speed: in the units of the observation.
        channels: of the observation that are the velocity: ``slice(2, 4)`` in the mazes.
        weight: score per unit of speed above the limit and step.
    """

    def score(plan: Trajectories) -> Float[Tensor, " batch"]:
        velocity = plan.observations[..., channels]
        return -weight * ((velocity.square().sum(dim=-1) + 1e-8).sqrt() - speed).clamp_min(0).sum(dim=1)

    return score


def check_scores(scores: object, num_plans: int) -> Float[Tensor, " batch"]:
    """Return what a guide has computed, so that gradients can be taken of it.

    Raises:
        InputError: if it is not one finite score for each plan, computed from the plan by differentiable operations.
    """
    if not isinstance(scores, Tensor) or scores.shape != (num_plans,):
        found = f"shape {tuple(scores.shape)}" if isinstance(scores, Tensor) else f"type {type(scores).__name__}"
        raise InputError(
            f"a guide must return a tensor of {num_plans} scores, one for each plan; its result has the {found}."
        )
    if not scores.requires_grad:
        raise InputError("a guide must compute its scores from the plan by differentiable operations of torch.")
    if not scores.isfinite().all():
        raise InputError("the scores of a guide are not finite; check the guide, or choose a smaller guidance_scale.")
    return scores


def add_guides(*guides: Guide) -> Guide:
    """Return the guide that adds up the scores of ``guides``."""

    def score(plan: Trajectories) -> Float[Tensor, " batch"]:
        return sum((guide(plan) for guide in guides[1:]), guides[0](plan))

    return score


def _index(channels: Sequence[int], number: int) -> slice | list[int]:
    """Return the index of the given channels; of the first ``number`` channels if none are given."""
    return index_channels(channels) if channels else slice(number)


def _distances(
    observations: Float[Tensor, "batch step observation"],
    point: Float[Tensor, "batch_or_1 position"],
    channels: Sequence[int] = (),
) -> Float[Tensor, "batch step"]:
    """Return the distance of each position to a point; its gradient at distance 0 is 0."""
    offset = observations[..., _index(channels, point.shape[-1])] - point[:, None].to(observations)
    return (offset.square().sum(dim=-1) + 1e-8).sqrt()
