"""Guides that need to know the episodes' goals, by the names that ``PlannerConfig.guide`` takes."""

from collections.abc import Callable, Sequence

from jaxtyping import Float
from torch import Tensor

from dfplan.diffusion_forcing import DiffusionForcing
from dfplan.envs.errors import InputError
from dfplan.guidance import Guide, KeepOut, cost_to_go, goal_distance, squashed_goal_distance, sum_of

Goals = Float[Tensor, "batch goal"] | None


def _cost_to_go(model: DiffusionForcing, goals: Float[Tensor, "batch goal"], discs: Sequence[KeepOut]) -> Guide:
    graph = model.cost_to_go
    if graph is None:
        raise InputError(
            "this checkpoint holds no cost to go; train it anew, or choose guide='goal_distance', or "
            "**dfplan.agents.presets.GOAL_TOKEN, which tells the model its goal instead."
        )
    for disc in discs:
        graph = graph.without(disc.holds(graph.landmarks))
    return cost_to_go(graph.to_goals(goals))


GOAL_GUIDES: dict[str, Callable[[DiffusionForcing, Float[Tensor, "batch goal"], Sequence[KeepOut]], Guide]] = {
    "cost_to_go": _cost_to_go,
    "goal_distance": lambda model, goals, discs: goal_distance(goals),
    "squashed_goal_distance": lambda model, goals, discs: squashed_goal_distance(goals),
}


def make_guide(chosen: object, model: DiffusionForcing, goals: Goals) -> Guide | None:
    """Return the guide that a configuration chose: None, a name, a callable, or the sum of several of them.

    Discs to keep out of that stand beside ``cost_to_go`` are barred to it: its costs are those of ways around them.

    Raises:
        InputError: if a guide needs a goal and there is none, or needs a cost to go that the model does not hold.
    """
    if chosen is None:
        return None
    together = chosen if isinstance(chosen, list | tuple) else (chosen,)
    discs = [guide for guide in together if isinstance(guide, KeepOut)]
    guides = [_named(guide, model, goals, discs) if isinstance(guide, str) else guide for guide in together]
    return guides[0] if len(guides) == 1 else sum_of(*guides)


def _named(name: str, model: DiffusionForcing, goals: Goals, discs: Sequence[KeepOut]) -> Guide:
    if goals is None:
        raise InputError(f"the guide {name!r} needs a goal: reset(goal=...).")
    return GOAL_GUIDES[name](model, goals, discs)
