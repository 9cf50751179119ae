"""A maze in which the right way depends on what was seen long ago: the demand for memory of §4.4.

Two starts join into one shared stem, which ends in two branches. Demonstrations take the branch on the other side of
their start, so that in the stem nothing but the start, the cue, tells which branch is right.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dfplan.agents.config import PlannerConfig
from dfplan.agents.planner import DFPlanner
from dfplan.benchmarks.ablation import TRAINING_SEEDS, Row, Run
from dfplan.benchmarks.charts import COLOURS
from dfplan.benchmarks.driving import drive
from dfplan.benchmarks.evaluation import Agent, episode_seeds
from dfplan.benchmarks.figures import DOTS_PER_INCH, INK, draw_layout, draw_marks, draw_path
from dfplan.benchmarks.small_models import small_model
from dfplan.benchmarks.statistics import Estimate, bootstrap, proportion
from dfplan.config import ModelConfig, Recipe, TrainingConfig
from dfplan.envs.controller import WaypointController
from dfplan.envs.demonstrations import COLUMNS, DATASET_NOISE, Dataset
from dfplan.envs.layouts import Layout
from dfplan.envs.physics import PointMassPhysics
from dfplan.envs.task import POSITION_SPREAD, VELOCITY_SPREAD, is_success

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
# By cue: where episodes start, and where demonstrations from there finish.
CUES = ("left", "right")
STARTS = np.array([(1.0, 1.0), (1.0, 3.0)])
ENDS = np.array([(6.0, 3.0), (6.0, 1.0)])
MODEL = ModelConfig(num_tokens=22, width=96, depth=3)
EMA_DECAY = 0.99  # of a training of a thousand updates; the usual one would average over its beginning
MAX_DEMONSTRATION_STEPS = 1000  # several times what a demonstrator needs; one that does not arrive is an error
SHOWN_EPISODES = 24  # the first ones, cues in turn
PANEL_SIZE = (2.9, 4.2)  # inches


@dataclass(frozen=True)
class Settings:
    """Budget of the comparison of agents with different histories.

    Attributes:
        demonstrations: that the model is trained on.
        training_steps: updates.
        episodes: of each agent.
        histories: tokens of executed history that agents are shown; 0 is memoryless. One that is shown its whole past
            is run on top, and a memoryless one that plans once.
        open_loop_horizon: steps between plans.
        controller: from plans to actions; one on the plan's clock.
        model: its longest plan covers the demonstrators' whole way, and so does its longest history.
    """

    demonstrations: int
    training_steps: int
    episodes: int
    histories: tuple[int, ...]
    open_loop_horizon: int = 20
    controller: str = "pd"
    model: ModelConfig = MODEL

    @property
    def contenders(self) -> dict[str, dict[str, Any]]:
        """By name what an agent is shown, and how often it plans."""
        steps, whole_past = self.open_loop_horizon, self.model.num_tokens - 1
        named = {self._name(tokens): tokens for tokens in self.histories} | {"whole past": whole_past}
        contenders = {name: {"history": tokens, "open_loop_horizon": steps} for name, tokens in named.items()}
        return contenders | {"one plan": {"history": 0, "open_loop_horizon": None}}

    def _name(self, tokens: int) -> str:
        return f"{tokens * self.model.frame_stack} steps of history" if tokens else "memoryless"


def study(settings: Settings, run: Run) -> dict[str, "Recall"]:
    """Return what agents do that share one model and differ in their history."""
    training = TrainingConfig(
        steps=settings.training_steps,
        goal_known=0.0,
        goal_on_the_way=0.0,
        ema_decay=EMA_DECAY,
        rows=None,
        seed=TRAINING_SEEDS[0],
    )
    dataset = generate(settings.demonstrations, training.seed)
    model = small_model(Recipe(LAYOUT.name, settings.model, training), dataset, run, "cue-maze")
    recalls = {}
    for name, own in settings.contenders.items():
        agent = DFPlanner(model, PlannerConfig(controller=settings.controller, goal_token=False, **own))
        recalls[name] = recall(agent, settings.episodes, run.seed, 2 * settings.model.horizon, f"cue maze, {name}")
    return recalls


def generate(demonstrations: int, seed: int, noise: float = DATASET_NOISE) -> Dataset:
    """Return demonstrations under D4RL's keys, cues in turn, each a segment of its own from its start to its end.

    Rewards are zero: nothing in the data but the way itself tells where it leads.

    Args:
        demonstrations: how many.
        seed: of everything random.
        noise: standard deviation of the action noise, as in D4RL's data.
    """
    cues = alternating_cues(demonstrations)
    steps = list(_demonstrate(cues, seed, noise))
    states, actions, arrived = (np.stack(column, axis=1) for column in zip(*steps))  # (demonstration, step, ...)
    return recording_of(states, actions, arrived, ENDS[cues])


def recording_of(
    states: Float[np.ndarray, "demonstration step 4"],
    actions: Float[np.ndarray, "demonstration step 2"],
    ended: Bool[np.ndarray, "demonstration step"],
    goals: Float[np.ndarray, "demonstration 2"] | None = None,
) -> Dataset:
    """Return demonstrations under D4RL's keys, each up to the first row at which it ended, with rewards of zero.

    Each has the goal given, or else the position at which it ended.
    """
    kept = np.cumsum(ended, axis=1) - ended == 0  # up to the first row at the end, that row included
    rows = kept.sum(axis=1)
    if goals is None:
        goals = states[np.arange(len(states)), rows - 1, :2]
    dataset = {
        "observations": states[kept],
        "actions": actions[kept],
        "rewards": np.zeros(rows.sum()),
        "terminals": np.zeros(rows.sum()),
        "timeouts": ended[kept],
        "infos/goal": goals.repeat(rows, axis=0),
        "infos/qpos": states[kept][:, :2],
        "infos/qvel": states[kept][:, 2:],
    }
    return {key: dataset[key].astype(dtype) for key, (_, dtype) in COLUMNS.items()}


def _demonstrate(cues: Int[np.ndarray, " batch"], seed: int, noise: float) -> Iterator[tuple[np.ndarray, ...]]:
    """Yield states, actions and whether the end is reached, step by step, until all have been there.

    Raises:
        RuntimeError: if one does not arrive.
    """
    random = np.random.default_rng([seed, 0])
    controller = WaypointController(LAYOUT, len(cues), seeds=[[seed, 1 + one] for one in range(len(cues))])
    controller.reset(ENDS[cues])
    physics, states = PointMassPhysics(LAYOUT), _first_states(cues, [random] * len(cues))
    been_there = np.zeros(len(cues), dtype=bool)
    for _ in range(MAX_DEMONSTRATION_STEPS):
        wanted = controller.act(states[:, :2], states[:, 2:]) + random.normal(0.0, noise, (len(cues), 2))
        actions, arrived = np.clip(wanted, -1.0, 1.0), controller.reached(states[:, :2])
        yield states, actions, arrived
        been_there |= arrived
        if been_there.all():
            return
        states = physics.step(states, actions)
    raise RuntimeError(f"{(~been_there).sum()} demonstrators did not arrive within {MAX_DEMONSTRATION_STEPS} steps")


def alternating_cues(count: int) -> Int[np.ndarray, " count"]:
    """Return the cue of each demonstration or episode: left, right, left, ..."""
    return np.arange(count) % len(CUES)


def _first_states(cues: Int[np.ndarray, " batch"], randoms: list[np.random.Generator]) -> Float[np.ndarray, "batch 4"]:
    """Return states spread around the cues' starts as D4RL spreads its own, each from its generator."""
    spread = [random.uniform(-POSITION_SPREAD, POSITION_SPREAD, 2) for random in randoms]
    velocity = [random.normal(0.0, VELOCITY_SPREAD, 2) for random in randoms]
    return np.concatenate([STARTS[cues] + spread, velocity], axis=1)


@dataclass(frozen=True, eq=False)
class Recall:
    """What one agent did in the cue maze.

    Attributes:
        cues: index into ``CUES`` of each episode.
        paths: positions, the start first, environment units.
        taken: the end that was reached first, as the cue whose end it is; -1 for neither.
        arrivals: the step at which it was reached; the last one for neither.
    """

    cues: Int[np.ndarray, " episode"]
    paths: Float[np.ndarray, "episode time_and_start 2"]
    taken: Int[np.ndarray, " episode"]
    arrivals: Int[np.ndarray, " episode"]

    @classmethod
    def of(cls, cues: Int[np.ndarray, " episode"], paths: Float[np.ndarray, "episode time_and_start 2"]) -> "Recall":
        """Return which ends the paths reach first."""
        to_each_end = paths[:, :, None].repeat(len(ENDS), axis=2)  # (episode, time, end, 2)
        at_end = is_success(to_each_end, ENDS[None, None])
        reached = at_end.any(axis=2)  # (episode, time)
        arrivals = np.where(reached.any(axis=1), reached.argmax(axis=1), paths.shape[1] - 1)
        there = at_end[np.arange(len(paths)), arrivals]  # (episode, end)
        return cls(cues, paths, np.where(there.any(axis=1), there.argmax(axis=1), -1), arrivals)

    def row(self) -> Row:
        """Return the agent's columns of the table."""
        steps = bootstrap(self.arrivals.astype(float), np.median)
        return self.shares() | {"steps to an end (median)": steps}

    def shares(self) -> dict[str, Estimate]:
        """Return the shares of episodes that reach the right branch's end, the wrong one's, and neither."""
        right, neither = self.taken == self.cues, self.taken < 0
        outcomes = {"right branch": right, "wrong branch": ~right & ~neither, "neither": neither}
        return {outcome: proportion(happened) for outcome, happened in outcomes.items()}


def recall(agent: Agent, episodes: int, seed: int, num_steps: int, label: str = "") -> Recall:
    """Return what ``agent`` does in so many episodes side by side, cues in turn, with a progress bar.

    It has no goal, so it cannot be scored by ``evaluate``; starts and the agent's random numbers are those of its
    rule: they depend on (seed, episode) only.
    """
    cues, physics = alternating_cues(episodes), PointMassPhysics(LAYOUT)
    start_seeds, agent_seeds = zip(*(episode_seeds(seed, episode) for episode in range(episodes)))
    states = _first_states(cues, [np.random.default_rng(start_seed) for start_seed in start_seeds])
    driven = drive(agent, physics, states, num_steps, None, agent_seeds, label)
    return Recall.of(cues, driven.paths)


def recall_figure(recalls: Mapping[str, Recall]) -> Figure:
    """Return one panel per agent: its first episodes up to their arrival, coloured by cue, over the maze."""
    size = (PANEL_SIZE[0] * len(recalls), PANEL_SIZE[1])
    figure = Figure(figsize=size, layout="constrained", dpi=DOTS_PER_INCH)
    colours, norm = ListedColormap(COLOURS[: len(CUES)]), Normalize(0, len(CUES) - 1)
    for axes, (name, found) in zip(figure.subplots(1, len(recalls), squeeze=False)[0], recalls.items()):
        draw_layout(axes, LAYOUT)
        for cue, path, arrival in zip(found.cues[:SHOWN_EPISODES], found.paths, found.arrivals):
            walked = path[: arrival + 1]
            draw_path(axes, walked, np.full(len(walked), float(cue)), colours, norm).set(alpha=0.7, linewidth=1.2)
            draw_marks(axes, path[0], None)
        axes.set_title(f"{name}\nright branch {found.shares()['right branch'].value:.0%}", fontsize=10, color=INK)
    handles = [Line2D([], [], color=colour, label=f"cue: {cue}") for colour, cue in zip(COLOURS, CUES)]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(CUES), frameon=False, fontsize=9)
    return figure
