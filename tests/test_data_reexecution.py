"""Tests of dfplan.data.reexecution on a recording of a slow walk along x, made by hand."""

from dataclasses import replace

import numpy as np
import pytest

from dfplan.data.recording import Recording
from dfplan.data.reexecution import SUPPORT, Motion, fit_motion, re_execute
from dfplan.data.segments import find_segment_ends
from dfplan.ground.errors import InputError

DECAY, PUSH, DURATION = 0.99, 0.2, 0.01


def recording(segments: int = 3, rows: int = 120) -> dict[str, np.ndarray]:
    """Return walks from x = 1, each with a goal of its own, under random pushes: about 0.8 units a second."""
    random = np.random.default_rng(0)
    states, actions, goals = [], [], []
    for segment in range(segments):
        state = np.array([1.0, 1.0, 0.8, 0.0])
        for _ in range(rows):
            noise = 0.3 * random.normal(size=2)
            action = np.clip(np.array([0.8 - state[2], 1 - state[1] - state[3]]) + noise, -1, 1)
            states.append(state)
            actions.append(action)
            goals.append([2.0, 1 + segment / 100])
            velocity = DECAY * state[2:] + PUSH * action
            state = np.concatenate([state[:2] + DURATION * velocity, velocity])
    dataset = {
        "observations": np.array(states),
        "actions": np.array(actions),
        "rewards": (np.array(states)[:, 0] > 1.5).astype(np.float32),
        "timeouts": np.zeros(len(states), bool),
        "infos/goal": np.array(goals),
    }
    return Recording.from_rows(dataset)


@pytest.fixture(scope="module")
def recorded() -> Recording:
    return recording()


@pytest.fixture(scope="module")
def faster(recorded) -> Recording:
    return re_execute(recorded, find_segment_ends(recorded), max_steps=200, seed=0)


def test_the_motion_is_found_although_a_tenth_of_the_rows_are_contacts(recorded):
    observations = recorded.observations.copy()
    observations[::10, 2:] *= 0.5  # what a wall does
    motion = fit_motion(replace(recorded, observations=observations))
    assert motion.decay == pytest.approx([DECAY] * 2, abs=1e-4)
    assert motion.push == pytest.approx([PUSH] * 2, abs=1e-4)
    assert motion.duration == pytest.approx([DURATION] * 2, abs=1e-5)


def test_nothing_moves_faster_than_was_recorded():
    motion = Motion(np.full(2, 1.0), np.full(2, 0.2), np.full(2, 0.01), max_velocity=2.0)
    assert motion.step(np.array([[0, 0, 2.0, -2.0]]), np.array([[1.0, -1.0]]))[0] == pytest.approx([0.02, -0.02, 2, -2])


def test_a_whole_path_is_driven_in_less_time_than_it_was_recorded(recorded, faster):
    lengths = np.bincount(find_segment_ends(faster))
    first = np.flatnonzero(np.diff(find_segment_ends(faster), prepend=-1))
    from_the_beginning = faster.observations[first, 0] < 1.15
    assert from_the_beginning.any()
    assert lengths[find_segment_ends(faster)[first[from_the_beginning]]].max() < 120


def test_every_row_follows_from_the_one_before_by_its_action(recorded, faster):
    motion = fit_motion(recorded)
    inside = find_segment_ends(faster) > np.arange(len(faster.actions))
    now = np.flatnonzero(inside)
    expected = motion.step(faster.observations[now].astype(float), faster.actions[now].astype(float))
    assert np.abs(expected - faster.observations[now + 1]).max() < 1e-5


def test_every_re_execution_ends_at_rest_at_its_goal_and_stays_near_the_recording(recorded, faster):
    last = faster.is_last
    assert np.abs(faster.observations[last, :2] - faster.goals[last]).max() < 0.05
    assert np.abs(faster.observations[last, 2:]).max() < 0.05
    offsets = faster.observations[:, None, :2] - recorded.observations[None, ::5, :2]
    assert np.linalg.norm(offsets, axis=-1).min(axis=1).max() < SUPPORT + 0.05


def test_rewards_are_those_of_the_nearest_recorded_rows(recorded, faster):
    offsets = faster.observations[:, None, :2] - recorded.observations[None, :, :2]
    nearest = np.square(offsets).sum(axis=-1).argmin(axis=1)
    assert np.array_equal(faster.rewards, recorded.rewards[nearest])


def test_the_seed_determines_where_re_executions_start(recorded):
    ends = find_segment_ends(recorded)
    one, same, other = (re_execute(recorded, ends, max_steps=150, seed=seed).observations for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert one.shape != other.shape or not np.array_equal(one, other)


def test_a_recording_that_is_not_of_a_point_in_a_plane_is_refused(recorded):
    with pytest.raises(InputError, match="only a point in a plane"):
        fit_motion(replace(recorded, observations=np.zeros((360, 5), np.float32)))


def test_a_recording_is_refused_if_no_path_can_be_driven_in_time(recorded):
    with pytest.raises(InputError, match="none of"):
        re_execute(recorded, find_segment_ends(recorded), max_steps=1, seed=0)


def test_a_recording_without_a_whole_demonstration_is_refused():
    with pytest.raises(InputError, match="the 1 rows contain no whole demonstration to re-execute; use more rows"):
        one_row = recording(segments=1, rows=1)
        re_execute(one_row, find_segment_ends(one_row), max_steps=50, seed=0)
