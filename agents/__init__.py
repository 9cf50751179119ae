"""Agents: things with ``reset(goal, seed, num_steps)`` and ``act(observation)``.

The names below are loaded when they are first used, so that controllers can be named without loading torch.
"""

import importlib

_LAZY = {"DFPlanner": "planner", "Plan": "plans", "PlannerConfig": "config", "RandomAgent": "random"}
__all__ = sorted(_LAZY)


def __getattr__(name: str):
    """Load the module of a public name on first use."""
    if name not in _LAZY:
        raise AttributeError(f"module 'dfplan.agents' has no attribute {name!r}")
    return getattr(importlib.import_module(f"dfplan.agents.{_LAZY[name]}"), name)
