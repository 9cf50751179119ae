"""Demonstrations in a maze, recorded in the same way as D4RL's data sets, with many demonstrators in parallel."""

from collections.abc import Iterator

import numpy as np
from tqdm import tqdm

from dfplan.envs.demonstrator import WaypointController
from dfplan.envs.layouts import Layout, find_episode_steps, find_layout
from dfplan.envs.maze_task import VELOCITY_SPREAD, draw_locations, sparse_reward
from dfplan.envs.physics import PointMassPhysics
from dfplan.ground.errors import InputError

DATASET_NOISE = 0.5  # standard deviation of the action noise of D4RL's published v1 data
MAX_STREAMS = 256  # demonstrators in parallel, one for each stream
MIN_STREAM_ROWS = 1000  # rows of a stream; small data sets have fewer streams instead of shorter ones

# D4RL's key -> number of values per row (None for an array of one dimension) and data type.
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
    """Return ``rows`` rows recorded from the demonstrator (``WaypointController``). They depend on the arguments only.

    ``rewards[t]`` is the reward of ``observations[t]`` for the maze's fixed goal. ``infos/goal`` is the demonstrator's
    own goal. It draws a new random one when the old goal is reached or the time of an episode is over; ``timeouts``
    marks the last row before a new goal. Up to 256 demonstrators run in parallel. Their streams follow one another in
    the result, and ``timeouts`` marks the last row of each stream too.

    As in the published data, the row after a new goal repeats the previous observation although the ball has moved,
    because D4RL's script does not update it there. ``infos/qpos`` and ``infos/qvel`` always have the true state.

    Args:
        maze: name, text of a layout, or layout.
        rows: total number of rows.
        noise: standard deviation of the noise that is added to actions before they are clipped to ±1.
        seed: seed of all random numbers.
        progress: whether to show a progress bar.

    Raises:
        InputError: if there is no such maze, ``rows`` is below 1, or ``noise`` or ``seed`` is negative.
    """
    layout = find_layout(maze)
    if rows < 1:
        raise InputError(f"a data set needs at least 1 row, not {rows}.")
    if not noise >= 0:
        raise InputError(f"the standard deviation of the action noise must be 0 or more, not {noise}.")
    if seed < 0:
        raise InputError(f"the seed must be 0 or more, not {seed}.")
    streams = int(np.clip(rows // MIN_STREAM_ROWS, 1, MAX_STREAMS))
    steps = -(-rows // streams)  # rounded up; surplus rows are cut off at the end
    recording = _record(layout, streams, steps, noise, seed, progress)
    dataset = {key: column.reshape(streams * steps, *column.shape[2:])[:rows] for key, column in recording.items()}
    dataset["timeouts"][-1] = True
    dataset["rewards"] = sparse_reward(dataset["observations"][:, :2], layout.goal).astype(np.float32)
    dataset["terminals"] = np.zeros(rows, dtype=np.bool_)
    return {key: dataset[key] for key in COLUMNS}


def _record(layout: Layout, streams: int, steps: int, noise: float, seed: int, progress: bool) -> Dataset:
    """Return the recorded columns, each (stream, step, ...)."""
    recording: Dataset = {}
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
    """Yield the recorded columns of all streams step by step, without end, in the order of ``RECORDED``."""
    random = np.random.default_rng([seed, 0])
    controller = WaypointController(layout, streams, seeds=[[seed, 1 + stream] for stream in range(streams)])
    physics = PointMassPhysics(layout)
    position, goal = draw_locations(layout, streams, random), draw_locations(layout, streams, random)
    state = np.concatenate([position, random.normal(0.0, VELOCITY_SPREAD, (streams, 2))], axis=1)
    observation, age = state, np.zeros(streams, dtype=np.int64)  # age: steps since the goal was drawn
    controller.reset(goal)
    while True:
        wanted = controller.act(observation[:, :2], observation[:, 2:]) + random.normal(0.0, noise, (streams, 2))
        action = np.clip(wanted, -1.0, 1.0).astype(np.float32)
        done = controller.has_reached_goal(observation[:, :2]) | (age >= find_episode_steps(layout))
        yield observation, action, done, goal, state[:, :2], state[:, 2:]
        state = physics.step(state, action)
        observation = np.where(done[:, None], observation, state)  # repeated after a new goal
        goal = np.where(done[:, None], draw_locations(layout, streams, random), goal)
        controller.reset(goal, done)
        age = np.where(done, 0, age + 1)
