"""``python -m dfplan.benchmarks.corruption``: observations that are corrupted, and a task for memory (§4.4)."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from dfplan.agents.planner import DFPlanner
from dfplan.agents.presets import GOAL_TOKEN
from dfplan.agents.seeds import Seeds, episode_seeds
from dfplan.benchmarks import cue_maze
from dfplan.benchmarks.ablation import Findings, Row, Run, main, score_row
from dfplan.benchmarks.charts import bars
from dfplan.benchmarks.evaluation import Agent, Conditions, evaluate
from dfplan.benchmarks.statistics import Estimate
from dfplan.diffusion_forcing import DiffusionForcing
from dfplan.envs.errors import InputError

MISSING = math.inf  # deviation of the noise behind which nothing of an observation is left
# Name -> whether the agent is told of the corruption, and whether it is shown its history.
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
        scenes: a maze, whose shipped checkpoint sees corrupted observations, and the controller of all contenders.
        episodes: of each contender in each scene.
        strengths: deviations of the noise, in units of the data's deviation of each channel.
        memory: budget of the comparison in the cue maze.
        side_by_side: episodes of a batch, which are corrupted at the same steps.
        block: steps that are corrupted, or not, together.
        history: tokens shown to those with a history; longer than the longest corrupted stretch, of two blocks.
        open_loop_horizon: steps between plans.
    """

    scenes: tuple[tuple[str, str], ...]
    episodes: int
    strengths: tuple[float, ...]
    memory: cue_maze.Settings
    side_by_side: int = 10
    block: int = 20
    history: int = 8
    open_loop_horizon: int = 10


FULL = Settings(
    scenes=(("umaze", "pd"), ("medium", "pd"), ("medium", "pursuit")),
    episodes=40,
    strengths=(0.3, 1.0, MISSING),
    memory=cue_maze.Settings(demonstrations=400, training_steps=1200, episodes=200, histories=(0, 5, 10)),
)
QUICK = Settings(
    scenes=(("umaze", "pd"),),
    episodes=10,
    strengths=(1.0,),
    memory=cue_maze.Settings(demonstrations=200, training_steps=700, episodes=60, histories=(0,)),
)

EXPLANATION = """
**Corrupted observations.** The shipped checkpoints, told their goals by a token, act in the usual benchmark behind a
sensor that fails: after a clean beginning, one of every two blocks of steps is corrupted; which one is drawn for each
batch of episodes. `noise s` adds Gaussian noise of s times the data's standard deviation to each channel, `missing`
repeats the last clean observation.

`believing` agents take what they get. `told` ones know the noise level of each corrupted observation (the last level,
pure noise, where it is missing): the model then infers it together with the plan, and the plan's own actions are
executed as long as the state is doubtful. With `history` the last executed tokens are shown to the model too, each at
its own level. All contenders of a table share weights, controller, replanning, episodes, corrupted steps and noise. The
episodes of a batch share their corrupted steps, so the intervals are somewhat too narrow.

Two controllers, because they set what being told costs: `pd` follows the plan on its own clock, as the demonstrations
and the plan's own actions move; `pursuit`, the default, chases a point further along and drives faster than both. A
told agent gives the controller up for as long as it doubts its state.

**Memory.** In the cue maze two starts share one stem, and demonstrations take the branch on the far side of their
start. One small unconditional model, trained once, is run with different histories; without one, nothing in the stem
tells which branch is right, so that half of the episodes should end in the wrong one. `one plan` is memoryless but
decides at the start only and follows its plan to the end. Episodes are twice as long as the longest plan, so that slow
agents arrive too; the branch whose end is reached first counts.
"""


def study(settings: Settings, run: Run) -> Findings:
    """Return the scores under each corruption, and the branches taken in the cue maze."""
    scenes = {f"maze2d-{scene[0]}, {scene[1]}": _scene_rows(scene, settings, run) for scene in settings.scenes}
    tables = {f"Corrupted observations, {title}": rows for title, rows in scenes.items()}
    recalls = cue_maze.study(settings.memory, run)
    tables["Memory, cue maze"] = [{"agent": name} | found.row() for name, found in recalls.items()]
    panels = {title: _groups(rows) for title, rows in scenes.items()}
    figures = {"corruption": bars(panels, "normalized"), "memory": cue_maze.recall_figure(recalls)}
    return Findings(tables, figures, EXPLANATION)


def _scene_rows(scene: tuple[str, str], settings: Settings, run: Run) -> list[Row]:
    cases = [(0.0, name) for name, (told, _) in CONTENDERS.items() if not told]  # nothing to tell of
    cases += [(std, name) for std in settings.strengths for name in CONTENDERS]
    return [_row(scene, std, name, settings, run) for std, name in cases]


def _row(scene: tuple[str, str], std: float, name: str, settings: Settings, run: Run) -> Row:
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
    behind_sensor = Corrupted(agent, Corruption(std, settings.block), told) if std else agent
    label = f"{maze}, {controller}, {_kind(std)}, {name}"
    evaluation = evaluate(behind_sensor, conditions, label, timed=False)
    return {"observations": _kind(std), "agent": name} | score_row(evaluation)


def _kind(std: float) -> str:
    return {0.0: "clean", MISSING: "missing"}.get(std, f"noise {std:g}")


def _groups(rows: list[Row]) -> dict[str, dict[str, Estimate]]:
    """Return the bars of one scene: one group for each kind of observations."""
    groups: dict[str, dict[str, Estimate]] = {}
    for row in rows:
        groups.setdefault(row["observations"], {})[row["agent"]] = row["normalized"]
    return groups


@dataclass(frozen=True)
class Corruption:
    """What happens to observations during blocks of an episode.

    Attributes:
        std: deviation of Gaussian noise in units of the data's deviation of each channel; ``MISSING`` leaves the last
            clean observation in place, as a sensor that has frozen does.
        block: steps that are corrupted, or not, together.
    """

    std: float
    block: int

    def blocks(self, num_steps: int, random: np.random.Generator) -> Bool[np.ndarray, " step"]:
        """Return which steps of an episode are corrupted: after a clean block one of every two, drawn at random."""
        second = random.integers(2, size=math.ceil(num_steps / self.block / 2)).astype(bool)
        blocks = np.concatenate([[False], np.stack([~second, second], axis=1).ravel()])  # (block,)
        return blocks.repeat(self.block)[:num_steps]


class Corrupted:
    """An agent behind a sensor that is corrupted for part of each episode, told of it or not.

    Which steps are corrupted is drawn from the first episode's seed for all episodes of a batch, since the agent's
    belief in an observation is one number for all of them; the noise of each episode comes from its own seed.

    Args:
        agent: a ``DFPlanner``, or what can be told of levels as it can.
        corruption: of its observations.
        told: whether it is told of it.
    """

    def __init__(self, agent: Agent, corruption: Corruption, told: bool):
        self.agent, self.corruption, self.told = agent, corruption, told
        self.level = noise_level(agent.model, corruption.std)
        self.std = agent.model.codec.std[: agent.model.config.observation_dim].cpu().numpy()

    @property
    def plan_seconds(self) -> list[float]:
        """Wall seconds of the agent's plans since ``reset``."""
        return self.agent.plan_seconds

    def reset(self, goal=None, seed: Seeds = None, num_steps: int | None = None) -> None:
        """Begin a batch of episodes.

        Raises:
            InputError: if their length is not given.
        """
        if num_steps is None:
            raise InputError("the corruption of an episode needs its length: reset(num_steps=...).")
        self.agent.reset(goal=goal, seed=seed, num_steps=num_steps)
        seeds = episode_seeds(seed, 1 if goal is None else len(np.atleast_2d(goal)))
        self.randoms = [np.random.default_rng([1, one]) for one in seeds]
        self.corrupted = self.corruption.blocks(num_steps, np.random.default_rng([0, seeds[0]]))
        self.step = 0

    def act(self, observations: Float[np.ndarray, "batch observation"]) -> Float[np.ndarray, "batch action"]:
        """Return the agent's actions for what the sensor makes of the observations."""
        corrupted, self.step = self.corrupted[self.step], self.step + 1
        if not corrupted:
            self.last_clean = observations
            return self.agent.act(observations)
        return self.agent.act(self._sensed(observations), observation_level=self.level if self.told else None)

    def _sensed(self, observations: np.ndarray) -> np.ndarray:
        if self.corruption.std == MISSING:
            return self.last_clean
        noise = np.stack([random.standard_normal(len(self.std)) for random in self.randoms])
        return observations + self.corruption.std * self.std * noise


def noise_level(model: DiffusionForcing, std: float) -> float:
    """Return the lowest level, as a share of K, with at least as much noise per signal as an observation has.

    An observation plus noise of deviation ``std`` (normalised units) is, up to a factor, a start token at the level k
    with (1 - alpha_bar_k) / alpha_bar_k = std²; nothing but noise is left at the last level.
    """
    alpha_bar = model.alpha_bar.double().cpu().numpy()
    enough = 1 - alpha_bar >= std**2 * alpha_bar if std < MISSING else alpha_bar == 0
    return int(np.argmax(enough)) / model.config.num_levels


if __name__ == "__main__":
    main("corruption", __doc__, study, FULL, QUICK)
