"""Re-executed demonstrations: the recorded paths, driven as fast as the actuators allow.

D4RL's demonstrator brakes before every waypoint, adds noise to its actions, and stops pushing at its goal. Planners
that imitate it inherit all three habits. Re-execution avoids them in four steps:

1. Fit a motion model to the recording. A linear model is exact wherever the ball touches nothing.
2. In this model, pursue the recorded positions from starts beside the recorded ones, and brake at the goal.
3. Discard each re-execution that leaves the neighbourhood of the recorded positions. The motion model has no walls, and
   no recorded position lies in one. The neighbourhood is wider than the ball, so some re-executions still cut corners.
4. Give each state the reward of the nearest recorded row.

The recording is the only source. As in the controllers, an observation is a position and a velocity, and an action is a
push along the axes of the position.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree

from dfplan.data.pursuit import advance, push_towards
from dfplan.data.recording import Recording
from dfplan.ground.errors import InputError
from dfplan.task import MAZE

States = Float[np.ndarray, "trajectory 4"]
Positions = Float[np.ndarray, "trajectory 2"]
Rows = Int[np.ndarray, " trajectory"]

COPIES = 2  # re-executions of each whole segment; see ``_draw_parts``
LOOKAHEAD = 26  # recorded steps from the nearest to the pursued position; with 30, paths cut corners through walls
SUPPORT = 0.2  # environment units; a re-execution that is farther from the recorded positions is discarded
START_SPREAD = 0.1  # environment units; largest offset of a start from the recorded one, along each axis
END_SPREAD = 0.5  # the same for starts at the goal itself, from which the model learns to return to a goal
AT_REST = 0.05  # largest difference from the goal at rest, in environment units and environment units per second
FIT_ROUNDS = 5  # rounds of least squares; each leaves out the contacts that the round before found


@dataclass(frozen=True)
class Motion:
    """A linear model of the motion, for each axis on its own.

        velocity' = decay · velocity + push · action,   position' = position + duration · velocity'

    Attributes:
        decay, push, duration: the coefficients of each axis.
        max_velocity: the highest recorded velocity along any axis, which clips velocity'.
    """

    decay: Float[np.ndarray, "2"]
    push: Float[np.ndarray, "2"]
    duration: Float[np.ndarray, "2"]
    max_velocity: float

    def step(self, states: States, actions: Float[np.ndarray, "trajectory 2"]) -> States:
        """Return the states after one step."""
        velocity = self.decay * states[:, 2:] + self.push * actions
        velocity = velocity.clip(-self.max_velocity, self.max_velocity)
        return np.concatenate([states[:, :2] + self.duration * velocity, velocity], axis=1)


def fit_motion(recording: Recording) -> Motion:
    """Fit the motion away from walls by least squares; rows that do not fit, such as contacts, are left out.

    Raises:
        InputError: if observations do not have 4 numbers (position and velocity in a plane), or actions not 2.
    """
    observations, actions = recording.observations.astype(np.float64), recording.actions.astype(np.float64)
    if observations.shape[1:] != (4,) or actions.shape[1:] != (2,):
        shapes = f"{observations.shape[1:]} and {actions.shape[1:]}"
        raise InputError(
            f"only a point in a plane can be re-executed: observations must have the shape (4,) and actions (2,), "
            f"not {shapes}; train on the recording itself, with --demonstrations recorded."
        )
    now, then = observations[:-1], observations[1:]
    decay, push, duration = np.empty(2), np.empty(2), np.empty(2)
    for axis in range(2):
        causes = np.stack([now[:, 2 + axis], actions[:-1, axis]], axis=1)
        (decay[axis], push[axis]), fits = _fit_robustly(causes, then[:, 2 + axis])
        moved = then[fits, axis] - now[fits, axis]
        ((duration[axis],), _) = _fit_robustly(then[fits, 2 + axis, None], moved)
    return Motion(decay, push, duration, float(np.abs(observations[:, 2:]).max()))


def _fit_robustly(
    causes: Float[np.ndarray, "row cause"], effects: Float[np.ndarray, " row"]
) -> tuple[Float[np.ndarray, " cause"], Bool[np.ndarray, " row"]]:
    """Return least-squares coefficients, and which rows they fit; each round leaves out the rows that do not fit."""
    fits = np.ones(len(effects), dtype=bool)
    for _ in range(FIT_ROUNDS):
        coefficients = np.linalg.lstsq(causes[fits], effects[fits], rcond=None)[0]
        residuals = np.abs(causes @ coefficients - effects)
        fits = residuals <= 3 * np.median(residuals) + 1e-6
    return coefficients, fits


def re_execute(recording: Recording, ends: Int[np.ndarray, " row"], max_steps: int, seed: int) -> Recording:
    """Return re-executed demonstrations; each is an episode of its own.

    Args:
        recording: what is re-executed.
        ends: for each row, the last row of its segment.
        max_steps: steps after which a re-execution that has not come to rest at its goal is discarded.
        seed: determines which parts are re-executed and where they start.

    Raises:
        InputError: if the recording has no whole segment, is not of a point in a plane, or cannot be re-executed.
    """
    random = np.random.default_rng(seed)
    observations = recording.observations.astype(np.float64)
    first, goal_row, spread = _draw_parts(ends, random)
    if not len(first):
        raise InputError(
            f"the {len(observations)} rows contain no whole demonstration to re-execute; use more rows, or train on "
            "the recording itself, with --demonstrations recorded."
        )
    goals = observations[goal_row, :2]
    starts = observations[first]
    starts[:, :2] += spread[:, None] * random.uniform(-1, 1, size=(len(first), 2))
    starts[:, 2:] *= random.random((len(first), 1)) ** 3  # mostly slow; fast states are visited on the way anyway
    states, actions = _pursue(fit_motion(recording), observations, starts, first, goal_row, max_steps)
    last, arrived = _find_arrivals(states, goals)
    used = np.arange(max_steps + 1) <= last[:, None]  # (trajectory, step)
    nearest, supported = _find_nearest_rows(states, used, observations[:, :2])
    kept = np.flatnonzero(arrived & supported)
    if not len(kept):
        raise InputError(
            f"none of the {len(first)} recorded paths could be re-executed; train on the recording itself, with "
            f"--demonstrations recorded."
        )
    used = used[kept]
    is_last = (np.arange(max_steps + 1) == last[kept, None])[used]
    segment_goals = np.broadcast_to(goals[kept, None], (*used.shape, 2))[used]
    none = np.zeros_like(is_last)
    return Recording(
        observations=states[kept][used].astype(np.float32),
        actions=actions[kept][used].astype(np.float32),
        rewards=recording.rewards[nearest[kept]][used],
        is_last=is_last,
        is_absorbing=none,
        is_final=none,
        goals=segment_goals.astype(np.float32),
        source=recording.source,
    )


def _draw_parts(
    ends: Int[np.ndarray, " row"], random: np.random.Generator
) -> tuple[Rows, Rows, Float[np.ndarray, " trajectory"]]:
    """Return the first row, the last row and the spread of the start of each re-execution.

    For each segment there are ``COPIES`` re-executions of the whole segment, ``COPIES`` of random parts of it, and
    2 ``COPIES`` that start beside a random row of it and return to that row.
    """
    # The first row of a segment repeats the last observation of the segment before it (D4RL's script does so).
    whole = np.flatnonzero(np.diff(ends, prepend=-1)) + 1
    whole = np.repeat(whole[whole < ends[whole - 1]], COPIES)
    begin = whole + (random.random(len(whole)) * (ends[whole] - whole)).astype(np.int64)
    end = begin + 1 + (random.random(len(whole)) * (ends[whole] - begin)).astype(np.int64)
    end = np.minimum(end, ends[whole])
    goal = np.tile(whole, 2) + (random.random(2 * len(whole)) * np.tile(ends[whole] - whole, 2)).astype(np.int64)
    spread = np.repeat([START_SPREAD, START_SPREAD, END_SPREAD, END_SPREAD], len(whole))
    return np.concatenate([whole, begin, goal]), np.concatenate([ends[whole], end, goal]), spread


def _pursue(
    motion: Motion, recorded: Float[np.ndarray, "row 4"], starts: States, first: Rows, goal_row: Rows, max_steps: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the states (trajectory, max_steps + 1, 4) and the action in each state; it is 0 in the last one."""
    count = len(first)
    all_states, all_actions = np.empty((count, max_steps + 1, 4)), np.zeros((count, max_steps + 1, 2))
    states, progress = starts, first
    for step in range(max_steps):
        all_states[:, step] = states
        progress, _ = advance(recorded[:, :2], progress, goal_row, states[:, :2])
        ahead = np.minimum(progress + LOOKAHEAD, goal_row)
        targets = recorded[ahead]
        targets[ahead == goal_row, 2:] = 0.0  # come to rest at the goal
        all_actions[:, step] = push_towards(targets, states, MAZE)
        states = motion.step(states, all_actions[:, step])
    all_states[:, max_steps] = states
    return all_states, all_actions


def _find_arrivals(
    states: Float[np.ndarray, "trajectory step 4"], goals: Positions
) -> tuple[Rows, Bool[np.ndarray, " trajectory"]]:
    """Return the first step at which each trajectory is at rest at its goal, and whether there is one."""
    offset = np.abs(states - np.pad(goals, ((0, 0), (0, 2)))[:, None]).max(axis=-1)
    at_rest = offset < AT_REST
    return at_rest.argmax(axis=1), at_rest.any(axis=1)


def _find_nearest_rows(
    states: Float[np.ndarray, "trajectory step 4"],
    used: Bool[np.ndarray, "trajectory step"],
    recorded: Float[np.ndarray, "row 2"],
) -> tuple[Int[np.ndarray, "trajectory step"], Bool[np.ndarray, " trajectory"]]:
    """Return the recorded row nearest to each used state, and whether all used states of a trajectory have one.

    Rows that are farther than ``SUPPORT`` do not count.
    """
    nearest: np.ndarray = np.zeros(used.shape, dtype=np.int64)
    far: np.ndarray = np.zeros(used.shape, dtype=bool)
    distance, nearest[used] = cKDTree(recorded).query(states[used][:, :2], distance_upper_bound=SUPPORT)
    far[used] = np.isinf(distance)
    return nearest, np.asarray(~far.any(axis=1))
