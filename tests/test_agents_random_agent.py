import numpy as np
import pytest

from dfplan.agents.random_agent import RandomAgent
from dfplan.ground.errors import InputError
from dfplan.spaces import Spaces


def test_actions_are_uniform_and_depend_on_the_episodes_own_seed():
    agent = RandomAgent()
    agent.reset(seed=[3, 4])
    together = np.stack([agent.act(np.zeros((2, 4))) for _ in range(500)], axis=1)
    agent.reset(seed=4)
    alone = np.stack([agent.act(np.zeros(4)) for _ in range(500)])
    np.testing.assert_array_equal(together[1], alone)
    assert np.abs(together).max() <= 1 and abs(together.mean()) < 0.1 and together.std() > 0.5


def test_one_seed_serves_a_whole_batch_with_different_actions():
    agent = RandomAgent()
    agent.reset(seed=np.int64(3))
    batch = agent.act(np.zeros((3, 4)))
    agent.reset(seed=[3, 4, 5])
    np.testing.assert_array_equal(batch, agent.act(np.zeros((3, 4))))
    assert batch.shape == (3, 2) and len(np.unique(batch)) == 6


def test_a_single_observation_has_a_single_action_and_a_batch_of_one_a_batch():
    agent = RandomAgent()
    assert agent.act(np.zeros(4)).shape == (2,) and agent.act(np.zeros((1, 4))).shape == (1, 2)


def test_a_batch_that_changes_without_reset_is_an_error():
    agent = RandomAgent()
    agent.act(np.zeros((2, 4)))
    with pytest.raises(InputError, match="2 to 3"):
        agent.act(np.zeros((3, 4)))


def test_seeds_may_be_overwritten_after_the_reset():
    agent, seeds = RandomAgent(), np.array([3, 4])
    agent.reset(seed=seeds)
    expected = agent.act(np.zeros((2, 4)))
    agent.reset(seed=seeds)
    seeds[:] = 9
    np.testing.assert_array_equal(agent.act(np.zeros((2, 4))), expected)


def test_a_refused_call_draws_no_action():
    agent = RandomAgent()
    agent.reset(seed=[3, 4])
    expected = [agent.act(np.zeros((2, 4))) for _ in range(2)]
    agent.reset(seed=[3, 4])
    for actions in expected:
        for wrong in (np.zeros((3, 4)), np.zeros(4), np.zeros((2, 3, 4))):
            with pytest.raises(InputError):
                agent.act(wrong)
        np.testing.assert_array_equal(agent.act(np.zeros((2, 4))), actions)


def test_the_bounds_may_be_those_of_spaces_and_must_be_finite():
    agent = RandomAgent(Spaces(3, 1, (-2.0,), (5.0,)))
    agent.reset(seed=0)
    assert agent.task is None and -2 <= agent.act(np.zeros(3))[0] <= 5
    with pytest.raises(InputError, match="random actions need finite bounds"):
        RandomAgent(Spaces(3, 1, (-2.0,), (np.inf,)))


def test_drawn_actions_lie_in_a_space_whose_bounds_float32_does_not_have():
    low, high = 0.1, np.nextafter(np.float32(0.1), np.float32(1)).astype(np.float64)  # two numbers of float32 at most
    agent = RandomAgent(Spaces(3, 1, (low,), (high,)))
    agent.reset(seed=0)
    actions = agent.act(np.zeros((50, 3))).astype(np.float64)
    assert ((low <= actions) & (actions <= high)).all()
