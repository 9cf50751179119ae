import numpy as np
import pytest

from dfplan.benchmarks.worlds import recorder
from dfplan.benchmarks.worlds.recorder import draw_states_around, make_recording, record_demonstrations


class Line:
    """Moves each ball along x by the first number of its action."""

    def step(self, states, actions):
        return states + np.pad(actions[:, :1], ((0, 0), (0, 3)))


def record(starts, end=2.0, noise=0.0):
    """Demonstrations that go one unit along x per step until they are at ``end`` or beyond."""
    states = np.array([[start, 0.0, 0.0, 0.0] for start in starts])
    random = np.random.default_rng(0)
    return record_demonstrations(
        Line(), states, lambda states: np.ones((len(states), 2)), lambda states: states[:, 0] >= end, random, noise
    )


def test_demonstrations_are_recorded_until_all_have_ended():
    states, actions, ended = record([0.0, 1.0])
    assert states[:, :, 0].tolist() == [[0, 1, 2], [1, 2, 3]] and actions.shape == (2, 3, 2)
    assert ended.tolist() == [[False, False, True], [False, True, True]]


def test_actions_with_noise_are_clipped():
    _, actions, _ = record([0.0], noise=0.5)
    assert (actions <= 1).all() and (actions < 1).any()


def test_a_demonstration_that_does_not_end_is_an_error(monkeypatch):
    monkeypatch.setattr(recorder, "MAX_STEPS", 5)
    with pytest.raises(RuntimeError, match="1 demonstrators did not arrive within 5 steps"):
        record([0.0, 90.0], end=50.0)


def test_a_recording_ends_each_demonstration_at_its_first_row_at_the_end():
    dataset = make_recording(*record([0.0, 1.0]))
    assert dataset["observations"][:, 0].tolist() == [0, 1, 2, 1, 2]
    assert dataset["timeouts"].tolist() == [False, False, True, False, True] and not dataset["rewards"].any()
    assert (dataset["infos/goal"] == [2.0, 0.0]).all(), "the goal is the position of the end"


def test_the_goals_of_a_recording_can_be_given():
    dataset = make_recording(*record([0.0, 1.0]), goals=np.array([[5.0, 6.0], [7.0, 8.0]]))
    assert dataset["infos/goal"].tolist() == [[5, 6]] * 3 + [[7, 8]] * 2


def test_a_first_state_depends_on_its_own_generator_only():
    few, many = (draw_states_around(np.ones(2), [np.random.default_rng(seed) for seed in range(n)]) for n in (1, 3))
    assert (few[0] == many[0]).all() and (np.abs(many[:, :2] - 1) <= 0.1).all()
