import numpy as np

from dfplan.agents import RandomAgent


def test_actions_are_uniform_and_depend_on_the_episodes_own_seed():
    agent = RandomAgent()
    agent.reset(seed=[3, 4])
    together = np.stack([agent.act(np.zeros((2, 4))) for _ in range(500)], axis=1)
    agent.reset(seed=4)
    alone = np.stack([agent.act(np.zeros(4)) for _ in range(500)])
    np.testing.assert_array_equal(together[1], alone)
    assert np.abs(together).max() <= 1 and abs(together.mean()) < 0.1 and together.std() > 0.5
