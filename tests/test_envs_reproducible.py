import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box

from dfplan.envs.reproducible import KeepScoreInfo, OwnRandomState
from dfplan.ground.errors import InputError


class GlobalDraws(gym.Env):
    """Draws from NumPy's global state, as OGBench's mazes do; its infos are of every kind."""

    observation_space = Box(-np.inf, np.inf, (1,))
    action_space = Box(-1.0, 1.0, (1,))

    def __init__(self, info=None):
        self.info = info or {}

    def reset(self, *, seed=None, options=None):
        return np.random.normal(size=1), dict(self.info)

    def step(self, action):
        return np.random.normal(size=1), np.float32(1.0), np.bool_(False), False, dict(self.info)


def draw(env, steps):
    return [env.step([0.0])[0][0] for _ in range(steps)]


def test_an_episode_depends_on_its_own_seed_only():
    one, other = OwnRandomState(GlobalDraws()), OwnRandomState(GlobalDraws())
    one.reset(seed=3)
    alone = draw(one, 4)
    one.reset(seed=3)
    other.reset(seed=4)
    beside = []
    for _ in range(4):
        beside += draw(one, 1)
        assert draw(other, 1) != beside[-1:]
        np.random.normal(size=3)
    assert beside == alone and len(set(alone)) == 4


def test_a_reset_without_a_seed_goes_on_with_the_random_numbers():
    env = OwnRandomState(GlobalDraws())
    env.reset(seed=3)
    first = draw(env, 2)
    env.reset()
    assert draw(env, 2) != first


def test_the_callers_random_numbers_stay_as_they_are():
    np.random.seed(5)
    expected = np.random.uniform(size=6)
    np.random.seed(5)
    env = OwnRandomState(GlobalDraws())
    env.reset(seed=3)
    found = [np.random.uniform() for _ in range(6) if draw(env, 1)]
    np.testing.assert_array_equal(found, expected)


def test_the_callers_state_returns_after_an_error():
    env, before = OwnRandomState(GlobalDraws()), np.random.get_bit_generator()
    env.env.step = lambda action: 1 / 0
    with pytest.raises(ZeroDivisionError):
        env.step([0.0])
    assert np.random.get_bit_generator() is before


def test_infos_keep_success_and_goal_only():
    info = {"is_success": np.array([True]), "goal": [1, 2], "text": "any", "success": None}
    found, *_, later = *KeepScoreInfo(GlobalDraws(info)).reset()[1:], KeepScoreInfo(GlobalDraws(info)).step([0.0])[-1]
    for kept in (found, later):
        assert kept.keys() == {"is_success", "goal"} and kept["is_success"] is True
        assert kept["goal"].dtype == np.float64 and kept["goal"].tolist() == [1.0, 2.0]


def test_a_goal_that_is_no_array_of_numbers_is_left_out():
    assert KeepScoreInfo(GlobalDraws({"goal": "the red door"})).reset()[1] == {}


def test_a_reward_may_be_an_array_of_one_number_and_no_more():
    class Paid(gym.Env):
        observation_space = action_space = Box(-1, 1, (1,))

        def __init__(self, reward):
            self.reward = reward

        def step(self, action):
            return np.zeros(1), self.reward, False, False, {}

    assert KeepScoreInfo(Paid(np.array([2.0]))).step(np.zeros(1))[1] == 2.0
    with pytest.raises(InputError, match="the reward of a step must be one number"):
        KeepScoreInfo(Paid(np.zeros(2))).step(np.zeros(1))
