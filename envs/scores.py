"""The scores of an episode that papers report, and mix up; dfplan always gives all of them.

``return`` is the plain sum of rewards, ``normalized`` the same on D4RL's scale, 100 for its reference.
``normalized_if_stay`` counts 1 for every step from the first arrival at the goal on, whether the agent stays or not
(Diffusion Veteran's metric).
"""

import numpy as np
from jaxtyping import Bool, Float

from dfplan.envs.errors import InputError
from dfplan.envs.layouts import maze_name

# Sums of rewards that D4RL scores 0 (a random policy) and 100 (its controller, never reset between episodes); from
# D4RL's registration of the v1 mazes. For the open maze, which has v0 only, those of v0.
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


def reference_name(maze: str, reward: str) -> str:
    """Return the key of ``REFERENCE_SCORES`` for a maze with sparse or dense rewards."""
    return f"{maze}-dense" if reward == "dense" else maze


def normalized_score(maze: str, returns: Float[np.ndarray, "*episode"]) -> Float[np.ndarray, "*episode"]:
    """Return sums of (sparse) rewards on D4RL's scale from 0 to 100; better agents have more than 100.

    Raises:
        InputError: if there is no such maze.
    """
    low, high = REFERENCE_SCORES[maze_name(maze)]
    return 100.0 * (returns - low) / (high - low)


def episode_scores(
    maze: str | None, rewards: Float[np.ndarray, "episode time"]
) -> dict[str, Float[np.ndarray, " episode"] | Bool[np.ndarray, " episode"]]:
    """Return the scores of whole episodes with sparse rewards.

    Args:
        maze: its name; None for a maze that has no reference scores, such as the user's own.
        rewards: 0 or 1 for each step.

    Returns:
        ``return``, ``normalized``, ``normalized_if_stay`` (both NaN without reference scores), ``success`` (whether the
        goal was ever reached) and ``first_reach`` (steps taken until then, at least 1; NaN when never).

    Raises:
        InputError: if there is no such maze, or a reward is neither 0 nor 1.
    """
    if not np.isin(rewards, (0.0, 1.0)).all():
        raise InputError("episode scores are defined for sparse rewards, 0 or 1, only.")
    returns = rewards.sum(axis=1).astype(np.float64)
    success = rewards.any(axis=1)
    first_reach = np.where(success, rewards.argmax(axis=1) + 1.0, np.nan)
    returns_if_stay = np.where(success, rewards.shape[1] - rewards.argmax(axis=1), 0.0)
    unknown = np.full(len(returns), np.nan)
    return {
        "return": returns,
        "normalized": unknown if maze is None else normalized_score(maze, returns),
        "normalized_if_stay": unknown if maze is None else normalized_score(maze, returns_if_stay),
        "success": success,
        "first_reach": first_reach,
    }
