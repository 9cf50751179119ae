"""Agents: things with ``reset(goal, seed, num_steps)`` and ``act(observation)``."""

from dfplan.agents.planner import DFPlanner, Plan, PlannerConfig
from dfplan.agents.random import RandomAgent

__all__ = ["DFPlanner", "Plan", "PlannerConfig", "RandomAgent"]
