from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import TimeLimit
from small_worlds import GoalLine, Line

import dfplan  # noqa: F401 (registers the mazes)
from dfplan.benchmarks.evaluation.environments import find_env_id, find_maze, find_world, make_env, read_task_by_id
from dfplan.envs.layouts import LAYOUTS
from dfplan.envs.point_maze_vector import PointMazeVectorEnv
from dfplan.envs.scores import REFERENCE_SCORES
from dfplan.ground.errors import InputError
from dfplan.task import Task


@pytest.fixture
def line():
    """The id of an environment with a limit of 20 steps."""
    gym.register("Line-v0", "small_worlds:Line", max_episode_steps=20)
    yield "Line-v0"
    del gym.registry["Line-v0"]


@pytest.mark.parametrize(
    ("name", "env_id", "maze"),
    [
        ("maze2d-large", "maze2d-large-v1", "large"),
        ("large", "maze2d-large-v1", "large"),
        ("maze2d-large-v1", "maze2d-large-v1", "large"),
        ("maze2d-large-dense-v1", "maze2d-large-dense-v1", None),
        ("Pendulum-v1", "Pendulum-v1", None),
        ("module:Env-v0", "module:Env-v0", None),
    ],
)
def test_an_id_is_gymnasiums_but_mazes_have_short_names(name, env_id, maze):
    assert find_env_id(name) == env_id and find_maze(env_id) == maze


@pytest.mark.parametrize(
    ("env_id", "word"),
    [
        ("Pendulm-v1", "did you mean Pendulum-v1"),
        ("maze2d-lage", "maze2d-large-v1"),
        ("Nothing-like-this-v0", "module:Env-v0"),
        ("no_such_module:Env-v0", "'no_such_module'.*PYTHONPATH"),
        ("Pendulum-v0", "Pendulum-v1"),
        ("maze2d-v1", "layout"),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_environment_that_cannot_be_made_is_one_sentence(env_id, word):
    with pytest.raises(InputError, match=word) as raised:
        make_env(env_id)
    assert "\n" not in str(raised.value)


def test_a_maze_brings_its_vector_environment_its_layout_and_its_reference_scores():
    world = find_world("maze2d-umaze-v1")
    assert world.layout is LAYOUTS["umaze"] and world.reference == REFERENCE_SCORES["umaze"]
    assert world.num_steps == 300 and world.name == "maze2d-umaze-v1"
    with world.open(2) as env:
        assert isinstance(env.unwrapped, PointMazeVectorEnv) and env.num_envs == 2


def test_shorter_episodes_have_no_reference_scores():
    world = find_world("maze2d-umaze-v1", max_steps=50)
    assert world.reference is None and world.num_steps == 50
    with world.open(1) as env:
        env.reset(seed=[0])
        assert [env.step(np.zeros((1, 2)))[3][0] for _ in range(50)].index(True) == 49


def test_single_environments_are_joined_and_reset_by_the_caller(line):
    for source in (line, Line):
        with find_world(source).open(3) as env:
            assert isinstance(env, SyncVectorEnv) and env.num_envs == 3
            assert env.metadata["autoreset_mode"] == AutoresetMode.DISABLED


def test_a_vector_environment_that_takes_one_seed_only_is_not_used(line):
    def refuse(num_envs, **kwargs):
        raise TypeError("no seeds")

    gym.registry[line].vector_entry_point = refuse
    with find_world(line).open(2) as env:
        assert isinstance(env, SyncVectorEnv)


def test_the_length_of_episodes_is_the_registered_one_or_the_given_one(line):
    assert find_world(line).num_steps == 20
    assert find_world(line, max_steps=30).num_steps == 30
    assert find_world(Line).num_steps is None and find_world(Line, max_steps=5).num_steps == 5
    with find_world(line, max_steps=30).open(1) as env:
        assert env.envs[0].spec.max_episode_steps == 30


def test_an_environment_and_a_vector_environment_stay_open():
    closed = []
    single, vector = Line(), SyncVectorEnv([Line] * 2, autoreset_mode=AutoresetMode.DISABLED)
    single.close = vector.close = lambda: closed.append(True)
    for env, slots in ((single, 1), (vector, 2)):
        with find_world(env).open(9) as opened:
            assert opened.num_envs == slots
    assert not closed


def test_a_function_that_returns_the_same_environment_twice_is_refused():
    env = Line()
    with find_world(lambda: env).open(1) as opened:
        assert opened.num_envs == 1
    with pytest.raises(InputError, match="must return a new one at every call"), find_world(lambda: env).open(2):
        pass


def test_the_task_of_an_environment_is_read_by_its_id(line):
    task = Task(3, 1, (-1.0,), (2.0,), max_episode_steps=20)
    assert read_task_by_id(line) == task and read_task_by_id(line, goal=(1,)) == replace(task, goal=(1,))


def test_a_world_without_an_id_has_the_name_of_its_class():
    assert find_world(GoalLine).name == "GoalLine" == find_world(lambda: TimeLimit(GoalLine(), 3)).name


@pytest.mark.parametrize(
    ("env", "word"),
    [
        (3, "not 3"),
        (lambda: 3, "must return a gymnasium.Env, not 3"),
        ("CartPole-v1", "Discrete"),
    ],
)
def test_what_is_no_usable_environment_is_one_sentence(env, word):
    with pytest.raises(InputError, match=word):
        find_world(env)


@pytest.mark.parametrize(
    ("options", "word"),
    [({"max_steps": 0}, "at least 1 step"), ({"coordinates": "polar"}, "own"), ({"coordinates": "d4rl"}, "PointMaze")],
)
def test_impossible_options_are_one_sentence(options, word):
    with pytest.raises(InputError, match=word):
        find_world(Line, **options)


def test_a_vector_environment_keeps_its_coordinates():
    with pytest.raises(InputError, match="coordinates of a vector environment cannot be changed"):
        find_world(SyncVectorEnv([Line]), coordinates="d4rl")
