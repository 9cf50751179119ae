"""``python -m dfplan.benchmarks.corruption``: corrupted observations, and a task that needs memory (§4.4)."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from dfplan.agents.planner import DFPlanner
from dfplan.agents.presets import GOAL_TOKEN
from dfplan.agents.seeds import Seeds, assign_seeds
from dfplan.benchmarks import memory
from dfplan.benchmarks.evaluation.episodes import Conditions, evaluate
from dfplan.benchmarks.evaluation.estimates import Row
from dfplan.benchmarks.evaluation.statistics import Estimate
from dfplan.benchmarks.reporting.ablation import Findings, Run, main, make_score_row
from dfplan.benchmarks.reporting.charts import draw_bars
from dfplan.ground.errors import InputError
from dfplan.model.diffusion_forcing import DiffusionForcing

MISSING = math.inf  # standard deviation of the noise of a missing observation
# Name -> whether the agent knows of the corruption, and whether it sees its history.
CONTENDERS = {
    "believing": (False, False),
    "believing, history": (False, True),
    "told": (True, False),
    "told, history": (True, True),
}


@dataclass(frozen=True)
class Settings:
    """Budget of both comparisons.

    Attributes:
        scenes: pairs of a maze and the controller of all contenders.
        episodes: number of episodes of each contender in each scene.
        strengths: standard deviations of the noise, as multiples of the data's standard deviation of each channel.
        memory: budget of the comparison in the cue maze.
        side_by_side: number of episodes in a batch; they are corrupted at the same steps.
        block: number of successive steps that are all corrupted or all clean.
        history: tokens that agents with history see; more than the longest corrupted stretch, which is two blocks.
        open_loop_horizon: steps between plans.
    """

    scenes: tuple[tuple[str, str], ...]
    episodes: int
    strengths: tuple[float, ...]
    memory: memory.Settings
    side_by_side: int = 10
    block: int = 20
    history: int = 8
    open_loop_horizon: int = 10


FULL = Settings(
    scenes=(("umaze", "pd"), ("medium", "pd"), ("medium", "pursuit")),
    episodes=40,
    strengths=(0.3, 1.0, MISSING),
    memory=memory.Settings(demonstrations=400, training_steps=1200, episodes=200, histories=(0, 5, 10)),
)
QUICK = Settings(
    scenes=(("umaze", "pd"),),
    episodes=10,
    strengths=(1.0,),
    memory=memory.Settings(demonstrations=200, training_steps=700, episodes=60, histories=(0,)),
)

EXPLANATION = """
**Corrupted observations.** The shipped checkpoints, which a token tells their goal, act in the mazes with a sensor that
fails. The first block of steps is clean; of every two blocks after it one is corrupted, drawn at random for each batch
of episodes. `noise s` adds Gaussian noise to each channel, with s times the data's standard deviation. `missing`
repeats the last clean observation.

`believing` agents take every observation as it is. `told` agents know the noise level of each corrupted observation
(the last level, pure noise, if it is missing). Then the model infers the state together with the plan, and the plan's
own actions are executed while the state is uncertain. With `history` the model also sees the last executed tokens, each
at its own level. All contenders of a table have the same weights, controller, replanning, episodes, corrupted steps and
noise. The episodes of a batch share their corrupted steps, so the intervals are somewhat too narrow.

There are two controllers, because a told agent does not use its controller while its state is uncertain, and this costs
more with the faster controller. `pd` tracks the plan at the times of the plan, as fast as the demonstrations and the
plan's own actions. `pursuit`, the default, follows a point further along the path and is faster.

**Memory.** In the cue maze the ways from two starts share one stem, and demonstrations take the branch on the side
opposite to their start. One small unconditional model, trained once, acts with histories of different lengths. Without
history nothing in the stem tells which branch is right, so half of the episodes should end in the wrong branch. `one
plan` has no memory, but it decides at the start only and follows this plan to the end. Episodes are twice as long as
the longest plan, so that slow agents arrive too. The branch whose end is reached first counts.
"""


def study(settings: Settings, run: Run) -> Findings:
    """Return the scores for each corruption, and the branches that agents take in the cue maze."""
    scenes = {f"maze2d-{scene[0]}, {scene[1]}": _measure_scene(scene, settings, run) for scene in settings.scenes}
    tables = {f"Corrupted observations, {title}": rows for title, rows in scenes.items()}
    outcomes = memory.study(settings.memory, run)
    tables["Memory, cue maze"] = [{"agent": name} | found.to_row() for name, found in outcomes.items()]
    panels = {title: _group_by_observations(rows) for title, rows in scenes.items()}
    figures = {"corruption": draw_bars(panels, "normalized"), "memory": memory.draw_outcomes(outcomes)}
    return Findings(tables, figures, EXPLANATION)


def _measure_scene(scene: tuple[str, str], settings: Settings, run: Run) -> list[Row]:
    cases = [(0.0, name) for name, (told, _) in CONTENDERS.items() if not told]  # clean observations need no telling
    cases += [(std, name) for std in settings.strengths for name in CONTENDERS]
    return [_measure_row(scene, std, name, settings, run) for std, name in cases]


def _measure_row(scene: tuple[str, str], std: float, name: str, settings: Settings, run: Run) -> Row:
    (maze, controller), (told, remembering) = scene, CONTENDERS[name]
    agent = DFPlanner.load(
        f"maze2d-{maze}-recorded",
        run.device,
        **GOAL_TOKEN,
        controller=controller,
        open_loop_horizon=settings.open_loop_horizon,
        history=settings.history if remembering else 0,
    )
    conditions = Conditions(f"maze2d-{maze}-v1", settings.episodes, run.seed, side_by_side=settings.side_by_side)
    behind_sensor = CorruptedAgent(agent, Corruption(std, settings.block), told) if std else agent
    label = f"{maze}, {controller}, {_name_observations(std)}, {name}"
    evaluation = evaluate(behind_sensor, conditions, label, timed=False)
    return {"observations": _name_observations(std), "agent": name} | make_score_row(evaluation)


def _name_observations(std: float) -> str:
    return {0.0: "clean", MISSING: "missing"}.get(std, f"noise {std:g}")


def _group_by_observations(rows: list[Row]) -> dict[str, dict[str, Estimate]]:
    """Return the bars of one scene: kind of observations -> agent -> normalized score."""
    groups: dict[str, dict[str, Estimate]] = {}
    for row in rows:
        groups.setdefault(row["observations"], {})[row["agent"]] = row["normalized"]
    return groups


@dataclass(frozen=True)
class Corruption:
    """How observations are corrupted during blocks of an episode.

    Attributes:
        std: standard deviation of Gaussian noise, as a multiple of the data's standard deviation of each channel;
            ``MISSING`` repeats the last clean observation instead.
        block: number of successive steps that are all corrupted or all clean.
    """

    std: float
    block: int

    def draw_blocks(self, num_steps: int, random: np.random.Generator) -> Bool[np.ndarray, " step"]:
        """Return which steps of an episode are corrupted: after a clean block, one random block of every two."""
        second = random.integers(2, size=math.ceil(num_steps / self.block / 2)).astype(bool)
        blocks = np.concatenate([[False], np.stack([~second, second], axis=1).ravel()])  # (block,)
        return blocks.repeat(self.block)[:num_steps]


class CorruptedAgent:
    """An agent whose observations are corrupted during part of each episode.

    All episodes of a batch are corrupted at the same steps, because ``act`` takes one observation level for the batch.
    The seed of the first episode determines these steps; the noise of each episode comes from its own seed.

    Args:
        agent: a ``DFPlanner``, or an agent whose ``act`` also takes ``observation_level``.
        corruption: of the observations.
        told: whether the agent gets the noise level of corrupted observations.
    """

    def __init__(self, agent: Any, corruption: Corruption, told: bool):
        self.agent, self.corruption, self.told = agent, corruption, told
        self.level = find_noise_level(agent.model, corruption.std)
        self.std = agent.model.codec.std[: agent.task.observation_dim].cpu().numpy()

    @property
    def plan_seconds(self) -> list[float]:
        """Wall seconds of each plan since ``reset``."""
        return self.agent.plan_seconds

    def reset(self, goal=None, seed: Seeds = None, num_steps: int | None = None) -> None:
        """Begin a batch of episodes.

        Raises:
            InputError: if ``num_steps`` is missing.
        """
        if num_steps is None:
            raise InputError("the corruption of an episode needs its length: reset(num_steps=...).")
        self.agent.reset(goal=goal, seed=seed, num_steps=num_steps)
        seeds = assign_seeds(seed, 1 if goal is None else len(np.atleast_2d(goal)))
        self.randoms = [np.random.default_rng([1, one]) for one in seeds]
        self.corrupted = self.corruption.draw_blocks(num_steps, np.random.default_rng([0, seeds[0]]))
        self.step = 0

    def act(self, observations: Float[np.ndarray, "batch observation"]) -> Float[np.ndarray, "batch action"]:
        """Return the agent's actions for the observations, which are corrupted first if this step is corrupted."""
        corrupted, self.step = self.corrupted[self.step], self.step + 1
        if not corrupted:
            self.last_clean = observations
            return self.agent.act(observations)
        return self.agent.act(self._corrupt(observations), observation_level=self.level if self.told else None)

    def _corrupt(self, observations: np.ndarray) -> np.ndarray:
        if self.corruption.std == MISSING:
            return self.last_clean
        noise = np.stack([random.standard_normal(len(self.std)) for random in self.randoms])
        return observations + self.corruption.std * self.std * noise


def find_noise_level(model: DiffusionForcing, std: float) -> float:
    """Return the lowest level, as a share of K, whose ratio of noise to signal is at least that of an observation.

    An observation with noise of standard deviation ``std`` (normalised units) is, up to a factor, a start token at the
    level k with (1 - alpha_bar_k) / alpha_bar_k = std². A missing observation has the last level, which is pure noise.
    """
    alpha_bar = model.alpha_bar.double().cpu().numpy()
    enough = 1 - alpha_bar >= std**2 * alpha_bar if std < MISSING else alpha_bar == 0
    return int(np.argmax(enough)) / model.config.num_levels


if __name__ == "__main__":
    main("corruption", __doc__, study, FULL, QUICK)
