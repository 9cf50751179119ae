from dataclasses import replace

import numpy as np
import pytest

from dfplan.benchmarks.evaluation.graph_agent import GraphAgent
from dfplan.data.cost_to_go import CostToGo
from dfplan.ground.errors import InputError
from dfplan.task import Task

TASK = Task(2, 2, goal=(0, 1), position=(0, 1), step_length=(1.0, 1.0))


@pytest.fixture
def around_the_corner():
    """The graph of a way from (0, 0) to (30, 0) and on to (30, 30), walked twice in both directions."""
    way = np.array([[x + 0.5, 0.5] for x in range(31)] + [[30.5, y + 0.5] for y in range(1, 31)])
    ways = [way, way[::-1]] * 2
    return CostToGo.fit(np.concatenate(ways), np.arange(1, 4 * len(way) + 1) % len(way) == 0)


def test_it_follows_the_recorded_way_around_a_corner_and_stops_at_the_goal(around_the_corner):
    agent, position = GraphAgent(around_the_corner, TASK, steps=10), np.array([0.5, 0.5])
    agent.reset(goal=[30.0, 29.0])
    passed_corner = False
    for _ in range(80):
        action = agent.act(position)
        assert action.dtype == np.float32 and action.shape == (2,)
        position = position + action
        passed_corner |= bool(position[0] > 24 and position[1] < 8)
    assert passed_corner
    np.testing.assert_allclose(position, [30.0, 29.0], atol=1e-4)


def test_each_episode_of_a_batch_has_its_own_goal(around_the_corner):
    agent = GraphAgent(around_the_corner, TASK)
    agent.reset(goal=[[30.5, 0.5], [0.5, 0.5]])
    actions = agent.act(np.array([[15.5, 0.5], [15.5, 0.5]]))
    np.testing.assert_allclose(actions[:, 0], [1.0, -1.0])


def test_what_it_cannot_use_is_answered_in_a_sentence(around_the_corner):
    for graph, task in ((None, TASK), (around_the_corner, replace(TASK, step_length=(), position=()))):
        with pytest.raises(InputError, match="needs a checkpoint with a cost to go, and a task whose goal channels"):
            GraphAgent(graph, task)
    agent = GraphAgent(around_the_corner, TASK)
    with pytest.raises(InputError, match="the agent graph needs a goal"):
        agent.reset()
    agent.reset(goal=np.zeros((2, 2)))
    with pytest.raises(InputError, match="3 observations do not fit 2 goals"):
        agent.act(np.zeros((3, 2)))
