import pytest
import torch

from dfplan import guidance
from dfplan.tokens import Trajectories


def plan(positions, rewards=None):
    observations = torch.nn.functional.pad(torch.tensor(positions), (0, 2))
    rewards = torch.zeros(observations.shape[:2]) if rewards is None else torch.tensor(rewards)
    return Trajectories(observations, torch.zeros(*observations.shape[:2], 2), rewards)


TWO_STEPS = [[[3.0, 4.0], [0.0, 1.0]]]  # distances 5 and 1 from the origin
ORIGIN = torch.zeros(1, 2)


def test_goal_distance_sums_the_distances_of_all_steps_per_token():
    score = guidance.goal_distance(ORIGIN, frame_stack=2)(plan(TWO_STEPS))
    assert score.tolist() == pytest.approx([-3.0])


def test_the_squashed_distance_is_the_distance_near_the_goal_and_two_far_away():
    near, far = (guidance.squashed_goal_distance(ORIGIN, 1)(plan([[[x, 0.0]]])) for x in (0.01, 100.0))
    assert near.item() == pytest.approx(-0.01, abs=1e-3) and far.item() == pytest.approx(-2.0)


def test_predicted_return_discounts_by_the_step():
    score = guidance.predicted_return(frame_stack=1, discount=0.5)(plan(TWO_STEPS, rewards=[[1.0, 1.0]]))
    assert score.tolist() == [1.5]


def test_keep_out_charges_the_depth_inside_the_disc_only():
    score = guidance.keep_out(torch.tensor([3.0, 4.0]), radius=2.0, frame_stack=1)
    assert score(plan(TWO_STEPS)).item() == pytest.approx(-1.0, abs=1e-3)
    assert score(plan([[[3.0, 5.0], [9.0, 9.0]]])).item() == pytest.approx(-0.5, abs=1e-3)


def test_guides_add_up_with_their_weights():
    near, gain = guidance.goal_distance(ORIGIN, 1), guidance.predicted_return(1)
    both = guidance.weighted_sum([near, gain], [1.0, 10.0])
    assert both(plan(TWO_STEPS, rewards=[[0.0, 1.0]])).item() == pytest.approx(-6 + 10)
    with pytest.raises(ValueError, match="2 guides need as many weights, not 1"):
        guidance.weighted_sum([near, gain], [1.0])


def test_each_plan_has_a_score_of_its_own():
    positions = torch.randn(5, 3, 2)
    goals = torch.randn(5, 2)
    together = guidance.goal_distance(goals, 1)(plan(positions.tolist()))
    alone = guidance.goal_distance(goals[3:4], 1)(plan(positions[3:4].tolist()))
    torch.testing.assert_close(together[3:4], alone)


def test_the_gradient_is_finite_at_the_goal_itself():
    observations = torch.zeros(1, 1, 4, requires_grad=True)
    guidance.goal_distance(ORIGIN, 1)(
        Trajectories(observations, torch.zeros(1, 1, 2), torch.zeros(1, 1))
    ).sum().backward()
    assert observations.grad.tolist() == [[[0.0] * 4]]
