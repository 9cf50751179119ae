"""``python -m dfplan.benchmarks.futures``: a world in which the number of futures decides (§3.4, App. C.5).

In the gust maze (``dfplan/benchmarks/gust_maze.py``) the mean of what may happen on the short way is the goal, though
the short way never leads there. Guidance by the mean future takes the short way; guidance by drawn futures does not.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from dfplan.agents.config import PlannerConfig
from dfplan.agents.planner import DFPlanner
from dfplan.benchmarks.ablation import TRAINING_SEEDS, Findings, Row, Run, main
from dfplan.benchmarks.charts import COLOURS
from dfplan.benchmarks.figures import DOTS_PER_INCH, INK, draw_layout, draw_marks
from dfplan.benchmarks.gust_maze import (
    GOAL,
    LAYOUT,
    START,
    WAYS,
    WINDY_CELL,
    cross,
    crossings_row,
    demonstrated_ways,
    generate,
)
from dfplan.benchmarks.small_models import small_models
from dfplan.benchmarks.statistics import Estimate, bootstrap
from dfplan.config import ModelConfig, Recipe, TrainingConfig
from dfplan.data import segment_ends
from dfplan.diffusion_forcing import DiffusionForcing
from dfplan.envs.demonstrations import Dataset
from dfplan.envs.layouts import CELL_CENTRE_OFFSET
from dfplan.envs.task import distance_to_goal
from dfplan.noise import draw_noise
from dfplan.sampler import sample
from dfplan.tokens import FIRST_PLANNED, Trajectories
from dfplan.tokens import START as START_TOKEN

MODEL = ModelConfig(frame_stack=20, num_tokens=14, width=96, depth=3, causal=True)
EMA_DECAY = 0.99  # of a training of some hundred updates; the usual one would average over its beginning
SHOWN_PATHS = 12  # of each way, the first ones
PANEL_SIZE = (5.2, 3.1)  # inches

EXPLANATION = """
The gust maze has two ways. The short one enters a windy cell, from where a gust carries the ball to the left hollow or
to the right one, by the toss of a coin; both are closed and 4 units from the goal, which lies in the middle between
them. The long way around is calm and ends at the goal. Demonstrations take both ways, and a model without a guide
takes each about equally often. The guide is minus the distance to the goal, summed over the plan. Each episode is one
plan along a pyramid, tracked by the PD controller; all agents share the networks, the starts and the
coins.

`N` is the number of futures drawn for the tokens about to be committed, `future steps` the denoising steps of each
future before the guide scores it. N = 1 with one step is plain guidance: the score of the network's x0, the mean
future. With one step N futures are hardly more than N copies of the mean future, because the tokens after those about
to be committed are still nearly pure noise, and the prediction from pure noise is the mean. More futures change
nothing then. With three steps each future is one that may happen; only the tokens about to be committed are guided.

The second table tells why, for the first of the networks; its intervals are over demonstrations. Demonstrations that
no training saw give the first token of each way; the model plans the rest without a guide, in the given number of
steps. The numbers are the mean distance to the goal over the plan, which is what the guide scores, beside what happened
in these demonstrations. One step, the mean future, promises more of the windy way than of the calm way.
"""


@dataclass(frozen=True)
class Settings:
    """Budget of the comparison.

    Attributes:
        training_steps: updates.
        episodes: of each agent.
        futures: numbers N.
        future_steps: denoising steps of a future.
        promised_steps: denoising steps of the plans in the second table.
        demonstrations: that the model is trained on.
        promised: other demonstrations, of which the second table has the first tokens.
        guidance_scale: factor on the gradient of the guide.
        uncertainty_scale: sampling steps by which a token lags behind the one before it.
        sampling_steps: denoising steps of each token.
        training_seeds: one network is trained from each.
        model: its plans are as long as an episode.
    """

    training_steps: int
    episodes: int
    futures: tuple[int, ...]
    future_steps: tuple[int, ...] = (1, 3)
    promised_steps: tuple[int, ...] = (1, 2, 3, 8)
    demonstrations: int = 600
    promised: int = 100
    guidance_scale: float = 1.0
    uncertainty_scale: float = 2.0
    sampling_steps: int = 12
    training_seeds: tuple[int, ...] = TRAINING_SEEDS
    model: ModelConfig = MODEL

    @property
    def planner(self) -> dict:
        """Settings of ``PlannerConfig`` that all agents share."""
        return {
            "controller": "pd",
            "goal_token": False,
            "open_loop_horizon": None,
            "schedule": "pyramid",
            "uncertainty_scale": self.uncertainty_scale,
            "sampling_steps": self.sampling_steps,
        }


FULL = Settings(training_steps=2500, episodes=100, futures=(1, 2, 4, 8, 16))
QUICK = Settings(training_steps=800, episodes=20, futures=(1, 4), promised=20, training_seeds=TRAINING_SEEDS[:1])


def study(settings: Settings, run: Run) -> Findings:
    """Return the agents' scores over the number of futures, and what each way promises at the fork."""
    training = TrainingConfig(
        steps=settings.training_steps,
        goal_known=0.0,
        goal_on_the_way=0.0,
        long_ways=1.0,
        ema_decay=EMA_DECAY,
        rows=None,
    )
    recipe = Recipe(LAYOUT.name, settings.model, training)
    data = partial(generate, settings.demonstrations)
    models = small_models(recipe, data, run, "gust-maze", settings.training_seeds)
    rows = [_row(models, None, 1, 1, settings, run)]
    for steps in settings.future_steps:
        rows += [_row(models, "goal_distance", steps, number, settings, run) for number in settings.futures]
    shown = Promises.of(models[0], generate(settings.promised, run.seed), settings, run.seed)
    tables = {"Score over the number of futures": rows, "What each way promises at the fork": shown.rows()}
    figures = {"futures": futures_figure(rows, shown, settings)}
    return Findings(tables, figures, EXPLANATION, len(settings.training_seeds))


def _row(
    models: list[DiffusionForcing], guide: str | None, future_steps: int, number: int, settings: Settings, run: Run
) -> Row:
    """Return the scores of networks from different training seeds, each in episodes of its own."""
    own = {"guidance_scale": settings.guidance_scale, "num_futures": number, "future_steps": future_steps}
    config = PlannerConfig(guide=guide, **own, **settings.planner)
    label = "no guide" if guide is None else f"{future_steps} future steps, N = {number}"
    found = [
        cross(DFPlanner(model, config), settings.episodes, run.seed + training, settings.model.horizon, label)
        for training, model in enumerate(models)
    ]
    named = {"future steps": future_steps, "N": number} if guide else {"future steps": "-", "N": "-"}
    return {"guide": guide or "none"} | named | crossings_row(found)


@dataclass(frozen=True, eq=False)
class Promises:
    """What a model expects of both ways at the fork, by denoising steps, and what happened there.

    Attributes:
        ways: index into ``WAYS`` of each demonstration.
        planned: by denoising steps, positions in environment units: the demonstration's first token, then the model's.
        happened: positions of the demonstrations, at rest after their ends.
    """

    ways: np.ndarray
    planned: dict[int, Float[np.ndarray, "demonstration step 2"]]
    happened: Float[np.ndarray, "demonstration step 2"]

    @classmethod
    def of(cls, model: DiffusionForcing, dataset: Dataset, settings: Settings, seed: int) -> "Promises":
        """Return the promises for demonstrations that the model has not seen."""
        starts, shown = from_their_starts(dataset, model.config.horizon)
        planned = {steps: continue_plans(model, starts, shown, steps, seed) for steps in settings.promised_steps}
        return cls(demonstrated_ways(len(starts)), planned, shown.observations[..., :2].numpy())

    def rows(self) -> list[Row]:
        """Return one row per way: mean distances to the goal over the plan, in environment units."""
        columns = {f"{steps} steps" if steps > 1 else "mean future": path for steps, path in self.planned.items()}
        columns["what happened"] = self.happened
        return [
            {"way": name} | {title: mean_distance(paths[self.ways == way]) for title, paths in columns.items()}
            for way, name in enumerate(WAYS)
        ]


def mean_distance(paths: Float[np.ndarray, "path step 2"]) -> Estimate:
    """Return the distance to the goal, averaged over the steps of each path and over the paths."""
    return bootstrap(distance_to_goal(paths, GOAL[None, None]).mean(axis=1).astype(float))


def from_their_starts(dataset: Dataset, horizon: int) -> tuple[Float[torch.Tensor, "segment 4"], Trajectories]:
    """Return the first observation of each segment, and the ``horizon`` steps after it; a ball rests at its end."""
    last = np.unique(segment_ends(dataset))
    first = np.concatenate([[0], last[:-1] + 1])
    row = np.minimum(first[:, None] + np.arange(1, horizon + 1), last[:, None])  # (segment, step)
    parts = (dataset["observations"][row], dataset["actions"][row - 1], dataset["rewards"][row])
    return torch.from_numpy(dataset["observations"][first]), Trajectories(*map(torch.from_numpy, parts))


def continue_plans(
    model: DiffusionForcing, starts: Float[torch.Tensor, "batch 4"], shown: Trajectories, steps: int, seed: int
) -> Float[np.ndarray, "batch step 2"]:
    """Return the positions of plans that begin with the first token shown; all later tokens are denoised together."""
    num_levels, device = model.config.num_levels, model.alpha_bar.device
    generators = [torch.Generator().manual_seed(seed + plan) for plan in range(len(starts))]
    time = FIRST_PLANNED + model.config.num_tokens
    tokens = draw_noise((time, model.config.token_dim), generators, device)
    tokens = tokens * model.codec.used_channels(model.config.num_tokens)
    tokens[:, START_TOKEN] = model.codec.encode_start(starts.to(device))[:, 0]
    parts = (part.to(device) for part in (shown.observations, shown.actions, shown.rewards))
    tokens[:, FIRST_PLANNED] = model.codec.encode(Trajectories(*parts))[:, 0]
    falling = torch.linspace(num_levels, 0, steps + 1).long()  # (row,)
    matrix = falling[:, None].repeat(1, time)
    matrix[:, 0] = num_levels  # the goal stays masked
    matrix[:, START_TOKEN : FIRST_PLANNED + 1] = 0
    planned = sample(model, tokens, matrix.to(device), generators)[:, FIRST_PLANNED:]
    return model.codec.decode(planned).observations[..., :2].cpu().numpy()


def futures_figure(rows: list[Row], shown: Promises, settings: Settings) -> Figure:
    """Return both ways as the mean future, as drawn futures and as they happened, and success over N."""
    figure = Figure(figsize=(2 * PANEL_SIZE[0], 2 * PANEL_SIZE[1]), layout="constrained", dpi=DOTS_PER_INCH)
    mean, drawn, happened, scores = figure.subplots(2, 2).ravel()
    most = max(settings.promised_steps)
    _draw_ways(mean, "Mean futures: one denoising step", shown.ways, shown.planned[min(settings.promised_steps)])
    _draw_ways(drawn, f"Drawn futures: {most} denoising steps", shown.ways, shown.planned[most])
    _draw_ways(happened, "What happened", shown.ways, shown.happened)
    _draw_scores(scores, rows, settings)
    mean.legend(loc="lower right", fontsize=8)
    return figure


def _draw_ways(axes: Axes, title: str, ways: np.ndarray, paths: Float[np.ndarray, "path step 2"]) -> None:
    """Draw the first paths of each way over the maze, with the mean distances to the goal in the title."""
    draw_layout(axes, LAYOUT)
    corner = WINDY_CELL[::-1] + CELL_CENTRE_OFFSET - 0.5
    axes.add_patch(Rectangle(corner, 1, 1, facecolor="#9cc3e6", edgecolor="none"))
    for way in reversed(range(len(WAYS))):
        for number, path in enumerate(paths[ways == way][:SHOWN_PATHS]):
            label = f"{WAYS[way]} way" if number == 0 else None
            axes.plot(path[:, 1], path[:, 0], color=COLOURS[1 - way], linewidth=1.0, alpha=0.6, label=label)
            axes.plot(path[-1, 1], path[-1, 0], "o", color=COLOURS[1 - way], markersize=4, zorder=6)
    draw_marks(axes, START, GOAL)
    found = ", ".join(f"{name} {mean_distance(paths[ways == way]).value:.2f}" for way, name in enumerate(WAYS))
    axes.set_title(f"{title}\nmean distance to the goal: {found}", fontsize=10, color=INK)


def _draw_scores(axes: Axes, rows: list[Row], settings: Settings) -> None:
    for colour, steps in zip(COLOURS[2:], settings.future_steps):
        line = {row["N"]: row["success"] for row in rows if row["future steps"] == steps}
        values = np.array([(one.value, one.value - one.low, one.high - one.value) for one in line.values()]).T
        label = f"futures denoised {steps} step{'s' if steps > 1 else ''}"
        axes.errorbar(list(line), values[0], yerr=values[1:], color=colour, marker="o", capsize=2, label=label)
    axes.axhline(rows[0]["success"].value, color=INK, linewidth=0.8, linestyle=":", label="no guide")
    axes.set_xscale("log", base=2)
    axes.set_xticks(settings.futures, [str(number) for number in settings.futures])
    axes.minorticks_off()
    axes.set(xlabel="futures N", ylabel="success", ylim=(-0.03, 1.2))
    axes.grid(axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title("Episodes that end at the goal", fontsize=10, color=INK)
    axes.legend(loc="upper center", ncols=len(settings.future_steps) + 1, frameon=False, fontsize=8)


if __name__ == "__main__":
    main("futures", __doc__, study, FULL, QUICK)
