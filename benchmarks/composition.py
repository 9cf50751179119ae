"""``python -m dfplan.benchmarks.composition``: memory repeats the data, its absence composes it (§4.3, App. E.2).

The model is trained on paths that cross a square from one corner to the opposite one, and is rolled out in two ways. An
agent that sees its executed steps repeats such crossings. An agent that sees only its position leaves the centre in any
direction, and so composes paths that are not in the data.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.spatial import cKDTree
from tqdm import tqdm

from dfplan.agents.planner import DFPlanner
from dfplan.agents.planner_config import PlannerConfig
from dfplan.benchmarks.evaluation.episodes import Agent
from dfplan.benchmarks.evaluation.estimates import Row
from dfplan.benchmarks.evaluation.statistics import bootstrap, estimate_proportion
from dfplan.benchmarks.reporting.ablation import TRAINING_SEEDS, Findings, Run, main
from dfplan.benchmarks.reporting.charts import COLOURS
from dfplan.benchmarks.reporting.figures import DOTS_PER_INCH, INK
from dfplan.benchmarks.small_models import train_small_model
from dfplan.config import ModelConfig, Recipe, TrainingConfig
from dfplan.task import Task

CORNERS = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])  # counter-clockwise, in units of the square
CROSSING_STEPS = 20  # environment steps of a crossing; half of them lead to the centre
HALF = CROSSING_STEPS // 2
# Where crossings end, between centre (0) and corner (1). They end before the corner, where others begin: training
# windows stand still after the end, and in the corner a position would not tell whether the path has ended.
ARRIVAL = 0.7
FIRST_SPEED = 1.2  # centre-to-corner distances per crossing
SPREAD = 0.06  # standard deviation of starts, of ends, and of the bend between them
REACH = math.sqrt(0.5)  # a path ends in a corner if it is closer than this: half the distance to the centre
TURNS = {"opposite": (2,), "neighbouring": (1, 3), "back": (0,)}  # quarter turns from the first corner to the last one
TASK = Task(observation_dim=2, action_dim=2, goal=(0, 1), rests=True, reward_of="state")
MODEL = ModelConfig(TASK, frame_stack=5, num_tokens=4, width=64, depth=2)
WAYS = {"with memory": True, "without memory": False}
REFERENCES = 500  # number of crossings among which the nearest one is searched
SHOWN_PATHS = 200  # number of paths drawn: the first ones
PANEL_INCHES, TITLE_INCHES = 4.0, 0.5
LIMIT = 1.3  # a panel shows [-LIMIT, LIMIT] along both axes

EXPLANATION = """
One model is trained on paths that cross a square from one corner to the opposite one, with independent noise levels and
without a goal. The observation is only the position, so at the centre it does not tell where a path came from. Every
agent plans to the end of the crossing, executes a number of steps, and replans. All agents have the same starts and
random seeds. With memory the model sees the executed steps as clean tokens; without memory it sees only the present
position.

`opposite`, `neighbouring`, `back` and `elsewhere` are the shares of paths that end in the opposite corner, in a
neighbouring corner (V-shaped paths, which do not occur in the data), in the corner where they began, or in no corner.
Distances are root mean squares over time, in units of the square, to the nearest of several paths: `path to data` from
a whole path to the crossings of the training data, `half to data` from each half of a path to all pieces of these
crossings, `data to path` from these crossings to the paths of the row. If the first is large and the second is small,
the paths combine known pieces in new ways. If the third is larger than in the first row, part of the variety of the
data is missing. The first row has new crossings from the distribution of the data. The agent of the second row plans
once, so that memory does not matter.

If the agent without memory replans half-way, it is near the centre, which paths of the data leave in all four
directions equally often; with the position alone, half of its paths would be V-shaped. If it replans more often, it
also replans on the arms, where paths of the data go in both directions; there it often turns around, and fewer paths
reach a corner.
"""

Paths = Float[np.ndarray, "path time 2"]
Corners = Int[np.ndarray, " path"]


@dataclass(frozen=True)
class Settings:
    """Budget of the study.

    Attributes:
        steps: number of training updates.
        rollouts: number of roll-outs of each agent.
        crossings: number of paths in the training data.
        pieces: numbers of steps that are executed before replanning; each is compared.
        sampling_steps: denoising steps of a plan.
        model: sizes of the network and of its tokens.
    """

    steps: int
    rollouts: int
    crossings: int = 2000
    pieces: tuple[int, ...] = (HALF, HALF // 2)
    sampling_steps: int = 20
    model: ModelConfig = MODEL


FULL = Settings(steps=6000, rollouts=400)
QUICK = Settings(steps=2500, rollouts=40)


def study(settings: Settings, run: Run) -> Findings:
    """Return where roll-outs with and without memory end, and the same of new paths from the data's distribution."""
    seed = TRAINING_SEEDS[0]
    shown, _ = draw_crossings(settings.crossings, np.random.default_rng(seed))
    unseen, corner = draw_crossings(
        settings.rollouts, np.random.default_rng([run.seed, 1])
    )  # differs from all training seeds
    model = train_small_model(make_recipe(settings, seed), make_dataset(shown), run, "crossings")
    cases = {("plans once", CROSSING_STEPS): 0}
    for piece in settings.pieces:
        cases |= {(way, piece): memory * (settings.model.num_tokens - 1) for way, memory in WAYS.items()}
    nearest = NearestCrossings(shown[:REFERENCES])
    rows = [{"paths": "data", "steps per plan": "-"} | summarize_ends(unseen, corner) | nearest.measure(unseen)]
    rolled = {}
    for (way, piece), history in tqdm(cases.items(), desc="rolling out", unit="agent"):
        agent = DFPlanner(model, make_agent_config(settings, piece, history))
        paths = rolled[way, piece] = roll_out_agent(agent, unseen[:, 0], run.seed)
        rows.append({"paths": way, "steps per plan": piece} | summarize_ends(paths, corner) | nearest.measure(paths))
    panels = {"data": unseen} | {way: rolled[way, settings.pieces[0]] for way in WAYS}
    return Findings({"Where paths end": rows}, {"paths": draw_paths(panels, corner)}, EXPLANATION)


def draw_crossings(count: int, rng: np.random.Generator) -> tuple[Paths, Corners]:
    """Return paths from one corner to the opposite one, and the corner where each begins: 0, 1, 2, 3, 0, ..."""
    corner = np.arange(count) % len(CORNERS)
    share = np.linspace(0, 1, CROSSING_STEPS + 1)
    start, end, bend = rng.normal(scale=SPREAD, size=(3, count, 1, 2))
    middle = -compute_progress(share)[:, None] * CORNERS[corner][:, None]  # (path, time, 2)
    share = share[:, None]
    return middle + (1 - share) * start + share * end + np.sin(np.pi * share) * bend, corner


def compute_progress(share: Float[np.ndarray, " time"]) -> Float[np.ndarray, " time"]:
    """Return the position along the diagonal at shares of the time, from -1 (corner) to ``ARRIVAL``.

    It is the cubic polynomial that begins with ``FIRST_SPEED`` and is 0 (the centre) at half the time.
    """
    square = 7 - ARRIVAL - 3 * FIRST_SPEED
    cube = 1 + ARRIVAL - FIRST_SPEED - square
    return -1 + FIRST_SPEED * share + square * share**2 + cube * share**3


def make_dataset(paths: Paths) -> dict[str, np.ndarray]:
    """Return paths as a D4RL data set: observations are positions, actions are steps, rewards are 0."""
    count, time, _ = paths.shape
    return {
        "observations": paths.reshape(-1, 2).astype(np.float32),
        "actions": np.diff(paths, axis=1, append=paths[:, -1:]).reshape(-1, 2).astype(np.float32),
        "rewards": np.zeros(count * time, np.float32),
        "timeouts": np.tile(np.arange(time) == time - 1, count),
        "infos/goal": np.repeat(paths[:, -1], time, axis=0).astype(np.float32),
    }


def make_recipe(settings: Settings, seed: int) -> Recipe:
    """Return the recipe of the model, which is never told a goal."""
    training = TrainingConfig(
        steps=settings.steps,
        learning_rate=3e-3,
        goal_known=0.0,
        goal_on_the_way=0.0,
        dataset="crossings",
        rows=settings.crossings * (CROSSING_STEPS + 1),
        seed=seed,
    )
    return Recipe("crossings", settings.model, training)


def make_agent_config(settings: Settings, piece: int, history: int) -> PlannerConfig:
    """Return the settings of an agent that plans to the end and replans every ``piece`` steps."""
    return PlannerConfig(
        controller="diffused",
        goal_token=False,
        open_loop_horizon=piece,
        sampling_steps=settings.sampling_steps,
        history=history,
    )


def roll_out_agent(agent: Agent, starts: Float[np.ndarray, "path 2"], seed: int) -> Paths:
    """Return the agent's paths, run side by side, in a world where an action is added to the position."""
    agent.reset(seed=seed, num_steps=CROSSING_STEPS)
    positions = [starts]
    for _ in range(CROSSING_STEPS):
        positions.append(positions[-1] + agent.act(positions[-1]))
    return np.stack(positions, axis=1)


def classify_ends(paths: Paths, corner: Corners) -> dict[str, Bool[np.ndarray, " path"]]:
    """Return for each kind of end which paths have it; the corner is counted from the one where a path begins."""
    distance = np.linalg.norm(paths[:, -1, None] - CORNERS, axis=-1)  # (path, corner)
    turns = (distance.argmin(axis=1) - corner) % len(CORNERS)
    arrived = distance.min(axis=1) <= REACH
    return {name: arrived & np.isin(turns, those) for name, those in TURNS.items()} | {"elsewhere": ~arrived}


def summarize_ends(paths: Paths, corner: Corners) -> Row:
    """Return the share of paths with each kind of end, with Wilson intervals."""
    return {name: estimate_proportion(those) for name, those in classify_ends(paths, corner).items()}


class NearestCrossings:
    """Measures distances between paths and the nearest of some crossings, in units of the square."""

    def __init__(self, shown: Paths):
        self.shown, self.whole, self.halves = shown, _build_tree(shown), _build_tree(cut_pieces(shown, HALF))

    def measure(self, paths: Paths) -> Row:
        """Return the mean distances, with bootstrap intervals."""
        halves = [_measure_distance(self.halves, half) for half in (paths[:, : HALF + 1], paths[:, HALF:])]
        return {
            "path to data": bootstrap(_measure_distance(self.whole, paths)),
            "half to data": bootstrap(np.mean(halves, axis=0)),
            "data to path": bootstrap(_measure_distance(_build_tree(paths), self.shown)),
        }


def _build_tree(paths: Paths) -> cKDTree:
    return cKDTree(paths.reshape(len(paths), -1))


def _measure_distance(tree: cKDTree, paths: Paths) -> Float[np.ndarray, " path"]:
    """Return the root-mean-square distance over time to the nearest path of a tree."""
    distance, _ = tree.query(paths.reshape(len(paths), -1))
    return distance / np.sqrt(paths.shape[1])


def cut_pieces(paths: Paths, steps: int) -> Float[np.ndarray, "piece piece_time 2"]:
    """Return all pieces of ``steps`` steps; like training windows they stand still after the end of a path."""
    held = np.pad(paths, ((0, 0), (0, steps), (0, 0)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(held, steps + 1, axis=1)  # (path, first, 2, time)
    return windows.swapaxes(2, 3).reshape(-1, steps + 1, 2)


def draw_paths(panels: dict[str, Paths], corner: Corners) -> Figure:
    """Return a figure with one panel per set of paths, coloured by their first corner, as in the paper's §4.3."""
    size = (PANEL_INCHES * len(panels), PANEL_INCHES + TITLE_INCHES)
    figure = Figure(figsize=size, layout="compressed", dpi=DOTS_PER_INCH)
    for axes, (title, paths) in zip(figure.subplots(1, len(panels)), panels.items()):
        _draw_panel(axes, paths[:SHOWN_PATHS], corner)
        found = classify_ends(paths, corner)
        shares = ", ".join(f"{found[name].mean():.0%} {name}" for name in TURNS)
        axes.set_title(f"{title}\n{shares}", fontsize=10, color=INK)
    return figure


def _draw_panel(axes: Axes, paths: Paths, corner: Corners) -> None:
    for path, first in zip(paths, corner):
        axes.plot(*path.T, color=COLOURS[first], linewidth=0.8, alpha=0.5)
    axes.scatter(CORNERS[:, 0], CORNERS[:, 1], s=60, c=COLOURS[: len(CORNERS)], edgecolors="white", zorder=3)
    axes.set(xlim=(-LIMIT, LIMIT), ylim=(-LIMIT, LIMIT), xticks=[], yticks=[], aspect="equal")
    axes.spines[:].set_color("#c8c8c8")


if __name__ == "__main__":
    main("composition", __doc__, study, FULL, QUICK)
