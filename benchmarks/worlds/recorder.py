"""Records demonstrations in a study's own maze, as a data set under D4RL's keys."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool, Float

from dfplan.benchmarks.evaluation.driving import Physics
from dfplan.envs.demonstrations import COLUMNS, Dataset
from dfplan.envs.maze_task import POSITION_SPREAD, VELOCITY_SPREAD

MAX_STEPS = 1000  # several times what a demonstrator needs
States = Float[np.ndarray, "demonstration 4"]  # (x, y, vx, vy), environment units
Recorded = tuple[
    Float[np.ndarray, "demonstration step 4"],
    Float[np.ndarray, "demonstration step 2"],
    Bool[np.ndarray, "demonstration step"],
]


def draw_states_around(
    starts: Float[np.ndarray, "*demonstration 2"], randoms: Sequence[np.random.Generator]
) -> Float[np.ndarray, "demonstration 4"]:
    """Return one first state per generator, spread around ``starts`` as in D4RL's mazes (environment units)."""
    spread = [random.uniform(-POSITION_SPREAD, POSITION_SPREAD, 2) for random in randoms]
    velocity = [random.normal(0.0, VELOCITY_SPREAD, 2) for random in randoms]
    return np.concatenate([starts + spread, velocity], axis=1)


def record_demonstrations(
    physics: Physics,
    states: States,
    choose_actions: Callable[[States], Float[np.ndarray, "demonstration 2"]],
    has_ended: Callable[[States], Bool[np.ndarray, " demonstration"]],
    random: np.random.Generator,
    noise: float,
) -> Recorded:
    """Return states, actions and whether the end is reached, for every step until all demonstrations have ended.

    Args:
        physics: moves the balls.
        states: where the demonstrations start.
        choose_actions: the demonstrator.
        has_ended: tells for each demonstration whether its ball is at its end.
        random: of the action noise.
        noise: standard deviation of the action noise, as in D4RL's data.

    Raises:
        RuntimeError: if a demonstration has not ended after ``MAX_STEPS`` steps.
    """
    steps, finished = [], np.zeros(len(states), dtype=bool)
    for _ in range(MAX_STEPS):
        actions = np.clip(choose_actions(states) + random.normal(0.0, noise, (len(states), 2)), -1.0, 1.0)
        ended = has_ended(states)
        steps.append((states, actions, ended))
        finished |= ended
        if finished.all():
            recorded_states, recorded_actions, recorded_ends = (np.stack(column, axis=1) for column in zip(*steps))
            return recorded_states, recorded_actions, recorded_ends
        states = physics.step(states, actions)
    raise RuntimeError(f"{(~finished).sum()} demonstrators did not arrive within {MAX_STEPS} steps")


def make_recording(
    states: Float[np.ndarray, "demonstration step 4"],
    actions: Float[np.ndarray, "demonstration step 2"],
    ended: Bool[np.ndarray, "demonstration step"],
    goals: Float[np.ndarray, "demonstration 2"] | None = None,
) -> Dataset:
    """Return demonstrations under D4RL's keys, each up to the first row at which it ended, with rewards of zero.

    ``goals`` are the demonstrations' goals; without them the goal is the position at which a demonstration ended.
    """
    kept = np.cumsum(ended, axis=1) - ended == 0  # up to the first row at the end, that row included
    rows = kept.sum(axis=1)
    if goals is None:
        goals = states[np.arange(len(states)), rows - 1, :2]
    dataset = {
        "observations": states[kept],
        "actions": actions[kept],
        "rewards": np.zeros(rows.sum()),
        "terminals": np.zeros(rows.sum()),
        "timeouts": ended[kept],
        "infos/goal": goals.repeat(rows, axis=0),
        "infos/qpos": states[kept][:, :2],
        "infos/qvel": states[kept][:, 2:],
    }
    return {key: dataset[key].astype(dtype) for key, (_, dtype) in COLUMNS.items()}
