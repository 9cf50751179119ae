import numpy as np
import pytest
import torch

from dfplan.data.cost_to_go import CostToGo
from dfplan.data.trajectories import Trajectories
from dfplan.data.value import Value
from dfplan.ground.errors import InputError
from dfplan.sampling import guides
from dfplan.sampling.guides import HOLD_REACH


def plan(positions, rewards=None):
    observations = torch.nn.functional.pad(torch.tensor(positions), (0, 2))
    rewards = torch.zeros(observations.shape[:2]) if rewards is None else torch.tensor(rewards)
    return Trajectories(observations, torch.zeros(*observations.shape[:2], 2), rewards)


TWO_STEPS = [[[3.0, 4.0], [0.0, 1.0]]]  # distances 5 and 1 from the origin
ORIGIN = torch.zeros(1, 2)


def test_goal_distance_sums_the_distances_of_all_steps():
    score = guides.goal_distance(ORIGIN)(plan(TWO_STEPS))
    assert score.tolist() == pytest.approx([-6.0])


def test_the_squashed_distance_is_the_distance_near_the_goal_and_two_far_away():
    near, far = (guides.squashed_goal_distance(ORIGIN)(plan([[[x, 0.0]]])) for x in (0.01, 100.0))
    assert near.item() == pytest.approx(-0.01, abs=1e-3) and far.item() == pytest.approx(-2.0)


def test_predicted_return_discounts_by_the_step():
    score = guides.predicted_return(discount=0.5)(plan(TWO_STEPS, rewards=[[1.0, 1.0]]))
    assert score.tolist() == [1.5]


class LinearValue(Value):
    """V is ten times the first channel."""

    discount, spread = torch.tensor(0.5), torch.tensor(2.0)

    def __init__(self):
        pass

    def __call__(self, observations):
        return 10 * observations[..., 0]


@pytest.mark.parametrize(
    ("trace_decay", "expected"),
    [(0.0, 1 + 0.5 * 30), (1.0, (1 + 0.5 * 30 + 1 + 0.5 * 4 + 0.25 * 0) / 2), (0.5, (16 + 0.5 * 3) / 1.5)],
)
def test_the_lambda_return_averages_returns_of_all_lengths_that_end_in_the_value(trace_decay, expected):
    score = guides.lambda_return(LinearValue(), trace_decay)(plan(TWO_STEPS, rewards=[[1.0, 4.0]]))
    assert score.tolist() == pytest.approx([expected / 2])


def test_keep_out_charges_the_depth_inside_the_disc_only():
    score = guides.KeepOut((3.0, 4.0), radius=2.0)
    assert score(plan(TWO_STEPS)).item() == pytest.approx(-1.0, abs=1e-3)
    assert score(plan([[[3.0, 5.0], [9.0, 9.0]]])).item() == pytest.approx(-0.5, abs=1e-3)


def test_guides_add_up_with_their_weights():
    near, gain = guides.goal_distance(ORIGIN), guides.predicted_return(weight=10.0)
    both = guides.add_guides(near, gain)
    assert both(plan(TWO_STEPS, rewards=[[0.0, 1.0]])).item() == pytest.approx(-6 + 10)
    assert guides.add_guides(near)(plan(TWO_STEPS)).item() == near(plan(TWO_STEPS)).item()


def test_each_plan_has_a_score_of_its_own():
    positions = torch.randn(5, 3, 2)
    goals = torch.randn(5, 2)
    together = guides.goal_distance(goals)(plan(positions.tolist()))
    alone = guides.goal_distance(goals[3:4])(plan(positions[3:4].tolist()))
    torch.testing.assert_close(together[3:4], alone)


def test_the_gradient_is_finite_at_the_goal_itself():
    observations = torch.zeros(1, 1, 4, requires_grad=True)
    at_the_goal = Trajectories(observations, torch.zeros(1, 1, 2), torch.zeros(1, 1))
    guides.goal_distance(ORIGIN)(at_the_goal).sum().backward()
    assert observations.grad.tolist() == [[[0.0] * 4]]


def corridor(unit=1.0):
    """The cost to go of a corridor from 0 to 100 steps that is walked there and back."""
    there = unit * np.arange(0.5, 100)[:, None]
    ways = [there, there[::-1]] * 2
    return CostToGo.fit(np.concatenate(ways), np.arange(1, 401) % 100 == 0)


def at(*positions, unit=1.0):
    """One plan through positions on a line."""
    observations = unit * torch.tensor(positions)[None, :, None].expand(-1, -1, 4)
    return Trajectories(observations, torch.zeros(1, len(positions), 2), torch.zeros(1, len(positions)))


def test_the_cost_to_go_guide_charges_each_step_for_its_cost_and_for_its_distance_near_the_goal():
    field = corridor().solve_for(torch.tensor([[12.5]]))
    score = guides.cost_to_go(field)
    costs = [field(torch.tensor([[[x]]])).item() for x in (12.5, 92.5, 62.5)]
    assert score(at(12.5)).item() == pytest.approx(-costs[0])
    rounded = [(distance**2 + HOLD_REACH**2) ** 0.5 - HOLD_REACH for distance in (80, 50)]
    hold = [2 * HOLD_REACH * np.tanh(distance / HOLD_REACH) for distance in rounded]
    assert score(at(92.5)).item() == pytest.approx(-(costs[1] + hold[0]), rel=1e-5)
    assert score(at(12.5, 92.5, 62.5)).item() == pytest.approx(-sum([*costs, *hold]), rel=1e-5)
    assert hold[1] == pytest.approx(2 * HOLD_REACH, rel=0.03), "far from the goal it no longer pulls"


def test_the_cost_to_go_guide_likes_a_plan_that_gets_there_sooner_and_stays():
    score = guides.cost_to_go(corridor().solve_for(torch.tensor([[12.5]])))
    soon, late, past = at(22.5, 17.5, 12.5, 12.5), at(32.5, 27.5, 22.5, 12.5), at(22.5, 12.5, 2.5, 7.5)
    assert score(soon) > score(past) and score(soon) > score(late)


def test_the_score_of_the_cost_to_go_guide_does_not_depend_on_the_unit_of_the_world():
    scores = [
        guides.cost_to_go(corridor(unit).solve_for(torch.tensor([[12.5 * unit]])))(at(30.0, 14.0, unit=unit))
        for unit in (1.0, 0.25)
    ]
    torch.testing.assert_close(*scores)


def test_the_cost_to_go_guide_scores_each_plan_by_its_own_goal_and_reads_the_position_only():
    field = corridor().solve_for(torch.tensor([[12.5], [80.0]]))
    observations = torch.rand(2, 3, 4) * 90
    together = guides.cost_to_go(field)(Trajectories(observations, torch.zeros(2, 3, 2), torch.zeros(2, 3)))
    observations[..., 1:] = 7.0
    alone = guides.cost_to_go(corridor().solve_for(torch.tensor([[80.0]])))
    own = Trajectories(observations[1:], torch.zeros(1, 3, 2), torch.zeros(1, 3))
    torch.testing.assert_close(together[1:], alone(own))


def test_keep_out_is_charged_by_its_weight():
    score = guides.KeepOut((3.0, 4.0), radius=2.0, weight=10.0)
    assert score(plan([[[3.0, 5.0], [3.0, 4.0], [9.0, 9.0]]])).item() == pytest.approx(-15.0, abs=1e-2)


def by_way_point(is_over=False):
    """From anywhere in the corridor to 12.5 by way of 80, the way point's radius being 3."""
    goal, point = (corridor().solve_for(torch.tensor([[x]])) for x in (12.5, 80.0))
    onward = goal(torch.tensor([[[80.0]]]))[:, 0]
    return [guides.Leg(guides.WayPoint((80.0,), radius=3.0), point, onward, torch.tensor([is_over]))], goal


def held(field, x):
    """V and the hold at a position."""
    distance = ((x - field.goals.item()) ** 2 + HOLD_REACH**2) ** 0.5 - HOLD_REACH
    return field(torch.tensor([[[x]]])).item() + 2 * HOLD_REACH * np.tanh(distance / HOLD_REACH)


def test_up_to_a_way_point_steps_cost_the_way_by_it_and_from_there_on_the_way_to_the_goal():
    legs, goal = by_way_point()
    before = [held(legs[0].field, x) + legs[0].onward.item() for x in (50.0, 30.0)]
    after = [held(goal, x) for x in (79.0, 50.0, 82.0)]
    score = guides.cost_to_go(goal, legs)
    assert score(at(50.0, 30.0)).item() == pytest.approx(-sum(before), rel=1e-5)
    assert score(at(50.0, 30.0, 79.0, 50.0, 82.0)).item() == pytest.approx(-sum(before + after), rel=1e-5)


def test_a_way_point_that_the_agent_has_passed_costs_nothing():
    legs, goal = by_way_point(is_over=True)
    plan = at(50.0, 79.0, 30.0)
    assert guides.cost_to_go(goal, legs)(plan).item() == guides.cost_to_go(goal)(plan).item()


def test_a_plan_by_the_way_point_is_better_than_one_straight_to_the_goal():
    legs, goal = by_way_point()
    by_it, straight = at(60.0, 70.0, 80.0, 70.0), at(40.0, 30.0, 20.0, 12.5)
    assert guides.cost_to_go(goal, legs)(by_it) > guides.cost_to_go(goal, legs)(straight)
    assert guides.cost_to_go(goal)(by_it) < guides.cost_to_go(goal)(straight)


def test_way_points_are_passed_in_their_order():
    """80 first and then 40: on the way from 10 to 80, being at 40 counts for nothing."""
    goal, second, first = (corridor().solve_for(torch.tensor([[x]])) for x in (12.5, 40.0, 80.0))
    onward = [goal(torch.tensor([[[40.0]]]))[:, 0]]
    onward.insert(0, second(torch.tensor([[[80.0]]]))[:, 0] + onward[0])
    points, nobody = [guides.WayPoint((x,), radius=3.0) for x in (80.0, 40.0)], torch.tensor([False])
    legs = [guides.Leg(*leg, nobody) for leg in zip(points, (first, second), onward)]
    steps = [(10.0, 0), (40.0, 0), (80.0, 1), (60.0, 1), (40.0, 2), (80.0, 2)]
    fields, later = (first, second, goal), (*(one.item() for one in onward), 0.0)
    expected = sum(held(fields[leg], x) + later[leg] for x, leg in steps)
    assert guides.cost_to_go(goal, legs)(at(*(x for x, _ in steps))).item() == pytest.approx(-expected, rel=1e-5)


def test_the_radius_of_a_way_point_must_be_above_zero():
    with pytest.raises(InputError, match=r"radius of a way point must be above 0, not 0"):
        guides.WayPoint((0.0, 0.0), radius=0.0)


def test_a_speed_limit_charges_the_speed_above_it_in_the_channels_of_the_velocity():
    observations = torch.tensor([[[9.0, 9.0, 3.0, 4.0], [9.0, 9.0, 0.0, 1.0], [9.0, 9.0, 0.0, 0.0]]])
    still = torch.zeros(1, 3, 2), torch.zeros(1, 3)
    charged = guides.speed_limit(2.0, slice(2, 4), weight=10.0)(Trajectories(observations, *still))
    assert charged.tolist() == pytest.approx([-30.0])
    assert guides.speed_limit(5.1, slice(2, 4))(Trajectories(observations, *still)).tolist() == [0.0]


def test_the_gradient_of_a_speed_limit_is_finite_where_nothing_moves():
    observations = torch.zeros(1, 2, 4, requires_grad=True)
    still = Trajectories(observations, torch.zeros(1, 2, 2), torch.zeros(1, 2))
    guides.speed_limit(0.0, slice(2, 4))(still).sum().backward()
    assert torch.isfinite(observations.grad).all()


def test_a_disc_holds_what_is_nearer_to_its_centre_than_its_radius_which_must_be_above_zero():
    disc = guides.KeepOut((3.0, 4.0), radius=2.0)
    points = torch.tensor([[3.0, 4.0], [3.0, 5.9], [3.0, 6.1], [0.0, 0.0]])
    assert disc.holds(points).tolist() == [True, True, False, False]
    with pytest.raises(InputError, match=r"must be above 0, not 0"):
        guides.KeepOut((0.0, 0.0), radius=0.0)
