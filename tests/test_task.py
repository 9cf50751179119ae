import json
from dataclasses import asdict

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from dfplan.ground.errors import InputError
from dfplan.task import MAZE, Task, index_channels, read_task, task_from_dict


class World(gym.Env):
    """Has the spaces that a test gives it."""

    def __init__(self, observations, actions):
        self.observation_space, self.action_space = observations, actions


def box(size, low=-1.0, high=1.0):
    return spaces.Box(low, high, (size,))


def test_a_task_is_read_from_the_spaces_and_the_length_of_an_environment():
    task = read_task(gym.make("Pendulum-v1"))
    assert task == Task(3, 1, action_low=(-2.0,), action_high=(2.0,), max_episode_steps=200)
    assert not task.has_motion and task.goal_dim == 0 and task.reward_of == "transition"


def test_the_same_task_is_read_from_a_vector_environment():
    assert read_task(gym.make_vec("Pendulum-v1", 2)) == read_task(gym.make("Pendulum-v1"))


def test_the_mazes_say_themselves_what_their_task_is():
    assert read_task(gym.make("maze2d-umaze-v1")) == read_task(gym.make_vec("maze2d-umaze-v1", 2)) == MAZE


def test_a_goal_environment_has_its_goal_in_the_first_channels_unless_told_otherwise():
    world = World(spaces.Dict({"observation": box(4), "desired_goal": box(2), "achieved_goal": box(2)}), box(2))
    assert read_task(world).goal == (0, 1)
    assert read_task(world, goal=(2, 3)).goal == (2, 3)
    assert read_task(World(spaces.Dict({"observation": box(4)}), box(2))).goal == ()


@pytest.mark.parametrize(
    ("observations", "actions", "message"),
    [
        (box(3), spaces.Discrete(4), "the action space Discrete"),
        (box(3), spaces.MultiBinary(4), "the action space MultiBinary"),
        (spaces.Box(0, 255, (8, 8, 3), np.uint8), box(1), "the observation space Box"),
        (spaces.Discrete(5), box(1), "the observation space Discrete"),
        (spaces.Dict({"observation": spaces.Dict({"deep": box(1)})}), box(1), "the observation space Dict"),
        (spaces.Dict({"camera": box(2)}), box(1), "a dictionary needs 'observation'"),
        (box(3), box(2, -np.inf, np.inf), "finite bounds"),
    ],
)
def test_what_is_not_supported_is_said_in_one_sentence(observations, actions, message):
    with pytest.raises(InputError, match=message) as error:
        read_task(World(observations, actions))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"observation_dim": 0}, "at least 1 channel"),
        ({"action_low": (0.0,)}, "2 actions need as many"),
        ({"action_low": (1.0, 1.0)}, "must be below"),
        ({"goal": (4,)}, "different ones of 0 to 3"),
        ({"goal": (1, 1)}, "different ones of 0 to 3"),
        ({"position": (0, 1)}, "position and velocity need one channel for each of the 2 actions"),
        ({"position": (0, 1), "velocity": (1, 2)}, "share a channel"),
        ({"reward_of": "step"}, "reward_of"),
        ({"rests": True}, "needs goal channels"),
        ({"max_episode_steps": 0}, "at least 1 step"),
    ],
)
def test_facts_that_contradict_each_other_are_refused(facts, message):
    with pytest.raises(InputError, match=message):
        Task(**({"observation_dim": 4, "action_dim": 2} | facts))


def test_an_unknown_fact_is_refused_with_a_similar_one():
    with pytest.raises(InputError, match="goal"):
        read_task(gym.make("Pendulum-v1"), goals=(0,))


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
