"""Recordings: one check for all that holds them, and what is known after the end of an episode."""

import numpy as np
import pytest
import torch

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


EPISODE = {"actions": np.zeros((2, 1)), "observations": np.zeros((2, 2))}


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
        ({"observations": np.full((5, 2), np.nan)}, "10 values that are NaN, infinite, or too large"),
        ({"observations": np.full((5, 2), 1e300)}, "10 values that are NaN, infinite, or too large for float32"),
        ({"observations": 3.0}, r"observations of the recording must have the shape \(1, channels\), not \(\)"),
        ({"observations": np.zeros((5, 0))}, r"must have the shape \(5, channels\), not \(5, 0\)"),
        ({"terminated": np.zeros(5)}, "has the column terminals twice"),
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
    with pytest.warns(UserWarning, match="has 1 episode, the longest of 5 steps: are the ends of the episodes"):
        joined.check(TASK)
    many = 10_001
    endless = {"observations": np.zeros((many, 2)), "actions": np.zeros((many, 1)), "timeouts": np.zeros(many)}
    with pytest.warns(UserWarning, match="has 1 episode, the longest of 10,001 steps"):
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


@pytest.mark.filterwarnings("ignore:columns of the recording")
def test_names_of_columns_may_be_anything():
    with pytest.raises(InputError, match="has no observations; it has 3, actions, rewards"):
        Recording.from_rows(rows(observations=None) | {3: np.zeros(5)})


def test_the_names_of_gymnasium_mean_the_same():
    table = rows()
    named = {"terminations": table.pop("terminals"), "truncations": table.pop("timeouts")}
    assert same(Recording.load(table | named), Recording.load(rows()))
    ended = Recording.load([EPISODE | {"terminations": [False, True]}])
    assert ended.is_absorbing.any() and same(ended, Recording.load([EPISODE | {"terminated": True}]))
    after = Recording.load([EPISODE | {"next_observations": np.ones((2, 2))}])
    assert after.observations.tolist() == [[0, 0], [0, 0], [1, 1]] and after.is_final[-1]


@pytest.mark.parametrize("source", [rows(reward=np.zeros(5)), [EPISODE | {"reward": np.zeros(2)}]])
def test_columns_with_unknown_names_are_reported(source):
    with pytest.warns(UserWarning, match="columns of the recording are not used: reward; known are observations"):
        Recording.load(source)
    known = {"infos/other": np.zeros(5), "qpos": np.zeros((5, 2))}
    Recording.load(rows(**known))


def test_a_recording_without_a_whole_step_is_refused():
    lonely = Recording.from_rows(rows(terminals=None, timeouts=np.ones(5)))
    with pytest.raises(InputError, match="holds no step with the observation after it"):
        lonely.check(TASK)


def test_only_a_ball_in_a_plane_has_true_states():
    infos = {"infos/goal": np.zeros((5, 1)), "infos/qpos": np.ones((5, 1)), "infos/qvel": np.ones((5, 1))}
    assert Recording.from_rows(rows(terminals=None, **infos)).states.tolist() == [[1, 1]] * 5
    ant = infos | {"infos/qpos": np.ones((5, 2)), "observations": np.ones((5, 3))}
    assert Recording.from_rows(rows(**ant)).states is None


def test_the_goals_of_goal_environments_are_kept():
    observations = {"observation": np.zeros((3, 2)), "desired_goal": np.ones((3, 1))}
    recording = Recording.from_episodes([{"observations": observations, "actions": np.zeros((2, 1))}])
    assert recording.goals.tolist() == [[1], [1], [1]]


@pytest.mark.parametrize(
    ("episodes", "message"),
    [
        ([], "has no episodes"),
        (3, "a recording is a file, .*, not 3"),
        ([np.zeros(3)], "episode 0 must be a dictionary"),
        ([{"actions": np.zeros((2, 1))}], "episode 0 has no observations or no actions; it has actions"),
        ([{"actions": np.zeros((2, 1)), "observations": np.zeros((5, 2))}], "needs 2 or 3 observations"),
        ([EPISODE | {"terminated": [True, False]}], "terminals of .*, episode 0 mark an end before the last step"),
        ([EPISODE | {"truncations": [True, False, False]}], "one truth value, or one for each of 2 steps"),
        ([EPISODE | {"observations": {"observation": np.zeros((2, 2)), 3: 1, "desired_goal": 1}}], "goals of .* shape"),
        (
            [
                EPISODE | {"observations": {"observation": np.zeros((2, 2)), "desired_goal": np.zeros((2, size))}}
                for size in (1, 2)
            ],
            "observations, actions and goals of the same sizes",
        ),
        (
            [{"actions": np.zeros((2, size)), "observations": np.zeros((2, 2))} for size in (1, 2)],
            "all episodes must have observations, actions and goals of the same sizes",
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


def test_last_observations_that_cannot_be_saved_are_reported(tmp_path):
    known = EPISODE | {"observations": np.zeros((3, 2))}
    with pytest.warns(UserWarning, match="not saved, because those of 1 of 2 episodes are unknown"):
        Recording.load([known, EPISODE]).save(tmp_path / "rows.hdf5")
    assert Recording.load(tmp_path / "rows.hdf5").num_steps == 4


def test_a_generator_of_episodes_is_a_recording():
    episodes = [{"observations": np.zeros((3, 2)), "actions": np.zeros((2, 1))}] * 3
    assert Recording.load(episode for episode in episodes).num_episodes == 3


@pytest.mark.parametrize("rows", [-1, 0])
def test_the_number_of_rows_is_a_whole_number(rows):
    recording = Recording.from_rows(
        {"observations": np.zeros((9, 1)), "actions": np.zeros((9, 1)), "timeouts": [0] * 9}
    )
    with pytest.raises(InputError, match="rows must be a whole number above 0, not"):
        recording.take(rows)


def test_a_terminal_whose_last_observation_is_lost_is_reported(tmp_path):
    ended = {"observations": np.arange(3.0)[:, None], "actions": np.zeros((2, 1)), "terminated": True}
    cut = {"observations": np.zeros((2, 1)), "actions": np.zeros((2, 1))}
    with pytest.warns(UserWarning, match="those of 1 of 2 episodes are unknown"):
        Recording.from_episodes([ended, cut]).save(tmp_path / "lost.hdf5")


def test_the_digest_tells_recordings_apart():
    columns = {"observations": np.arange(9.0)[:, None], "actions": np.zeros((9, 1)), "timeouts": [0] * 9}
    first, same = (Recording.from_rows(columns, source) for source in ("first", "second"))
    other = Recording.from_rows(columns | {"rewards": np.ones(9)})
    assert first.digest == same.digest != other.digest


def test_the_longest_episode_counts_steps_after_which_the_observation_is_known():
    steps = {"actions": np.zeros((2, 1))}
    known, unknown = steps | {"observations": np.zeros((3, 1))}, steps | {"observations": np.zeros((2, 1))}
    assert Recording.from_episodes([unknown]).longest == 1 and Recording.from_episodes([unknown, known]).longest == 2


def test_tensors_that_numpy_does_not_have_are_refused():
    with pytest.raises(InputError, match="actions of the recording is not an array"):
        Recording.from_rows(
            {"observations": np.zeros((2, 1)), "actions": torch.zeros(2, 1).bfloat16(), "timeouts": [0, 0]}
        )


def test_long_lists_of_names_are_cut_short():
    with pytest.raises(InputError, match="it has a, b, c, d, e, f, g, h, i, j and 16 more"), pytest.warns(UserWarning):
        Recording.from_rows({name: np.zeros(1) for name in "abcdefghijklmnopqrstuvwxyz"})


@pytest.mark.parametrize("marks", [np.full(5, 2), np.array([0, 0, 0.5, 0, 1])])
def test_ends_must_be_truth_values(marks):
    with pytest.raises(InputError, match=r"terminals of the recording must hold truth values, 0 or 1, not (2|0.5)"):
        Recording.from_rows(rows(terminals=marks))
    with pytest.raises(InputError, match=r"terminals of .*, episode 0 must hold truth values, 0 or 1, not 2"):
        Recording.load([EPISODE | {"terminated": 2}])
