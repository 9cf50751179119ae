from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from dfplan.data import cost_to_go as module
from dfplan.data.cost_to_go import (
    ACCURACY,
    CELL,
    FEWEST_MOVES,
    JUMP_WEIGHT,
    LONGEST_MOVE,
    LOST,
    OFF_RECORDING_WEIGHT,
    REMEMBERED_SEARCHES,
    ROUNDING,
    CostToGo,
    rounded_norm,
)
from dfplan.ground.errors import InputError
from dfplan.training.checkpoint import FILE_NAME, load_checkpoint, save_checkpoint

CELL_ROWS = int(CELL)  # rows in a cell at full speed, one step a row
TOLERANCE = 2 * ACCURACY  # an edge of no length is as long as ``ACCURACY``
KEEPS_STILL = 1000.0  # a second channel that never moves


def ways(*positions, times=FEWEST_MOVES):
    """Return the positions of some paths, each recorded ``times`` times, and whether a row is the last of its path."""
    ways = [np.asarray(way, dtype=float).reshape(len(way), -1) for way in positions] * times
    is_last = np.concatenate([np.arange(1, len(way) + 1) == len(way) for way in ways])
    return np.concatenate(ways), is_last


def walk(*corners):
    """Return a path along corners in steps of 1, with positions in the middle of the steps."""
    corners = np.array(corners, dtype=float)
    rows = [corners[:1]]
    for start, stop in pairwise(corners):
        length = round(np.abs(stop - start).max())
        rows.append(start + (stop - start) * np.arange(1, length + 1)[:, None] / length)
    return np.concatenate(rows)


def line(first, last):
    """Return a path along a line in steps of 1, with positions in the middle of the steps."""
    return walk([first + 0.5], [last + 0.5])


CORRIDOR = line(0, 49)  # ten cells, whose landmarks are 2.5, 7.5, ...


def corridor(*directions):
    return CostToGo.fit(*ways(*(CORRIDOR[::direction] for direction in directions)))


def chain(number, edges, chances, distance=5.0):
    """Return a graph of landmarks on a line at equal distances, with the given edges and chances."""
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
    known = CostToGo.fit(*ways([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]))
    assert known.landmarks.tolist() == [[2.0], [5.5]] and known.stride.tolist() == [1.0]
    unit = CostToGo.fit(*ways(0.25 * np.arange(7)))
    assert unit.landmarks.tolist() == [[0.5], [1.375]] and unit.stride.tolist() == [0.25]


def test_edges_connect_cells_between_which_the_recording_moved():
    assert edges_of(corridor(1)) == {(2.5 + 5 * cell, 7.5 + 5 * cell): 0 for cell in range(9)}
    assert len(corridor(1, -1).edges) == 18


@pytest.mark.parametrize("unit", [1.0, 0.25])
def test_costs_along_a_corridor_are_distances_in_steps_whatever_the_unit(unit):
    known = CostToGo.fit(*ways(unit * CORRIDOR, unit * CORRIDOR[::-1]))
    costs = known.solve_for(at(unit * 42.5)).costs
    expected = (known.landmarks[:, 0] / unit - 42.5).abs()
    torch.testing.assert_close(costs[0], expected, rtol=0, atol=TOLERANCE)


def test_between_landmarks_the_cost_rises_by_one_with_each_step_away_from_the_goal():
    way = line(0, 99)
    field = CostToGo.fit(*ways(way, way[::-1])).solve_for(at(2.5))
    costs = field(at(48.0, 53.0, 58.0))[0]
    torch.testing.assert_close(costs.diff(), torch.tensor([5.0, 5.0]), rtol=0, atol=0.05)
    assert costs[0].item() == pytest.approx(45.5 - 7, abs=3), "the soft minimum over several landmarks is lower"
    assert (slopes(field, [[15.0 + 0.5 * step] for step in range(120)]) > 0.4).all()


def test_a_path_that_was_taken_in_one_direction_leads_in_that_direction_only():
    """On a ring of 20 landmarks with one direction, the landmark before is 19 edges away."""
    turn = 2 * torch.pi * torch.arange(20) / 20
    landmarks = torch.stack([turn.cos(), turn.sin()], dim=1) * 2.5 / np.sin(np.pi / 20)
    edges = torch.stack([torch.arange(20), (torch.arange(20) + 1) % 20], dim=1).int()
    one_way = CostToGo(landmarks, torch.ones(2), edges, torch.zeros(20))
    both_ways = CostToGo(landmarks, torch.ones(2), torch.cat([edges, edges.flip(1)]), torch.zeros(40))
    there_from = torch.arange(20)
    hops = (10 - there_from) % 20
    one, both = (known.solve_for(landmarks[10:11]).costs[0] for known in (one_way, both_ways))
    hops[11] = 1  # one of the landmarks next to the goal, from which it is reached in a straight line
    torch.testing.assert_close(one, 5.0 * hops, rtol=0, atol=TOLERANCE)
    torch.testing.assert_close(both, 5.0 * torch.minimum(hops, 20 - hops), rtol=0, atol=TOLERANCE)


def test_landmarks_without_a_path_to_the_goal_have_the_highest_cost_of_the_others():
    costs = corridor(1).solve_for(at(12.5)).costs[0]
    assert costs.tolist() == pytest.approx([10, 5, 0, 5, *[10] * 6], abs=TOLERANCE)


@pytest.mark.parametrize("goal", [40.0, 41.3, 0.0, -30.0, 400.0])
def test_a_goal_may_lie_anywhere_between_landmarks_or_far_outside(goal):
    known = corridor(1, -1)
    field = known.solve_for(at(goal))
    torch.testing.assert_close(field.costs[0], (known.landmarks[:, 0] - goal).abs(), rtol=1e-5, atol=TOLERANCE)
    assert torch.isfinite(field(at(-500.0, 17.0, 1e4))).all()


def test_costs_of_several_goals_in_one_call_equal_those_of_separate_calls(cost_to_go):
    torch.manual_seed(0)
    goals, positions = 12 * torch.rand(5, 2) - 2, 12 * torch.rand(5, 7, 2) - 2
    together = cost_to_go.solve_for(goals)
    for row in range(5):
        alone = cost_to_go.solve_for(goals[row : row + 1])
        torch.testing.assert_close(together.costs[row : row + 1], alone.costs)
        torch.testing.assert_close(together(positions)[row : row + 1], alone(positions[row : row + 1]))


def test_the_gradient_points_along_the_path_and_is_finite_everywhere(cost_to_go):
    goal = torch.tensor([[6.0, 6.0]])
    field = cost_to_go.solve_for(goal)
    positions = torch.tensor([[1.0, 1.0], [6.0, 1.0], [1.0, 6.0], [3.0, 4.0], [7.5, 7.5]])
    downwards = -slopes(field, positions.tolist())
    straight = torch.nn.functional.normalize(goal - positions, dim=1)
    assert (torch.nn.functional.cosine_similarity(downwards, straight) > 0.9).all()
    anywhere = torch.cat([cost_to_go.landmarks, goal, 100 * goal, -100 * goal])
    assert torch.isfinite(slopes(field, anywhere.tolist())).all()


def test_the_gradient_leads_around_a_wall_even_if_the_goal_is_close_behind_it():
    """The path is a U: its ends are 30 steps apart in a straight line, and 230 steps along the path."""
    there = walk([2.5, 2.5], [2.5, 102.5], [32.5, 102.5], [32.5, 2.5])
    field = CostToGo.fit(*ways(there, there[::-1])).solve_for(torch.tensor([[32.5, 2.5]]))
    costs = field(torch.tensor(there, dtype=torch.float32)[None])[0]
    assert costs[20].item() == pytest.approx(230 - 20, abs=10) and (costs[20::10].diff() < 0).all()
    up, right, down = -slopes(field, [[2.5, 40.0], [17.0, 102.5], [32.5, 40.0]]).sign()
    assert (up[1], right[0], down[1]) == (1, 1, -1)
    uphill = -slopes(field, [[3.5, 20.0]])[0]  # beside the way, with the wall between it and the goal
    assert uphill[1] > 2 * uphill[0].abs()


def test_the_cost_is_smooth_at_the_goal():
    field = corridor(1, -1).solve_for(at(27.5))
    distances = field.measure_distance(at(27.5, 27.5 + 3, 27.5 - 3000))[0].tolist()
    assert distances == pytest.approx([0, (9 + ROUNDING**2) ** 0.5 - ROUNDING, 3000 - ROUNDING], abs=0.01)
    slope = slopes(field, [[27.5], [27.75], [24.0], [31.0]])[:, 0]
    assert slope[0].abs() < 1e-3 and slope[1].abs() < 0.1
    assert slope[2] < -0.3 and slope[3] > 0.3


def test_lengths_are_smooth_at_zero_and_have_a_gradient_of_zero_there():
    offset = torch.tensor([[0.0, 0.0], [3e3, 4e3]], requires_grad=True)
    lengths = rounded_norm(offset)
    lengths.sum().backward()
    assert lengths.tolist() == pytest.approx([0, 5e3 - ROUNDING], rel=1e-3)
    torch.testing.assert_close(offset.grad, torch.tensor([[0.0, 0.0], [0.6, 0.8]]), rtol=1e-4, atol=0)


def test_a_channel_that_never_changes_has_no_influence():
    alone = corridor(1, -1)
    way = np.stack([CORRIDOR[:, 0], np.full(50, KEEPS_STILL)], axis=1)
    beside = CostToGo.fit(*ways(way, way[::-1]))
    assert torch.equal(beside.edges, alone.edges) and beside.landmarks[:, :1].equal(alone.landmarks)
    field, goal = alone.solve_for(at(12.5)), torch.tensor([[12.5, KEEPS_STILL]])
    for still in (KEEPS_STILL, 0.0):
        same = beside.solve_for(torch.tensor([[12.5, still]]))
        torch.testing.assert_close(same.costs, field.costs)
        torch.testing.assert_close(same(torch.tensor([[[30.0, -still]]])), field(torch.tensor([[[30.0]]])))
    gradient = slopes(beside.solve_for(goal), [[30.0, 7.0]])[0]
    assert gradient[0] > 0.5 and gradient[1] == 0


def test_paths_can_avoid_landmarks_unless_no_other_landmark_is_left():
    """Without one of its landmarks, a corridor does not connect its ends."""
    known = corridor(1, -1)
    open_edges = torch.zeros(len(known.edges), dtype=torch.bool)
    without = known.exclude(torch.arange(10) == 4, open_edges)
    assert len(without.landmarks) == 9 and len(without.edges) == 18 - 4
    assert edges_of(without).keys() == {edge for edge in edges_of(known) if 22.5 not in edge}
    costs = without.solve_for(at(47.5)).costs[0]
    assert costs.tolist() == pytest.approx([20] * 4 + [20, 15, 10, 5, 0], abs=TOLERANCE)
    with pytest.raises(InputError, match="every recorded position lies in the regions to avoid"):
        known.exclude(torch.ones(10, dtype=torch.bool), open_edges)


def test_paths_can_avoid_edges_and_positions_that_are_cut_off_are_found():
    known = corridor(1, -1)
    across = torch.tensor([set(edge) == {3, 4} for edge in known.edges.tolist()])
    closed = known.exclude(torch.zeros(10, dtype=torch.bool), across)
    assert len(closed.landmarks) == 10 and len(closed.edges) == len(known.edges) - 2 == 16
    field = closed.solve_for(at(47.5).expand(2, -1))
    assert field.costs[0].tolist() == pytest.approx([25] * 4 + [25, 20, 15, 10, 5, 0], abs=TOLERANCE)
    assert field.is_cut_off(torch.tensor([[12.0], [31.0]])).tolist() == [True, False]
    assert not known.solve_for(at(47.5)).is_cut_off(torch.tensor([[12.0]])).any()


def test_a_position_is_not_cut_off_if_only_the_landmark_nearest_to_it_is_lost():
    known = corridor(1, -1)
    field = known.solve_for(at(47.5))
    there, one_lost = known.landmarks[4:5], (torch.arange(10) == 4)[None]
    assert not replace(field, is_lost=one_lost).is_cut_off(there).any()
    assert replace(field, is_lost=torch.ones_like(one_lost)).is_cut_off(there).all()


def test_a_landmark_to_which_the_agent_may_be_thrown_cannot_be_excluded():
    thrown = chain(4, [(0, 1), (1, 2), (1, 3)], [0, 0, 0.5])
    nothing = torch.zeros(3, dtype=torch.bool)
    assert len(thrown.exclude(torch.arange(4) == 2, nothing).edges) == 2
    with pytest.raises(InputError, match="throws into the regions to avoid"):
        thrown.exclude(torch.arange(4) == 3, nothing)


def test_costs_are_finite_if_a_landmark_has_no_edge_to_choose():
    """At landmark 1 the agent is thrown back with chance 1/2, and otherwise has no edge to choose."""
    costs = chain(3, [(0, 1), (1, 0)], [0, 0.5]).solve_for(at(10.0)).costs
    assert costs.isfinite().all()


def test_the_luckiest_cost_uses_the_shorter_of_a_chosen_and_a_thrown_edge():
    graph = chain(2, [(0, 1), (0, 1)], [0, 0.25])
    direct = np.array([[np.inf, 0.0]])
    assert graph._find_luckiest_costs(direct)[0].tolist() == pytest.approx([1, 0], abs=TOLERANCE)


def test_implausibility_grows_with_jumps_and_with_the_distance_from_the_recording():
    path = at(27.5, 28.5, 32.5, 32.5)  # one move of 4 steps
    assert corridor(1, -1).measure_implausibility(path).tolist() == pytest.approx(
        [JUMP_WEIGHT * (4 - LONGEST_MOVE) / 3]
    )
    away = at(57.5, 57.5)  # two cells beyond the last landmark
    assert corridor(1, -1).measure_implausibility(away).tolist() == pytest.approx([OFF_RECORDING_WEIGHT * CELL])


def test_the_end_of_an_episode_is_no_edge():
    whole, halves = ways(CORRIDOR), ways(CORRIDOR[:25], CORRIDOR[25:])
    assert np.array_equal(whole[0], halves[0])
    assert edges_of(CostToGo.fit(*whole)).keys() - edges_of(CostToGo.fit(*halves)).keys() == {(22.5, 27.5)}


def test_a_move_that_was_recorded_less_than_twice_is_no_edge(monkeypatch):
    monkeypatch.setattr(module, "ROWS_PER_LANDMARK", 0)
    once, twice = (CostToGo.fit(*ways(CORRIDOR, times=times)) for times in (FEWEST_MOVES - 1, FEWEST_MOVES))
    assert not len(once.edges) and len(twice.edges) == 9 and torch.equal(once.landmarks, twice.landmarks)


def test_in_a_short_recording_a_single_move_is_an_edge_where_nothing_else_connects_its_cells():
    """The corridor was walked twice up to the middle, and once from there to its end."""
    first, last = CORRIDOR[: len(CORRIDOR) // 2], CORRIDOR[len(CORRIDOR) // 2 - 1 :]
    positions, is_last = ways(first, times=FEWEST_MOVES)
    positions, is_last = (
        np.concatenate([positions, np.reshape(last, (len(last), -1))]),
        np.append(is_last, np.arange(1, len(last) + 1) == len(last)),
    )
    assert len(CostToGo.fit(positions, is_last).edges) == 9


def thrown(times_walked, times_thrown):
    """Return a graph of walks along the corridor, and of throws from its fifth to its first cell."""
    return CostToGo.fit(*ways(*[CORRIDOR] * times_walked, *[np.concatenate([CORRIDOR[:25], CORRIDOR])] * times_thrown))


def test_a_move_longer_than_a_cell_is_a_throw():
    known = thrown(9, 1)  # both twice: 20 walks out of the fifth cell, and two throws
    assert edges_of(known) == {(2.5 + 5 * cell, 7.5 + 5 * cell): 0 for cell in range(9)} | {
        (22.5, 2.5): pytest.approx(2 / 22)
    }
    assert len(thrown(9, 0).edges) == 9


def test_a_throw_takes_one_step_whatever_its_distance():
    known = chain(12, [(0, 11), *((hop, hop + 1) for hop in range(11))], [0.5] + [0] * 11)
    costs = known.solve_for(at(55.0)).costs[0]
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
def test_the_cost_of_a_chain_with_one_risk_of_a_throw_back_is_the_expected_one(at_risk, chance):
    last, steps = 9, 5.0
    known = chain(10, [*((hop, hop + 1) for hop in range(last)), (at_risk, 0)], [0] * last + [chance])
    costs = known.solve_for(at(steps * last)).costs[0].tolist()
    cost = expected_cost(steps, last, at_risk, chance)
    before = [steps * (at_risk - landmark) + cost for landmark in range(at_risk + 1)]
    after = [steps * (last - landmark) for landmark in range(at_risk + 1, last + 1)]
    assert costs == pytest.approx(before + after, abs=10 * ACCURACY)


def test_the_cost_of_a_chain_with_risks_everywhere_is_the_expected_one():
    """V_k = (1 − q) (c + V_{k+1}) + q (1 + V_0) with V_n = 0, whose solution is (1 + c (1 − q) / q) (p^−n − p^−k) with
    p = 1 − q.
    """
    last, steps, chance = 6, 4.0, 0.2
    back = [(landmark, 0) for landmark in range(last)]
    known = chain(last + 1, [*((hop, hop + 1) for hop in range(last)), *back], [0] * last + [chance] * last, steps)
    # Two more landmarks close to the goal, so that no landmark but the last leads there in a straight line.
    beside = steps * last + torch.tensor([[0.1], [0.2]])
    known = replace(known, landmarks=torch.cat([known.landmarks, beside]))
    costs = known.solve_for(at(steps * last)).costs[0, : last + 1].tolist()
    stay = 1 - chance
    expected = [(1 + steps * stay / chance) * (stay**-last - stay**-landmark) for landmark in range(last)]
    assert costs == pytest.approx([*expected, 0], abs=0.05)


def test_the_expected_cost_is_estimated_from_a_recording_with_throws_back():
    """In walks from cell 0 to cell 9, a throw leads from the end of cell 3 to the beginning with chance 1/5."""
    random, at_risk, last, chance = np.random.default_rng(0), 3, 9, 0.2
    there, rest = line(0, 5 * at_risk + 4), line(5 * at_risk + 5, 5 * last + 4)
    episodes = [[there] * random.geometric(1 - chance) + [rest] for _ in range(2000)]
    known = CostToGo.fit(*ways(*(np.concatenate(parts) for parts in episodes), times=1))
    assert known.stride.tolist() == [1.0] and known.landmarks[:, 0].tolist() == [2.5 + 5 * cell for cell in range(10)]
    recorded = known.chances[known.chances > 0].tolist()
    assert recorded == [pytest.approx(chance, abs=4 * (chance * (1 - chance) / 2500) ** 0.5)]
    costs = known.solve_for(at(2.5 + 5 * last)).costs[0]
    assert costs[at_risk].item() == pytest.approx(expected_cost(5.0, last, at_risk, recorded[0]), abs=0.02)
    assert costs[at_risk].item() == pytest.approx(expected_cost(5.0, last, at_risk, chance), rel=0.04)
    assert (costs[0] - costs[at_risk]).item() == pytest.approx(15.0, abs=0.02)


def test_the_expected_cost_equals_the_luckiest_without_risk():
    hops = [(hop, hop + 1) for hop in range(9)]
    sure, hardly_risky = chain(10, hops, [0] * 9), chain(10, [*hops, (2, 0)], [0] * 9 + [1e-7])
    behind = chain(10, [*hops, (9, 0)], [0] * 9 + [0.5])
    costs = [known.solve_for(at(20.0)).costs[0, :6] for known in (sure, hardly_risky, behind)]
    assert costs[0].tolist() == pytest.approx([20, 15, 10, 5, 0, 5], abs=TOLERANCE)
    torch.testing.assert_close(costs[1], costs[0], rtol=0, atol=TOLERANCE)
    torch.testing.assert_close(costs[2], costs[0], rtol=0, atol=TOLERANCE)


def teleporter(counts):
    """Return a chain of 12 landmarks and a distant teleporter, which throws to the second, fifth and eighth."""
    landmarks = torch.tensor([*(5.0 * hop for hop in range(12)), -1000.0])[:, None]
    edges = [*((hop, hop + 1) for hop in range(11)), (12, 1), (12, 4), (12, 7)]
    chances = np.array([0] * 11 + list(counts)) / sum(counts)
    chances = torch.tensor(chances, dtype=torch.float32)
    return CostToGo(landmarks, torch.ones(1), torch.tensor(edges, dtype=torch.int32), chances)


def test_a_random_teleporter_costs_the_mean_of_its_exits_and_not_the_best():
    costs = teleporter([1, 1, 1]).solve_for(at(55.0)).costs[0]
    assert costs[[1, 4, 7]].tolist() == pytest.approx([50, 35, 20], abs=TOLERANCE)
    assert costs[12].item() == pytest.approx(1 + (50 + 35 + 20) / 3, abs=TOLERANCE)


@pytest.mark.parametrize("counts", [(7, 2, 1), (1, 5, 4)])
def test_the_exits_of_a_teleporter_are_weighted_by_their_chances_in_spite_of_rounding(counts):
    costs = teleporter(counts).solve_for(at(55.0)).costs[0]
    mean = np.average([50, 35, 20], weights=counts)
    assert costs[12].item() == pytest.approx(1 + mean, abs=TOLERANCE)


def test_a_throw_to_a_place_without_a_path_costs_several_times_as_much_as_the_farthest_landmark():
    hops = [(hop, hop + 1) for hop in range(11)]
    landmarks = torch.tensor([*(5.0 * hop for hop in range(12)), -1000.0])[:, None]  # the last is a dead end
    chances = torch.tensor([0] * 11 + [0.01])
    known = CostToGo(landmarks, torch.ones(1), torch.tensor([*hops, (6, 12)], dtype=torch.int32), chances)
    costs = known.solve_for(at(55.0)).costs[0].tolist()
    at_risk = 0.99 * 25 + 0.01 * (1 + LOST * 55)
    before, after = [at_risk + 5 * hops for hops in range(6, -1, -1)], [20, 15, 10, 5, 0]
    assert costs[:12] == pytest.approx(before + after, abs=TOLERANCE)


def test_the_expected_costs_of_a_goal_are_bit_equal_alone_and_with_other_goals():
    hops, back = [(hop, hop + 1) for hop in range(9)], [(hop, 0) for hop in range(9)]
    known, goals = chain(10, hops + back, [0] * 9 + [0.3] * 9), torch.tensor([[10.0], [45.0], [20.0]])
    together = known.solve_for(goals).costs
    assert all(torch.equal(together[row], known.solve_for(goals[row : row + 1]).costs[0]) for row in range(3))


@pytest.mark.filterwarnings("error")
def test_a_landmark_without_a_path_to_the_goal_raises_no_warning():
    chain(10, [(0, 1), (1, 2), (2, 0)], [0, 0, 0.5]).solve_for(at(45.0))


@pytest.mark.parametrize("origin", [4000.0, 60_000.0])
def test_costs_do_not_depend_on_the_origin(origin):
    way = line(0, 199)
    here, there = (CostToGo.fit(*ways(way + shift, way[::-1] + shift)) for shift in (0.0, origin))
    costs, shifted = here.solve_for(at(182.5)).costs, there.solve_for(at(182.5 + origin)).costs
    torch.testing.assert_close(shifted, costs, rtol=0, atol=0.1)
    positions = at(50.0, 101.0, 260.0)
    fields = here.solve_for(at(182.5)), there.solve_for(at(182.5 + origin))
    torch.testing.assert_close(fields[1](positions + origin), fields[0](positions), rtol=0, atol=0.1)
    doubts = [known.measure_implausibility(positions + shift) for known, shift in ((here, 0.0), (there, origin))]
    torch.testing.assert_close(*doubts, rtol=0, atol=1.0)


def test_the_gradient_leads_out_of_a_dead_end_even_if_another_path_is_close():
    """At an end of a U, the other end is nearer (30 steps) than the eighth-nearest landmark of the same arm."""
    there = walk([2.5, 2.5], [2.5, 102.5], [32.5, 102.5], [32.5, 2.5])
    field = CostToGo.fit(*ways(there, there[::-1])).solve_for(torch.tensor([[32.5, 2.5]]))
    assert field(torch.tensor([[[2.5, 2.5]]])).item() == pytest.approx(230, abs=10)
    away = -slopes(field, [[2.5, 2.5]])[0]
    assert away[1] > 0 and away[1] > 2 * away[0].abs()


def test_rests_do_not_count_for_the_full_speed():
    """The recording is a walk with a rest of 10,000 rows at its end."""
    rest = np.full((10_000, 1), CORRIDOR[-1])
    resting = CostToGo.fit(*ways(np.concatenate([CORRIDOR, rest]), CORRIDOR[::-1]))
    assert resting.stride.tolist() == [1.0] and torch.equal(resting.edges, corridor(1, -1).edges)


def test_a_recorded_teleporter_costs_the_mean_of_its_exits():
    exits = [line(5 * cell, 59) for cell in (1, 4, 7)]
    entrance = line(-1005, -1001)
    known = CostToGo.fit(*ways(*(np.concatenate([entrance, way]) for way in exits), *[line(0, 59)] * 3))
    field = known.solve_for(at(57.5))
    assert (known.landmarks[0].item(), field.costs[0, 0].item()) == pytest.approx((-1002.5, 36), abs=0.01)


@pytest.mark.parametrize("positions", [np.zeros((5, 2)), np.arange(5.0)[:, None]])
def test_a_recording_without_movement_has_no_cost_to_go(positions):
    with pytest.raises(InputError, match="no goal channel of the recording changes"):
        CostToGo.fit(positions, np.ones(5, bool))  # each row is an episode


def test_a_cost_to_go_is_restored_from_its_tensors(cost_to_go):
    again = CostToGo(**cost_to_go.to_tensors())
    assert all(torch.equal(part, cost_to_go.to_tensors()[name]) for name, part in again.to_tensors().items())


@pytest.mark.parametrize("half", [False, True])
def test_a_checkpoint_keeps_the_cost_to_go_bit_for_bit(knowing_model, tmp_path, half):
    save_checkpoint(tmp_path / FILE_NAME, knowing_model, {}, half)
    model, _ = load_checkpoint(tmp_path / FILE_NAME)
    for name, part in knowing_model.cost_to_go.to_tensors().items():
        kept = model.cost_to_go.to_tensors()[name]
        assert kept.dtype == part.dtype and torch.equal(kept, part)
    assert model.state_dict().keys() == knowing_model.state_dict().keys()


def test_a_checkpoint_without_a_cost_to_go_loads_without_one(tiny_model, tmp_path):
    save_checkpoint(tmp_path / FILE_NAME, tiny_model, {})
    assert load_checkpoint(tmp_path / FILE_NAME)[0].cost_to_go is None


@pytest.mark.parametrize(
    ("part", "value"), [("landmarks", float("nan")), ("stride", 0.0), ("chances", 2.0), ("edges", 99), ("edges", -1)]
)
def test_a_checkpoint_with_an_impossible_cost_to_go_is_refused(tiny_model, cost_to_go, tmp_path, part, value):
    parts = {name: tensor.clone() for name, tensor in cost_to_go.to_tensors().items()}
    parts[part].view(-1)[0] = value
    tiny_model.cost_to_go = CostToGo(**parts)
    save_checkpoint(tmp_path / "x.safetensors", tiny_model, {})
    with pytest.raises(InputError, match="holds a cost to go with"):
        load_checkpoint(tmp_path / "x.safetensors")


def test_positions_that_are_not_finite_have_costs_that_are_not_finite():
    field = corridor(1, -1).solve_for(at(182.5))
    inf, nan = float("inf"), float("nan")
    assert not field(torch.tensor([[[inf], [-inf], [nan]]])).isfinite().any()
    assert field(torch.tensor([[[3e38]]])).item() > 1e30


def test_searches_for_repeated_goals_are_cached_up_to_a_limit():
    graph = corridor(1, -1)
    goals = [torch.tensor([[float(value)]]) for value in range(10, 10 + 2 * REMEMBERED_SEARCHES)]
    for goal in (*goals, goals[0], goals[-1], goals[-1]):
        torch.testing.assert_close(graph.solve_for(goal).costs, corridor(1, -1).solve_for(goal).costs)
    assert len(graph._searches) == REMEMBERED_SEARCHES


def test_a_subgoal_lies_so_many_steps_ahead_on_the_cheapest_way_and_is_the_goal_where_the_way_ends():
    field = corridor(1, -1).solve_for(torch.full((3, 1), 32.0))
    found = field.find_subgoals(torch.tensor([[2.0], [43.0], [28.0]]), steps=14)
    assert found[:, 0].tolist() == pytest.approx([17.5, 32.0, 32.0], abs=1.0) and found[1:, 0].tolist() == [32.0] * 2


def test_a_subgoal_goes_around_a_corner_and_never_through_what_the_recording_did_not_cross():
    way = walk([0.5, 0.5], [30.5, 0.5], [30.5, 30.5], [0.5, 30.5])  # three sides of a square
    field = CostToGo.fit(*ways(way, way[::-1])).solve_for(torch.tensor([[0.5, 30.5]]))
    found = field.find_subgoals(torch.tensor([[0.5, 0.5]]), steps=40)[0]
    assert found[0] == pytest.approx(30.5, abs=2.0) and 5 < found[1] < 16


def test_without_a_way_the_subgoal_is_the_goal():
    one_way = corridor(1).solve_for(torch.tensor([[2.0]]))  # nothing leads back
    assert one_way.find_subgoals(torch.tensor([[42.0]]), steps=20).tolist() == [[2.0]]


def test_throws_from_near_landmarks_are_assumed_to_lead_to_the_same_places():
    """From each of two cells side by side throws were recorded, to different places."""
    lucky, unlucky = np.concatenate([line(0, 9), line(100, 109)]), np.concatenate([line(0, 3), line(200, 209)])
    known = CostToGo.fit(*ways(lucky, unlucky))
    thrown = {edge: chance for edge, chance in edges_of(known).items() if chance}
    starts = {start for start, _ in thrown}
    assert len(starts) == 2 and len(thrown) == 4
    for start in starts:
        chances = [chance for (tail, _), chance in thrown.items() if tail == start]
        assert chances[0] == pytest.approx(chances[1])


def test_a_way_that_was_taken_once_is_an_edge_if_it_was_taken_back_and_the_world_throws():
    thrown = np.concatenate([line(0, 9), line(100, 109)])
    forth, once_back = line(20, 39), line(20, 39)[::-1]
    positions, is_last = ways(thrown, forth)
    both = np.concatenate([positions, once_back]), np.append(is_last, np.arange(20) == 19)
    assert (27.5, 22.5) in edges_of(CostToGo.fit(*both))
    positions, is_last = ways(forth, line(0, 9), line(100, 109), times=400)  # enough rows, and no throw
    both = np.concatenate([positions, once_back]), np.append(is_last, np.arange(20) == 19)
    assert (27.5, 22.5) not in edges_of(CostToGo.fit(*both))


def test_a_way_to_a_place_of_throws_ends_there():
    known = chain(6, [(0, 1), (1, 2), (2, 5), (3, 4), (4, 5)], [0, 0, 1.0, 0, 0])
    assert known.solve_for(at(25.0)).find_subgoals(torch.tensor([[0.0]]), steps=100).tolist() == [[10.0]]


def test_a_way_does_not_begin_at_a_landmark_without_a_way():
    hops = [(hop + 1, hop) for hop in range(5)]
    landmarks = torch.tensor([*([5.0 * hop, 0.0] for hop in range(6)), [27.0, 4.0]])  # nothing leads from the last one
    known = CostToGo(landmarks, torch.ones(2), torch.tensor(hops, dtype=torch.int32), torch.zeros(5))
    field = known.solve_for(torch.zeros(1, 2))
    assert field.is_lost[0].tolist() == [False] * 6 + [True]
    assert field.find_subgoals(torch.tensor([[27.0, 3.0]]), steps=10).tolist() == [[15.0, 0.0]]


def test_an_agent_with_near_subgoals_arrives():
    field, place = corridor(1, -1).solve_for(torch.tensor([[22.6]])), torch.tensor([[3.0]])
    for _ in range(40):
        place = place + (field.find_subgoals(place, steps=1) - place).clamp(-1, 1)
    assert place.item() == pytest.approx(22.6, abs=1e-4)
