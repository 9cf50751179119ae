"""The scores of an episode. Papers report different ones under the same name, so dfplan always computes all of them.

* ``return`` is the sum of rewards.
* ``normalized`` is the sum of rewards on D4RL's scale, on which its reference controller has 100.
* ``normalized_if_stay`` counts 1 for every step after the first arrival at the goal, whether the agent stays there or
  not (the metric of Diffusion Veteran).
"""

import numpy as np
from jaxtyping import Bool, Float

from dfplan.envs.layouts import parse_maze_name
from dfplan.ground.errors import InputError

# Sums of rewards with D4RL's scores 0 (a random policy) and 100 (its controller, which is not reset between episodes).
# They are from D4RL's registration of the v1 mazes; for open, which has no v1, of v0.
REFERENCE_SCORES: dict[str, tuple[float, float]] = {
    "open": (0.01, 20.66),
    "umaze": (23.85, 161.86),
    "medium": (13.13, 277.39),
    "large": (6.7, 273.99),
    "eval-umaze": (36.63, 141.4),
    "eval-medium": (13.07, 204.93),
    "eval-large": (16.4, 302.22),
    "open-dense": (11.17817, 27.166538620695782),
    "umaze-dense": (68.537689, 193.66285642381482),
    "medium-dense": (44.264742, 297.4552547777125),
    "large-dense": (30.569041, 303.4857382709002),
    "eval-umaze-dense": (56.95455, 178.21373133248397),
    "eval-medium-dense": (42.28578, 235.5658957482388),
    "eval-large-dense": (56.95455, 326.09647655082637),
}


def find_reference_name(maze: str, reward: str) -> str:
    """Return the key in ``REFERENCE_SCORES`` for a maze with ``sparse`` or ``dense`` rewards."""
    return f"{maze}-dense" if reward == "dense" else maze


def normalize_score(maze: str, returns: Float[np.ndarray, "*episode"]) -> Float[np.ndarray, "*episode"]:
    """Return sums of sparse rewards on D4RL's scale: 0 for a random policy, 100 for its controller.

    Better agents score above 100.

    Raises:
        InputError: if there is no such maze.
    """
    low, high = REFERENCE_SCORES[parse_maze_name(maze)]
    return 100.0 * (returns - low) / (high - low)


def score_episodes(
    maze: str | None, rewards: Float[np.ndarray, "episode time"]
) -> dict[str, Float[np.ndarray, " episode"] | Bool[np.ndarray, " episode"]]:
    """Return the scores of whole episodes with sparse rewards.

    Args:
        maze: name of the maze; None for a maze without reference scores, such as a user's own.
        rewards: sparse rewards, 0 or 1 for each step.

    Returns:
        ``return``, ``normalized`` and ``normalized_if_stay`` (NaN without reference scores), ``success`` (whether the
        goal was reached), and ``first_reach`` (number of steps until then, at least 1; NaN if it was not reached).

    Raises:
        InputError: if there is no such maze, or a reward is neither 0 nor 1.
    """
    if not np.isin(rewards, (0.0, 1.0)).all():
        raise InputError("scores of episodes are defined for sparse rewards only; every reward must be 0 or 1.")
    returns = rewards.sum(axis=1).astype(np.float64)
    success = rewards.any(axis=1)
    first_reach = np.where(success, rewards.argmax(axis=1) + 1.0, np.nan)
    returns_if_stay = np.where(success, rewards.shape[1] - rewards.argmax(axis=1), 0.0)
    unknown = np.full(len(returns), np.nan)
    return {
        "return": returns,
        "normalized": unknown if maze is None else normalize_score(maze, returns),
        "normalized_if_stay": unknown if maze is None else normalize_score(maze, returns_if_stay),
        "success": success,
        "first_reach": first_reach,
    }
