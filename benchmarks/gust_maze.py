"""A maze with a gust: the mean of its possible futures is a future that never happens (§3.4).

Two ways lead from the start towards the goal. The short way crosses a windy cell. A ball that enters this cell is
carried over the walls to one of two closed hollows; a coin decides which. The goal lies in the middle between the
hollows, so the mean of the two outcomes is the goal, and neither outcome is. The long way is calm and arrives.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from dfplan.benchmarks.ablation import Row
from dfplan.benchmarks.cue_maze import recording_of
from dfplan.benchmarks.driving import drive
from dfplan.benchmarks.evaluation import Agent, episode_seeds
from dfplan.benchmarks.statistics import bootstrap, over_trainings, proportion
from dfplan.envs.controller import WaypointController
from dfplan.envs.demonstrations import DATASET_NOISE, Dataset
from dfplan.envs.layouts import Layout
from dfplan.envs.physics import TIMESTEP, PointMassPhysics
from dfplan.envs.task import POSITION_SPREAD, VELOCITY_SPREAD, distance_to_goal, is_success

LAYOUT = Layout(
    """
    ###########
    #O#OOG###O#
    ###O#O#####
    ###O#O#####
    ###OOO#####
    ###########""",
    "gust",
)
# The same maze with a wall in place of the windy cell: its shortest path is the calm way.
CALM_LAYOUT = Layout(
    """
    ###########
    #O#OOG###O#
    ###O#######
    ###O#O#####
    ###OOO#####
    ###########""",
    "gust-calm",
)
START, WINDY_CELL, GOAL = np.array([4.0, 5.0]), np.array([2, 5]), LAYOUT.goal
HOLLOWS = np.array([(1.0, 1.0), (1.0, 9.0)])  # left and right of the goal, equally far
CARRY_STEPS = 40  # environment steps from the windy cell to a hollow
WAYS = ("windy", "calm")
# Ways of the demonstrations, in turn. Training windows are drawn in proportion to the steps left, and the calm way is
# more than twice as long; with these numbers a model without a guide takes both ways about equally often.
DEMONSTRATED = np.array([0, 0, 0, 1])
MAX_DEMONSTRATION_STEPS = 1000  # several times what a demonstrator needs; one that does not arrive is an error


class GustPhysics:
    """Steps balls through the maze, each with its own coin.

    Attributes:
        hollow: index into ``HOLLOWS`` of the one that the coin has chosen for each ball; -1 before it meets the gust.
    """

    def __init__(self, coins: list[np.random.Generator]):
        """Take one generator per ball, from which its coin is tossed when it enters the windy cell."""
        self.hollow = np.full(len(coins), -1)
        self._coins, self._physics = coins, PointMassPhysics(LAYOUT)
        self._steps_left = np.zeros(len(coins), dtype=np.int64)  # for which each ball is still carried

    def step(
        self, states: Float[np.ndarray, "batch 4"], actions: Float[np.ndarray, "batch 2"]
    ) -> Float[np.ndarray, "batch 4"]:
        """Return the states (x, y, vx, vy) one step later; the actions of a carried ball have no effect."""
        entered = (LAYOUT.cell_of(states[:, :2]) == WINDY_CELL).all(axis=1) & (self.hollow < 0)
        for ball in np.flatnonzero(entered):
            self.hollow[ball], self._steps_left[ball] = self._coins[ball].integers(len(HOLLOWS)), CARRY_STEPS
        carried = self._steps_left > 0
        after = self._physics.step(states, actions)
        after[carried] = _carry(states[carried, :2], HOLLOWS[self.hollow[carried]], self._steps_left[carried])
        self._steps_left[carried] -= 1
        return after


def _carry(
    positions: Float[np.ndarray, "ball 2"], hollows: Float[np.ndarray, "ball 2"], steps_left: Int[np.ndarray, " ball"]
) -> Float[np.ndarray, "ball 4"]:
    """Return the states one step later on the straight lines to the hollows, in which the balls come to rest."""
    moved = (hollows - positions) / steps_left[:, None]
    velocity = np.where(steps_left[:, None] > 1, moved / TIMESTEP, 0.0)
    return np.concatenate([positions + moved, velocity], axis=1)


def generate(demonstrations: int, seed: int, noise: float = DATASET_NOISE) -> Dataset:
    """Return demonstrations under D4RL's keys, each a segment of its own that ends at the goal or in a hollow.

    Rewards are zero, and the goal of a segment is the position at which it ends.

    Args:
        demonstrations: how many; their ways are those of ``DEMONSTRATED`` in turn.
        seed: of everything random.
        noise: standard deviation of the action noise, as in D4RL's data.
    """
    steps = list(_demonstrate(demonstrated_ways(demonstrations), seed, noise))
    states, actions, ended = (np.stack(column, axis=1) for column in zip(*steps))  # (demonstration, step, ...)
    return recording_of(states, actions, ended)


def demonstrated_ways(count: int) -> Int[np.ndarray, " count"]:
    """Return the way of each demonstration as an index into ``WAYS``."""
    return np.resize(DEMONSTRATED, count)


def _demonstrate(ways: Int[np.ndarray, " batch"], seed: int, noise: float) -> Iterator[tuple[np.ndarray, ...]]:
    """Yield states, actions and whether the end is reached, step by step, until all have been there.

    Raises:
        RuntimeError: if one does not arrive.
    """
    count, random = len(ways), np.random.default_rng([seed, 0])
    seeds = [[seed, 1 + one] for one in range(count)]
    controllers = [WaypointController(layout, count, seeds) for layout in (LAYOUT, CALM_LAYOUT)]  # in the order of WAYS
    for controller in controllers:
        controller.reset(np.tile(GOAL, (count, 1)))
    physics = GustPhysics([np.random.default_rng([*own, 1]) for own in seeds])
    states, been_there = first_states([random] * count), np.zeros(count, dtype=bool)
    for _ in range(MAX_DEMONSTRATION_STEPS):
        windy, calm = (controller.act(states[:, :2], states[:, 2:]) for controller in controllers)
        wanted = np.where(ways[:, None] == WAYS.index("calm"), calm, windy) + random.normal(0.0, noise, (count, 2))
        actions = np.clip(wanted, -1.0, 1.0)
        in_hollow = (states[:, None, :2].round(6) == HOLLOWS).all(axis=2).any(axis=1)
        ended = in_hollow | controllers[0].reached(states[:, :2])
        yield states, actions, ended
        been_there |= ended
        if been_there.all():
            return
        states = physics.step(states, actions)
    raise RuntimeError(f"{(~been_there).sum()} demonstrators did not arrive within {MAX_DEMONSTRATION_STEPS} steps")


def first_states(randoms: list[np.random.Generator]) -> Float[np.ndarray, "batch 4"]:
    """Return states spread around the start as D4RL spreads its own, each from its generator."""
    spread = [random.uniform(-POSITION_SPREAD, POSITION_SPREAD, 2) for random in randoms]
    velocity = [random.normal(0.0, VELOCITY_SPREAD, 2) for random in randoms]
    return np.concatenate([START + spread, velocity], axis=1)


@dataclass(frozen=True, eq=False)
class Crossing:
    """What one agent did in the gust maze.

    Attributes:
        paths: positions, the start first, environment units.
        hollow: index into ``HOLLOWS`` of the hollow that each episode was carried to; -1 for none.
    """

    paths: Float[np.ndarray, "episode time_and_start 2"]
    hollow: Int[np.ndarray, " episode"]

    @property
    def succeeded(self) -> Bool[np.ndarray, " episode"]:
        """Which episodes end at the goal."""
        return is_success(self.paths[:, -1], GOAL[None])

    @property
    def mean_distances(self) -> Float[np.ndarray, " episode"]:
        """The distance to the goal, averaged over the steps of each episode, environment units."""
        return distance_to_goal(self.paths[:, 1:], GOAL[None, None]).mean(axis=1)


def crossings_row(crossings: Sequence[Crossing]) -> Row:
    """Return the columns of an agent whose network was trained several times, with one crossing for each training."""
    return {
        "success": over_trainings([one.succeeded for one in crossings], proportion),
        "carried off": over_trainings([one.hollow >= 0 for one in crossings], proportion),
        "mean distance to the goal": over_trainings([one.mean_distances for one in crossings], bootstrap),
    }


def cross(agent: Agent, episodes: int, seed: int, num_steps: int, label: str = "") -> Crossing:
    """Return what ``agent`` does in so many episodes side by side, with a progress bar.

    Starts, coins and the agent's random numbers depend on (seed, episode) only.
    """
    start_seeds, agent_seeds = zip(*(episode_seeds(seed, episode) for episode in range(episodes)))
    states = first_states([np.random.default_rng(start_seed) for start_seed in start_seeds])
    physics = GustPhysics([np.random.default_rng([start_seed, 1]) for start_seed in start_seeds])
    driven = drive(agent, physics, states, num_steps, np.tile(GOAL, (episodes, 1)), agent_seeds, label)
    return Crossing(driven.paths, physics.hollow)
