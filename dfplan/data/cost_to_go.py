"""The cost to go: the number of steps from a position to a goal, estimated from a recording.

A graph summarises the recording. Its landmarks are the mean positions in the cells of a grid over the goal channels of
an observation, and its edges connect cells between which the recording moved. A search over the graph gives the cost
from each landmark to a goal. Between landmarks the cost is interpolated, so that it has a gradient and can guide plans
(``dfplan.sampling.guides.cost_to_go``). The recording is the only source: there is no map and no model of the world.

In a random world the agent may be thrown to a place that it did not choose. The cost to go is then an expected value. A
move of one step counts as a throw if it is longer than a cell, and as chosen otherwise.
"""

from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components, dijkstra
from scipy.spatial import cKDTree
from torch import Tensor

from dfplan.ground.errors import InputError

FULL_SPEED = 0.99  # quantile of the recorded moves of one step that counts as full speed
FAST = 0.9  # quantile of the same moves; moves of more than CELL times its value are not used for the full speed
CELL = 5.0  # side of a grid cell, in steps at full speed; a longer move of one step is a throw
FEWEST_MOVES = 2  # recorded moves from cell to cell that are needed for an edge
ROWS_PER_LANDMARK = 1000  # in a recording with fewer, a single move is an edge if no other edges connect its cells
GOAL_LANDMARKS = 3  # number of nearest landmarks that are connected to a goal by a straight line
NEIGHBOURS = 8  # number of nearest landmarks between which costs are interpolated
REACH = 2 * CELL  # steps; a neighbour that is farther than the nearest one by more may be behind a wall and is not used
TEMPERATURE = CELL / 2  # of the soft minimum over neighbours, in steps
ROUNDING = CELL  # steps; a distance d is replaced by √(d² + ROUNDING²) − ROUNDING, which is smooth at 0
# The implausibility of a planned path is measured in steps and averaged over the steps of the path.
OFF_RECORDING_WEIGHT = 5.0  # per step of distance from the nearest landmark, beyond one cell
JUMP_WEIGHT = 20.0  # per step by which a move is longer than ``LONGEST_MOVE``
LONGEST_MOVE = 1.5  # steps at full speed; about the length of a diagonal move
REMEMBERED_SEARCHES = 8
NEARBY = 2 * CELL  # steps; throws from landmarks within this distance are assumed to lead to the same places
LOST = 20.0  # cost of a landmark without a path to the goal in a random world, in highest costs of the others
FAR_AWAY = 1e30  # steps; replaces infinite coordinates
ROUNDING_ERROR = 1e-5  # of the sum of a landmark's chances, which are stored as float32
ACCURACY, MOST_SWEEPS = 1e-3, 100_000  # value iteration ends when costs change by fewer steps, or after so many sweeps


@dataclass(frozen=True, eq=False)
class CostToGo:
    """The graph of a recording, from which the cost to any goal is computed.

    Distances are in steps at full speed: each channel is divided by its ``stride``.

    Attributes:
        landmarks: mean goal channels of the recorded observations in each visited cell, in environment units.
        stride: change of each goal channel in one step at full speed, in environment units.
        edges: indices of the start and end landmark of each edge.
        chances: for an edge of throws, the share of the departures from its start landmark that were thrown along it;
            0 for an edge that can be chosen.
    """

    landmarks: Float[Tensor, "landmark goal"]
    stride: Float[Tensor, " goal"]
    edges: Int[Tensor, "edge 2"]
    chances: Float[Tensor, " edge"]

    @classmethod
    def fit(cls, positions: Float[np.ndarray, "row goal"], is_last: Bool[np.ndarray, " row"]) -> "CostToGo":
        """Return the graph of a recording.

        Args:
            positions: goal channels of the recorded observations, row by row, in environment units.
            is_last: whether a row is the last one of its episode, so that no move leads to the next row.

        Raises:
            InputError: if no goal channel changes within an episode.
        """
        positions, steered = positions.astype(np.float64), ~is_last[:-1]
        moves = np.diff(positions, axis=0)
        stride = _measure_stride(moves[steered])
        _, cell, visits = np.unique(
            np.floor(positions / (CELL * stride)), axis=0, return_inverse=True, return_counts=True
        )
        cell = cell.reshape(-1)  # (row,)
        landmarks = np.stack([np.bincount(cell, channel) / visits for channel in positions.T], axis=1)
        left = steered & (cell[1:] != cell[:-1])
        pairs = np.stack([cell[:-1], cell[1:]], axis=1)
        is_thrown = find_throws(positions, is_last)
        chosen, times = np.unique(pairs[left & ~is_thrown], axis=0, return_counts=True)
        is_edge = times >= FEWEST_MOVES
        if len(positions) < ROWS_PER_LANDMARK * len(landmarks):
            is_edge |= _find_only_ways(chosen[is_edge], chosen, len(landmarks))
        thrown, times_thrown = np.unique(pairs[left & is_thrown], axis=0, return_counts=True)
        if len(thrown):
            is_edge |= _find_reversed(chosen[is_edge], chosen)
        chosen, times = chosen[is_edge], times[is_edge]
        edges, chances = _compute_chances(chosen, times, thrown, times_thrown, landmarks / stride)
        return cls(
            torch.tensor(landmarks, dtype=torch.float32),
            torch.tensor(stride, dtype=torch.float32),
            torch.tensor(edges, dtype=torch.int32),
            torch.tensor(chances, dtype=torch.float32),
        )

    def to_tensors(self) -> dict[str, Tensor]:
        """Return the attributes by name; ``CostToGo(**tensors)`` restores the graph."""
        return asdict(self)

    def check(self, source: str, goal_dim: int) -> None:
        """Check a graph that was read from ``source``.

        Raises:
            InputError: if the shapes do not match each other and ``goal_dim``, or if values are impossible.
        """
        number = len(self.landmarks)
        fits = number and self.landmarks.shape[1:] == self.stride.shape == (goal_dim,)
        fits = fits and self.edges.shape == (len(self.chances), 2)
        if not fits or self.edges.is_floating_point():
            raise InputError(f"{source} holds a cost to go with shapes that do not match; train or copy it again.")
        is_chance = (self.chances >= 0) & (self.chances <= 1)
        if not (self.landmarks.isfinite().all() and (self.stride > 0).all() and is_chance.all()):
            raise InputError(f"{source} holds a cost to go with impossible values; train or copy it again.")
        if self.edges.numel() and not (self.edges.min() >= 0 and self.edges.max() < number):
            raise InputError(
                f"{source} holds a cost to go with edges beyond its {number} landmarks; train or copy it again."
            )

    def solve_for(self, goals: Float[Tensor, "batch goal"]) -> "CostField":
        """Return the costs to all goals, which are found in one search.

        A goal may lie anywhere: straight lines connect it to the nearest landmarks. A landmark without a recorded path
        to the goal gets the highest cost of the other landmarks, and ``LOST`` times as much in a random world, where a
        plan should not risk being thrown there. The highest cost is computed as if every throw could be chosen.
        """
        different, which = torch.unique(goals.cpu(), dim=0, return_inverse=True)
        key = different.numpy().tobytes()
        if key not in self._searches:  # an agent plans to the same goals many times
            while len(self._searches) >= REMEMBERED_SEARCHES:
                del self._searches[next(iter(self._searches))]
            self._searches[key] = self._search(different)
        costs, is_lost = (part[which] for part in self._searches[key])
        parts = (self.landmarks_in_steps, self.stride, costs, is_lost)
        return CostField(self, goals, *(part.to(goals.device) for part in parts))

    def exclude(self, forbidden: Bool[Tensor, " landmark"], closed: Bool[Tensor, " edge"]) -> "CostToGo":
        """Return the graph without the forbidden landmarks and the closed edges.

        Closed edges are removed only if they can be chosen: no plan can prevent a throw.

        Raises:
            InputError: if no landmark is left, or if a throw leads from an allowed to a forbidden landmark.
        """
        if forbidden.all():
            raise InputError("every recorded position lies in the regions to avoid; make the regions smaller.")
        number = (~forbidden).cumsum(dim=0) - 1  # new index of each landmark that is left
        edges, is_thrown = self.edges.long(), self.chances > 0
        start, stop = edges.T
        if (is_thrown & ~forbidden[start] & forbidden[stop]).any():
            raise InputError(
                "the recording contains throws into the regions to avoid, which no path can prevent; make them smaller."
            )
        kept = ~forbidden[edges].any(dim=1) & (is_thrown | ~closed)
        return CostToGo(self.landmarks[~forbidden], self.stride, number[edges[kept]].int(), self.chances[kept])

    def measure_implausibility(self, path: Float[Tensor, "batch start_and_step goal"]) -> Float[Tensor, " batch"]:
        """Return how implausible planned paths are, in steps: how far they leave the recording, and how far they jump.

        It is the mean over the steps of ``OFF_RECORDING_WEIGHT`` times the distance from the nearest landmark beyond
        one cell, plus ``JUMP_WEIGHT`` times the length of a move beyond ``LONGEST_MOVE``.

        Args:
            path: positions in environment units, the start included.
        """
        path = path / self.stride.to(path)
        jumps = (path.diff(dim=1).norm(dim=-1) - LONGEST_MOVE).clamp_min(0)
        off = self.find_nearest(path[:, 1:], 1)[0][..., 0]
        return (OFF_RECORDING_WEIGHT * (off - CELL).clamp_min(0) + JUMP_WEIGHT * jumps).mean(dim=1)

    def _search(
        self, goals: Float[Tensor, "batch goal"]
    ) -> tuple[Float[Tensor, "batch landmark"], Bool[Tensor, "batch landmark"]]:
        """Return the cost from each landmark to each goal, and which landmarks have no recorded path to the goal."""
        direct = self.measure_direct(goals)
        luckiest = self._find_luckiest_costs(direct)
        costs = _replace_infinite(luckiest)
        if (self.chances > 0).any():
            costs = self._find_expected_costs(costs, np.isinf(luckiest), direct)
        return torch.tensor(costs, dtype=torch.float32), torch.tensor(np.isinf(luckiest))

    @cached_property
    def _searches(self) -> dict[bytes, tuple[Float[Tensor, "batch landmark"], Bool[Tensor, "batch landmark"]]]:
        """The results of the last searches, by the bytes of their goals."""
        return {}

    @cached_property
    def landmarks_in_steps(self) -> Float[Tensor, "landmark goal"]:
        """The landmarks in steps, i.e. divided by ``stride``."""
        return self.landmarks / self.stride

    def measure_direct(self, goals: Float[Tensor, "batch goal"]) -> Float[np.ndarray, "batch landmark"]:
        """Return the straight distance to each goal from its nearest landmarks in steps, infinity from all others."""
        found = self.find_nearest(goals / self.stride.to(goals), GOAL_LANDMARKS)
        distances, nearest = (part.cpu().numpy() for part in found)
        direct = np.full((len(goals), len(self.landmarks)), np.inf)
        np.put_along_axis(direct, nearest, distances, axis=1)
        return direct

    def find_nearest(
        self, positions: Float[Tensor, "*shape goal"], number: int
    ) -> tuple[Float[Tensor, "*shape neighbour"], Int[Tensor, "*shape neighbour"]]:
        """Return the distances to the nearest landmarks in steps, and the indices of these landmarks, nearest first.

        There are ``number`` neighbours, or fewer if the graph has fewer landmarks. The search needs finite positions:
        infinite coordinates are replaced by ±``FAR_AWAY``, and NaN by 0.

        Args:
            positions: in steps, i.e. divided by ``stride``.
            number: of neighbours.
        """
        ranks = range(1, 1 + min(number, len(self.landmarks)))
        finite = positions.detach().cpu().double().nan_to_num(0.0, FAR_AWAY, -FAR_AWAY)
        distances, nearest = self._tree.query(finite.numpy(), ranks)
        return torch.as_tensor(distances).to(positions), torch.as_tensor(nearest).to(positions.device)

    @cached_property
    def total_chances(self) -> Float[np.ndarray, " landmark"]:
        """The chance that a departure from each landmark is thrown."""
        return np.bincount(self.edges[:, 0].numpy(), self.chances.double().numpy(), len(self.landmarks))

    @cached_property
    def neighbours(self) -> tuple[Int[np.ndarray, "landmark neighbour"], Float[np.ndarray, "landmark neighbour"]]:
        """The landmarks to which each landmark has an edge that can be chosen, and the lengths of these edges in steps.

        All landmarks have equally many; those that are missing are landmark 0 at an infinite distance.
        """
        is_chosen = self.chances.numpy() == 0
        (start, stop), lengths = self.edges.numpy()[is_chosen].T, self._measure_edges()[is_chosen]
        order = np.argsort(start, kind="stable")
        start, stop, lengths = start[order], stop[order], lengths[order]
        number = np.bincount(start, minlength=len(self.landmarks))
        rank = np.arange(len(start)) - np.repeat(number.cumsum() - number, number)
        shape = len(self.landmarks), max(1, int(number.max()))
        neighbours, distances = np.zeros(shape, dtype=np.int64), np.full(shape, np.inf)
        neighbours[start, rank], distances[start, rank] = stop, lengths
        return neighbours, distances

    @cached_property
    def _tree(self) -> cKDTree:
        return cKDTree(self.landmarks_in_steps.double().numpy())

    def _measure_edges(self) -> Float[np.ndarray, " edge"]:
        """Return the length of each edge in steps; a throw takes one step."""
        start, stop = self.landmarks_in_steps.double().numpy()[self.edges.numpy().T]
        return np.where(self.chances.numpy() > 0, 1.0, np.linalg.norm(start - stop, axis=1))

    def _find_luckiest_costs(self, direct: Float[np.ndarray, "batch landmark"]) -> Float[np.ndarray, "batch landmark"]:
        """Return the costs as if every edge could be chosen, by Dijkstra's algorithm on the reversed graph.

        The goals are nodes too. ``direct`` has the steps to them from their nearest landmarks, infinity elsewhere.
        """
        num_goals, num_landmarks = direct.shape
        goal, last = np.nonzero(np.isfinite(direct))
        start, stop = self.edges.numpy().T
        tails, heads = np.concatenate([stop, num_landmarks + goal]), np.concatenate([start, last])
        # A sparse matrix drops weights of 0.
        weights = np.concatenate([self._measure_edges(), np.maximum(direct[goal, last], ACCURACY)])
        # Keep the shortest of several edges between two nodes, which is the first one in this order.
        size = num_landmarks + num_goals
        order = np.argsort(weights, kind="stable")
        _, shortest = np.unique((tails * size + heads)[order], return_index=True)
        weights, tails, heads = (part[order][shortest] for part in (weights, tails, heads))
        graph = csr_array((weights, (tails, heads)), shape=(size, size))
        return dijkstra(graph, indices=num_landmarks + np.arange(num_goals))[:, :num_landmarks]

    def _find_expected_costs(
        self,
        costs: Float[np.ndarray, "batch landmark"],
        lost: Bool[np.ndarray, "batch landmark"],
        direct: Float[np.ndarray, "batch landmark"],
    ) -> Float[np.ndarray, "batch landmark"]:
        """Return the expected costs, by value iteration (Bellman 1957).

        At each departure from a landmark the agent is thrown along one of the edges, or else chooses the best edge. A
        landmark without an edge to choose has the highest cost as its choice. Each goal is iterated until its own costs
        converge, so that they do not depend on the other goals.

        Args:
            costs: the luckiest costs, which are lower bounds and the initial values.
            lost: landmarks without a recorded path to the goal; their costs are ``LOST`` times as high.
            direct: steps to each goal from its nearest landmarks, infinity elsewhere.
        """
        costs, farthest = np.where(lost, LOST * costs, costs), costs.max(axis=1, keepdims=True)
        unfinished, steps = np.arange(len(costs)), self._measure_edges()
        for _ in range(MOST_SWEEPS):
            present = costs[unfinished]
            swept = self._sweep(present, direct[unfinished], farthest[unfinished], steps)
            swept = np.where(lost[unfinished], present, swept)
            changed = ~np.isclose(swept, present, rtol=0, atol=ACCURACY).all(axis=1)
            costs[unfinished] = swept
            unfinished = unfinished[changed]
            if not len(unfinished):
                break
        return costs

    def _sweep(
        self,
        costs: Float[np.ndarray, "batch landmark"],
        direct: Float[np.ndarray, "batch landmark"],
        farthest: Float[np.ndarray, "batch 1"],
        steps: Float[np.ndarray, " edge"],
    ) -> Float[np.ndarray, "batch landmark"]:
        """Return the expected cost of one departure from each landmark, given the ``costs`` after it."""
        chances, (start, stop) = self.chances.double().numpy(), self.edges.numpy().T
        by_chance = chances > 0
        through = steps + costs[:, stop]  # (batch, edge)
        best, unlucky = direct.copy(), np.zeros_like(costs)
        # NumPy adds at a tuple of indices too, which its annotations leave out.
        np.minimum.at(best, (slice(None), start[~by_chance]), through[:, ~by_chance])  # type: ignore[arg-type]
        np.add.at(unlucky, (slice(None), start[by_chance]), chances[by_chance] * through[:, by_chance])  # type: ignore[arg-type]
        choice = 1 - self.total_chances  # chance that a departure is not thrown, (landmark,)
        choice = np.where(choice > ROUNDING_ERROR, choice, 0.0)
        return unlucky + choice * np.where(np.isinf(best), farthest, best)


def find_throws(
    positions: Float[np.ndarray, "row goal"], is_last: Bool[np.ndarray, " row"]
) -> Bool[np.ndarray, " move"]:
    """Return which moves from one row to the next are throws: longer than a cell, and within an episode."""
    moves, steered = np.diff(positions.astype(np.float64), axis=0), ~is_last[:-1]
    return steered & (np.linalg.norm(moves / _measure_stride(moves[steered]), axis=1) > CELL)


def _measure_stride(moves: Float[np.ndarray, "row goal"]) -> Float[np.ndarray, " goal"]:
    """Return the full speed of each channel; a channel that never changes gets one so high that it has no influence."""
    if not len(moves) or not moves.any():
        raise InputError("no goal channel of the recording changes, so it has no cost to go.")
    return np.array([_measure_full_speed(channel[channel > 0]) for channel in np.abs(moves).T])


def _measure_full_speed(moves: Float[np.ndarray, " move"]) -> float:
    """Return the full speed in one channel from its moves above 0; rare throws are left out."""
    if not len(moves):
        return float(np.finfo(np.float32).max)
    return float(np.quantile(moves[moves <= CELL * np.quantile(moves, FAST)], FULL_SPEED))


def _replace_infinite(costs: Float[np.ndarray, "batch landmark"]) -> Float[np.ndarray, "batch landmark"]:
    """Return the costs with infinite ones replaced by the highest finite one of the row."""
    highest = np.where(np.isinf(costs), -np.inf, costs).max(axis=1, keepdims=True)
    return np.where(np.isinf(costs), highest, costs)


def _find_only_ways(
    edges: Int[np.ndarray, "edge 2"], moves: Int[np.ndarray, "move 2"], num_landmarks: int
) -> Bool[np.ndarray, " move"]:
    """Return which moves lead between landmarks that the edges do not connect in both directions."""
    graph = csr_array((np.ones(len(edges)), edges.T), shape=(num_landmarks, num_landmarks))
    part = connected_components(graph, connection="strong")[1]
    return part[moves[:, 0]] != part[moves[:, 1]]


def _find_reversed(edges: Int[np.ndarray, "edge 2"], moves: Int[np.ndarray, "move 2"]) -> Bool[np.ndarray, " move"]:
    """Return which moves lead along an edge in the opposite direction: walls have two sides.

    Where agents are thrown, they are rarely seen to leave.
    """
    known = set(map(tuple, edges.tolist()))
    return np.array([(stop, start) in known for start, stop in moves.tolist()], dtype=bool)


def _compute_chances(
    chosen: Int[np.ndarray, "edge 2"],
    times: Int[np.ndarray, " edge"],
    thrown: Int[np.ndarray, "throw 2"],
    times_thrown: Int[np.ndarray, " throw"],
    places: Float[np.ndarray, "landmark goal"],
) -> tuple[Int[np.ndarray, "all 2"], Float[np.ndarray, " all"]]:
    """Return all edges, those that are chosen first, and the chance of being thrown along each of them.

    How often a departure is thrown is counted at each landmark. Where to is counted at all landmarks within
    ``NEARBY`` together, because few throws were recorded at each one, and lucky ones would attract plans.

    Args:
        chosen, thrown: start and end landmark of each edge.
        times, times_thrown: how often each edge was taken.
        places: the landmarks in steps.
    """
    number = len(places)
    of_throws = np.bincount(thrown[:, 0], times_thrown, number)
    departures = np.bincount(chosen[:, 0], times, number) + of_throws
    edges, chances = [chosen], [np.zeros(len(chosen))]
    for start in np.flatnonzero(of_throws):
        is_near = np.linalg.norm(places[thrown[:, 0]] - places[start], axis=1) <= NEARBY
        landings = np.bincount(thrown[is_near, 1], times_thrown[is_near], number)
        stop = np.flatnonzero(landings)
        edges.append(np.stack([np.full_like(stop, start), stop], axis=1))
        chances.append(of_throws[start] / departures[start] * landings[stop] / landings.sum())
    return np.concatenate(edges), np.concatenate(chances)


@dataclass(frozen=True, eq=False)
class CostField:
    """The cost to go as a function of the position, with one goal for each plan of a batch.

    Attributes:
        graph: the graph of the recording.
        goals: the goals in environment units.
        landmarks: the graph's landmarks in steps, on the device of the goals.
        stride: the graph's stride, on the device of the goals.
        costs: cost from each landmark to each goal, in steps.
        is_lost: whether a landmark has no recorded path to the goal.
    """

    graph: CostToGo
    goals: Float[Tensor, "batch goal"]
    landmarks: Float[Tensor, "landmark goal"]
    stride: Float[Tensor, " goal"]
    costs: Float[Tensor, "batch landmark"]
    is_lost: Bool[Tensor, "batch landmark"]

    def is_cut_off(self, positions: Float[Tensor, "batch goal"]) -> Bool[Tensor, " batch"]:
        """Return whether no landmark near each position has a recorded path to the goal.

        These are the landmarks at most one cell farther away than the nearest one. A single landmark may be lost
        because the recording was rarely there.
        """
        distances, nearest = self.graph.find_nearest(positions / self.stride, NEIGHBOURS)
        is_far = distances > distances[:, :1] + CELL
        return (self.is_lost.gather(1, nearest) | is_far).all(dim=1)

    def __call__(self, positions: Float[Tensor, "batch step goal"]) -> Float[Tensor, "batch step"]:
        """Return the cost to go from each position (environment units), in steps. It is differentiable.

        It is the soft minimum, over the nearest landmarks, of the distance to a landmark plus its cost. Near the goal,
        the straight distance to the goal takes part too. If several paths are equally good, the soft minimum is a few
        steps below the minimum.
        """
        scaled = positions / self.stride
        distances, nearest = self.graph.find_nearest(scaled, NEIGHBOURS)  # (batch, step, neighbour)
        beyond = self.costs.gather(1, nearest.flatten(1)).view(nearest.shape)
        beyond = beyond.masked_fill(distances > distances[..., :1] + REACH, torch.inf)
        by_landmark = beyond + rounded_norm(scaled[:, :, None] - self.landmarks[nearest])
        straight = self.measure_distance(positions)
        straight = torch.where(straight.detach() < 2 * CELL, straight, torch.inf)
        ways = torch.cat([by_landmark, straight[..., None]], dim=-1)
        return -TEMPERATURE * torch.logsumexp(-ways / TEMPERATURE, dim=-1)

    def find_subgoals(self, positions: Float[Tensor, "batch goal"], steps: int) -> Float[Tensor, "batch goal"]:
        """Return the places at least so many steps ahead on the cheapest recorded ways to the goals.

        They are landmarks. A way ends sooner at a landmark from which every departure is thrown. Where it reaches the
        goal, or there is no way, the place is the goal itself, and also within two cells of the goal.

        Args:
            positions: where the ways begin, environment units.
            steps: at full speed.
        """
        graph, rows = self.graph, np.arange(len(positions))
        costs = self.costs.cpu().double().numpy()
        distances, nearest = (part.cpu().numpy() for part in graph.find_nearest(positions / self.stride, NEIGHBOURS))
        is_lost = np.take_along_axis(self.is_lost.cpu().numpy(), nearest, axis=1)
        is_used = (distances <= distances[:, :1] + REACH) & ~is_lost
        first = np.where(is_used, distances + np.take_along_axis(costs, nearest, axis=1), np.inf).argmin(axis=1)
        here, gone = nearest[rows, first], distances[rows, first]
        direct = graph.measure_direct(self.goals)
        neighbours, lengths = graph.neighbours
        is_thrown = graph.total_chances > 1 - ROUNDING_ERROR
        straight = ((positions - self.goals) / self.stride).norm(dim=1).cpu().numpy()
        has_arrived = (straight < 2 * CELL) | ~is_used.any(axis=1)
        for _ in range(len(graph.landmarks)):
            through = lengths[here] + costs[rows[:, None], neighbours[here]]  # (batch, neighbour)
            best = through.argmin(axis=1)
            has_arrived |= (
                (gone < steps) & np.isfinite(direct[rows, here]) & (direct[rows, here] <= through[rows, best])
            )
            goes_on = (gone < steps) & ~has_arrived & np.isfinite(through[rows, best]) & ~is_thrown[here]
            if not goes_on.any():
                break
            gone = np.where(goes_on, gone + lengths[here, best], gone)
            here = np.where(goes_on, neighbours[here, best], here)
        places = graph.landmarks[torch.as_tensor(here)].to(self.goals)
        return torch.where(torch.as_tensor(has_arrived, device=self.goals.device)[:, None], self.goals, places)

    def measure_distance(self, positions: Float[Tensor, "batch step goal"]) -> Float[Tensor, "batch step"]:
        """Return the straight distance to the goal in steps, made smooth at the goal (``rounded_norm``)."""
        return rounded_norm((positions - self.goals[:, None]) / self.stride)


def rounded_norm(offset: Float[Tensor, "*shape goal"]) -> Float[Tensor, "*shape"]:
    """Return lengths in steps, made smooth at 0, where the gradient of a length is not defined."""
    return (offset.square().sum(dim=-1) + ROUNDING**2).sqrt() - ROUNDING
