"""Demonstrations in a maze, recorded as D4RL recorded its data sets, from many demonstrators side by side."""

from collections.abc import Iterator

import numpy as np
from tqdm import tqdm

from dfplan.envs.controller import WaypointController
from dfplan.envs.errors import InputError
from dfplan.envs.layouts import Layout, episode_steps, maze_layout
from dfplan.envs.physics import PointMassPhysics
from dfplan.envs.task import VELOCITY_SPREAD, random_locations, sparse_reward

DATASET_NOISE = 0.5  # standard deviation of the action noise of D4RL's published v1 data
MAX_STREAMS = 256  # demonstrators side by side
MIN_STREAM_ROWS = 1000  # fewer demonstrators rather than shorter streams

# D4RL's keys -> number of columns (None: a vector) and data type.
COLUMNS = {
    "observations": (4, np.float32),
    "actions": (2, np.float32),
    "rewards": (None, np.float32),
    "terminals": (None, np.bool_),
    "timeouts": (None, np.bool_),
    "infos/goal": (2, np.float32),
    "infos/qpos": (2, np.float32),
    "infos/qvel": (2, np.float32),
}
RECORDED = ("observations", "actions", "timeouts", "infos/goal", "infos/qpos", "infos/qvel")
Dataset = dict[str, np.ndarray]


def generate(
    maze: str | Layout, rows: int, noise: float = DATASET_NOISE, seed: int = 0, progress: bool = False
) -> Dataset:
    """Return ``rows`` rows recorded from the demonstration controller.

    ``rewards[t]`` is about ``observations[t]`` and the maze's fixed goal, ``infos/goal`` is where the demonstrator was
    heading. It draws a new random goal when the old one is reached or an episode's time is over; ``timeouts`` marks
    the last row before that. Up to 256 demonstrators run side by side, and their streams follow one another in the
    result, the last row of each marked by ``timeouts`` too. Rows depend on the arguments only.

    As in the published data, the row after a new goal repeats the observation before it although the ball has moved on
    (D4RL's script does not update it there); ``infos/qpos`` and ``infos/qvel`` have the true state, also there.

    Args:
        maze: name or layout.
        rows: total number of rows.
        noise: standard deviation of the noise added to actions before they are clipped to ±1.
        seed: seed of everything random.
        progress: whether to show a progress bar.

    Raises:
        InputError: if there is no such maze, ``rows`` is below 1, or ``noise`` or ``seed`` is negative.
    """
    layout = maze_layout(maze)
    if rows < 1:
        raise InputError(f"a data set needs at least 1 row, not {rows}.")
    if not noise >= 0:
        raise InputError(f"the action noise is a standard deviation of 0 or more, not {noise}.")
    if seed < 0:
        raise InputError(f"the seed must be 0 or more, not {seed}.")
    streams = int(np.clip(rows // MIN_STREAM_ROWS, 1, MAX_STREAMS))
    steps = -(-rows // streams)  # rounded up; the surplus is cut from the end
    recording = _record(layout, streams, steps, noise, seed, progress)
    dataset = {key: column.reshape(streams * steps, *column.shape[2:])[:rows] for key, column in recording.items()}
    dataset["timeouts"][-1] = True
    dataset["rewards"] = sparse_reward(dataset["observations"][:, :2], layout.goal).astype(np.float32)
    dataset["terminals"] = np.zeros(rows, dtype=np.bool_)
    return {key: dataset[key] for key in COLUMNS}


def _record(layout: Layout, streams: int, steps: int, noise: float, seed: int, progress: bool) -> Dataset:
    """Return the recorded columns, each (stream, step, ...)."""
    recording = {}
    for key in RECORDED:
        width, dtype = COLUMNS[key]
        recording[key] = np.empty((streams, steps) if width is None else (streams, steps, width), dtype)
    rows = _demonstrate(layout, streams, noise, seed)
    for step in tqdm(range(steps), desc=f"{layout.name} data", unit="step", disable=not progress):
        for column, values in zip(recording.values(), next(rows), strict=True):
            column[:, step] = values
    recording["timeouts"][:, -1] = True
    return recording


def _demonstrate(layout: Layout, streams: int, noise: float, seed: int) -> Iterator[tuple[np.ndarray, ...]]:
    """Yield for each step what is recorded of all streams, in the order of ``RECORDED``; never ends."""
    random = np.random.default_rng([seed, 0])
    controller = WaypointController(layout, streams, seeds=[[seed, 1 + stream] for stream in range(streams)])
    physics = PointMassPhysics(layout)
    position, goal = random_locations(layout, streams, random), random_locations(layout, streams, random)
    state = np.concatenate([position, random.normal(0.0, VELOCITY_SPREAD, (streams, 2))], axis=1)
    observation, age = state, np.zeros(streams, dtype=np.int64)  # age: steps since the goal was drawn
    controller.reset(goal)
    while True:
        wanted = controller.act(observation[:, :2], observation[:, 2:]) + random.normal(0.0, noise, (streams, 2))
        action = np.clip(wanted, -1.0, 1.0).astype(np.float32)
        done = controller.reached(observation[:, :2]) | (age >= episode_steps(layout))
        yield observation, action, done, goal, state[:, :2], state[:, 2:]
        state = physics.step(state, action)
        observation = np.where(done[:, None], observation, state)  # the repeated row
        goal = np.where(done[:, None], random_locations(layout, streams, random), goal)
        controller.reset(goal, done)
        age = np.where(done, 0, age + 1)
