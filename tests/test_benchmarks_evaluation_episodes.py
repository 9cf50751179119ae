import gymnasium as gym
import numpy as np
import pytest
from small_worlds import Line

from dfplan.agents.random_agent import RandomAgent
from dfplan.benchmarks.evaluation import episodes
from dfplan.benchmarks.evaluation.contenders import WaypointAgent
from dfplan.benchmarks.evaluation.episodes import Conditions, draw_episode_seeds, evaluate, measure_latency
from dfplan.benchmarks.evaluation.estimates import estimate_by_task
from dfplan.benchmarks.reporting.outputs import collect_results
from dfplan.benchmarks.reporting.report import format_report, format_table
from dfplan.envs.scores import REFERENCE_SCORES
from dfplan.ground.processes import Processes
from dfplan.task import Task

UMAZE = "maze2d-umaze-v1"


class SeededAgent:
    """Draws its actions from the episode's own seed; "plans" every 100 steps."""

    def reset(self, goal=None, seed=None, num_steps=None):
        self.goal, self.seed, self.num_steps, self.plan_seconds, self.acts = goal, seed, num_steps, [], 0
        self.generators = [np.random.default_rng(number) for number in seed]

    def act(self, obs):
        if self.acts % 100 == 0:
            self.plan_seconds.append(0.25)
        self.acts += 1
        return np.stack([generator.uniform(-1, 1, 2) for generator in self.generators]).astype(np.float32)


@pytest.fixture
def untimed(monkeypatch):
    """Limit the measurement of latency to one decision."""
    monkeypatch.setattr(episodes, "LATENCY_SECONDS", 1e-9)


@pytest.mark.usefixtures("untimed")
def test_an_episode_does_not_depend_on_how_many_run_side_by_side():
    together = evaluate(SeededAgent(), Conditions(UMAZE, episodes=2, seed=5, side_by_side=2))
    in_parts = evaluate(SeededAgent(), Conditions(UMAZE, episodes=2, seed=5, side_by_side=1))
    np.testing.assert_array_equal(together.paths, in_parts.paths)
    np.testing.assert_array_equal(together.rewards, in_parts.rewards)


@pytest.mark.usefixtures("untimed")
def test_more_episodes_begin_with_the_same_ones():
    few, many = (evaluate(SeededAgent(), Conditions(UMAZE, episodes=episodes)) for episodes in (1, 2))
    np.testing.assert_array_equal(few.paths[0], many.paths[0])
    assert not np.array_equal(many.paths[0], many.paths[1])


@pytest.mark.usefixtures("untimed")
def test_paths_hold_the_start_and_the_state_after_every_step():
    result = evaluate(SeededAgent(), Conditions(UMAZE, episodes=2))
    assert result.paths.shape == (2, 301, 2) and result.rewards.shape == (2, 300)
    at_goal = np.linalg.norm(result.paths[:, 1:] - result.goals[:, None], axis=-1) <= 0.5
    np.testing.assert_array_equal(result.rewards, at_goal)
    assert (np.abs(np.diff(result.paths, axis=1)).max(axis=(1, 2)) < 0.06).all()  # no jump, not even to a next episode


def test_the_agent_gets_goals_seeds_and_the_episode_length():
    agent = SeededAgent()
    result = evaluate(agent, Conditions(UMAZE, episodes=1, seed=3))
    np.testing.assert_array_equal(result.goals, [[1.0, 1.0]])
    assert agent.seed == [draw_episode_seeds(3, 0)[1]] and agent.num_steps == 300


@pytest.mark.usefixtures("untimed")
def test_random_goals_differ_between_episodes():
    goals = evaluate(SeededAgent(), Conditions(UMAZE, episodes=6, goal="random")).goals
    assert len(np.unique(goals.round(), axis=0)) > 1


def test_latency_is_measured_for_single_calls_and_separately_for_plans():
    plan_seconds, act_seconds = measure_latency(SeededAgent(), Conditions(UMAZE))
    assert plan_seconds.tolist() == [0.25] * 3 and len(act_seconds) == 300


@pytest.mark.usefixtures("untimed")
def test_a_slow_agent_is_timed_on_fewer_decisions():
    assert len(measure_latency(SeededAgent(), Conditions(UMAZE))[1]) == 1


@pytest.mark.usefixtures("untimed")
def test_the_demonstration_controller_reaches_every_goal():
    result = evaluate(WaypointAgent("umaze"), Conditions(UMAZE, episodes=20))
    assert result.scores["success"].all() and 110 < result.scores["normalized"].mean() < 175
    assert len(result.plan_seconds) == 0


@pytest.mark.usefixtures("untimed")
def test_a_maze_without_reference_scores_is_evaluated_and_reported_without_normalized_scores(monkeypatch):
    monkeypatch.delitem(REFERENCE_SCORES, "open")
    evaluations = {"waypoint": evaluate(WaypointAgent("open"), Conditions("maze2d-open-v1", episodes=2, seeds=2))}
    agent = collect_results(evaluations, {"waypoint": {}})["agents"]["waypoint"]
    assert agent["normalized"]["mean"] is None and agent["normalized"]["by_seed"]["0"]["mean"] is None
    assert agent["success"]["mean"] == 1 and agent["return"]["mean"] > 0
    titles = format_table(evaluations, {"waypoint": {}}).splitlines()[0].split()
    assert "return" in titles and "success" in titles and "normalized" not in titles
    assert "No scores were published for this maze." in format_report(evaluations, {"waypoint": {}}, "dfplan-bench")


class OneOfTwo(Processes):
    """One of two processes, which gets the results of the other one."""

    def gather(self, value):
        if value is not None:
            OneOfTwo.parts[self.rank] = value
        return list(OneOfTwo.parts)


@pytest.mark.usefixtures("untimed")
def test_processes_share_the_episodes_and_the_first_alone_is_timed():
    conditions = Conditions(UMAZE, episodes=3, seeds=1, side_by_side=2)
    whole = evaluate(SeededAgent(), conditions)
    OneOfTwo.parts = [[], []]
    alone = [evaluate(SeededAgent(), conditions, processes=OneOfTwo(rank, 2)) for rank in (1, 0)]
    np.testing.assert_array_equal(alone[1].paths, whole.paths)
    np.testing.assert_array_equal(alone[0].paths, whole.paths[1:])
    assert len(alone[0].act_seconds) == 0 and len(alone[1].act_seconds) == 1


class TaskLine(Line):
    """Succeeds in its task 2 only."""

    def reset(self, *, seed=None, options=None):
        observation, info = super().reset(seed=seed, options=options)
        self.task = options["task_id"]
        return observation, info

    def _make_info(self, success):
        return {"success": success and self.task == 2}


@pytest.mark.usefixtures("untimed")
def test_every_task_is_evaluated_and_reported_by_itself():
    gym.register("TaskLine-v0", TaskLine, max_episode_steps=20)
    try:
        conditions = Conditions("TaskLine-v0", episodes=3, goal=None, tasks=(1, 2), side_by_side=2)
        evaluation = evaluate(RandomAgent(Task(3, 1, (-1.0,), (2.0,))), conditions)
    finally:
        del gym.registry["TaskLine-v0"]
    assert evaluation.scores["success"].tolist() == [0, 0, 0, 1, 1, 1]
    assert [one.value for one in estimate_by_task(evaluation).values()] == [0, 1]
    results = collect_results({"random": evaluation}, {"random": {}})
    assert results["tasks"] == [1, 2] and results["agents"]["random"]["success"]["by_task"]["2"]["mean"] == 1
    report = format_report({"random": evaluation}, {"random": {}}, "dfplan-bench")
    assert "3 episodes of each of 2 tasks" in report and "| agent, success | task 1 | task 2 |" in report
