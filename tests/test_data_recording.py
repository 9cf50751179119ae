"""Recordings: one check for all that holds them, and what is known after the end of an episode."""

import numpy as np
import pytest

from dfplan.data.recording import Recording
from dfplan.ground.errors import InputError
from dfplan.task import Task

TASK = Task(2, 1, (-2.0,), (2.0,), max_episode_steps=4)


def rows(**columns):
    """Columns of two episodes of 3 and 2 steps; the first one terminates."""
    x = np.arange(10.0).reshape(5, 2)
    table = {
        "observations": x,
        "actions": np.array([[0.5], [-2.0], [2.0], [0.0], [1.0]]),
        "rewards": np.arange(1.0, 6.0),
        "terminals": np.array([0, 0, 1, 0, 0]),
        "timeouts": np.array([0, 0, 0, 0, 1]),
    }
    return {key: column for key, column in (table | columns).items() if column is not None}


def same(one, other):
    names = ("observations", "actions", "rewards", "is_last", "is_absorbing", "is_final", "goals")
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names if name != "goals") and (
        one.goals is None
    ) == (other.goals is None)


def test_after_a_terminal_the_episode_stays_in_its_last_observation_and_earns_nothing():
    recording = Recording.from_rows(rows())
    assert recording.is_absorbing.tolist() == recording.is_final.tolist() == [0, 0, 0, 1, 0, 0]
    assert recording.is_last.tolist() == [0, 0, 0, 1, 0, 1]
    assert recording.observations[3].tolist() == recording.observations[2].tolist() == [4, 5]
    assert recording.actions[3] == 0 and recording.rewards[3] == 0
    assert recording.num_episodes == 2 and recording.num_steps == 5
    assert recording.lengths.tolist() == [3, 2] and recording.returns.tolist() == [6, 9]


def test_next_observations_tell_how_every_episode_ends():
    after = np.arange(10.0).reshape(5, 2) + 2
    after[[2, 4]] = [[70, 71], [80, 81]]
    recording = Recording.from_rows(rows(next_observations=after))
    assert recording.observations[recording.is_final].tolist() == [[70, 71], [80, 81]]
    assert recording.is_absorbing.tolist() == [0, 0, 0, 1, 0, 0, 0]
    assert recording.lengths.tolist() == [3, 2] and recording.returns.tolist() == [6, 9]


def test_the_end_of_the_data_ends_an_episode_and_one_kind_of_end_suffices():
    recording = Recording.from_rows(rows(timeouts=None))
    assert recording.is_last.tolist() == [0, 0, 0, 1, 0, 1] and recording.num_episodes == 2
    assert Recording.from_rows(rows(terminals=None, rewards=None)).returns.tolist() == [0]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"actions": None}, "has no actions; it has observations"),
        ({"terminals": None, "timeouts": None}, "has no terminals or timeouts, which mark the ends of episodes"),
        ({"actions": np.zeros((4, 1))}, r"actions of the recording must have the shape \(5, channels\), not \(4, 1\)"),
        ({"actions": np.zeros(5)}, r"must have the shape \(5, channels\)"),
        ({"rewards": np.zeros((5, 2))}, r"rewards of the recording must have the shape \(5,\)"),
        ({"observations": np.full((5, 2), np.nan)}, "10 values that are NaN or infinite"),
        ({"observations": np.array([["a"] * 2] * 5)}, "must hold numbers"),
        ({"observations": [[1.0], [1.0, 2.0]]}, "rows have different lengths"),
        ({"next_observations": np.zeros((5, 3))}, "must have the shape of observations"),
        ({"observations": np.zeros((0, 2))}, "has no rows"),
    ],
)
def test_columns_that_cannot_be_used_are_answered_in_a_sentence(columns, message):
    with pytest.raises(InputError, match=message) as error:
        Recording.from_rows(rows(**columns))
    assert "\n" not in str(error.value)


def test_a_recording_of_another_world_is_refused():
    recording = Recording.from_rows(rows())
    recording.check(TASK)
    for task, message in (
        (Task(3, 1, (-2.0,), (2.0,)), "2 observation channels, but the environment has 3"),
        (Task(2, 2), "1 action channels, but the environment has 2"),
        (Task(2, 1), r"40.0% of the actions .* lie outside .* they go from \[-2.0\] to \[2.0\]"),
    ):
        with pytest.raises(InputError, match=message):
            recording.check(task)


def test_episodes_that_seem_to_be_joined_are_reported():
    joined = Recording.from_rows(rows(terminals=None))
    with pytest.warns(UserWarning, match="looks like 1 episode, the longest of 5 steps: are the ends of the episodes"):
        joined.check(TASK)
    many = 10_001
    endless = {"observations": np.zeros((many, 2)), "actions": np.zeros((many, 1)), "timeouts": np.zeros(many)}
    with pytest.warns(UserWarning, match="looks like 1 episode, the longest of 10,001 steps"):
        Recording.from_rows(endless).check(Task(2, 1))


def test_a_list_of_episodes_is_the_recording_of_its_rows():
    table = rows(next_observations=np.arange(10.0).reshape(5, 2) + 2)
    episodes = [
        {
            "observations": np.vstack([table["observations"][first:last], table["next_observations"][last - 1]]),
            "actions": table["actions"][first:last],
            "rewards": table["rewards"][first:last],
            "terminated": terminated,
        }
        for first, last, terminated in ((0, 3, [False, False, True]), (3, 5, False))
    ]
    assert same(Recording.load(episodes), Recording.load(table))
    short = [episode | {"observations": episode["observations"][:-1]} for episode in episodes]
    assert same(Recording.load(short), Recording.load(rows()))


def test_the_goals_of_goal_environments_are_kept():
    observations = {"observation": np.zeros((3, 2)), "desired_goal": np.ones((3, 1))}
    recording = Recording.from_episodes([{"observations": observations, "actions": np.zeros((2, 1))}])
    assert recording.goals.tolist() == [[1], [1], [1]]


@pytest.mark.parametrize(
    ("episodes", "message"),
    [
        ([], "has no episodes"),
        (3, "has no episodes"),
        ([np.zeros(3)], "episode 0 must be a dictionary"),
        ([{"actions": np.zeros((2, 1))}], "episode 0 has no observations or no actions; it has actions"),
        ([{"actions": np.zeros((2, 1)), "observations": np.zeros((5, 2))}], "needs 2 or 3 observations"),
        (
            [{"actions": np.zeros((2, size)), "observations": np.zeros((2, 2))} for size in (1, 2)],
            "all episodes must have observations and actions of the same sizes",
        ),
    ],
)
def test_episodes_that_cannot_be_used_are_answered_in_a_sentence(episodes, message):
    with pytest.raises(InputError, match=message):
        Recording.load(episodes)


def test_the_first_rows_are_a_recording_that_ends_there():
    recording = Recording.from_rows(rows()).take(2)
    assert recording.is_last.tolist() == [False, True] and recording.num_rows == 2
    with pytest.raises(InputError, match="has 2 rows, not 3"):
        recording.take(3)


def test_a_recording_is_described_in_one_line():
    text = repr(Recording.from_rows(rows()))
    assert text == (
        "Recording(the recording: 5 steps, 2 episodes, 1 terminated, 2 observation and 1 action channels, "
        "mean return 7.5)"
    )


@pytest.mark.parametrize("after", [None, np.arange(10.0).reshape(5, 2) + 2])
def test_a_saved_recording_is_read_as_it_was(tmp_path, after):
    recording = Recording.from_rows(rows(next_observations=after, **{"infos/goal": np.ones((5, 1))}))
    recording.save(tmp_path / "rows.hdf5")
    assert same(Recording.load(tmp_path / "rows.hdf5"), recording)
