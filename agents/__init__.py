"""Agents: things with ``reset(goal, seed, num_steps)`` and ``act(observation)``.

The names below are loaded when they are first used, so that controllers can be named without loading torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the same names for type checkers
    from dfplan.agents.planner import DFPlanner as DFPlanner
    from dfplan.agents.planner_config import PlannerConfig as PlannerConfig
    from dfplan.agents.plans import Plan as Plan
    from dfplan.agents.random_agent import RandomAgent as RandomAgent

_LAZY = {"DFPlanner": "planner", "Plan": "plans", "PlannerConfig": "planner_config", "RandomAgent": "random_agent"}
__all__ = sorted(_LAZY)


def __getattr__(name: str) -> Any:
    """Load the module of a public name on first use."""
    if name not in _LAZY:
        raise AttributeError(f"module 'dfplan.agents' has no attribute {name!r}")
    return getattr(importlib.import_module(f"dfplan.agents.{_LAZY[name]}"), name)
