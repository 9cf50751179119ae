import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from small_worlds import BatchAgent, GoalLine, Line, SeededAgent

from dfplan.agents.random_agent import RandomAgent
from dfplan.benchmarks.evaluation.conditions import Conditions
from dfplan.benchmarks.evaluation.contenders import WaypointAgent
from dfplan.benchmarks.evaluation.episodes import evaluate as evaluate_under
from dfplan.benchmarks.evaluation.public import evaluate
from dfplan.ground.errors import InputError
from dfplan.task import Task


def test_an_id_a_function_an_environment_and_a_vector_environment_have_the_same_scores():
    vector = SyncVectorEnv([Line] * 3, autoreset_mode=AutoresetMode.SAME_STEP)
    results = [evaluate(SeededAgent(), env, episodes=5) for env in (Line, Line(), vector)]
    for name, scores in results[0].scores.items():
        for other in results[1:]:
            np.testing.assert_array_equal(other.scores[name], scores)
    assert results[0].scores["success"].all() and len(set(results[0].scores["length"])) > 1


def test_a_known_environment_is_found_by_its_id():
    result = evaluate(RandomAgent(Task(3, 1, (-2.0,), (2.0,))), "Pendulum-v1", episodes=2, max_steps=5)
    assert result.scores["length"].tolist() == [5, 5] and (result.scores["return"] < 0).all()


def test_a_maze_has_the_scores_that_the_command_gives_it():
    by_name = evaluate(WaypointAgent("umaze"), "maze2d-umaze", episodes=3)
    conditions = Conditions("maze2d-umaze-v1", episodes=3, seed=1000)
    by_command = evaluate_under(WaypointAgent("umaze"), conditions, timed=False)
    for name, scores in by_command.scores.items():
        np.testing.assert_array_equal(by_name.scores[name], scores)
    assert by_name.conditions == conditions


def test_the_summary_has_the_scores_that_exist_with_their_intervals():
    text = str(evaluate(SeededAgent(), lambda: Line(key=None), episodes=5))
    assert "Line, 5 episodes: return " in text and "[" in text and "length" in text
    assert "success" not in text and "normalized" not in text
    assert "success 1.00" in str(evaluate(SeededAgent(), Line, episodes=5))


def test_what_happens_after_the_end_of_an_episode_is_nan():
    result = evaluate(BatchAgent(2), GoalLine, episodes=3, max_steps=6)
    assert result.paths.shape == (3, 7, 2) and result.goals.shape == (3, 2) and result.rewards.shape == (3, 6)
    uneven = evaluate(BatchAgent(), Line, episodes=4)
    np.testing.assert_array_equal(np.isfinite(uneven.rewards).sum(axis=1), uneven.scores["length"])
    assert uneven.paths is None and uneven.goals is None


def test_an_agent_for_another_task_is_refused():
    agent = SeededAgent()
    agent.task = Task(4, 1, action_high=(2.0,))
    with pytest.raises(InputError, match=r"the agent has .* of sizes \(4, 1\), but Line has \(3, 1\)"):
        evaluate(agent, Line, episodes=2)


def test_the_task_of_an_agent_bounds_actions_and_episodes_where_the_environment_does_not():
    agent = SeededAgent(2)
    agent.task = Task(2, 2, max_episode_steps=5)
    assert evaluate(agent, GoalLine, episodes=2).scores["length"].tolist() == [5, 5]
    agent = SeededAgent()
    agent.task = Task(3, 1)
    assert evaluate(agent, lambda: Line(high=np.inf, low=-np.inf), episodes=2).scores["return"].shape == (2,)


def test_an_agent_needs_only_reset_and_act():
    class Minimal:
        def reset(self):
            pass

        def act(self, obs):
            return np.zeros((len(obs), 1))

    assert len(evaluate(Minimal(), Line, episodes=3).rewards) == 3


@pytest.mark.parametrize("wrong", [{"episodes": 0}, {"seed": -1}, {"max_steps": 0}, {"coordinates": "polar"}])
def test_impossible_arguments_are_one_sentence(wrong):
    with pytest.raises(InputError):
        evaluate(SeededAgent(), Line, **wrong)


@pytest.mark.parametrize("name", ["medium", "teleport"])
def test_episodes_of_ogbench_are_reproducible_whatever_runs_beside_them(name):
    pytest.importorskip("ogbench")
    agent = RandomAgent(Task(2, 2, goal=(0, 1)))
    env_id = f"ogbench:pointmaze-{name}-v0"
    one, other = (evaluate(agent, env_id, episodes=count, max_steps=40) for count in (1, 3))
    np.testing.assert_array_equal(one.paths[0], other.paths[0])
    np.testing.assert_array_equal(one.goals[0], other.goals[0])
    assert not np.array_equal(other.goals[0], other.goals[1]) and not other.scores["success"].all()


def test_d4rl_coordinates_turn_goals_and_bring_the_layout():
    pytest.importorskip("gymnasium_robotics")
    agent = RandomAgent()
    env_id = "gymnasium_robotics:PointMaze_UMaze-v3"
    turned = evaluate(agent, env_id, episodes=3, max_steps=30, coordinates="d4rl")
    assert turned.layout.name == "umaze" and turned.layout.is_free(turned.goals).all()
    own = evaluate(agent, env_id, episodes=3, max_steps=30)
    assert own.layout is None and not np.array_equal(own.paths, turned.paths)
    shifted = np.stack([-own.goals[:, 1], own.goals[:, 0]], axis=1) + 1.8
    np.testing.assert_allclose(turned.goals, shifted)


def test_an_agent_of_another_world_is_reported():
    agent = RandomAgent(Task(3, 1, (-2.0,), (2.0,)))
    agent.info = {"env_id": "MountainCarContinuous-v0"}
    with pytest.warns(UserWarning, match="was trained on MountainCarContinuous-v0, not on Pendulum-v1"):
        evaluate(agent, "Pendulum-v1", episodes=1, max_steps=2)


def test_an_agent_may_have_an_info_of_any_kind():
    agent = RandomAgent(Task(3, 1, (-2.0,), (2.0,)))
    agent.info = None
    assert evaluate(agent, "Pendulum-v1", episodes=1, max_steps=2).scores["length"].tolist() == [2]
