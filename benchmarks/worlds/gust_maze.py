"""A maze with a gust, in which the mean of the possible futures is a future that never happens (§3.4).

Two ways lead from the start towards the goal. The short way crosses a windy cell. A gust carries a ball that enters
this cell over the walls to one of two closed hollows, which a coin selects. The goal is the midpoint between the
hollows. The mean of the two outcomes is therefore the goal, although neither outcome is. The long way has no wind and
ends at the goal.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from dfplan.benchmarks.evaluation.driving import run_episodes
from dfplan.benchmarks.evaluation.episodes import Agent, draw_episode_seeds
from dfplan.benchmarks.evaluation.estimates import Row
from dfplan.benchmarks.evaluation.statistics import bootstrap, estimate_proportion, pool_trainings
from dfplan.benchmarks.worlds.recorder import draw_states_around, make_recording, record_demonstrations
from dfplan.envs.demonstrations import DATASET_NOISE, Dataset
from dfplan.envs.demonstrator import WaypointController
from dfplan.envs.layouts import Layout
from dfplan.envs.maze_task import distance_to_goal, is_success
from dfplan.envs.physics import TIMESTEP, PointMassPhysics

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
# The same maze with a wall instead of the windy cell; its shortest path is the calm way.
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
HOLLOWS = np.array([(1.0, 1.0), (1.0, 9.0)])  # left and right of the goal, at the same distance
CARRY_STEPS = 40  # environment steps from the windy cell to a hollow
WAYS = ("windy", "calm")
# The ways of successive demonstrations, repeated. Windows are drawn in proportion to the steps that remain, and the
# calm way is more than twice as long. So a model without guidance takes both ways about equally often.
DEMONSTRATED = np.array([0, 0, 0, 1])


class GustPhysics:
    """Moves balls through the maze; every ball has its own coin.

    Attributes:
        hollow: for each ball the hollow that its coin has selected, as an index into ``HOLLOWS``; -1 before the gust.
    """

    def __init__(self, coins: list[np.random.Generator]):
        """Take one generator per ball; it tosses the coin when the ball enters the windy cell."""
        self.hollow = np.full(len(coins), -1)
        self._coins, self._physics = coins, PointMassPhysics(LAYOUT)
        self._steps_left = np.zeros(len(coins), dtype=np.int64)  # during which the gust still carries each ball

    def step(
        self, states: Float[np.ndarray, "batch 4"], actions: Float[np.ndarray, "batch 2"]
    ) -> Float[np.ndarray, "batch 4"]:
        """Return the states (x, y, vx, vy) one step later. Actions have no effect while the gust carries a ball."""
        entered = (LAYOUT.cell_of(states[:, :2]) == WINDY_CELL).all(axis=1) & (self.hollow < 0)
        for ball in np.flatnonzero(entered):
            self.hollow[ball], self._steps_left[ball] = self._coins[ball].integers(len(HOLLOWS)), CARRY_STEPS
        carried = self._steps_left > 0
        after = self._physics.step(states, actions)
        after[carried] = _carry_balls(states[carried, :2], HOLLOWS[self.hollow[carried]], self._steps_left[carried])
        self._steps_left[carried] -= 1
        return after


def _carry_balls(
    positions: Float[np.ndarray, "ball 2"], hollows: Float[np.ndarray, "ball 2"], steps_left: Int[np.ndarray, " ball"]
) -> Float[np.ndarray, "ball 4"]:
    """Return the states one step later of balls that move on straight lines to the hollows, where they stop."""
    moved = (hollows - positions) / steps_left[:, None]
    velocity = np.where(steps_left[:, None] > 1, moved / TIMESTEP, 0.0)
    return np.concatenate([positions + moved, velocity], axis=1)


def generate_gust_demonstrations(demonstrations: int, seed: int, noise: float = DATASET_NOISE) -> Dataset:
    """Return demonstrations under D4RL's keys; each is one segment that ends at the goal or in a hollow.

    All rewards are zero. The goal of a segment is the position at which it ends.

    Args:
        demonstrations: number of demonstrations; ``assign_ways`` gives their ways.
        seed: of all random numbers.
        noise: standard deviation of the action noise; the default is that of D4RL's data.
    """
    random, seeds = np.random.default_rng([seed, 0]), [[seed, 1 + one] for one in range(demonstrations)]
    ways = assign_ways(demonstrations)
    controllers = [WaypointController(layout, demonstrations, seeds) for layout in (LAYOUT, CALM_LAYOUT)]  # as in WAYS
    for controller in controllers:
        controller.reset(np.tile(GOAL, (demonstrations, 1)))

    def choose_actions(states):
        windy, calm = (controller.act(states[:, :2], states[:, 2:]) for controller in controllers)
        return np.where(ways[:, None] == WAYS.index("calm"), calm, windy)

    def has_ended(states):
        in_hollow = (states[:, None, :2].round(6) == HOLLOWS).all(axis=2).any(axis=1)
        return in_hollow | controllers[0].has_reached_goal(states[:, :2])

    physics = GustPhysics([np.random.default_rng([*own, 1]) for own in seeds])
    first_states = draw_states_around(START, [random] * demonstrations)
    return make_recording(*record_demonstrations(physics, first_states, choose_actions, has_ended, random, noise))


def assign_ways(count: int) -> Int[np.ndarray, " count"]:
    """Return the way of each demonstration, as an index into ``WAYS``."""
    return np.resize(DEMONSTRATED, count)


@dataclass(frozen=True, eq=False)
class GustOutcome:
    """What one agent did in the gust maze.

    Attributes:
        paths: positions before the first and after every step, environment units.
        hollow: the hollow to which the gust carried the ball, as an index into ``HOLLOWS``; -1 without gust.
    """

    paths: Float[np.ndarray, "episode time_and_start 2"]
    hollow: Int[np.ndarray, " episode"]

    @property
    def succeeded(self) -> Bool[np.ndarray, " episode"]:
        """Whether each episode ends at the goal."""
        return is_success(self.paths[:, -1], GOAL[None])

    @property
    def mean_distances(self) -> Float[np.ndarray, " episode"]:
        """The mean distance to the goal over the steps of each episode, environment units."""
        return distance_to_goal(self.paths[:, 1:], GOAL[None, None]).mean(axis=1)


def summarize_outcomes(crossings: Sequence[GustOutcome]) -> Row:
    """Return the columns of a table about one agent, from one outcome per training of its network."""
    return {
        "success": pool_trainings([one.succeeded for one in crossings], estimate_proportion),
        "carried off": pool_trainings([one.hollow >= 0 for one in crossings], estimate_proportion),
        "mean distance to the goal": pool_trainings([one.mean_distances for one in crossings], bootstrap),
    }


def run_gust_maze(agent: Agent, episodes: int, seed: int, num_steps: int, label: str = "") -> GustOutcome:
    """Return what ``agent`` does in ``episodes`` episodes side by side, with a progress bar called ``label``.

    The start, the coin and the agent's random numbers of an episode depend on (seed, episode) only.
    """
    start_seeds, agent_seeds = zip(*(draw_episode_seeds(seed, episode) for episode in range(episodes)))
    states = draw_states_around(START, [np.random.default_rng(start_seed) for start_seed in start_seeds])
    physics = GustPhysics([np.random.default_rng([start_seed, 1]) for start_seed in start_seeds])
    driven = run_episodes(agent, physics, states, num_steps, np.tile(GOAL, (episodes, 1)), agent_seeds, label)
    return GustOutcome(driven.paths, physics.hollow)
