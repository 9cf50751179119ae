import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from dfplan.envs.point_maze import PointMazeEnv
from dfplan.envs.point_maze_vector import PointMazeVectorEnv
from dfplan.ground.errors import InputError


def make(mode, num_envs=4, **kwargs):
    return gym.make_vec("maze2d-umaze-v1", num_envs=num_envs, vectorization_mode=mode, max_episode_steps=40, **kwargs)


def assert_identical(ours, theirs):
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys()
        for key in ours:
            assert_identical(ours[key], theirs[key])
    else:
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("kwargs", [{}, {"goal": "random"}, {"reward": "dense"}, {"goal": (1.0, 3.0)}])
def test_the_vector_environment_is_bit_equal_to_single_ones_over_several_episodes(kwargs):
    ours, theirs = make("vector_entry_point", **kwargs), make("sync", **kwargs)
    for mine, reference in zip(ours.reset(seed=3), theirs.reset(seed=3), strict=True):
        assert_identical(mine, reference)
    random = np.random.default_rng(0)
    for _ in range(130):
        actions = random.uniform(-1.5, 1.5, (4, 2)).astype(np.float32)
        for mine, reference in zip(ours.step(actions), theirs.step(actions), strict=True):
            assert_identical(mine, reference)


@pytest.mark.filterwarnings("error")
def test_gymnasium_makes_the_vector_environment_by_default_and_knows_its_autoreset_mode():
    env = gym.make_vec("maze2d-large-v1", num_envs=3)
    assert isinstance(env, PointMazeVectorEnv)
    assert env.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    assert env.max_episode_steps == 800
    observations, _ = env.reset(seed=0)
    assert observations in env.observation_space and env.action_space.shape == (3, 2)


def test_an_episode_depends_on_its_own_seed_only():
    few, many = make("vector_entry_point", 2), make("vector_entry_point", 5)
    few.reset(seed=[11, 7])
    many.reset(seed=[1, 2, 7, 3, 4])
    action = np.array([0.3, -0.8], np.float32)
    for _ in range(90):
        observations = few.step(np.tile(action, (2, 1)))[0][1], many.step(np.tile(action, (5, 1)))[0][2]
        np.testing.assert_array_equal(*observations)


def test_a_finished_environment_is_reset_by_the_next_step_which_rewards_nothing():
    env = make("vector_entry_point", 2)
    env.reset(seed=0)
    truncations = [env.step(np.zeros((2, 2)))[3].all() for _ in range(40)]
    assert truncations == [False] * 39 + [True]
    observations, rewards, _, truncated, _ = env.step(np.ones((2, 2)))
    assert (rewards == 0).all() and not truncated.any()
    assert np.abs(observations[:, :2] - np.rint(observations[:, :2])).max() <= 0.1


def test_a_reset_without_a_seed_continues_the_random_numbers():
    env = make("vector_entry_point", 2)
    first, _ = env.reset(seed=0)
    second, _ = env.reset()
    again, _ = env.reset(seed=0)
    assert (first == again).all() and (first != second).any()


def test_options_are_for_all_or_one_row_for_each():
    env = make("vector_entry_point", 2)
    locations = np.array([[1.0, 2.0], [3.0, 1.0]])
    observations, infos = env.reset(seed=0, options={"location": locations, "goal": (2, 3)})
    np.testing.assert_array_equal(observations[:, :2], locations)
    np.testing.assert_array_equal(infos["goal"], [[2, 3], [2, 3]])
    _, infos = env.reset(options={"goal": "random"})
    assert (infos["goal"][0] != infos["goal"][1]).any()


def test_states_can_be_set():
    env = make("vector_entry_point", 2)
    env.reset(seed=0)
    env.set_state([[1, 1], [3, 3]], np.zeros((2, 2)))
    observations, rewards, *_ = env.step(np.zeros((2, 2)))
    np.testing.assert_allclose(observations, [[1, 1, 0, 0], [3, 3, 0, 0]])
    assert rewards.tolist() == [1.0, 0.0]


@pytest.mark.parametrize(
    "mistake",
    [
        lambda env: env.reset(seed=[1, 2, 3]),
        lambda env: env.reset(options={"goal": np.zeros((3, 2))}),
        lambda env: env.step(np.zeros((2, 3))),
        lambda env: env.step(np.full((2, 2), np.inf)),
        lambda env: env.set_state([[1, 1], [0, 0]], np.zeros((2, 2))),
        lambda env: make("vector_entry_point", 0),
    ],
)
def test_wrong_inputs_are_input_errors(mistake):
    env = make("vector_entry_point", 2)
    env.reset(seed=0)
    with pytest.raises(InputError):
        mistake(env)


def test_each_environment_has_its_own_picture():
    env = make("vector_entry_point", 2, render_mode="rgb_array")
    env.reset(seed=0)
    assert [picture.shape for picture in env.render()] == [(240, 240, 3)] * 2


def test_the_reference_scores_are_those_of_the_single_environment():
    for reward in ("sparse", "dense"):
        one, many = PointMazeEnv("umaze", reward), PointMazeVectorEnv(2, "umaze", reward)
        assert (many.ref_min_score, many.ref_max_score) == (one.ref_min_score, one.ref_max_score)
    assert PointMazeVectorEnv(2, "#####\n#GOO#\n#####").ref_min_score is None
