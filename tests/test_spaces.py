import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import SyncVectorEnv
from gymnasium.wrappers import ClipAction, OrderEnforcing, TransformAction

from dfplan.ground.errors import InputError
from dfplan.spaces import Spaces, read_task
from dfplan.task import MAZE, Task


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


class GoalWorld(World):
    """Its observations and achieved goals are what a function makes of three random numbers."""

    def __init__(self, observe, sizes, achieves=True):
        spaces_of = {name: box(size, -np.inf, np.inf) for name, size in sizes.items()}
        super().__init__(spaces.Dict(spaces_of), box(1))
        self.observe, self.achieves = observe, achieves

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        observation, achieved = self.observe(self.np_random.normal(size=3).astype(np.float32))
        told = {"observation": observation, "desired_goal": np.zeros(len(achieved), np.float32)}
        return told | ({"achieved_goal": achieved} if self.achieves else {}), {}

    def step(self, action):
        return self.reset()[0], 0.0, False, False, {}


SIZES = {"observation": 3, "desired_goal": 2, "achieved_goal": 2}


def test_the_goal_channels_of_a_goal_environment_are_those_that_equal_what_is_achieved():
    assert read_task(GoalWorld(lambda x: (x, x[1:]), SIZES)).goal == (1, 2)
    assert read_task(GoalWorld(lambda x: (x, x[[2, 0]]), SIZES), goal=(2, 0)).goal == (2, 0)
    joined = SyncVectorEnv([lambda: GoalWorld(lambda x: (x, x[:2]), SIZES)] * 2)
    assert read_task(joined).goal == (0, 1)
    assert read_task(World(spaces.Dict({"observation": box(4)}), box(2))).goal == ()


@pytest.mark.parametrize(
    "world",
    [
        GoalWorld(lambda x: (x, x[:2] + 1), SIZES),
        GoalWorld(lambda x: (x[:2], x), SIZES | {"observation": 2, "desired_goal": 3, "achieved_goal": 3}),
        GoalWorld(lambda x: (x, x[:2]), {"observation": 3, "desired_goal": 2}, achieves=False),
    ],
)
def test_goal_channels_that_cannot_be_found_must_be_named(world):
    with pytest.raises(InputError, match=r"name them, such as goal=\(0, 1\) or --goal 0,1, or plan without a goal"):
        read_task(world)
    assert read_task(world, goal=()).goal == ()


def test_the_bounds_at_which_a_wrapper_clips_are_those_of_the_actions():
    world = ClipAction(World(box(3), box(2, -2.0, 3.0)))
    assert np.isinf(world.action_space.high).all()
    assert read_task(OrderEnforcing(world)).action_high == (3.0, 3.0)


@pytest.mark.parametrize(
    ("observations", "actions", "message"),
    [
        (box(3), spaces.Discrete(4), "the action space Discrete"),
        (box(3), spaces.MultiBinary(4), "the action space MultiBinary"),
        (spaces.Box(0, 255, (8, 8, 3), np.uint8), box(1), "the observation space Box"),
        (spaces.Discrete(5), box(1), "the observation space Discrete"),
        (spaces.Dict({"observation": spaces.Dict({"deep": box(1)})}), box(1), "the observation space Dict"),
        (spaces.Dict({"camera": box(2)}), box(1), "a dictionary needs 'observation'"),
        (box(3), box(2, -np.inf, np.inf), r"finite bounds.* --set task.action_low=\[-1\]"),
        (box(3), spaces.Box(0, 3, (2,), np.int64), "has whole numbers"),
        (spaces.Box(-1, 1, ()), box(1), "the observation space Box"),
    ],
)
def test_what_is_not_supported_is_said_in_one_sentence(observations, actions, message):
    with pytest.raises(InputError, match=message) as error:
        read_task(World(observations, actions))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (Task(4, 1, (-2.0,), (2.0,)), r"mine has .* of sizes \(4, 1\), but here has \(3, 1\)"),
        (Task(3, 2), r"mine has observations and actions of sizes \(3, 2\), but here has \(3, 1\)"),
        (Task(3, 1, (-2.0,), (2.0,), goal=(0, 1)), r"actions and goals of sizes \(3, 1, 2\), but here has \(3, 1, 1\)"),
        (Task(3, 1, (-1.0,), (2.0,)), r"mine has actions from \[-1.0\] to \[2.0\], but here has .*\[-2.0\] to \[2.0\]"),
    ],
)
def test_a_task_of_other_sizes_or_bounds_does_not_fit_an_environment(task, message):
    found = Spaces(3, 1, (-2.0,), (2.0,), goal_dim=1)
    found.check(Task(3, 1, (-2.0,), (2.0,)), "mine", "here")
    with pytest.raises(InputError, match=message):
        found.check(task, "mine", "here")


def test_a_task_may_bound_actions_that_the_environment_does_not():
    found = Spaces(3, 2, (-np.inf, -1.0), (np.inf, 1.0))
    found.check(Task(3, 2, (-5.0, -1.0), (5.0, 1.0)), "mine", "here")
    with pytest.raises(InputError, match="mine has actions from"):
        found.check(Task(3, 2, (-5.0, -2.0), (5.0, 1.0)), "mine", "here")


def test_an_unknown_fact_is_refused_with_a_similar_one():
    with pytest.raises(InputError, match="goal"):
        read_task(gym.make("Pendulum-v1"), goals=(0,))


def test_several_channels_that_may_be_the_goal_must_be_chosen_from():
    twice = GoalWorld(lambda x: (np.tile(x, 2), x[:2]), SIZES | {"observation": 6})
    with pytest.raises(InputError, match=r"may be \(0, 1\) or \(3, 4\), which were equal .* name them"):
        read_task(twice)
    constant = GoalWorld(lambda x: (x * 0, x[:2] * 0), SIZES)
    with pytest.raises(InputError, match=r"may be \(0, 1\) or \(1, 2\)"):
        read_task(constant)
    resting = GoalWorld(lambda x: (x * 0 + [0, 1, 2], x[:2] * 0 + [0, 1]), SIZES)
    with pytest.raises(InputError, match=r"has not changed in a few steps, so that the goal channels \(0, 1\) are a"):
        read_task(resting)


def test_large_numbers_that_are_nearly_equal_are_different():
    with pytest.raises(InputError, match="no observation channels that are equal"):
        read_task(GoalWorld(lambda x: (x.astype(float) + 1e4, x[:2].astype(float) + 1e4 + 0.01), SIZES))


def test_a_wrapper_around_the_one_that_clips_has_its_own_bounds():
    clipping = ClipAction(World(box(3), box(2, -2.0, 3.0)))
    scaled = TransformAction(clipping, lambda action: 5 * action, box(2))
    assert read_task(scaled).action_high == (1.0, 1.0)
    unscaled = TransformAction(clipping, lambda action: 5 * action, None)
    with pytest.raises(InputError, match="actions need finite bounds"):
        read_task(unscaled)


@pytest.mark.parametrize("envs", [[], {"a": 1}, ["push", "reach"]])
def test_an_attribute_envs_of_a_single_environment_plays_no_part(envs):
    world = World(box(3), box(1))
    world.envs = envs
    assert read_task(world) == Task(3, 1, (-1.0,), (1.0,))


def test_an_environment_that_fails_is_answered_in_a_sentence():
    def fail(numbers):
        raise RuntimeError("no power.")

    with pytest.raises(InputError, match="GoalWorld cannot be reset and make a step: no power"):
        read_task(GoalWorld(fail, SIZES))


@pytest.mark.parametrize("high", [np.inf, 3e38])
def test_goal_channels_are_found_with_large_and_half_infinite_bounds(high):
    world = GoalWorld(lambda x: (x, x[:2]), SIZES)
    world.action_space = box(1, 5.0, high)
    assert read_task(world, action_high=(7.0,) if high == np.inf else (high,)).goal == (0, 1)


def test_what_an_environment_says_of_its_task_must_be_a_task_and_true():
    world = World(box(3), box(1))
    world.dfplan_task = Task(3, 1, goal=(2,))
    assert read_task(world).goal == (2,)
    assert read_task(SyncVectorEnv([lambda: world])).goal == (2,)
    world.dfplan_task = Task(4, 1)
    with pytest.raises(InputError, match=r"the task has .* \(4, 1\), but World has \(3, 1\)"):
        read_task(world)
    world.dfplan_task = {"goal": (2,)}
    with pytest.raises(InputError, match=r"dfplan_task of World must be a dfplan\.Task, not"):
        read_task(world)


def test_facts_given_by_hand_must_fit_the_environment():
    for facts in ({"observation_dim": 7}, {"action_low": (-5.0,)}):
        with pytest.raises(InputError, match=r"the task has .*, but Pendulum-v1 has"):
            read_task(gym.make("Pendulum-v1"), **facts)


def test_goal_channels_that_are_not_what_is_achieved_are_reported():
    world = GoalWorld(lambda x: (x, x[:2] + 1), SIZES)
    with pytest.warns(UserWarning, match=r"the goal channels \(0, 1\) differ from achieved_goal by up to 1, so plans"):
        assert read_task(world, goal=(0, 1)).goal == (0, 1)
