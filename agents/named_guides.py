"""Makes the guides that a configuration names, for the goals of the episodes, or for their returns."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from dfplan.data.cost_to_go import CostField, CostToGo
from dfplan.ground.errors import InputError
from dfplan.model.diffusion_forcing import DiffusionForcing
from dfplan.sampling.guides import (
    Guide,
    KeepOut,
    Leg,
    WayPoint,
    add_guides,
    cost_to_go,
    goal_distance,
    lambda_return,
    predicted_return,
    squashed_goal_distance,
)
from dfplan.task import Task

Goals = Float[Tensor, "batch goal"] | None
Passed = Int[np.ndarray, " batch"]  # number of way points that each episode has passed, in their order
GOAL_GUIDES: dict[str, Callable[[Float[Tensor, "batch goal"], Sequence[int]], Guide]] = {
    "goal_distance": goal_distance,
    "squashed_goal_distance": squashed_goal_distance,
}
BY_COST, BY_RETURN = "cost_to_go", "return"
GUIDE_NAMES = (BY_COST, BY_RETURN, *GOAL_GUIDES)


def make_guide(
    chosen: object,
    model: DiffusionForcing,
    goals: Goals,
    passed: Passed | None = None,
    starts: Float[Tensor, "batch goal"] | None = None,
) -> Guide | None:
    """Return the guide that a configuration names: None, a name, a callable, or the sum of several of them.

    The costs of ``cost_to_go`` are those of ways around all ``KeepOut`` discs that are given with it. Way points that
    are given with it are passed in their order, before the goal.

    Args:
        chosen: ``GuidanceSettings.guide``.
        model: whose plans are guided.
        goals: of the plans, environment units.
        passed: number of way points that each agent has passed already; None for none.
        starts: where the plans begin, environment units. ``cost_to_go`` warns if no recorded way leads from there to
            the goal.

    Raises:
        InputError: if a guide needs a goal and there is none, or needs a cost-to-go that the model does not hold, or
            a disc or a way point does not have the channels of the goal.
    """
    if chosen is None:
        return None
    check_guides(chosen, model)
    task, given = model.config.task, place_guides(chosen, model.config.task)
    discs = [guide for guide in given if isinstance(guide, KeepOut)]
    if passed is None:
        passed = np.zeros(0 if goals is None else len(goals), dtype=np.int64)
    guides: list[Guide] = []
    for guide in given:
        if guide == BY_RETURN:
            guides.append(make_return_guide(model))
            continue
        if isinstance(guide, str) and goals is None:
            raise InputError(f"the guide {guide!r} needs a goal: reset(goal=...).")
        if guide == BY_COST and goals is not None:
            leading, fields = _lead_along_cost(model, goals, discs, find_way_points(given), passed)
            if starts is not None:
                warn_of_no_way(starts, fields)
            guides.append(leading)
        elif isinstance(guide, str) and goals is not None:
            guides.append(GOAL_GUIDES[guide](goals, task.goal))
        elif not isinstance(guide, WayPoint):
            guides.append(guide)
    return guides[0] if len(guides) == 1 else add_guides(*guides)


def make_return_guide(model: DiffusionForcing) -> Guide:
    """Return the guide ``return``: the λ-return if the model holds a value, otherwise the return that plans predict."""
    return predicted_return() if model.value is None else lambda_return(model.value)


def find_way_points(chosen: object) -> list[WayPoint]:
    """Return the way points among the guides of a configuration."""
    return [guide for guide in list_guides(chosen) if isinstance(guide, WayPoint)]


def count_passed(
    chosen: object, task: Task, observations: Float[np.ndarray, "batch observation"], passed: Passed | None
) -> Passed | None:
    """Return how many way points each episode has passed at its new observation; None without way points."""
    points = find_way_points(place_guides(chosen, task))
    if not points:
        return None
    passed = np.zeros(len(observations), dtype=np.int64) if passed is None else passed
    seen = torch.as_tensor(observations, dtype=torch.float32)[:, None]
    near = np.stack([point.is_near(seen)[:, 0].numpy() for point in points], axis=1)  # (batch, way point)
    is_due = np.arange(len(points)) == passed[:, None]
    return passed + (near & is_due).any(axis=1)


def list_guides(chosen: object) -> Sequence:
    """Return the guides of a configuration as a sequence."""
    return chosen if isinstance(chosen, list | tuple) else (chosen,)


def place_guides(chosen: object, task: Task) -> Sequence:
    """Return the guides of a configuration as a sequence; discs and way points get the goal channels of the task."""
    placed = []
    for guide in list_guides(chosen):
        if isinstance(guide, KeepOut | WayPoint) and not guide.channels:
            numbers = guide.centre if isinstance(guide, KeepOut) else guide.point
            guide = replace(guide, channels=task.goal[: len(numbers)])
        placed.append(guide)
    return placed


def check_guides(chosen: object, model: DiffusionForcing) -> None:
    """Raise ``InputError`` if the guides of a configuration do not fit the model."""
    for guide in list_guides(chosen):
        if isinstance(guide, str) and guide != BY_RETURN and not model.config.task.goal:
            raise InputError(f"the guide {guide!r} leads to a goal, but this model's task has none.")
    if BY_COST not in list_guides(chosen):
        return
    if model.cost_to_go is None:
        raise InputError(
            "this checkpoint holds no cost to go; train it anew, or choose guide='goal_distance', or "
            "**dfplan.agents.presets.GOAL_TOKEN, which tells the model its goal instead."
        )
    size = model.config.task.goal_dim
    for point in find_way_points(chosen):
        if len(point.point) != size:
            raise InputError(f"a way point of this model has {size} numbers, as its goals have, not {point.point}.")
    for guide in list_guides(chosen):
        if isinstance(guide, KeepOut) and len(guide.centre) > size:
            raise InputError(
                f"a disc beside 'cost_to_go' has a centre of at most {size} numbers, as the model's goals have, not "
                f"{guide.centre}."
            )


def _lead_along_cost(
    model: DiffusionForcing,
    goals: Float[Tensor, "batch goal"],
    discs: Sequence[KeepOut],
    points: Sequence[WayPoint],
    passed: Passed,
) -> tuple[Guide, list[CostField]]:
    """Return the guide ``cost_to_go``, and the costs to the way points and to the goals."""
    graph = _avoid_discs(model.cost_to_go, tuple(discs))
    fields = [graph.solve_for(goals)]
    legs: list[Leg] = []
    onward = torch.zeros(len(goals), device=goals.device)
    for number, point in reversed(list(enumerate(points))):
        stops = torch.tensor([point.point], dtype=goals.dtype, device=goals.device).expand(len(goals), -1)
        onward = onward + fields[0](stops[:, None])[:, 0]
        is_over = torch.as_tensor(passed > number, device=goals.device)
        fields.insert(0, graph.solve_for(stops))
        legs.insert(0, Leg(point, fields[0], onward, is_over))
    return cost_to_go(fields[-1], legs, model.config.task.goal), fields


@lru_cache(maxsize=8)  # an agent plans around the same discs many times
def _avoid_discs(graph: CostToGo, discs: tuple[KeepOut, ...]) -> CostToGo:
    """Return the cost-to-go of ways around discs."""
    for disc in discs:
        start, stop = graph.landmarks[graph.edges.long()].unbind(dim=1)
        graph = graph.exclude(disc.holds(graph.landmarks), disc.crosses(start, stop))
    return graph


def warn_of_no_way(starts: Float[Tensor, "batch goal"], fields: Sequence[CostField]) -> None:
    """Warn if no recorded way leads from where a plan begins to where it should go."""
    cut_off = torch.stack([field.is_cut_off(starts) for field in fields]).any(dim=0)
    if cut_off.any():
        warnings.warn(
            "no recorded way leads from where a plan begins to its goal or way point: cost-to-go cannot lead there.",
            stacklevel=2,
        )
