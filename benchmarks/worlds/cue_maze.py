"""A maze that needs memory: the right way depends on a cue that was seen long before (§4.4).

The ways from two starts join in one stem, which ends in two branches. Demonstrations take the branch on the side
opposite to their start. An agent in the stem must therefore remember its start, the cue, to take the right branch.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from dfplan.benchmarks.evaluation.driving import run_episodes
from dfplan.benchmarks.evaluation.episodes import Agent, draw_episode_seeds
from dfplan.benchmarks.evaluation.estimates import Row
from dfplan.benchmarks.evaluation.statistics import Estimate, bootstrap, estimate_proportion
from dfplan.benchmarks.worlds.recorder import draw_states_around, make_recording, record_demonstrations
from dfplan.envs.demonstrations import DATASET_NOISE, Dataset
from dfplan.envs.demonstrator import WaypointController
from dfplan.envs.layouts import Layout
from dfplan.envs.maze_task import is_success
from dfplan.envs.physics import PointMassPhysics

LAYOUT = Layout(
    """
    #####
    #OOO#
    ##O##
    ##O##
    ##O##
    ##O##
    #OOO#
    #####""",
    "cue",
)
# For each cue: where episodes start, and where the demonstrations end.
CUES = ("left", "right")
STARTS = np.array([(1.0, 1.0), (1.0, 3.0)])
ENDS = np.array([(6.0, 3.0), (6.0, 1.0)])


def generate_cue_demonstrations(demonstrations: int, seed: int, noise: float = DATASET_NOISE) -> Dataset:
    """Return demonstrations of alternating cues under D4RL's keys; each is one segment from its start to its end.

    All rewards are zero, so that only the paths themselves show where they lead.

    Args:
        demonstrations: number of demonstrations.
        seed: of all random numbers.
        noise: standard deviation of the action noise; the default is that of D4RL's data.
    """
    cues, random = alternate_cues(demonstrations), np.random.default_rng([seed, 0])
    controller = WaypointController(LAYOUT, demonstrations, seeds=[[seed, 1 + one] for one in range(demonstrations)])
    controller.reset(ENDS[cues])
    recorded = record_demonstrations(
        PointMassPhysics(LAYOUT),
        draw_states_around(STARTS[cues], [random] * demonstrations),
        lambda states: controller.act(states[:, :2], states[:, 2:]),
        lambda states: controller.has_reached_goal(states[:, :2]),
        random,
        noise,
    )
    return make_recording(*recorded, ENDS[cues])


def alternate_cues(count: int) -> Int[np.ndarray, " count"]:
    """Return the cue of each demonstration or episode, as an index into ``CUES``: left, right, left, ..."""
    return np.arange(count) % len(CUES)


@dataclass(frozen=True, eq=False)
class CueOutcome:
    """What one agent did in the cue maze.

    Attributes:
        cues: cue of each episode, as an index into ``CUES``.
        paths: positions before the first and after every step, environment units.
        taken: the end that was reached first, as the index of its cue; -1 if no end was reached.
        arrivals: the step at which this end was reached; the last step if no end was reached.
    """

    cues: Int[np.ndarray, " episode"]
    paths: Float[np.ndarray, "episode time_and_start 2"]
    taken: Int[np.ndarray, " episode"]
    arrivals: Int[np.ndarray, " episode"]

    @classmethod
    def from_paths(
        cls, cues: Int[np.ndarray, " episode"], paths: Float[np.ndarray, "episode time_and_start 2"]
    ) -> "CueOutcome":
        """Return the outcome of episodes with these cues and paths."""
        to_each_end = paths[:, :, None].repeat(len(ENDS), axis=2)  # (episode, time, end, 2)
        at_end = is_success(to_each_end, ENDS[None, None])
        reached = np.asarray(at_end.any(axis=2))  # (episode, time)
        arrivals = np.where(reached.any(axis=1), reached.argmax(axis=1), paths.shape[1] - 1)
        there = at_end[np.arange(len(paths)), arrivals]  # (episode, end)
        return cls(cues, paths, np.where(there.any(axis=1), there.argmax(axis=1), -1), arrivals)

    def to_row(self) -> Row:
        """Return the columns of a table that describe the outcome."""
        steps = bootstrap(self.arrivals.astype(float), np.median)
        return self.estimate_shares() | {"steps to an end (median)": steps}

    def estimate_shares(self) -> dict[str, Estimate]:
        """Return the shares of episodes that first reach the right end, the wrong end, or neither."""
        right, neither = self.taken == self.cues, self.taken < 0
        outcomes = {"right branch": right, "wrong branch": ~right & ~neither, "neither": neither}
        return {outcome: estimate_proportion(happened) for outcome, happened in outcomes.items()}


def run_cue_maze(agent: Agent, episodes: int, seed: int, num_steps: int, label: str = "") -> CueOutcome:
    """Return what ``agent`` does in ``episodes`` episodes of alternating cues, with a progress bar called ``label``.

    The agent gets no goal, so ``evaluate`` cannot run it. As there, the start and the agent's random numbers of an
    episode depend on (seed, episode) only.
    """
    cues, physics = alternate_cues(episodes), PointMassPhysics(LAYOUT)
    start_seeds, agent_seeds = zip(*(draw_episode_seeds(seed, episode) for episode in range(episodes)))
    states = draw_states_around(STARTS[cues], [np.random.default_rng(start_seed) for start_seed in start_seeds])
    driven = run_episodes(agent, physics, states, num_steps, None, agent_seeds, label)
    return CueOutcome.from_paths(cues, driven.paths)
