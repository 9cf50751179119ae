"""The cost to go that a recording knows: how many steps lie between a position and a goal.

A recording is summed up by a graph. Its landmarks are the mean positions in the cells of a grid over the goal channels
of an observation; its edges lead where the recording moved from cell to cell. A search over the graph gives the cost
from each landmark to a goal. Between landmarks the cost is interpolated, so that it has a gradient, and a guide
(``dfplan.guidance.cost_to_go``) can lead along it. Only the recording is used: neither a map nor a model of the world.

Where the world throws the agent to a place that it did not choose, the cost is the expected one, not the luckiest. A
throw is a move within one step that is longer than a cell; whoever is carried away slowly counts as having chosen so.
"""

from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra
from scipy.spatial import cKDTree
from torch import Tensor

from dfplan.envs.errors import InputError

FAST, FULL_SPEED = 0.9, 0.99  # quantiles of the recorded moves of one step: the second counts as full speed
CELL = 5.0  # side of a grid cell, in steps at full speed; a move that is longer than a cell was thrown, not steered
FEWEST_MOVES = 2  # recorded moves from cell to cell that make an edge
GOAL_LANDMARKS = 3  # nearest landmarks, from which a goal is reached in a straight line
NEIGHBOURS = 8  # nearest landmarks, between which costs are interpolated
REACH = 2 * CELL  # steps by which a neighbour may be farther than the nearest: others may stand behind a wall
TEMPERATURE = CELL / 2  # of the soft minimum over neighbours, in steps
ROUNDING = CELL  # steps; a distance d is rounded off to √(d² + ROUNDING²) − ROUNDING, which is smooth at 0
# What speaks against believing a planned path, in steps for each step of it.
OFF_RECORDING_WEIGHT = 5.0  # for each step of distance, beyond one cell, from the nearest landmark
JUMP_WEIGHT = 20.0  # for each step by which a move is longer than ``LONGEST_MOVE``
LONGEST_MOVE = 1.5  # steps at full speed in one step, about those of a diagonal
REMEMBERED_SEARCHES = 8
FAR_AWAY = 1e30  # steps, in place of infinitely many
ROUNDING_ERROR = 1e-5  # of the chances of a landmark, which are stored as float32 and may add up to less than 1
ACCURACY, MOST_SWEEPS = 1e-3, 100_000  # expected costs are iterated until they change by fewer steps


@dataclass(frozen=True, eq=False)
class CostToGo:
    """Landmarks and edges of a recording, from which the cost to any goal is read.

    Distances are in steps at full speed: each channel is divided by its ``stride``.

    Attributes:
        landmarks: mean goal channels of the recorded observations in each visited cell, environment units.
        stride: by how much one step at full speed changes each goal channel, environment units.
        edges: the two landmarks of each edge, from and to.
        chances: share of the departures from an edge's first landmark that were thrown along the edge; 0 for an edge
            that can be chosen.
    """

    landmarks: Float[Tensor, "landmark goal"]
    stride: Float[Tensor, " goal"]
    edges: Int[Tensor, "edge 2"]
    chances: Float[Tensor, " edge"]

    @classmethod
    def of(cls, positions: Float[np.ndarray, "row goal"], is_last: Bool[np.ndarray, " row"]) -> "CostToGo":
        """Return the graph of a recording.

        Args:
            positions: the goal channels of the recorded observations, row by row, environment units.
            is_last: which rows are the last of an episode: the next row does not follow from them.

        Raises:
            InputError: if nothing moves in the recording.
        """
        positions, steered = positions.astype(np.float64), ~is_last[:-1]
        moves = np.diff(positions, axis=0)
        stride = _stride(moves[steered])
        _, cell, visits = np.unique(
            np.floor(positions / (CELL * stride)), axis=0, return_inverse=True, return_counts=True
        )
        cell = cell.reshape(-1)  # of each row
        landmarks = np.stack([np.bincount(cell, channel) / visits for channel in positions.T], axis=1)
        left = steered & (cell[1:] != cell[:-1])
        pairs = np.stack([cell[:-1], cell[1:]], axis=1)
        is_thrown = np.linalg.norm(moves / stride, axis=1) > CELL
        chosen, times = np.unique(pairs[left & ~is_thrown], axis=0, return_counts=True)
        chosen, times = chosen[times >= FEWEST_MOVES], times[times >= FEWEST_MOVES]
        thrown, times_thrown = np.unique(pairs[left & is_thrown], axis=0, return_counts=True)
        edges, chances = np.concatenate([chosen, thrown]), _chances(chosen, times, thrown, times_thrown)
        parts = (torch.tensor(part, dtype=torch.float32) for part in (landmarks, stride, chances))
        landmarks, stride, chances = parts
        return cls(landmarks, stride, torch.tensor(edges, dtype=torch.int32), chances)

    def tensors(self) -> dict[str, Tensor]:
        """Return the parts by name; ``CostToGo(**tensors)`` is the same again."""
        return asdict(self)

    def check(self, source: str, goal_dim: int) -> None:
        """Raise ``InputError`` if the parts, read from ``source``, do not fit each other and goals of ``goal_dim``
        numbers, or are impossible.
        """
        number = len(self.landmarks)
        fits = number and self.landmarks.shape[1:] == self.stride.shape == (goal_dim,)
        fits = fits and self.edges.shape == (len(self.chances), 2)
        if not fits or self.edges.is_floating_point():
            raise InputError(f"{source} holds a cost to go whose parts do not fit each other; train or copy it anew.")
        is_chance = (self.chances >= 0) & (self.chances <= 1)
        if not (self.landmarks.isfinite().all() and (self.stride > 0).all() and is_chance.all()):
            raise InputError(f"{source} holds a cost to go whose numbers are impossible; train or copy it anew.")
        if self.edges.numel() and not (self.edges.min() >= 0 and self.edges.max() < number):
            raise InputError(f"{source} holds a cost to go whose edges lead outside its {number} landmarks.")

    def to_goals(self, goals: Float[Tensor, "batch goal"]) -> "CostField":
        """Return the costs to goals, all found in one search.

        A goal may lie anywhere. It is reached in a straight line from the landmarks nearest to it. Landmarks from which
        no recorded way leads to the goal count as far as the farthest of the others would be with luck.
        """
        different, which = torch.unique(goals.cpu(), dim=0, return_inverse=True)
        key = different.numpy().tobytes()
        if key not in self._searches:  # an agent plans to the same goals again and again
            while len(self._searches) >= REMEMBERED_SEARCHES:
                del self._searches[next(iter(self._searches))]
            self._searches[key] = self._search(different)
        costs, is_lost = (part[which] for part in self._searches[key])
        parts = (self.scaled, self.stride, costs, is_lost)
        return CostField(self, goals, *(part.to(goals.device) for part in parts))

    def without(self, forbidden: Bool[Tensor, " landmark"], closed: Bool[Tensor, " edge"]) -> "CostToGo":
        """Return the cost to go of ways that avoid some landmarks and some edges.

        Raises:
            InputError: if no landmark is left, or chance throws the agent to one that is to be avoided.
        """
        if forbidden.all():
            raise InputError("no recorded position is left outside what is to be avoided.")
        number = (~forbidden).cumsum(dim=0) - 1  # of each landmark that is left
        edges, is_thrown = self.edges.long(), self.chances > 0
        start, stop = edges.T
        if (is_thrown & ~forbidden[start] & forbidden[stop]).any():
            raise InputError("in the recording the agent is thrown to where it is to keep out of, which no way avoids.")
        kept = ~forbidden[edges].any(dim=1) & (is_thrown | ~closed)
        return CostToGo(self.landmarks[~forbidden], self.stride, number[edges[kept]].int(), self.chances[kept])

    def implausibility(self, path: Float[Tensor, "batch start_and_step goal"]) -> Float[Tensor, " batch"]:
        """Return what speaks against planned paths, in steps: how far they leave the recording, and how far they jump.

        The mean over the steps of ``OFF_RECORDING_WEIGHT`` times the distance beyond one cell from the nearest landmark
        and ``JUMP_WEIGHT`` times what a move is longer than ``LONGEST_MOVE``.
        """
        path = path / self.stride.to(path)
        jumps = (path.diff(dim=1).norm(dim=-1) - LONGEST_MOVE).clamp_min(0)
        off = self.nearest(path[:, 1:], 1)[0][..., 0]
        return (OFF_RECORDING_WEIGHT * (off - CELL).clamp_min(0) + JUMP_WEIGHT * jumps).mean(dim=1)

    def _search(
        self, goals: Float[Tensor, "batch goal"]
    ) -> tuple[Float[Tensor, "batch landmark"], Bool[Tensor, "batch landmark"]]:
        """Return the costs of all landmarks to each goal, and from which of them no recorded way leads there."""
        distances, nearest = self.nearest(goals / self.stride, GOAL_LANDMARKS)
        direct = np.full((len(goals), len(self.landmarks)), np.inf)
        np.put_along_axis(direct, nearest.numpy(), distances.numpy(), axis=1)
        luckiest = self._luckiest_costs(direct)
        costs = _with_farthest(luckiest)
        if (self.chances > 0).any():
            costs = self._expected_costs(costs, np.isinf(luckiest), direct)
        return torch.tensor(costs, dtype=torch.float32), torch.tensor(np.isinf(luckiest))

    @cached_property
    def _searches(self) -> dict[bytes, tuple[Float[Tensor, "batch landmark"], Bool[Tensor, "batch landmark"]]]:
        """What the last searches found, by the goals."""
        return {}

    @cached_property
    def scaled(self) -> Float[Tensor, "landmark goal"]:
        """The landmarks in steps, that is, divided by ``stride``."""
        return self.landmarks / self.stride

    def nearest(
        self, positions: Float[Tensor, "*shape goal"], number: int
    ) -> tuple[Float[Tensor, "*shape neighbour"], Int[Tensor, "*shape neighbour"]]:
        """Return the distances to the landmarks nearest to positions in steps, and which these are, nearest first.

        There are ``number`` of them, or as many as there are landmarks. Positions that are not finite, which a search
        cannot take, are put far away or at the origin.
        """
        ranks = range(1, 1 + min(number, len(self.landmarks)))
        finite = positions.detach().cpu().double().nan_to_num(0.0, FAR_AWAY, -FAR_AWAY)
        distances, nearest = self._tree.query(finite.numpy(), ranks)
        return torch.as_tensor(distances).to(positions), torch.as_tensor(nearest).to(positions.device)

    @cached_property
    def _tree(self) -> cKDTree:
        return cKDTree(self.scaled.double().numpy())

    def _steps(self) -> Float[np.ndarray, " edge"]:
        """Return the steps that each edge takes."""
        start, stop = self.scaled.double().numpy()[self.edges.numpy().T]
        return np.where(self.chances.numpy() > 0, 1.0, np.linalg.norm(start - stop, axis=1))

    def _luckiest_costs(self, direct: Float[np.ndarray, "batch landmark"]) -> Float[np.ndarray, "batch landmark"]:
        """Return the costs if every edge could be chosen, by Dijkstra's search from the goals over reversed edges.

        Goals are nodes of the graph too; ``direct`` has the steps to them from the landmarks nearest to them.
        """
        num_goals, num_landmarks = direct.shape
        goal, last = np.nonzero(np.isfinite(direct))
        start, stop = self.edges.numpy().T
        tails, heads = np.concatenate([stop, num_landmarks + goal]), np.concatenate([start, last])
        # A weight of 0 would be no edge.
        weights = np.concatenate([self._steps(), np.maximum(direct[goal, last], ACCURACY)])
        # Of several edges between two nodes the shortest counts, the first one in this order.
        size = num_landmarks + num_goals
        order = np.argsort(weights, kind="stable")
        _, shortest = np.unique((tails * size + heads)[order], return_index=True)
        weights, tails, heads = (part[order][shortest] for part in (weights, tails, heads))
        graph = csr_array((weights, (tails, heads)), shape=(size, size))
        return dijkstra(graph, indices=num_landmarks + np.arange(num_goals))[:, :num_landmarks]

    def _expected_costs(
        self,
        costs: Float[np.ndarray, "batch landmark"],
        lost: Bool[np.ndarray, "batch landmark"],
        direct: Float[np.ndarray, "batch landmark"],
    ) -> Float[np.ndarray, "batch landmark"]:
        """Return the expected costs, by value iteration (Bellman 1957) from the luckiest ones, which are lower bounds.

        At each departure from a landmark, chance throws the agent along one of its edges, or else it chooses the best.
        Each goal is iterated until its own costs stay, so that they do not depend on the other goals. What is ``lost``
        is as far as the farthest, and stays so. So far is also whoever has no choice where chance does not throw him.
        """
        costs, farthest = costs.copy(), costs.max(axis=1, keepdims=True)
        unfinished, steps = np.arange(len(costs)), self._steps()
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
        """Return the expected costs of one departure from each landmark, if ``costs`` are those from there on."""
        chances, (start, stop) = self.chances.double().numpy(), self.edges.numpy().T
        by_chance = chances > 0
        through = steps + costs[:, stop]  # (batch, edge)
        best, unlucky = direct.copy(), np.zeros_like(costs)
        np.minimum.at(best, (slice(None), start[~by_chance]), through[:, ~by_chance])
        np.add.at(unlucky, (slice(None), start[by_chance]), chances[by_chance] * through[:, by_chance])
        choice = 1 - np.bincount(start, chances, costs.shape[1])  # share of departures that are chosen, (landmark,)
        choice = np.where(choice > ROUNDING_ERROR, choice, 0.0)
        return unlucky + choice * np.where(np.isinf(best), farthest, best)


def _stride(moves: Float[np.ndarray, "row goal"]) -> Float[np.ndarray, " goal"]:
    """Return the full speed of each channel; a channel that never moves has one so high that it makes no difference."""
    if not len(moves) or not moves.any():
        raise InputError("nothing moves in the goal channels of the recording: it knows no cost to go.")
    return np.array([_full_speed(channel[channel > 0]) for channel in np.abs(moves).T])


def _full_speed(moves: Float[np.ndarray, " move"]) -> float:
    """Return the full speed in one channel, from moves above 0: rests and throws, if rare enough, do not count."""
    if not len(moves):
        return float(np.finfo(np.float32).max)
    return float(np.quantile(moves[moves <= CELL * np.quantile(moves, FAST)], FULL_SPEED))


def _with_farthest(costs: Float[np.ndarray, "batch landmark"]) -> Float[np.ndarray, "batch landmark"]:
    """Return costs of which those that are infinite are as high as the highest of the others."""
    highest = np.where(np.isinf(costs), -np.inf, costs).max(axis=1, keepdims=True)
    return np.where(np.isinf(costs), highest, costs)


def _chances(chosen, times, thrown, times_thrown) -> Float[np.ndarray, " edge"]:
    """Return for chosen and thrown edges, each taken so many ``times``, the chance of being thrown along them."""
    tails = np.concatenate([chosen, thrown])[:, 0]
    departures = np.bincount(tails, np.concatenate([times, times_thrown]))
    return np.concatenate([np.zeros(len(chosen)), times_thrown / departures[thrown[:, 0]]])


@dataclass(frozen=True, eq=False)
class CostField:
    """The cost to go to one goal for each plan of a batch, as a function of the position.

    Attributes:
        graph: of the recording.
        goals: environment units.
        landmarks: those of the graph in steps, where the goals are.
        stride: that of the graph, where the goals are.
        costs: of each landmark to each goal, in steps.
        is_lost: from which landmarks no recorded way leads to the goal.
    """

    graph: CostToGo
    goals: Float[Tensor, "batch goal"]
    landmarks: Float[Tensor, "landmark goal"]
    stride: Float[Tensor, " goal"]
    costs: Float[Tensor, "batch landmark"]
    is_lost: Bool[Tensor, "batch landmark"]

    def is_cut_off(self, positions: Float[Tensor, "batch goal"]) -> Bool[Tensor, " batch"]:
        """Return whether the landmark nearest to each position is one from which no recorded way leads to the goal."""
        _, nearest = self.graph.nearest(positions / self.stride, 1)
        return self.is_lost.gather(1, nearest)[:, 0]

    def __call__(self, positions: Float[Tensor, "batch step goal"]) -> Float[Tensor, "batch step"]:
        """Return the cost to go of each position, in steps; it is differentiable.

        It is the soft minimum, over the nearest landmarks and a goal close by, of the distance to them plus the cost
        from there on. Where several of them are as good, a soft minimum is a few steps lower than the minimum.
        """
        scaled = positions / self.stride
        distances, nearest = self.graph.nearest(scaled, NEIGHBOURS)  # (batch, step, neighbour)
        beyond = self.costs.gather(1, nearest.flatten(1)).view(nearest.shape)
        beyond = beyond.masked_fill(distances > distances[..., :1] + REACH, torch.inf)
        by_landmark = beyond + rounded_norm(scaled[:, :, None] - self.landmarks[nearest])
        straight = self.distance(positions)
        straight = torch.where(straight.detach() < 2 * CELL, straight, torch.inf)
        ways = torch.cat([by_landmark, straight[..., None]], dim=-1)
        return -TEMPERATURE * torch.logsumexp(-ways / TEMPERATURE, dim=-1)

    def distance(self, positions: Float[Tensor, "batch step goal"]) -> Float[Tensor, "batch step"]:
        """Return the straight distance to the goal in steps, rounded off at the goal."""
        return rounded_norm((positions - self.goals[:, None]) / self.stride)


def rounded_norm(offset: Float[Tensor, "*shape goal"]) -> Float[Tensor, "*shape"]:
    """Return lengths in steps that are rounded off near 0, where the gradient of a length has no limit."""
    return (offset.square().sum(dim=-1) + ROUNDING**2).sqrt() - ROUNDING
