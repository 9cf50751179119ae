import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from dfplan.agents import presets
from dfplan.agents.named_guides import GUIDE_NAMES, count_passed, make_guide
from dfplan.agents.planner import DFPlanner
from dfplan.agents.planner_config import PlannerConfig
from dfplan.data.trajectories import Trajectories
from dfplan.ground.errors import InputError
from dfplan.model.diffusion_forcing import DiffusionForcing
from dfplan.sampling import guides
from dfplan.task import MAZE

GOALS = torch.tensor([[6.0, 6.0], [1.0, 2.0]])


@pytest.fixture
def plans():
    torch.manual_seed(0)
    return Trajectories(8 * torch.rand(2, 5, 4), torch.zeros(2, 5, 2), torch.ones(2, 5))


def upwards(plan):
    return plan.observations[..., 1].sum(dim=1)


def test_every_guide_has_the_score_of_its_function_towards_the_episodes_own_goals(knowing_model, plans):
    expected = {
        "cost_to_go": guides.cost_to_go(knowing_model.cost_to_go.solve_for(GOALS)),
        "return": guides.predicted_return(),
        "goal_distance": guides.goal_distance(GOALS),
        "squashed_goal_distance": guides.squashed_goal_distance(GOALS),
    }
    assert expected.keys() == set(GUIDE_NAMES)
    for name, guide in expected.items():
        assert torch.equal(make_guide(name, knowing_model, GOALS)(plans), guide(plans))


def test_a_callable_is_a_guide_as_it_is_and_none_is_no_guide(tiny_model):
    assert make_guide(upwards, tiny_model, None) is upwards
    assert make_guide(None, tiny_model, GOALS) is None


@pytest.mark.parametrize("kind", [tuple, list])
def test_the_scores_of_several_guides_are_added_up(knowing_model, plans, kind):
    names = ("goal_distance", upwards, "cost_to_go", upwards)
    parts = [make_guide(name, knowing_model, GOALS)(plans) for name in ("goal_distance", "cost_to_go")]
    together = make_guide(kind(names), knowing_model, GOALS)(plans)
    torch.testing.assert_close(together, sum(parts) + 2 * upwards(plans))


@pytest.mark.parametrize("chosen", [*(set(GUIDE_NAMES) - {"return"}), (upwards, "goal_distance")])
def test_a_guide_by_name_needs_a_goal(knowing_model, chosen):
    with pytest.raises(InputError, match=r"the guide '\w+' needs a goal: reset\(goal=\.\.\.\)\.$"):
        make_guide(chosen, knowing_model, None)


def test_without_a_cost_to_go_its_guide_is_refused_in_a_sentence_that_names_others(tiny_model):
    with pytest.raises(
        InputError, match="holds no cost to go; train it anew, or choose guide='goal_distance'"
    ) as error:
        make_guide("cost_to_go", tiny_model, GOALS)
    assert "\n" not in str(error.value)
    assert "dfplan.agents.presets.GOAL_TOKEN" in str(error.value) and presets.GOAL_TOKEN


def test_a_misspelt_guide_is_answered_with_its_near_match_also_among_several():
    for guide in ("cost_too_go", (upwards, "cost_too_go")):
        with pytest.raises(InputError, match="did you mean cost_to_go"):
            PlannerConfig(guide=guide)
    assert replace(PlannerConfig(), guide=(upwards, "cost_to_go")).guidance.guide == (upwards, "cost_to_go")


def test_the_cost_to_go_leads_around_a_disc_to_keep_out_of_that_stands_beside_it(knowing_model):
    """From (1, 4) to (7, 4), past a disc in the middle: the way round is longer for who stands behind it."""
    goal, disc = torch.tensor([[7.0, 4.0]]), guides.KeepOut((4.0, 4.0), 2.5, weight=0.0)
    there = torch.tensor([[[1.0, 4.0, 0.0, 0.0]]])
    plan = Trajectories(there, torch.zeros(1, 1, 2), torch.zeros(1, 1))
    free, barred = (make_guide(guide, knowing_model, goal)(plan) for guide in ("cost_to_go", ("cost_to_go", disc)))
    assert (free - barred).item() > 2


FIRST, SECOND = guides.WayPoint((1.0, 6.0)), guides.WayPoint((4.0, 6.0), radius=1.0)


def test_the_cost_to_go_by_way_points_is_that_of_its_legs(knowing_model):
    """From (1, 2) by (1, 6) to (6, 6): what is left at the start is the way to the point and the way from there."""
    goal, graph = torch.tensor([[6.0, 6.0]]), knowing_model.cost_to_go
    start = Trajectories(torch.tensor([[[1.0, 2.0, 0.0, 0.0]]]), torch.zeros(1, 1, 2), torch.zeros(1, 1))
    corner = torch.tensor([[1.0, 6.0]])
    to_corner = guides.cost_to_go(graph.solve_for(corner))(start)
    onward = graph.solve_for(goal)(corner[:, None])[:, 0]
    torch.testing.assert_close(make_guide(("cost_to_go", FIRST), knowing_model, goal)(start), to_corner - onward)
    both, last = (make_guide(("cost_to_go", *points), knowing_model, goal) for points in ((FIRST, SECOND), (SECOND,)))
    assert both(start).item() != last(start).item()
    passed = make_guide(("cost_to_go", FIRST, SECOND), knowing_model, goal, np.array([1]))
    torch.testing.assert_close(passed(start), last(start))


def test_way_points_count_as_passed_in_their_order_and_once():
    guide = ("cost_to_go", FIRST, SECOND)
    at_second, at_first = np.array([[4.5, 6.0, 0, 0]]), np.array([[1.3, 6.0, 0, 0]])
    assert count_passed(guide, MAZE, at_second, None).tolist() == [0]
    assert count_passed(guide, MAZE, at_first, np.array([0])).tolist() == [1]
    assert count_passed(guide, MAZE, at_first, np.array([1])).tolist() == [1]
    assert count_passed(guide, MAZE, at_second, np.array([1])).tolist() == [2]
    assert count_passed(guide, MAZE, np.concatenate([at_first, at_second]), np.array([2, 1])).tolist() == [2, 2]
    assert count_passed("cost_to_go", MAZE, at_first, None) is None


def test_a_way_point_without_the_cost_to_go_is_refused():
    with pytest.raises(InputError, match="a way point stands beside guide='cost_to_go'"):
        PlannerConfig(guide=("goal_distance", FIRST))


@pytest.mark.parametrize(
    ("guide", "sentence"),
    [
        (guides.WayPoint((1.0,)), "a way point of this model has 2 numbers"),
        (guides.WayPoint((1.0, 2.0, 3.0)), "a way point of this model has 2 numbers"),
        (guides.KeepOut((1.0, 2.0, 3.0), 1.0), "a centre of at most 2 numbers"),
    ],
)
def test_way_points_and_discs_of_other_channels_than_the_goal_are_refused_when_the_agent_is_made(
    knowing_model, guide, sentence
):
    with pytest.raises(InputError, match=sentence):
        DFPlanner(knowing_model, PlannerConfig(guide=("cost_to_go", guide)))


def test_a_disc_that_is_smaller_than_a_cell_closes_the_edges_that_cross_it(knowing_model):
    graph = knowing_model.cost_to_go
    start, stop = graph.landmarks[graph.edges.long()].unbind(dim=1)
    middle = (start[0] + stop[0]) / 2
    disc = guides.KeepOut(tuple(middle.tolist()), 0.01)
    assert not disc.holds(graph.landmarks).any()
    crossed = disc.crosses(start, stop)
    assert crossed[0] and not crossed.all()


def test_where_no_recorded_way_leads_to_the_goal_a_warning_says_so(knowing_model):
    """A wall of discs from (4, 0) to (4, 8) parts the square."""
    wall = [guides.KeepOut((4.0, float(y)), 0.8, weight=0.0) for y in range(-1, 10)]
    goal, start = torch.tensor([[7.0, 4.0]]), torch.tensor([[1.0, 4.0]])
    with pytest.warns(UserWarning, match="no recorded way leads"):
        make_guide(("cost_to_go", *wall), knowing_model, goal, starts=start)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make_guide(("cost_to_go", *wall), knowing_model, goal, starts=goal - 1)
        make_guide("cost_to_go", knowing_model, goal, starts=start)


@pytest.mark.parametrize("causal", [False, True])
def test_a_guide_sees_the_planned_steps_and_none_beyond(causal, tiny_config, cost_to_go):
    model, seen = DiffusionForcing(replace(tiny_config, causal=causal)), set()

    def watching(plan):
        seen.add(plan.observations.shape[1])
        return plan.observations.square().sum(dim=(1, 2))

    agent = DFPlanner(model, PlannerConfig(guide=watching, horizon=4, sampling_steps=3))
    agent.reset(goal=[1.0, 2.0], seed=0)
    agent.plan(np.zeros(4))
    assert seen == {4} and model.config.horizon > 4


@pytest.mark.parametrize(
    ("guide", "message"),
    [
        (lambda plan: plan.rewards, r"a tensor of 1 scores, one for each plan; its result has the shape \(1, \d+\)"),
        (lambda plan: plan.rewards.sum(), r"its result has the shape \(\)"),
        (lambda plan: 1.0, "its result has the type float"),
        (lambda plan: plan.rewards.detach().sum(dim=1), "by differentiable operations of torch"),
        (lambda plan: plan.rewards.sum(dim=1) * float("nan"), "the scores of a guide are not finite; check the guide"),
    ],
)
@pytest.mark.parametrize("num_futures", [1, 2])
def test_what_a_function_returns_as_scores_is_checked(tiny_model, guide, message, num_futures):
    agent = DFPlanner(tiny_model, PlannerConfig(guide=guide, num_futures=num_futures, sampling_steps=4))
    agent.reset(seed=0)
    with pytest.raises(InputError, match=message):
        agent.act(np.zeros(4))


def test_a_guide_by_name_is_given_once():
    with pytest.raises(InputError, match="guides must be different"):
        PlannerConfig(guide=("return", "return"))


@pytest.mark.parametrize("scale", [float("nan"), float("inf")])
def test_a_guidance_scale_is_finite(scale):
    with pytest.raises(InputError, match="one finite number"):
        PlannerConfig(guide="return", guidance_scale=scale)
