import json
from dataclasses import asdict

import numpy as np
import pytest

from dfplan.ground.errors import InputError
from dfplan.task import Task, index_channels, read_numbers, task_from_dict


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"observation_dim": 0}, "at least 1 channel"),
        ({"action_low": (0.0,)}, "2 actions need as many"),
        ({"action_low": (1.0, 1.0)}, "must be below"),
        ({"goal": (4,)}, "different ones of 0 to 3"),
        ({"goal": (1, 1)}, "different ones of 0 to 3"),
        ({"position": (0, 1)}, "position and either velocity or step_length need one number for each of the 2 actions"),
        ({"position": (0, 1), "velocity": (1, 2)}, "share a channel"),
        ({"reward_of": "step"}, "reward_of"),
        ({"rests": True}, "needs goal channels"),
        ({"max_episode_steps": 0}, "at least 1 step"),
        ({"action_high": (np.nan, 1.0)}, "finite bounds"),
    ],
)
def test_facts_that_contradict_each_other_are_refused(facts, message):
    with pytest.raises(InputError, match=message):
        Task(**({"observation_dim": 4, "action_dim": 2} | facts))


@pytest.mark.parametrize("values", [0, ("a",), (0.7,), (True,), [[1]], np.zeros((2, 2)), None])
def test_channels_are_a_list_of_whole_numbers(values):
    with pytest.raises(InputError, match=r"goal must be a list of channel numbers, such as .*, not"):
        read_numbers("goal", values, int)
    assert read_numbers("goal", np.array([2, 0]), int) == (2, 0)
    assert read_numbers("action_low", [np.float32(0.5), 1], float) == (0.5, 1.0)


def test_a_task_survives_json():
    task = Task(5, 2, (-1.0, -2.0), (1.0, 3.0), goal=(3, 1), reward_of="state", max_episode_steps=7)
    assert task_from_dict(json.loads(json.dumps(asdict(task)))) == task
    with pytest.raises(InputError, match="the task cannot be read"):
        task_from_dict({"observation_dim": 4})


def test_actions_stay_within_the_bounds_of_their_channels():
    task = Task(3, 2, (-1.0, 0.0), (1.0, 5.0))
    np.testing.assert_array_equal(task.clip(np.array([[-9.0, -9.0], [9.0, 9.0]])), [[-1, 0], [1, 5]])
    np.testing.assert_array_equal(Task(3, 1).clip(np.array([7.0])), [1.0])


def test_a_goal_given_as_a_whole_observation_is_cut_to_its_channels():
    task = Task(4, 1, goal=(3, 1))
    np.testing.assert_array_equal(task.take_goal(np.arange(8.0).reshape(2, 4)), [[3, 1], [7, 5]])
    assert task.take_goal([1.0, 2.0]) == [1.0, 2.0]


def test_neighbouring_channels_are_indexed_without_a_copy():
    assert index_channels((1, 2, 3)) == slice(1, 4) and index_channels(()) == slice(0, 0)
    assert index_channels((3, 1)) == [3, 1]


def test_clipped_actions_stay_within_the_bounds_after_rounding_to_float32():
    task = Task(3, 2, action_low=(-0.1, 0.3), action_high=(0.7, 0.9))
    for action, bound in ((-9.0, "low"), (9.0, "high")):
        clipped = task.clip(np.full((1, 2), action)).astype(np.float32).astype(np.float64)
        low, high = task.bounds
        assert ((low <= clipped) & (clipped <= high)).all()
        np.testing.assert_allclose(clipped[0], task.bounds[bound == "high"], rtol=1e-6)


def test_motion_is_known_by_velocities_or_by_the_length_of_a_step():
    assert Task(2, 2, position=(0, 1), step_length=(0.2, 0.2)).has_motion and not Task(2, 2).has_motion
    known = {"position": (0, 1), "step_length": (0.2, 0.2)}
    for wrong in ({"velocity": (2, 3)}, {"position": ()}, {"step_length": (0.2,)}):
        with pytest.raises(InputError, match="position and either velocity or step_length need one number"):
            Task(4, 2, **(known | wrong))
    with pytest.raises(InputError, match="lengths of steps must be above 0 and finite"):
        Task(2, 2, position=(0, 1), step_length=(0.2, -0.2))


def test_the_highest_action_must_move_forwards_and_float32_must_have_an_action():
    with pytest.raises(InputError, match="must be above 0, not"):
        Task(2, 2, (-2.0, -2.0), (-1.0, -1.0), position=(0, 1), step_length=(0.2, 0.2))
    with pytest.raises(InputError, match=r"no number of float32 lies between \[0.1\] and"):
        Task(2, 1, (0.1,), (0.1 + 1e-12,)).clip(np.zeros(1))
