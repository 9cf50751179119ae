import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box

from dfplan.benchmarks.evaluation.consistency import measure_wall_distance
from dfplan.envs.d4rl_coordinates import D4RLCoordinates
from dfplan.envs.layouts import LAYOUTS
from dfplan.envs.physics import BALL_RADIUS, PointMassPhysics
from dfplan.ground.errors import InputError

CONTACT = BALL_RADIUS + 0.06  # a ball that is further from all walls cannot touch one in a step of at most 0.05


def make(name, **kwargs):
    pytest.importorskip("gymnasium_robotics")
    return gym.make(f"gymnasium_robotics:PointMaze_{name}-v3", **kwargs)


def wander(env, seed, steps):
    """States, actions and goals of a random walk in which every action is repeated ten times."""
    random = np.random.default_rng(seed)
    observation, _ = env.reset(seed=seed)
    states, actions, goals = [observation["observation"]], [], [observation["desired_goal"]]
    for step in range(steps):
        actions.append(actions[-1] if step % 10 else random.uniform(-1, 1, 2))
        observation, *_ = env.step(actions[-1])
        states.append(observation["observation"])
        goals.append(observation["desired_goal"])
    return np.array(states), np.array(actions), np.array(goals)


@pytest.mark.parametrize("name", ["UMaze", "Medium", "Large", "Open"])
def test_away_from_walls_every_step_is_that_of_d4rls_maze(name):
    env = D4RLCoordinates(make(name))
    assert env.layout is LAYOUTS[name.lower()]
    for seed in range(3):
        states, actions, goals = wander(env, seed, 150)
        expected = PointMassPhysics(env.layout).step(states[:-1], actions)
        is_free = measure_wall_distance(env.layout, states[:-1, :2]) > CONTACT
        assert is_free.sum() > 10
        np.testing.assert_allclose(states[1:][is_free], expected[is_free], atol=1e-12)
        assert (measure_wall_distance(env.layout, states[:, :2]) > 0).all()  # walls are at their places
        assert env.layout.is_free(goals).all()


def test_goals_and_achieved_goals_are_turned_as_positions_are():
    plain, turned = make("Medium"), D4RLCoordinates(make("Medium"))
    before, after = plain.reset(seed=1)[0], turned.reset(seed=1)[0]
    np.testing.assert_array_equal(after["achieved_goal"], after["observation"][:2])
    offset = after["desired_goal"] - after["achieved_goal"]
    x, y = before["desired_goal"] - before["achieved_goal"]
    np.testing.assert_allclose(offset, [-y, x])


def test_rewards_and_successes_are_those_of_gymnasium_robotics():
    plain, turned = make("UMaze"), D4RLCoordinates(make("UMaze"))
    plain.reset(seed=2), turned.reset(seed=2)
    for action in np.random.default_rng(0).uniform(-1, 1, (20, 2)):
        _, *expected = plain.step(np.array([action[1], -action[0]]))
        _, *found = turned.step(action)
        assert found == expected


def test_a_maze_with_other_walls_has_no_d4rl_coordinates():
    maze = [[1, 1, 1, 1], [1, 0, 0, 1], [1, 1, 1, 1]]
    with pytest.raises(InputError, match="other walls than D4RL's mazes"):
        D4RLCoordinates(make("UMaze", maze_map=maze))


class Other(gym.Env):
    """An environment without a maze."""

    observation_space, action_space = Box(-1.0, 1.0, (4,)), Box(-1.0, 1.0, (2,))


def test_another_environment_has_no_d4rl_coordinates():
    with pytest.raises(InputError, match="Other is none"):
        D4RLCoordinates(Other())
