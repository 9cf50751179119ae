"""``python -m dfplan.benchmarks.composition``: memory repeats the data, forgetting composes it (§4.3, App. E.2).

Trained on crossings of a square, from corner to opposite corner, one model is rolled out twice. Shown what it has
done, it repeats the cross; shown its position only, it goes on from the centre in any direction, on ways that nobody
has shown it.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.spatial import cKDTree
from tqdm import tqdm

from dfplan.agents.config import PlannerConfig
from dfplan.agents.planner import DFPlanner
from dfplan.benchmarks.ablation import TRAINING_SEEDS, Findings, Row, Run, main
from dfplan.benchmarks.charts import COLOURS
from dfplan.benchmarks.evaluation import Agent
from dfplan.benchmarks.figures import DOTS_PER_INCH, INK
from dfplan.benchmarks.small_models import small_model
from dfplan.benchmarks.statistics import bootstrap, proportion
from dfplan.config import ModelConfig, Recipe, TrainingConfig

CORNERS = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])  # counter-clockwise, the square's own unit
CROSSING_STEPS = 20  # environment steps of a crossing; it passes the centre half-way
HALF = CROSSING_STEPS // 2
# Where crossings end, between centre (0) and corner (1): short of where they begin. Training windows stand still after
# the end, so in the corner itself a position would not tell whether the way is still ahead.
ARRIVAL = 0.7
FIRST_SPEED = 1.2  # centre-to-corner distances per crossing; it grows towards the centre and falls to 0 at the end
SPREAD = 0.06  # standard deviation of starts, ends and of the bend between them: the thickness of the cross
REACH = math.sqrt(0.5)  # distance from a corner within which a path has ended there: half of that to the centre
TURNS = {"opposite": (2,), "neighbouring": (1, 3), "back": (0,)}  # quarter turns from the first to the last corner
MODEL = ModelConfig(observation_dim=2, frame_stack=5, num_tokens=4, width=64, depth=2)
WAYS = {"with memory": True, "without memory": False}
REFERENCES = 500  # crossings among which the nearest one is looked for
SHOWN_PATHS = 200  # the first ones
PANEL_INCHES, TITLE_INCHES = 4.0, 0.5
LIMIT = 1.3  # a panel shows [-LIMIT, LIMIT] along both axes

EXPLANATION = """
One model is trained on paths that cross a square from a corner to the opposite one, with independent noise levels and
no goal. Its observation is the position alone, so that at the centre nothing tells where a path came from. Every agent
plans to the end of the crossing, executes a number of steps, and plans anew; all have the same starts and random
seeds. With memory the model is shown the executed steps as clean tokens, without it only the present position.

`opposite`, `neighbouring`, `back` and `elsewhere` are the shares of paths by where they end, seen from where they
began; the V-shaped ones end in a neighbouring corner, which no path of the data does. Distances are root mean squares
over time in the square's unit, to the nearest of several: `path to data` of a whole path to the crossings shown in
training, `half to data` of either half of a path to all pieces of these crossings, `data to path` of the crossings to
the paths in the row. Where the first is large and the second small, known pieces are put together in new ways; where
the third is larger than in the first row, part of the data's variety is missing. The first row holds new paths of the
data's own law. The second plans once, so that memory plays no part.

Replanned half-way, the memoryless agent stands near the centre, from where the data leave in four directions, equally
often: half of its paths would be V-shaped if it knew nothing else. Replanned more often it also stands on the arms,
which the data pass in both directions; there it turns about again and again, and fewer paths arrive anywhere.
"""

Paths = Float[np.ndarray, "path time 2"]
Corners = Int[np.ndarray, " path"]


@dataclass(frozen=True)
class Settings:
    """Budget of the study.

    Attributes:
        steps: of training.
        rollouts: of each agent.
        crossings: in the data set.
        pieces: steps executed before replanning, one after the other.
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
    """Return where the roll-outs of one model end with and without memory, beside new paths of the data's own law."""
    seed = TRAINING_SEEDS[0]
    shown, _ = crossings(settings.crossings, np.random.default_rng(seed))
    unseen, corner = crossings(settings.rollouts, np.random.default_rng([run.seed, 1]))  # no training seed draws these
    model = small_model(recipe(settings, seed), dataset(shown), run, "crossings")
    cases = {("plans once", CROSSING_STEPS): 0}
    for piece in settings.pieces:
        cases |= {(way, piece): memory * (settings.model.num_tokens - 1) for way, memory in WAYS.items()}
    nearest = Nearest(shown[:REFERENCES])
    rows = [{"paths": "data", "steps per plan": "-"} | ends_row(unseen, corner) | nearest.row(unseen)]
    rolled = {}
    for (way, piece), history in tqdm(cases.items(), desc="rolling out", unit="agent"):
        agent = DFPlanner(model, agent_config(settings, piece, history))
        paths = rolled[way, piece] = roll_out(agent, unseen[:, 0], run.seed)
        rows.append({"paths": way, "steps per plan": piece} | ends_row(paths, corner) | nearest.row(paths))
    panels = {"data": unseen} | {way: rolled[way, settings.pieces[0]] for way in WAYS}
    return Findings({"Where paths end": rows}, {"paths": paths_figure(panels, corner)}, EXPLANATION)


def crossings(count: int, rng: np.random.Generator) -> tuple[Paths, Corners]:
    """Return paths of ``CROSSING_STEPS`` steps from each corner in turn to the opposite one, and where they begin."""
    corner = np.arange(count) % len(CORNERS)
    share = np.linspace(0, 1, CROSSING_STEPS + 1)
    start, end, bend = rng.normal(scale=SPREAD, size=(3, count, 1, 2))
    middle = -progress(share)[:, None] * CORNERS[corner][:, None]  # (path, time, 2)
    share = share[:, None]
    return middle + (1 - share) * start + share * end + np.sin(np.pi * share) * bend, corner


def progress(share: Float[np.ndarray, " time"]) -> Float[np.ndarray, " time"]:
    """Return the way along the diagonal at shares of the time: the cubic that begins at -1 with ``FIRST_SPEED``,
    passes 0 half-way and ends at ``ARRIVAL``.
    """
    square = 7 - ARRIVAL - 3 * FIRST_SPEED
    cube = 1 + ARRIVAL - FIRST_SPEED - square
    return -1 + FIRST_SPEED * share + square * share**2 + cube * share**3


def dataset(paths: Paths) -> dict[str, np.ndarray]:
    """Return paths as a D4RL data set: an observation is a position, an action the step from it, no reward."""
    count, time, _ = paths.shape
    return {
        "observations": paths.reshape(-1, 2).astype(np.float32),
        "actions": np.diff(paths, axis=1, append=paths[:, -1:]).reshape(-1, 2).astype(np.float32),
        "rewards": np.zeros(count * time, np.float32),
        "timeouts": np.tile(np.arange(time) == time - 1, count),
        "infos/goal": np.repeat(paths[:, -1], time, axis=0).astype(np.float32),
    }


def recipe(settings: Settings, seed: int) -> Recipe:
    """Return how the model is trained; it is never told a goal."""
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


def agent_config(settings: Settings, piece: int, history: int) -> PlannerConfig:
    """Return the settings of an agent that plans to the end and follows each plan for ``piece`` steps."""
    return PlannerConfig(
        controller="diffused",
        goal_token=False,
        open_loop_horizon=piece,
        sampling_steps=settings.sampling_steps,
        history=history,
    )


def roll_out(agent: Agent, starts: Float[np.ndarray, "path 2"], seed: int) -> Paths:
    """Return the agent's paths, all side by side, through a world in which actions are steps."""
    agent.reset(seed=seed, num_steps=CROSSING_STEPS)
    positions = [starts]
    for _ in range(CROSSING_STEPS):
        positions.append(positions[-1] + agent.act(positions[-1]))
    return np.stack(positions, axis=1)


def ends(paths: Paths, corner: Corners) -> dict[str, Bool[np.ndarray, " path"]]:
    """Return which paths end in which corner as seen from the first, and which end near none."""
    distance = np.linalg.norm(paths[:, -1, None] - CORNERS, axis=-1)  # (path, corner)
    turns = (distance.argmin(axis=1) - corner) % len(CORNERS)
    arrived = distance.min(axis=1) <= REACH
    return {name: arrived & np.isin(turns, those) for name, those in TURNS.items()} | {"elsewhere": ~arrived}


def ends_row(paths: Paths, corner: Corners) -> Row:
    """Return the share of paths that end in each corner, with Wilson intervals."""
    return {name: proportion(those) for name, those in ends(paths, corner).items()}


class Nearest:
    """Distances between paths and the nearest among some crossings; in the square's unit."""

    def __init__(self, shown: Paths):
        self.shown, self.whole, self.halves = shown, _tree(shown), _tree(pieces_of(shown, HALF))

    def row(self, paths: Paths) -> Row:
        """Return the mean distances, with bootstrap intervals."""
        halves = [_distance(self.halves, half) for half in (paths[:, : HALF + 1], paths[:, HALF:])]
        return {
            "path to data": bootstrap(_distance(self.whole, paths)),
            "half to data": bootstrap(np.mean(halves, axis=0)),
            "data to path": bootstrap(_distance(_tree(paths), self.shown)),
        }


def _tree(paths: Paths) -> cKDTree:
    return cKDTree(paths.reshape(len(paths), -1))


def _distance(tree: cKDTree, paths: Paths) -> Float[np.ndarray, " path"]:
    """Return the root-mean-square distance over time to the nearest path of a tree."""
    distance, _ = tree.query(paths.reshape(len(paths), -1))
    return distance / np.sqrt(paths.shape[1])


def pieces_of(paths: Paths, steps: int) -> Float[np.ndarray, "piece piece_time 2"]:
    """Return all pieces of so many steps; like training windows they stand still after the path's end."""
    held = np.pad(paths, ((0, 0), (0, steps), (0, 0)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(held, steps + 1, axis=1)  # (path, first, 2, time)
    return windows.swapaxes(2, 3).reshape(-1, steps + 1, 2)


def paths_figure(panels: dict[str, Paths], corner: Corners) -> Figure:
    """Return one panel per set of paths, coloured by the corner where a path begins (the paper's figure of §4.3)."""
    size = (PANEL_INCHES * len(panels), PANEL_INCHES + TITLE_INCHES)
    figure = Figure(figsize=size, layout="compressed", dpi=DOTS_PER_INCH)
    for axes, (title, paths) in zip(figure.subplots(1, len(panels)), panels.items()):
        _draw_paths(axes, paths[:SHOWN_PATHS], corner)
        found = ends(paths, corner)
        shares = ", ".join(f"{found[name].mean():.0%} {name}" for name in TURNS)
        axes.set_title(f"{title}\n{shares}", fontsize=10, color=INK)
    return figure


def _draw_paths(axes: Axes, paths: Paths, corner: Corners) -> None:
    for path, first in zip(paths, corner):
        axes.plot(*path.T, color=COLOURS[first], linewidth=0.8, alpha=0.5)
    axes.scatter(*CORNERS.T, s=60, c=COLOURS[: len(CORNERS)], edgecolors="white", zorder=3)
    axes.set(xlim=(-LIMIT, LIMIT), ylim=(-LIMIT, LIMIT), xticks=[], yticks=[], aspect="equal")
    axes.spines[:].set_color("#c8c8c8")


if __name__ == "__main__":
    main("composition", __doc__, study, FULL, QUICK)
