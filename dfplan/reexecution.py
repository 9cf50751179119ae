"""Recorded ways, re-executed faster: demonstrations of what the actuators can do, not of what the demonstrator did.

D4RL's demonstrator brakes before every waypoint, adds noise to its actions, and stops pushing at its goal. Planners
that imitate it inherit all three. Here a model of the motion is fitted to the recording (a linear one is exact wherever
nothing is touched), and in that model a pursuit of the recorded positions drives the same ways as fast as the actuators
allow, from starts beside the recorded ones, and brakes at the goal. The motion model knows no walls, but nobody was
ever recorded in one: a re-execution that leaves the recording's support is thrown away. What it counts as support is
wider than the ball, so that some still cut a wall's edge. A state's reward is that of the recorded row nearest to it.

Nothing but the recording is used. Like the controllers, this knows an observation as position and velocity, and an
action as a push along the axes of the position.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree

from dfplan.envs.errors import InputError

Dataset = dict[str, np.ndarray]
States = Float[np.ndarray, "trajectory 4"]
Positions = Float[np.ndarray, "trajectory 2"]
Rows = Int[np.ndarray, " trajectory"]

COPIES = 2  # re-executions of each segment as a whole, as many of random parts, twice as many of goals alone
LOOKAHEAD = 26  # recorded steps by which the pursued position is ahead; at 30 it cuts corners through walls
SEARCH_WINDOW = 30  # recorded rows searched for the nearest position; the way may come back near itself later
POSITION_GAIN, VELOCITY_GAIN = 10.0, 1.0  # the demonstrator's
SUPPORT = 0.2  # environment units from the nearest recorded position, beyond which a re-execution counts for nothing
START_SPREAD = 0.1  # environment units by which a start may lie beside the recorded one, along each axis
END_SPREAD = 0.5  # the same when it is the goal itself: what is pushed off its goal learns to come back
AT_REST = 0.05  # environment units (a second) from the goal, in position and velocity, within which it is held
FIT_ROUNDS = 5  # of least squares, each without the contacts that the last one found


@dataclass(frozen=True)
class Motion:
    """velocity' = decay · velocity + push · action, position' = position + duration · velocity', axis by axis.

    Attributes:
        decay, push, duration: the fitted coefficients, a value for each axis.
        max_velocity: the fastest that was recorded, along any axis.
    """

    decay: Float[np.ndarray, "2"]
    push: Float[np.ndarray, "2"]
    duration: Float[np.ndarray, "2"]
    max_velocity: float

    def step(self, states: States, actions: Float[np.ndarray, "trajectory 2"]) -> States:
        """Return the states one step on."""
        velocity = self.decay * states[:, 2:] + self.push * actions
        velocity = velocity.clip(-self.max_velocity, self.max_velocity)
        return np.concatenate([states[:, :2] + self.duration * velocity, velocity], axis=1)


def fit_motion(dataset: Dataset) -> Motion:
    """Return the motion away from walls, by least squares that leave out what does not fit: contacts and breaks.

    Raises:
        InputError: if observations are no positions and velocities of a point in a plane, pushed along its axes.
    """
    observations, actions = dataset["observations"].astype(np.float64), dataset["actions"].astype(np.float64)
    if observations.shape[1:] != (4,) or actions.shape[1:] != (2,):
        shapes = f"{observations.shape[1:]} and {actions.shape[1:]}"
        raise InputError(f"only a point in a plane can be re-executed: observations (4,), actions (2,), not {shapes}.")
    now, then = observations[:-1], observations[1:]
    decay, push, duration = np.empty(2), np.empty(2), np.empty(2)
    for axis in range(2):
        causes = np.stack([now[:, 2 + axis], actions[:-1, axis]], axis=1)
        (decay[axis], push[axis]), fits = _robust_fit(causes, then[:, 2 + axis])
        moved = then[fits, axis] - now[fits, axis]
        ((duration[axis],), _) = _robust_fit(then[fits, 2 + axis, None], moved)
    return Motion(decay, push, duration, float(np.abs(observations[:, 2:]).max()))


def _robust_fit(
    causes: Float[np.ndarray, "row cause"], effects: Float[np.ndarray, " row"]
) -> tuple[Float[np.ndarray, " cause"], Bool[np.ndarray, " row"]]:
    """Return least-squares coefficients, and the rows that they fit: all others are left out, round by round."""
    fits = np.ones(len(effects), dtype=bool)
    for _ in range(FIT_ROUNDS):
        coefficients = np.linalg.lstsq(causes[fits], effects[fits], rcond=None)[0]
        residuals = np.abs(causes @ coefficients - effects)
        fits = residuals <= 3 * np.median(residuals) + 1e-6
    return coefficients, fits


def re_executed(dataset: Dataset, ends: Int[np.ndarray, " row"], max_steps: int, seed: int) -> Dataset:
    """Return demonstrations made of ``dataset``, in its format; each re-execution is a segment of its own.

    Args:
        dataset: a recording in D4RL's format.
        ends: for each row, the last one of its segment.
        max_steps: longest re-execution; what has not arrived by then is thrown away.
        seed: decides which parts are re-executed and from where.
    """
    random = np.random.default_rng(seed)
    observations = dataset["observations"].astype(np.float64)
    first, goal_row, spread = _parts(ends, random)
    if not len(first):
        raise InputError(f"{len(observations)} rows hold no whole demonstration to re-execute; take more rows.")
    goals = observations[goal_row, :2]
    starts = observations[first]
    starts[:, :2] += spread[:, None] * random.uniform(-1, 1, size=(len(first), 2))
    starts[:, 2:] *= random.random((len(first), 1)) ** 3  # mostly slow: fast ones are on the way of the others
    states, actions = _pursue(fit_motion(dataset), observations, starts, first, goal_row, max_steps)
    last, arrived = _arrivals(states, goals)
    used = np.arange(max_steps + 1) <= last[:, None]  # (trajectory, step)
    nearest, supported = _nearest_rows(states, used, observations[:, :2])
    kept = np.flatnonzero(arrived & supported)
    if not len(kept):
        raise InputError(
            f"none of {len(first)} recorded ways could be re-executed; train on the recording itself, with "
            f"--demonstrations recorded."
        )
    used = used[kept]
    is_last = (np.arange(max_steps + 1) == last[kept, None])[used]
    segment_goals = np.broadcast_to(goals[kept, None], (*used.shape, 2))[used]
    return {
        "observations": states[kept][used].astype(np.float32),
        "actions": actions[kept][used].astype(np.float32),
        "rewards": dataset["rewards"][nearest[kept]][used],
        "timeouts": is_last,
        "infos/goal": segment_goals.astype(np.float32),
    }


def _parts(
    ends: Int[np.ndarray, " row"], random: np.random.Generator
) -> tuple[Rows, Rows, Float[np.ndarray, " trajectory"]]:
    """Return first and last rows of what is re-executed, and how far beside its first row each may start.

    Whole segments, random parts of them, and random goals alone.
    """
    # The first row of a segment repeats the last observation of the one before (a quirk of D4RL's script).
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
    """Return states (trajectory, step, 4) and the action after each (0 after the last)."""
    count = len(first)
    all_states, all_actions = np.empty((count, max_steps + 1, 4)), np.zeros((count, max_steps + 1, 2))
    states, progress, every = starts, first, np.arange(count)
    for step in range(max_steps + 1):
        window = np.minimum(progress[:, None] + np.arange(SEARCH_WINDOW), goal_row[:, None])
        distance = np.square(recorded[window, :2] - states[:, None, :2]).sum(axis=-1)
        progress = window[every, distance.argmin(axis=1)]
        all_states[:, step] = states
        ahead = np.minimum(progress + LOOKAHEAD, goal_row)
        velocity = np.where((ahead == goal_row)[:, None], 0.0, recorded[ahead, 2:])  # come to rest at the goal
        push = POSITION_GAIN * (recorded[ahead, :2] - states[:, :2]) + VELOCITY_GAIN * (velocity - states[:, 2:])
        if step < max_steps:
            all_actions[:, step] = push.clip(-1, 1)
            states = motion.step(states, all_actions[:, step])
    return all_states, all_actions


def _arrivals(
    states: Float[np.ndarray, "trajectory step 4"], goals: Positions
) -> tuple[Rows, Bool[np.ndarray, " trajectory"]]:
    """Return the step at which each trajectory has come to rest at its goal, and whether it ever does."""
    offset = np.abs(states - np.pad(goals, ((0, 0), (0, 2)))[:, None]).max(axis=-1)
    at_rest = offset < AT_REST
    return at_rest.argmax(axis=1), at_rest.any(axis=1)


def _nearest_rows(
    states: Float[np.ndarray, "trajectory step 4"],
    used: Bool[np.ndarray, "trajectory step"],
    recorded: Float[np.ndarray, "row 2"],
) -> tuple[Int[np.ndarray, "trajectory step"], Bool[np.ndarray, " trajectory"]]:
    """Return the recorded row nearest to each used state, and whether a trajectory keeps near recorded positions."""
    nearest, far = np.zeros(used.shape, dtype=np.int64), np.zeros(used.shape, dtype=bool)
    distance, nearest[used] = cKDTree(recorded).query(states[used][:, :2], distance_upper_bound=SUPPORT)
    far[used] = np.isinf(distance)
    return nearest, ~far.any(axis=1)
