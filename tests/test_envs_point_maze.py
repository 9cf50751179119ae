import copy
import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import dfplan
from dfplan.envs.layouts import LAYOUTS
from dfplan.envs.point_maze import PointMazeEnv
from dfplan.ground.errors import InputError

IDS = [f"maze2d-{maze}{dense}-v1" for maze in LAYOUTS for dense in ("", "-dense")]


def large(**kwargs):
    env = gym.make("maze2d-large-v1", **kwargs)
    env.reset(seed=0)
    return env


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("env_id", IDS)
def test_every_registered_maze_passes_gymnasiums_checker_without_a_warning(env_id):
    check_env(gym.make(env_id, render_mode="rgb_array").unwrapped, skip_render_check=env_id != "maze2d-umaze-v1")


def test_importing_dfplan_registers_the_mazes_without_importing_heavy_modules():
    code = (
        "import sys, gymnasium, dfplan; assert 'maze2d-large-v1' in gymnasium.registry;"
        "print([m for m in ('torch', 'mujoco', 'h5py', 'scipy', 'PIL', 'matplotlib') if m in sys.modules])"
    )
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert outcome.stdout.strip() == "[]"


def test_the_registered_names_can_be_made_with_a_module_prefix():
    assert gym.make("dfplan:maze2d-umaze-v1").spec.max_episode_steps == 300
    assert dfplan.__version__


@pytest.mark.parametrize(("maze", "steps"), [("open", 150), ("umaze", 300), ("medium", 600), ("large", 800)])
def test_an_episode_is_truncated_and_never_terminated(maze, steps):
    env = gym.make(f"maze2d-{maze}-v1")
    env.reset(seed=0)
    outcomes = [env.step(np.zeros(2, np.float32))[2:4] for _ in range(steps)]
    assert outcomes == [(False, False)] * (steps - 1) + [(False, True)]


def test_starts_are_in_all_free_cells_and_the_goal_is_fixed():
    env = gym.make("maze2d-umaze-v1")
    starts = [env.reset(seed=seed) for seed in range(300)]
    observations = np.array([observation for observation, _ in starts])
    cells = np.rint(observations[:, :2])
    assert {tuple(cell) for cell in cells.astype(int)} == {tuple(cell) for cell in LAYOUTS["umaze"].free_cells}
    assert np.abs(observations[:, :2] - cells).max() <= 0.1
    assert 0.08 < observations[:, 2:].std() < 0.12
    assert all((info["goal"] == [1, 1]).all() for _, info in starts)


def test_the_same_seed_and_actions_give_the_same_episode():
    def episode():
        env = gym.make("maze2d-large-v1")
        first, _ = env.reset(seed=7)
        random = np.random.default_rng(0)
        return [first, *(env.step(random.uniform(-1, 1, 2))[0] for _ in range(50))]

    np.testing.assert_array_equal(episode(), episode())


def test_reward_and_success_belong_to_the_state_after_the_step():
    env = large()
    env.unwrapped.set_state((7.0, 8.47), (0.0, 5.0))  # 0.53 from the goal, 0.48 after one step
    _, reward, _, _, info = env.step(np.zeros(2, np.float32))
    assert reward == 1.0 and info["success"] is True
    env.unwrapped.set_state((7.0, 8.3), (0.0, 0.0))
    _, reward, _, _, info = env.step(np.zeros(2, np.float32))
    assert reward == 0.0 and info["success"] is False


def test_the_dense_reward_is_the_exponential_of_minus_the_distance():
    env = gym.make("maze2d-umaze-dense-v1")
    env.reset(seed=0)
    env.unwrapped.set_state((1.0, 3.0), (0.0, 0.0))
    assert env.step(np.zeros(2, np.float32))[1] == pytest.approx(np.exp(-2.0))


def test_location_and_goal_of_an_episode_can_be_given():
    env = large()
    observation, info = env.reset(seed=0, options={"location": (1, 2), "goal": [3.05, 1.0]})
    assert observation[:2].tolist() == [1.0, 2.0] and info["goal"].tolist() == [3.05, 1.0]
    _, info = env.reset()
    assert info["goal"].tolist() == [7.0, 9.0]


@pytest.mark.parametrize("kwargs", [{"goal": "random"}, {}])
def test_random_goals_are_near_free_cells(kwargs):
    env = large(**kwargs)
    options = None if kwargs else {"goal": "random"}
    goals = np.array([env.reset(seed=seed, options=options)[1]["goal"] for seed in range(50)])
    assert len(np.unique(np.rint(goals), axis=0)) > 20
    assert np.abs(goals - np.rint(goals)).max() <= 0.1
    assert LAYOUTS["large"].is_free(goals).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loction": (1, 1)}, "did you mean location"),
        ({"location": (0, 0)}, "is in a wall"),
        ({"goal": (99, 1)}, "outside the maze"),
        ({"goal": "rndom"}, "did you mean random"),
        ({"goal": (1, 2, 3)}, "shape"),
        ({"location": (1, float("nan"))}, "must have finite numbers"),
        ({"location": "here"}, "must be an array of numbers"),
    ],
)
def test_a_wrong_reset_option_is_an_input_error(options, message):
    with pytest.raises(InputError, match=message):
        large().reset(options=options)


@pytest.mark.parametrize("kwargs", [{"layout": "lage"}, {"reward": "dens"}, {"goal": (0, 0)}, {"render_mode": "ansi"}])
def test_wrong_arguments_are_input_errors(kwargs):
    with pytest.raises(InputError):
        PointMazeEnv(**{"layout": "umaze", **kwargs})


@pytest.mark.parametrize("action", [np.full(2, np.nan), np.zeros(3), "up"])
def test_an_action_must_be_two_finite_numbers(action):
    with pytest.raises(InputError, match="action"):
        large().unwrapped.step(action)


def test_a_step_before_the_first_reset_is_an_error():
    with pytest.raises(gym.error.ResetNeeded):
        gym.make("maze2d-umaze-v1").unwrapped.step(np.zeros(2))


def test_a_users_own_maze_is_made_from_text():
    env = gym.make("maze2d-v1", layout="######\n#OOOG#\n######", max_episode_steps=20)
    _, info = env.reset(seed=0)
    assert info["goal"].tolist() == [1.0, 4.0] and env.spec.max_episode_steps == 20
    with pytest.raises(InputError, match="reference scores"):
        env.unwrapped.get_normalized_score(1.0)


def test_scores_and_data_follow_d4rls_interface(tmp_path, monkeypatch):
    monkeypatch.setenv("DFPLAN_CACHE", str(tmp_path))
    env = gym.make("maze2d-umaze-v1").unwrapped
    assert (env.ref_min_score, env.ref_max_score) == (23.85, 161.86)
    assert env.get_normalized_score(161.86) == pytest.approx(1.0)
    assert env.get_dataset(rows=40)["observations"].shape == (40, 4)
    dense = gym.make("maze2d-umaze-dense-v1").unwrapped.get_dataset(rows=40)
    distance = np.linalg.norm(dense["observations"][:, :2] - 1, axis=1)
    np.testing.assert_allclose(dense["rewards"], np.exp(-distance), rtol=1e-6)


def test_an_environment_can_be_copied_in_mid_episode():
    env = large()
    twin = copy.deepcopy(env)
    action = np.array([0.5, -1.0], np.float32)
    assert (env.step(action)[0] == twin.step(action)[0]).all()


def test_a_picture_shows_the_path_since_the_reset():
    env = large(render_mode="rgb_array")
    before = env.render()
    for _ in range(10):
        env.step(np.ones(2, np.float32))
    after = env.render()
    assert before.shape == after.shape and before.dtype == np.uint8
    assert (before != after).any()
