import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import TimeLimit
from small_worlds import BatchAgent, GoalLine, Line, SeededAgent

from dfplan.benchmarks.evaluation import slots
from dfplan.benchmarks.evaluation.environments import find_world
from dfplan.benchmarks.evaluation.slots import find_goals, find_plane, run_episodes
from dfplan.ground.errors import InputError
from dfplan.task import Task

SEEDS = [(number, 100 + number) for number in range(7)]


def assert_equal(some, others):
    assert len(some) == len(others)
    for one, other in zip(some, others, strict=True):
        np.testing.assert_array_equal(one.rewards, other.rewards)
        np.testing.assert_array_equal(one.successes, other.successes)


def run_by_hand(env, agent, env_seed, agent_seed):
    """The rewards of one episode, without any vector environment."""
    observation, _ = env.reset(seed=env_seed)
    agent.reset(seed=[agent_seed])
    rewards, over = [], False
    while not over:
        observation, reward, over, _, _ = env.step(agent.act(observation[None])[0])
        rewards.append(reward)
    return rewards


def test_an_episode_is_the_one_that_gymnasiums_own_loop_makes():
    episodes = run_episodes(SeededAgent(), find_world(Line), SEEDS, side_by_side=3)
    for episode, seeds in zip(episodes, SEEDS, strict=True):
        assert episode.rewards.tolist() == run_by_hand(Line(), SeededAgent(), *seeds)
    assert len({len(episode.rewards) for episode in episodes}) > 1


@pytest.mark.parametrize("agent", [SeededAgent, BatchAgent])
@pytest.mark.parametrize("side_by_side", [1, 2, 7, 50])
def test_an_episode_does_not_depend_on_its_slot_or_batch(agent, side_by_side):
    expected = run_episodes(SeededAgent(), find_world(Line), SEEDS, side_by_side=3)
    assert_equal(run_episodes(agent(), find_world(Line), SEEDS, side_by_side), expected)


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize("slots", [1, 3, 10])
def test_a_vector_environment_of_any_reset_mode_has_the_same_episodes(mode, slots):
    expected = run_episodes(SeededAgent(), find_world(Line), SEEDS, side_by_side=3)
    env = SyncVectorEnv([Line] * slots, autoreset_mode=mode)
    assert_equal(run_episodes(SeededAgent(), find_world(env), SEEDS, side_by_side=50), expected)


def test_an_asynchronous_vector_environment_has_the_same_episodes():
    env = AsyncVectorEnv([Line] * 2, autoreset_mode=AutoresetMode.DISABLED)
    try:
        found = run_episodes(SeededAgent(), find_world(env), SEEDS, side_by_side=50)
    finally:
        env.close()
    assert_equal(found, run_episodes(SeededAgent(), find_world(Line), SEEDS, side_by_side=3))


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_the_last_position_of_a_path_is_that_of_its_own_episode(mode):
    env = SyncVectorEnv([Line] * 2, autoreset_mode=mode)
    agent = SeededAgent()
    agent.task = Task(3, 1, action_high=(2.0,), goal=(0, 1))
    for episode in run_episodes(agent, find_world(env), SEEDS, side_by_side=2):
        np.testing.assert_array_equal(episode.path[1:, 0], episode.rewards)


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_the_last_position_is_found_in_dictionaries_too(mode):
    env = SyncVectorEnv([lambda: TimeLimit(GoalLine(), 4)] * 2, autoreset_mode=mode)
    for episode in run_episodes(SeededAgent(2), find_world(env), SEEDS[:3], side_by_side=2):
        assert episode.path.shape == (5, 2) and (np.abs(np.diff(episode.path, axis=0)) <= 0.1 + 1e-6).all()


def test_an_agent_that_renews_episodes_is_reset_in_the_slots_whose_episode_has_ended():
    agent = SeededAgent()
    run_episodes(agent, find_world(Line), SEEDS, side_by_side=3)
    first, *later = agent.resets
    assert first["episodes"] is None and first["seed"] == [100, 101, 102]
    assert [seed for reset in later for seed in reset["seed"]] == [103, 104, 105, 106]
    assert all(len(reset["episodes"]) == len(reset["seed"]) for reset in later)


def test_an_agent_that_does_not_renew_episodes_runs_batch_by_batch():
    agent = BatchAgent()
    run_episodes(agent, find_world(Line), SEEDS, side_by_side=3)
    assert [reset["seed"] for reset in agent.resets] == [[100, 101, 102], [103, 104, 105], [106]]


def test_an_agent_may_say_that_it_cannot_renew_episodes_now():
    agent = SeededAgent()
    agent.renews_episodes = False
    run_episodes(agent, find_world(Line), SEEDS, side_by_side=3)
    assert len(agent.resets) == 3


def test_the_goal_is_the_desired_goal_of_a_dictionary():
    agent = SeededAgent(2)
    (episode,) = run_episodes(agent, find_world(GoalLine, max_steps=4), SEEDS[:1], side_by_side=1)
    expected = GoalLine().reset(seed=0)[0]["desired_goal"]
    np.testing.assert_array_equal(agent.resets[0]["goal"], expected[None])
    np.testing.assert_array_equal(episode.goal, expected)
    assert agent.resets[0]["num_steps"] == 4 and episode.path.shape == (5, 2)


def test_the_goal_of_infos_may_be_a_whole_observation():
    found = find_goals(np.zeros((1, 3)), {"goal": np.array([[1.0, 2.0, 3.0]])}, Task(3, 1, goal=(2, 0)))
    np.testing.assert_array_equal(found, [[3.0, 1.0]])


def test_an_agent_without_goals_gets_none():
    assert find_goals(np.zeros((1, 3)), {"goal": np.ones((1, 3))}, Task(3, 1)) is None
    assert find_goals(np.zeros((1, 3)), {}, None) is None


@pytest.mark.parametrize(
    ("task", "plane"),
    [
        (Task(4, 2, position=(1, 0), velocity=(2, 3)), [1, 0]),
        (Task(4, 1, goal=(3, 1)), [3, 1]),
        (Task(4, 1, goal=(3,)), None),
        (Task(3, 3), None),
    ],
)
def test_positions_lie_in_a_plane_if_two_channels_say_where(task, plane):
    assert find_plane(task) == plane


def test_successes_are_told_by_either_key_and_unknown_without_one():
    for key, expected in (("success", 1.0), ("is_success", 1.0), (None, np.nan)):
        (episode,) = run_episodes(SeededAgent(), find_world(lambda key=key: Line(key=key)), SEEDS[:1], 1)
        np.testing.assert_array_equal(episode.successes[-1], expected)


def test_episodes_are_cut_at_the_given_length():
    whole = [len(one.rewards) for one in run_episodes(SeededAgent(), find_world(Line), SEEDS, side_by_side=2)]
    cut = run_episodes(SeededAgent(), find_world(Line, max_steps=6), SEEDS, side_by_side=2)
    assert [len(one.rewards) for one in cut] == [min(length, 6) for length in whole] != whole


def test_an_episode_that_does_not_end_is_an_error_that_asks_for_its_length(monkeypatch):
    monkeypatch.setattr(slots, "MOST_STEPS", 20)
    with pytest.raises(InputError, match=r"GoalLine has not ended after 20 steps.*--max-steps"):
        run_episodes(SeededAgent(2), find_world(GoalLine), SEEDS, side_by_side=2)


def test_progress_counts_all_steps_of_the_longest_episodes():
    steps = []
    run_episodes(SeededAgent(), find_world(Line, max_steps=20), SEEDS, 3, steps.append)
    assert sum(steps) == 20 * len(SEEDS)


class Broken(Line):
    """An environment with a reward that is not a number."""

    def step(self, action):
        return (*super().step(action)[:1], float("nan"), False, False, {})


def test_a_reward_that_is_not_finite_is_an_error():
    with pytest.raises(InputError, match="reward of Broken"):
        run_episodes(SeededAgent(), find_world(Broken), SEEDS, side_by_side=2)


@pytest.mark.parametrize(("actions", "word"), [(np.zeros((2, 3)), "shape"), (np.full((2, 1), np.nan), "finite")])
def test_actions_that_do_not_fit_are_an_error(actions, word):
    agent = SeededAgent()
    agent.act = lambda obs: actions
    with pytest.raises(InputError, match=word):
        run_episodes(agent, find_world(Line), SEEDS[:2], side_by_side=2)


class OneSeed(SyncVectorEnv):
    """A vector environment that takes one seed for all slots."""

    def reset(self, *, seed=None, options=None):
        return super().reset(seed=int(seed), options=options)


def test_a_vector_environment_that_cannot_seed_its_slots_is_an_error():
    env = OneSeed([Line] * 2, autoreset_mode=AutoresetMode.NEXT_STEP)
    with pytest.raises(InputError, match="cannot seed its episodes"):
        run_episodes(SeededAgent(), find_world(env), SEEDS, side_by_side=2)


def test_goals_that_are_no_numbers_are_none():
    assert find_goals(np.zeros((2, 3)), {"goal": np.array(["left", "right"])}, None) is None
