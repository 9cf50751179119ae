import numpy as np

from dfplan.agents.plans import Plan


def plan():
    """Two plans of four steps, the second one 10 to the right."""
    observations = np.zeros((2, 4, 4))
    observations[1, :, 0] = 10
    levels = np.zeros(4, int)
    return Plan(observations, np.zeros((2, 4, 2)), np.zeros((2, 4)), levels, np.zeros((2, 4)), [(observations, levels)])


def test_the_first_plan_of_a_batch_has_no_batch_axis():
    first = plan().first()
    assert first.observations.shape == (4, 4) and first.start.shape == (4,) and first.levels.shape == (4,)
    assert first.rows[0][0].shape == (4, 4)


def test_some_plans_of_a_batch_are_a_batch():
    for some in (np.array([1]), np.array([False, True])):
        second = plan().select(some)
        assert second.observations.shape == (1, 4, 4) and (second.observations[..., 0] == 10).all()
        assert second.actions.shape == (1, 4, 2) and second.rewards.shape == (1, 4) and second.start.shape == (1, 4)
        assert (second.rows[0][0][..., 0] == 10).all()
