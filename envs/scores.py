"""Rewards and scores."""

import numpy as np
from jaxtyping import Float

GOAL_RADIUS = 0.5  # environment units; within it the sparse reward is 1


def distance_to_goal(
    positions: Float[np.ndarray, "*batch 2"], goals: Float[np.ndarray, "*#batch 2"]
) -> Float[np.ndarray, "*batch"]:
    """Return the Euclidean distance in environment units."""
    offset = positions - goals
    return np.sqrt(offset[..., 0] ** 2 + offset[..., 1] ** 2)


def sparse_reward(
    positions: Float[np.ndarray, "*batch 2"], goals: Float[np.ndarray, "*#batch 2"]
) -> Float[np.ndarray, "*batch"]:
    """Return 1 within 0.5 of the goal, else 0 (D4RL's ``maze2d-*``)."""
    return (distance_to_goal(positions, goals) <= GOAL_RADIUS).astype(np.float64)
