"""Guides that need to know the episodes' goals, by the names that ``PlannerConfig.guide`` takes."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

from dfplan.diffusion_forcing import DiffusionForcing
from dfplan.envs.errors import InputError
from dfplan.guidance import Guide, cost_to_go, goal_distance, squashed_goal_distance, sum_of

Goals = Float[Tensor, "batch goal"] | None


def _cost_to_go(model: DiffusionForcing, goals: Float[Tensor, "batch goal"]) -> Guide:
    if model.cost_to_go is None:
        raise InputError(
            "this checkpoint holds no cost to go; train it anew, or choose guide='goal_distance' or "
            "`**dfplan.agents.config.GOAL_TOKEN`, which tells the model its goal instead."
        )
    return cost_to_go(model.cost_to_go.to_goals(goals))


GOAL_GUIDES: dict[str, Callable[[DiffusionForcing, Float[Tensor, "batch goal"]], Guide]] = {
    "cost_to_go": _cost_to_go,
    "goal_distance": lambda model, goals: goal_distance(goals),
    "squashed_goal_distance": lambda model, goals: squashed_goal_distance(goals),
}


def make_guide(chosen: object, model: DiffusionForcing, goals: Goals) -> Guide | None:
    """Return the guide that a configuration chose: None, a name, a callable, or the sum of several of them.

    Raises:
        InputError: if a guide needs a goal and there is none, or needs a cost to go that the model does not hold.
    """
    if isinstance(chosen, list | tuple):
        return sum_of(*(make_guide(one, model, goals) for one in chosen))
    if not isinstance(chosen, str):
        return chosen
    if goals is None:
        raise InputError(f"the guide {chosen!r} needs a goal: reset(goal=...).")
    return GOAL_GUIDES[chosen](model, goals)
