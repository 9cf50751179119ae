from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from dfplan.checkpoint import FILE_NAME, load_checkpoint, save_checkpoint
from dfplan.cost_to_go import (
    ACCURACY,
    CELL,
    FEWEST_MOVES,
    JUMP_WEIGHT,
    LONGEST_MOVE,
    OFF_RECORDING_WEIGHT,
    REMEMBERED_SEARCHES,
    ROUNDING,
    CostToGo,
    rounded_norm,
)
from dfplan.envs.errors import InputError

CELL_ROWS = int(CELL)  # rows in a cell at full speed, one step a row
TOLERANCE = 2 * ACCURACY  # an edge of no length is as long as ``ACCURACY``
KEEPS_STILL = 1000.0  # a second channel that never moves


def ways(*positions, times=FEWEST_MOVES):
    """Return the recording of some ways, each taken so many times, and which rows are their last."""
    ways = [np.asarray(way, dtype=float).reshape(len(way), -1) for way in positions] * times
    is_last = np.concatenate([np.arange(1, len(way) + 1) == len(way) for way in ways])
    return np.concatenate(ways), is_last


def walk(*corners):
    """Return a way along corners in steps of 1, from the middle of one step to the middle of the next."""
    corners = np.array(corners, dtype=float)
    rows = [corners[:1]]
    for start, stop in pairwise(corners):
        length = round(np.abs(stop - start).max())
        rows.append(start + (stop - start) * np.arange(1, length + 1)[:, None] / length)
    return np.concatenate(rows)


def line(first, last):
    """Return the way along a line in steps of 1, from the middle of one step to that of another."""
    return walk([first + 0.5], [last + 0.5])


CORRIDOR = line(0, 49)  # ten cells, whose landmarks are 2.5, 7.5, ...


def corridor(*directions):
    return CostToGo.of(*ways(*(CORRIDOR[::direction] for direction in directions)))


def chain(number, edges, chances, distance=5.0):
    """Return landmarks on a line at equal distances, with so many steps between them."""
    landmarks = distance * torch.arange(number, dtype=torch.float32)[:, None]
    edges = torch.tensor(edges, dtype=torch.int32)
    return CostToGo(landmarks, torch.ones(1), edges, torch.tensor(chances, dtype=torch.float32))


def at(*values):
    """Return a batch of one goal, or of one plan through positions on a line."""
    return torch.tensor([[value] for value in values]) if len(values) == 1 else torch.tensor(values)[None, :, None]


def slopes(field, positions):
    """Return the gradient of the cost at positions (step, goal) of one plan."""
    positions = torch.tensor(positions, dtype=torch.float32)[None].requires_grad_()
    (gradient,) = torch.autograd.grad(field(positions).sum(), positions)
    return gradient[0]


def edges_of(known):
    """Return the chance of each edge, by the first channels of its two landmarks."""
    ends = known.landmarks[known.edges.long(), 0].tolist()
    return {tuple(edge): chance for edge, chance in zip(ends, known.chances.tolist())}


def test_landmarks_are_the_means_of_the_rows_in_each_cell():
    known = CostToGo.of(*ways([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]))
    assert known.landmarks.tolist() == [[2.0], [5.5]] and known.stride.tolist() == [1.0]
    unit = CostToGo.of(*ways(0.25 * np.arange(7)))
    assert unit.landmarks.tolist() == [[0.5], [1.375]] and unit.stride.tolist() == [0.25]


def test_edges_lead_where_the_recording_moved_from_cell_to_cell():
    assert edges_of(corridor(1)) == {(2.5 + 5 * cell, 7.5 + 5 * cell): 0 for cell in range(9)}
    assert len(corridor(1, -1).edges) == 18


@pytest.mark.parametrize("unit", [1.0, 0.25])
def test_costs_along_a_corridor_are_distances_in_steps_whatever_the_unit(unit):
    known = CostToGo.of(*ways(unit * CORRIDOR, unit * CORRIDOR[::-1]))
    costs = known.to_goals(at(unit * 42.5)).costs
    expected = (known.landmarks[:, 0] / unit - 42.5).abs()
    torch.testing.assert_close(costs[0], expected, rtol=0, atol=TOLERANCE)


def test_between_landmarks_the_cost_rises_by_one_with_each_step_away_from_the_goal():
    way = line(0, 99)
    field = CostToGo.of(*ways(way, way[::-1])).to_goals(at(2.5))
    costs = field(at(48.0, 53.0, 58.0))[0]
    torch.testing.assert_close(costs.diff(), torch.tensor([5.0, 5.0]), rtol=0, atol=0.05)
    assert costs[0].item() == pytest.approx(45.5 - 7, abs=3), "the soft minimum over several landmarks is lower"
    assert (slopes(field, [[15.0 + 0.5 * step] for step in range(120)]) > 0.4).all()


def test_ways_that_were_taken_in_one_direction_only_lead_in_that_direction_only():
    """A ring of 20 landmarks, a step of 5 apart: to go back by one is to go round by 19."""
    turn = 2 * torch.pi * torch.arange(20) / 20
    landmarks = torch.stack([turn.cos(), turn.sin()], dim=1) * 2.5 / np.sin(np.pi / 20)
    edges = torch.stack([torch.arange(20), (torch.arange(20) + 1) % 20], dim=1).int()
    one_way = CostToGo(landmarks, torch.ones(2), edges, torch.zeros(20))
    both_ways = CostToGo(landmarks, torch.ones(2), torch.cat([edges, edges.flip(1)]), torch.zeros(40))
    there_from = torch.arange(20)
    hops = (10 - there_from) % 20
    one, both = (known.to_goals(landmarks[10:11]).costs[0] for known in (one_way, both_ways))
    hops[11] = 1  # one of the landmarks next to the goal, from which it is reached in a straight line
    torch.testing.assert_close(one, 5.0 * hops, rtol=0, atol=TOLERANCE)
    torch.testing.assert_close(both, 5.0 * torch.minimum(hops, 20 - hops), rtol=0, atol=TOLERANCE)


def test_landmarks_from_which_no_way_leads_to_the_goal_count_as_far_as_the_farthest_of_the_others():
    costs = corridor(1).to_goals(at(12.5)).costs[0]
    assert costs.tolist() == pytest.approx([10, 5, 0, 5, *[10] * 6], abs=TOLERANCE)


@pytest.mark.parametrize("goal", [40.0, 41.3, 0.0, -30.0, 400.0])
def test_a_goal_may_lie_anywhere_between_landmarks_or_far_outside(goal):
    known = corridor(1, -1)
    field = known.to_goals(at(goal))
    torch.testing.assert_close(field.costs[0], (known.landmarks[:, 0] - goal).abs(), rtol=1e-5, atol=TOLERANCE)
    assert torch.isfinite(field(at(-500.0, 17.0, 1e4))).all()


def test_several_goals_in_one_call_cost_as_much_as_one_by_one(cost_to_go):
    torch.manual_seed(0)
    goals, positions = 12 * torch.rand(5, 2) - 2, 12 * torch.rand(5, 7, 2) - 2
    together = cost_to_go.to_goals(goals)
    for row in range(5):
        alone = cost_to_go.to_goals(goals[row : row + 1])
        torch.testing.assert_close(together.costs[row : row + 1], alone.costs)
        torch.testing.assert_close(together(positions)[row : row + 1], alone(positions[row : row + 1]))


def test_the_gradient_points_down_the_way_and_is_finite_everywhere(cost_to_go):
    goal = torch.tensor([[6.0, 6.0]])
    field = cost_to_go.to_goals(goal)
    positions = torch.tensor([[1.0, 1.0], [6.0, 1.0], [1.0, 6.0], [3.0, 4.0], [7.5, 7.5]])
    downwards = -slopes(field, positions.tolist())
    straight = torch.nn.functional.normalize(goal - positions, dim=1)
    assert (torch.nn.functional.cosine_similarity(downwards, straight) > 0.9).all()
    anywhere = torch.cat([cost_to_go.landmarks, goal, 100 * goal, -100 * goal])
    assert torch.isfinite(slopes(field, anywhere.tolist())).all()


def test_the_gradient_leads_round_a_wall_though_the_goal_is_near_as_the_crow_flies():
    """A U whose ends are 30 steps apart, and 230 on the way."""
    there = walk([2.5, 2.5], [2.5, 102.5], [32.5, 102.5], [32.5, 2.5])
    field = CostToGo.of(*ways(there, there[::-1])).to_goals(torch.tensor([[32.5, 2.5]]))
    costs = field(torch.tensor(there, dtype=torch.float32)[None])[0]
    assert costs[20].item() == pytest.approx(230 - 20, abs=10) and (costs[20::10].diff() < 0).all()
    up, right, down = -slopes(field, [[2.5, 40.0], [17.0, 102.5], [32.5, 40.0]]).sign()
    assert (up[1], right[0], down[1]) == (1, 1, -1)
    uphill = -slopes(field, [[3.5, 20.0]])[0]  # beside the way, with the wall between it and the goal
    assert uphill[1] > 2 * uphill[0].abs()


def test_at_the_goal_the_cost_is_rounded_off():
    field = corridor(1, -1).to_goals(at(27.5))
    distances = field.distance(at(27.5, 27.5 + 3, 27.5 - 3000))[0].tolist()
    assert distances == pytest.approx([0, (9 + ROUNDING**2) ** 0.5 - ROUNDING, 3000 - ROUNDING], abs=0.01)
    slope = slopes(field, [[27.5], [27.75], [24.0], [31.0]])[:, 0]
    assert slope[0].abs() < 1e-3 and slope[1].abs() < 0.1
    assert slope[2] < -0.3 and slope[3] > 0.3


def test_lengths_are_rounded_off_near_zero_and_have_a_gradient_of_zero_there():
    offset = torch.tensor([[0.0, 0.0], [3e3, 4e3]], requires_grad=True)
    lengths = rounded_norm(offset)
    lengths.sum().backward()
    assert lengths.tolist() == pytest.approx([0, 5e3 - ROUNDING], rel=1e-3)
    torch.testing.assert_close(offset.grad, torch.tensor([[0.0, 0.0], [0.6, 0.8]]), rtol=1e-4, atol=0)


def test_a_channel_that_never_moves_makes_no_difference():
    alone = corridor(1, -1)
    way = np.stack([CORRIDOR[:, 0], np.full(50, KEEPS_STILL)], axis=1)
    beside = CostToGo.of(*ways(way, way[::-1]))
    assert torch.equal(beside.edges, alone.edges) and beside.landmarks[:, :1].equal(alone.landmarks)
    field, goal = alone.to_goals(at(12.5)), torch.tensor([[12.5, KEEPS_STILL]])
    for still in (KEEPS_STILL, 0.0):
        same = beside.to_goals(torch.tensor([[12.5, still]]))
        torch.testing.assert_close(same.costs, field.costs)
        torch.testing.assert_close(same(torch.tensor([[[30.0, -still]]])), field(torch.tensor([[[30.0]]])))
    gradient = slopes(beside.to_goals(goal), [[30.0, 7.0]])[0]
    assert gradient[0] > 0.5 and gradient[1] == 0


def test_ways_may_avoid_some_landmarks_unless_no_others_are_left():
    """A corridor without one of its landmarks leads no longer from one end to the other."""
    known = corridor(1, -1)
    open_edges = torch.zeros(len(known.edges), dtype=torch.bool)
    without = known.without(torch.arange(10) == 4, open_edges)
    assert len(without.landmarks) == 9 and len(without.edges) == 18 - 4
    assert edges_of(without).keys() == {edge for edge in edges_of(known) if 22.5 not in edge}
    costs = without.to_goals(at(47.5)).costs[0]
    assert costs.tolist() == pytest.approx([20] * 4 + [20, 15, 10, 5, 0], abs=TOLERANCE)
    with pytest.raises(InputError, match="no recorded position is left"):
        known.without(torch.ones(10, dtype=torch.bool), open_edges)


def test_ways_may_avoid_some_edges_and_positions_that_are_cut_off_are_told():
    known = corridor(1, -1)
    across = torch.tensor([set(edge) == {3, 4} for edge in known.edges.tolist()])
    closed = known.without(torch.zeros(10, dtype=torch.bool), across)
    assert len(closed.landmarks) == 10 and len(closed.edges) == len(known.edges) - 2 == 16
    field = closed.to_goals(at(47.5).expand(2, -1))
    assert field.costs[0].tolist() == pytest.approx([25] * 4 + [25, 20, 15, 10, 5, 0], abs=TOLERANCE)
    assert field.is_cut_off(torch.tensor([[12.0], [31.0]])).tolist() == [True, False]
    assert not known.to_goals(at(47.5)).is_cut_off(torch.tensor([[12.0]])).any()


def test_what_is_to_be_avoided_must_not_be_where_chance_throws_the_agent():
    thrown = chain(4, [(0, 1), (1, 2), (1, 3)], [0, 0, 0.5])
    nothing = torch.zeros(3, dtype=torch.bool)
    assert len(thrown.without(torch.arange(4) == 2, nothing).edges) == 2
    with pytest.raises(InputError, match="thrown to where it is to keep out of"):
        thrown.without(torch.arange(4) == 3, nothing)


def test_where_chance_leaves_no_choice_the_costs_are_finite():
    """At 1 chance throws the agent back in half of the cases, and in the others there is nowhere to go."""
    costs = chain(3, [(0, 1), (1, 0)], [0, 0.5]).to_goals(at(10.0)).costs
    assert costs.isfinite().all()


def test_of_a_chosen_and_a_thrown_edge_between_the_same_landmarks_the_shorter_counts_as_the_luckiest():
    graph = chain(2, [(0, 1), (0, 1)], [0, 0.25])
    direct = np.array([[np.inf, 0.0]])
    assert graph._luckiest_costs(direct)[0].tolist() == pytest.approx([1, 0], abs=TOLERANCE)


def test_a_path_is_implausible_by_how_far_it_jumps_and_how_far_it_leaves_the_recording():
    path = at(27.5, 28.5, 32.5, 32.5)  # one move of 4 steps
    assert corridor(1, -1).implausibility(path).tolist() == pytest.approx([JUMP_WEIGHT * (4 - LONGEST_MOVE) / 3])
    away = at(57.5, 57.5)  # two cells beyond the last landmark
    assert corridor(1, -1).implausibility(away).tolist() == pytest.approx([OFF_RECORDING_WEIGHT * CELL])


def test_the_end_of_an_episode_is_no_edge():
    whole, halves = ways(CORRIDOR), ways(CORRIDOR[:25], CORRIDOR[25:])
    assert np.array_equal(whole[0], halves[0])
    assert edges_of(CostToGo.of(*whole)).keys() - edges_of(CostToGo.of(*halves)).keys() == {(22.5, 27.5)}


def test_what_was_done_less_than_twice_is_no_edge():
    once, twice = (CostToGo.of(*ways(CORRIDOR, times=times)) for times in (FEWEST_MOVES - 1, FEWEST_MOVES))
    assert not len(once.edges) and len(twice.edges) == 9 and torch.equal(once.landmarks, twice.landmarks)


def thrown(times_walked, times_thrown):
    """Walk the corridor so many times, and be thrown from its fifth cell into its first so many times."""
    return CostToGo.of(*ways(*[CORRIDOR] * times_walked, *[np.concatenate([CORRIDOR[:25], CORRIDOR])] * times_thrown))


def test_a_move_longer_than_a_cell_is_a_chance_and_not_a_choice():
    known = thrown(9, 1)  # both twice: 20 walks out of the fifth cell, and two throws
    assert edges_of(known) == {(2.5 + 5 * cell, 7.5 + 5 * cell): 0 for cell in range(9)} | {
        (22.5, 2.5): pytest.approx(2 / 22)
    }
    assert len(thrown(9, 0).edges) == 9


def test_to_be_thrown_takes_one_step_however_far():
    known = chain(12, [(0, 11), *((hop, hop + 1) for hop in range(11))], [0.5] + [0] * 11)
    costs = known.to_goals(at(55.0)).costs[0]
    # Half of the departures are thrown to the goal in one step, the other half walk.
    assert costs[0].item() == pytest.approx(0.5 * 1 + 0.5 * 55, abs=2 * TOLERANCE)


def expected_cost(steps, last, at_risk, chance):
    """Return the cost from landmark ``at_risk`` to ``last`` of a chain of so many steps a hop.

    From there the next landmark is reached with probability 1 − q, and with q one step leads back to landmark 0:
    V = (1 − q) c (n − k) + q (1 + c k + V).
    """
    walked, thrown = (1 - chance) * steps * (last - at_risk), chance * (1 + steps * at_risk)
    return (walked + thrown) / (1 - chance)


@pytest.mark.parametrize(("at_risk", "chance"), [(1, 0.3), (3, 0.5), (0, 0.25)])
def test_the_cost_of_a_chain_from_which_one_may_be_thrown_back_is_the_expected_one(at_risk, chance):
    last, steps = 9, 5.0
    known = chain(10, [*((hop, hop + 1) for hop in range(last)), (at_risk, 0)], [0] * last + [chance])
    costs = known.to_goals(at(steps * last)).costs[0].tolist()
    cost = expected_cost(steps, last, at_risk, chance)
    before = [steps * (at_risk - landmark) + cost for landmark in range(at_risk + 1)]
    after = [steps * (last - landmark) for landmark in range(at_risk + 1, last + 1)]
    assert costs == pytest.approx(before + after, abs=10 * ACCURACY)


def test_the_cost_of_a_chain_that_throws_back_from_everywhere_is_the_expected_one():
    """V_k = (1 − q) (c + V_{k+1}) + q (1 + V_0) with V_n = 0, whose solution is (1 + c (1 − q) / q) (p^−n − p^−k) with
    p = 1 − q.
    """
    last, steps, chance = 6, 4.0, 0.2
    back = [(landmark, 0) for landmark in range(last)]
    known = chain(last + 1, [*((hop, hop + 1) for hop in range(last)), *back], [0] * last + [chance] * last, steps)
    # Two more landmarks close to the goal, so that no landmark but the last leads there in a straight line.
    beside = steps * last + torch.tensor([[0.1], [0.2]])
    known = replace(known, landmarks=torch.cat([known.landmarks, beside]))
    costs = known.to_goals(at(steps * last)).costs[0, : last + 1].tolist()
    stay = 1 - chance
    expected = [(1 + steps * stay / chance) * (stay**-last - stay**-landmark) for landmark in range(last)]
    assert costs == pytest.approx([*expected, 0], abs=0.05)


def test_the_expected_cost_is_read_from_a_recording_whose_way_back_was_thrown():
    """Walks from cell 0 to cell 9, thrown from the end of cell 3 to the beginning with a chance of a fifth."""
    random, at_risk, last, chance = np.random.default_rng(0), 3, 9, 0.2
    there, rest = line(0, 5 * at_risk + 4), line(5 * at_risk + 5, 5 * last + 4)
    episodes = [[there] * random.geometric(1 - chance) + [rest] for _ in range(2000)]
    known = CostToGo.of(*ways(*(np.concatenate(parts) for parts in episodes), times=1))
    assert known.stride.tolist() == [1.0] and known.landmarks[:, 0].tolist() == [2.5 + 5 * cell for cell in range(10)]
    recorded = known.chances[known.chances > 0].tolist()
    assert recorded == [pytest.approx(chance, abs=4 * (chance * (1 - chance) / 2500) ** 0.5)]
    costs = known.to_goals(at(2.5 + 5 * last)).costs[0]
    assert costs[at_risk].item() == pytest.approx(expected_cost(5.0, last, at_risk, recorded[0]), abs=0.02)
    assert costs[at_risk].item() == pytest.approx(expected_cost(5.0, last, at_risk, chance), rel=0.04)
    assert (costs[0] - costs[at_risk]).item() == pytest.approx(15.0, abs=0.02)


def test_where_chance_has_no_say_the_expected_cost_is_the_luckiest():
    hops = [(hop, hop + 1) for hop in range(9)]
    sure, hardly_risky = chain(10, hops, [0] * 9), chain(10, [*hops, (2, 0)], [0] * 9 + [1e-7])
    behind = chain(10, [*hops, (9, 0)], [0] * 9 + [0.5])
    costs = [known.to_goals(at(20.0)).costs[0, :6] for known in (sure, hardly_risky, behind)]
    assert costs[0].tolist() == pytest.approx([20, 15, 10, 5, 0, 5], abs=TOLERANCE)
    torch.testing.assert_close(costs[1], costs[0], rtol=0, atol=TOLERANCE)
    torch.testing.assert_close(costs[2], costs[0], rtol=0, atol=TOLERANCE)


def teleporter(counts):
    """Return a chain of 12 landmarks, and one far away that throws to its second, fifth and eighth."""
    landmarks = torch.tensor([*(5.0 * hop for hop in range(12)), -1000.0])[:, None]
    edges = [*((hop, hop + 1) for hop in range(11)), (12, 1), (12, 4), (12, 7)]
    chances = np.array([0] * 11 + list(counts)) / sum(counts)
    chances = torch.tensor(chances, dtype=torch.float32)
    return CostToGo(landmarks, torch.ones(1), torch.tensor(edges, dtype=torch.int32), chances)


def test_a_random_teleporter_costs_the_mean_of_its_exits_and_not_the_best():
    costs = teleporter([1, 1, 1]).to_goals(at(55.0)).costs[0]
    assert costs[[1, 4, 7]].tolist() == pytest.approx([50, 35, 20], abs=TOLERANCE)
    assert costs[12].item() == pytest.approx(1 + (50 + 35 + 20) / 3, abs=TOLERANCE)


@pytest.mark.parametrize("counts", [(7, 2, 1), (1, 5, 4)])
def test_the_exits_of_a_teleporter_count_by_their_chances_whatever_these_add_up_to_as_float32(counts):
    costs = teleporter(counts).to_goals(at(55.0)).costs[0]
    mean = np.average([50, 35, 20], weights=counts)
    assert costs[12].item() == pytest.approx(1 + mean, abs=TOLERANCE)


def test_to_be_thrown_where_no_way_leads_on_costs_as_much_as_the_farthest_place_and_hides_no_other_cost():
    hops = [(hop, hop + 1) for hop in range(11)]
    landmarks = torch.tensor([*(5.0 * hop for hop in range(12)), -1000.0])[:, None]  # the last is a dead end
    chances = torch.tensor([0] * 11 + [0.01])
    known = CostToGo(landmarks, torch.ones(1), torch.tensor([*hops, (6, 12)], dtype=torch.int32), chances)
    costs = known.to_goals(at(55.0)).costs[0].tolist()
    at_risk = 0.99 * 25 + 0.01 * (1 + 55)
    before, after = [at_risk + 5 * hops for hops in range(6, -1, -1)], [20, 15, 10, 5, 0]
    assert costs[:12] == pytest.approx(before + after, abs=TOLERANCE)


def test_a_goals_expected_costs_are_the_very_same_alone_and_beside_others():
    hops, back = [(hop, hop + 1) for hop in range(9)], [(hop, 0) for hop in range(9)]
    known, goals = chain(10, hops + back, [0] * 9 + [0.3] * 9), torch.tensor([[10.0], [45.0], [20.0]])
    together = known.to_goals(goals).costs
    assert all(torch.equal(together[row], known.to_goals(goals[row : row + 1]).costs[0]) for row in range(3))


@pytest.mark.filterwarnings("error")
def test_a_landmark_without_a_way_to_the_goal_raises_no_warning():
    chain(10, [(0, 1), (1, 2), (2, 0)], [0, 0, 0.5]).to_goals(at(45.0))


@pytest.mark.parametrize("origin", [4000.0, 60_000.0])
def test_costs_do_not_depend_on_where_the_origin_lies(origin):
    way = line(0, 199)
    here, there = (CostToGo.of(*ways(way + shift, way[::-1] + shift)) for shift in (0.0, origin))
    costs, shifted = here.to_goals(at(182.5)).costs, there.to_goals(at(182.5 + origin)).costs
    torch.testing.assert_close(shifted, costs, rtol=0, atol=0.1)
    positions = at(50.0, 101.0, 260.0)
    fields = here.to_goals(at(182.5)), there.to_goals(at(182.5 + origin))
    torch.testing.assert_close(fields[1](positions + origin), fields[0](positions), rtol=0, atol=0.1)
    doubts = [known.implausibility(positions + shift) for known, shift in ((here, 0.0), (there, origin))]
    torch.testing.assert_close(*doubts, rtol=0, atol=1.0)


def test_a_dead_end_is_led_back_though_another_way_is_nearer_than_most_of_its_own_landmarks():
    """The very ends of a U, 30 steps apart: the eighth-nearest landmark of its own arm is farther than the other."""
    there = walk([2.5, 2.5], [2.5, 102.5], [32.5, 102.5], [32.5, 2.5])
    field = CostToGo.of(*ways(there, there[::-1])).to_goals(torch.tensor([[32.5, 2.5]]))
    assert field(torch.tensor([[[2.5, 2.5]]])).item() == pytest.approx(230, abs=10)
    away = -slopes(field, [[2.5, 2.5]])[0]
    assert away[1] > 0 and away[1] > 2 * away[0].abs()


def test_rests_do_not_count_for_the_full_speed():
    """A walk, and then a rest of 10,000 rows at its end."""
    rest = np.full((10_000, 1), CORRIDOR[-1])
    resting = CostToGo.of(*ways(np.concatenate([CORRIDOR, rest]), CORRIDOR[::-1]))
    assert resting.stride.tolist() == [1.0] and torch.equal(resting.edges, corridor(1, -1).edges)


def test_a_recorded_teleporter_costs_the_mean_of_its_exits():
    exits = [line(5 * cell, 59) for cell in (1, 4, 7)]
    entrance = line(-1005, -1001)
    known = CostToGo.of(*ways(*(np.concatenate([entrance, way]) for way in exits), *[line(0, 59)] * 3))
    field = known.to_goals(at(57.5))
    assert (known.landmarks[0].item(), field.costs[0, 0].item()) == pytest.approx((-1002.5, 36), abs=0.01)


@pytest.mark.parametrize("positions", [np.zeros((5, 2)), np.arange(5.0)[:, None]])
def test_a_recording_in_which_nothing_moves_knows_no_cost(positions):
    with pytest.raises(InputError, match="nothing moves in the goal channels"):
        CostToGo.of(positions, np.ones(5, bool))  # each row is an episode


def test_a_cost_to_go_is_the_same_again_from_its_tensors(cost_to_go):
    again = CostToGo(**cost_to_go.tensors())
    assert all(torch.equal(part, cost_to_go.tensors()[name]) for name, part in again.tensors().items())


@pytest.mark.parametrize("half", [False, True])
def test_a_checkpoint_keeps_the_cost_to_go_bit_for_bit(knowing_model, tmp_path, half):
    save_checkpoint(tmp_path / FILE_NAME, knowing_model, {}, half)
    model, _ = load_checkpoint(tmp_path / FILE_NAME)
    for name, part in knowing_model.cost_to_go.tensors().items():
        kept = model.cost_to_go.tensors()[name]
        assert kept.dtype == part.dtype and torch.equal(kept, part)
    assert model.state_dict().keys() == knowing_model.state_dict().keys()


def test_a_checkpoint_without_a_cost_to_go_loads_without_one(tiny_model, tmp_path):
    save_checkpoint(tmp_path / FILE_NAME, tiny_model, {})
    assert load_checkpoint(tmp_path / FILE_NAME)[0].cost_to_go is None


@pytest.mark.parametrize(
    ("part", "value"), [("landmarks", float("nan")), ("stride", 0.0), ("chances", 2.0), ("edges", 99), ("edges", -1)]
)
def test_a_checkpoint_with_an_impossible_cost_to_go_is_refused(tiny_model, cost_to_go, tmp_path, part, value):
    parts = {name: tensor.clone() for name, tensor in cost_to_go.tensors().items()}
    parts[part].view(-1)[0] = value
    tiny_model.cost_to_go = CostToGo(**parts)
    save_checkpoint(tmp_path / "x.safetensors", tiny_model, {})
    with pytest.raises(InputError, match="holds a cost to go whose"):
        load_checkpoint(tmp_path / "x.safetensors")


def test_positions_that_are_not_finite_have_costs_that_are_not_finite_either():
    field = corridor(1, -1).to_goals(at(182.5))
    inf, nan = float("inf"), float("nan")
    assert not field(torch.tensor([[[inf], [-inf], [nan]]])).isfinite().any()
    assert field(torch.tensor([[[3e38]]])).item() > 1e30


def test_the_costs_of_goals_that_come_again_are_remembered_but_not_those_of_all_goals():
    graph = corridor(1, -1)
    goals = [torch.tensor([[float(value)]]) for value in range(10, 10 + 2 * REMEMBERED_SEARCHES)]
    for goal in (*goals, goals[0], goals[-1], goals[-1]):
        torch.testing.assert_close(graph.to_goals(goal).costs, corridor(1, -1).to_goals(goal).costs)
    assert len(graph._searches) == REMEMBERED_SEARCHES
