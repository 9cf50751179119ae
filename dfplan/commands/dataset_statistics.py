"""``python -m dfplan.commands.dataset_statistics``: compares generated data with the published data, at full size.

The published constants are the normalisation statistics in the paper's code. They are NumPy means of whole float32
columns. A float32 sum over millions of rows has rounding errors: above 8 million, each addition is rounded to the
nearest whole number. On large this moves the mean of x by 2% of a standard deviation. The table therefore has our
statistics twice, computed in the same way and exactly. The remaining differences are random: a mean of 1 to 4 million
rows, published or ours, has an error of about 1% of a standard deviation.
"""

import sys
import time

import numpy as np

from dfplan.envs.datasets import DATASET_ROWS
from dfplan.envs.demonstrations import generate

STATE_TOLERANCE = 0.02  # of a standard deviation, for means and deviations of observations and actions
REWARD_TOLERANCE = 0.1  # of the published mean

# Maze -> mean of (x, y), standard deviations of (x, y, vx, vy) and of the action, mean reward.
PUBLISHED = {
    "umaze": ([1.9328, 2.3745], [0.8997, 0.7093, 2.2129, 2.4682], [0.7043, 0.7506], 0.081254),
    "medium": ([3.5093, 3.4766], [1.3371, 1.5210, 2.3408, 2.3694], [0.7398, 0.7459], 0.0236665),
    "large": ([3.7296, 5.3047], [1.8070, 2.5687, 2.4368, 2.6494], [0.7249, 0.7395], 0.0089225),
}


def compare(maze: str, dataset: dict[str, np.ndarray], dtype: type) -> list[tuple[str, float, float, float]]:
    """Return rows (statistic, published, generated, their difference / tolerance), computed in ``dtype``."""
    position_mean, observation_std, action_std, reward_mean = PUBLISHED[maze]
    observations: np.ndarray = dataset["observations"].astype(dtype)
    actions: np.ndarray = dataset["actions"].astype(dtype)
    names = ["mean x", "mean y", "std x", "std y", "std vx", "std vy", "std action x", "std action y", "mean reward"]
    published = np.array([*position_mean, *observation_std, *action_std, reward_mean])
    generated = np.array(
        [
            *observations.mean(axis=0)[:2],
            *observations.std(axis=0),
            *actions.std(axis=0),
            dataset["rewards"].mean(dtype=dtype),
        ]
    )
    spread = np.array([*observation_std[:2], *observation_std, *action_std])
    tolerance = np.array([*(STATE_TOLERANCE * spread), REWARD_TOLERANCE * reward_mean])
    return list(zip(names, published, generated, (generated - published) / tolerance, strict=True))


def main() -> None:
    """Print the table of all three mazes; the exit status is 1 if a difference exceeds its tolerance."""
    worst = 0.0
    for maze in PUBLISHED:
        start = time.perf_counter()
        dataset = generate(maze, DATASET_ROWS[maze], progress=True)
        speed = DATASET_ROWS[maze] / (time.perf_counter() - start)
        as_published, exact = compare(maze, dataset, np.float32), compare(maze, dataset, np.float64)
        print(f"\n{maze}: {DATASET_ROWS[maze]} rows, {speed:.0f} a second")
        print(f"{'':18}{'published':>11}{'generated':>11}{'/ tolerance':>13}{'exact':>11}")
        for (name, theirs, ours, deviation), (_, _, precise, _) in zip(as_published, exact, strict=True):
            print(f"{name:18}{theirs:11.5f}{ours:11.5f}{deviation:13.2f}{precise:11.5f}")
            worst = max(worst, abs(deviation))
    print(f"\nlargest difference: {worst:.2f} of its tolerance")
    sys.exit(int(worst > 1))


if __name__ == "__main__":
    main()
