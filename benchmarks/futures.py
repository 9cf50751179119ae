"""``python -m dfplan.benchmarks.futures``: a maze in which Monte-Carlo guidance matters (§3.4, App. C.5).

In the gust maze (``worlds/gust_maze.py``) the mean of the possible ends of the short way is the goal, although the
short way never leads there. Guidance by the mean future takes the short way; guidance by sampled futures does not.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from dfplan.agents.planner import DFPlanner
from dfplan.agents.planner_config import PlannerConfig
from dfplan.benchmarks.evaluation.estimates import Row
from dfplan.benchmarks.evaluation.statistics import Estimate, bootstrap
from dfplan.benchmarks.reporting.ablation import TRAINING_SEEDS, Findings, Run, main
from dfplan.benchmarks.reporting.charts import COLOURS
from dfplan.benchmarks.reporting.figures import DOTS_PER_INCH, INK, draw_layout, draw_marks
from dfplan.benchmarks.small_models import train_small_models
from dfplan.benchmarks.worlds.gust_maze import (
    GOAL,
    LAYOUT,
    START,
    WAYS,
    WINDY_CELL,
    assign_ways,
    generate_gust_demonstrations,
    run_gust_maze,
    summarize_outcomes,
)
from dfplan.config import ModelConfig, Recipe, TrainingConfig
from dfplan.data.recording import Recording
from dfplan.data.segments import find_segment_ends
from dfplan.data.trajectories import Trajectories
from dfplan.envs.demonstrations import Dataset
from dfplan.envs.layouts import CELL_CENTRE_OFFSET
from dfplan.envs.maze_task import distance_to_goal
from dfplan.model.diffusion_forcing import DiffusionForcing
from dfplan.model.tokens import FIRST_PLANNED
from dfplan.sampling.sampler import sample
from dfplan.sampling.sequence import build_sequence

MODEL = ModelConfig(frame_stack=20, num_tokens=14, width=96, depth=3, causal=True)
EMA_DECAY = 0.99  # the default would average over the beginning of a training of some hundred updates
SHOWN_PATHS = 12  # number of paths drawn of each way: the first ones
PANEL_SIZE = (5.2, 3.1)  # inches

EXPLANATION = """
The gust maze has two ways. The short way enters a windy cell, where a gust carries the ball to the left or the right
hollow, as a coin decides. Both hollows are closed and 4 units from the goal, which is the midpoint between them. The
long way has no wind and ends at the goal. Demonstrations take both ways, and a model without a guide takes each about
equally often. The guide is minus the distance to the goal, summed over the plan. In each episode the agent makes one
plan with a pyramid schedule and tracks it with the PD controller. All agents share the networks, the starts and the
coins.

`N` is the number of futures that are sampled to guide the next tokens (those that become clean next). `future steps` is
the number of denoising steps of each future before the guide scores it. N = 1 with one step is plain guidance: the
guide scores the network's x0, the mean future. With one step, N futures are almost N copies of the mean future, because
the tokens after the next ones are still nearly pure noise, and the prediction from pure noise is the mean; therefore
more futures change nothing. With three steps each future is a possible one. Only the next tokens are guided.

The second table explains this with the first of the networks; its intervals are over demonstrations. Demonstrations
that are not in the training data give the first token of each way, and the model plans the rest without a guide in the
given number of steps. The numbers are the mean distance to the goal over the plan, which is what the guide scores, and,
in the last column, over the demonstrations. In one step (the mean future) the model expects a smaller distance on the
windy way than on the calm way.
"""


@dataclass(frozen=True)
class Settings:
    """Budget of the comparison.

    Attributes:
        training_steps: number of training updates.
        episodes: number of episodes of each network and agent.
        futures: numbers N of futures.
        future_steps: numbers of denoising steps of a future.
        promised_steps: numbers of denoising steps of the plans in the second table.
        demonstrations: number of demonstrations in the training data.
        promised: number of other demonstrations, whose first tokens begin the plans of the second table.
        guidance_scale: factor of the guide's gradient.
        uncertainty_scale: sampling steps by which a token lags behind the token before it.
        sampling_steps: denoising steps of each token.
        training_seeds: one network is trained per seed.
        model: sizes of the network; its plans are as long as an episode.
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
    """Return the agents' scores for each number of futures, and the distances that plans of each way expect."""
    training = TrainingConfig(
        steps=settings.training_steps,
        goal_known=0.0,
        goal_on_the_way=0.0,
        long_ways=1.0,
        ema_decay=EMA_DECAY,
        rows=None,
    )
    recipe = Recipe(LAYOUT.name, settings.model, training)
    data = partial(generate_gust_demonstrations, settings.demonstrations)
    models = train_small_models(recipe, data, run, "gust-maze", settings.training_seeds)
    rows = [_measure_row(models, None, 1, 1, settings, run)]
    for steps in settings.future_steps:
        rows += [_measure_row(models, "goal_distance", steps, number, settings, run) for number in settings.futures]
    shown = PlansAtFork.from_model(
        models[0], generate_gust_demonstrations(settings.promised, run.seed), settings, run.seed
    )
    tables = {"Score over the number of futures": rows, "What each way promises at the fork": shown.to_rows()}
    figures = {"futures": draw_futures(rows, shown, settings)}
    return Findings(tables, figures, EXPLANATION, len(settings.training_seeds))


def _measure_row(
    models: list[DiffusionForcing], guide: str | None, future_steps: int, number: int, settings: Settings, run: Run
) -> Row:
    """Return the scores of one agent with the networks of all training seeds, each network in its own episodes."""
    own: dict[str, Any] = {
        "guidance_scale": settings.guidance_scale,
        "num_futures": number,
        "future_steps": future_steps,
    }
    config = PlannerConfig(guide=guide, **own, **settings.planner)
    label = "no guide" if guide is None else f"{future_steps} future steps, N = {number}"
    found = [
        run_gust_maze(DFPlanner(model, config), settings.episodes, run.seed + training, settings.model.horizon, label)
        for training, model in enumerate(models)
    ]
    named = {"future steps": future_steps, "N": number} if guide else {"future steps": "-", "N": "-"}
    return {"guide": guide or "none"} | named | summarize_outcomes(found)


@dataclass(frozen=True, eq=False)
class PlansAtFork:
    """Plans that begin with the first token of a demonstration, and the demonstrations themselves.

    Attributes:
        ways: way of each demonstration, as an index into ``WAYS``.
        planned: positions of the plans (environment units), by the number of denoising steps.
        happened: positions of the demonstrations; a ball rests after its end.
    """

    ways: np.ndarray
    planned: dict[int, Float[np.ndarray, "demonstration step 2"]]
    happened: Float[np.ndarray, "demonstration step 2"]

    @classmethod
    def from_model(cls, model: DiffusionForcing, dataset: Dataset, settings: Settings, seed: int) -> "PlansAtFork":
        """Return the plans of the model for demonstrations that are not in its training data."""
        starts, shown = cut_segments(dataset, model.config.horizon)
        planned = {steps: continue_plans(model, starts, shown, steps, seed) for steps in settings.promised_steps}
        return cls(assign_ways(len(starts)), planned, shown.observations[..., :2].numpy())

    def to_rows(self) -> list[Row]:
        """Return one row per way: the mean distances to the goal over plans and demonstrations, environment units."""
        columns = {f"{steps} steps" if steps > 1 else "mean future": path for steps, path in self.planned.items()}
        columns["what happened"] = self.happened
        return [
            {"way": name} | {title: estimate_mean_distance(paths[self.ways == way]) for title, paths in columns.items()}
            for way, name in enumerate(WAYS)
        ]


def estimate_mean_distance(paths: Float[np.ndarray, "path step 2"]) -> Estimate:
    """Return the mean distance to the goal over all steps of all paths, with its interval over the paths."""
    return bootstrap(distance_to_goal(paths, GOAL[None, None]).mean(axis=1).astype(float))


def cut_segments(dataset: Dataset, horizon: int) -> tuple[Float[torch.Tensor, "segment 4"], Trajectories]:
    """Return the first observation of each segment and the ``horizon`` steps after it; a ball rests after its end."""
    last = np.unique(find_segment_ends(Recording.from_rows(dataset)))
    first = np.concatenate([[0], last[:-1] + 1])
    row = np.minimum(first[:, None] + np.arange(1, horizon + 1), last[:, None])  # (segment, step)
    parts = (dataset["observations"][row], dataset["actions"][row - 1], dataset["rewards"][row])
    return torch.from_numpy(dataset["observations"][first]), Trajectories(*map(torch.from_numpy, parts))


def continue_plans(
    model: DiffusionForcing, starts: Float[torch.Tensor, "batch 4"], shown: Trajectories, steps: int, seed: int
) -> Float[np.ndarray, "batch step 2"]:
    """Return the positions of plans whose first token is that of ``shown``.

    All later tokens are denoised together, in ``steps`` steps. Positions are in environment units.
    """
    codec, config, device = model.codec, model.config, model.alpha_bar.device
    generators = [torch.Generator().manual_seed(seed + plan) for plan in range(len(starts))]
    parts = (part.to(device) for part in (shown.observations, shown.actions, shown.rewards))
    first = codec.encode(Trajectories(*parts))[:, :1]
    given = torch.cat([codec.encode_start(starts.to(device)), first], dim=1)  # [start, first token]
    falling = torch.linspace(config.num_levels, 0, steps + 1).long()  # (row,)
    plan_levels = falling[:, None].repeat(1, config.num_tokens - 1)
    given_levels = torch.zeros(len(plan_levels), given.shape[1], dtype=torch.long)
    sequence = build_sequence(model, given, given_levels, plan_levels, generators)
    planned = sample(model, sequence, generators)[:, FIRST_PLANNED:]
    return model.codec.decode(planned).observations[..., :2].cpu().numpy()


def draw_futures(rows: list[Row], shown: PlansAtFork, settings: Settings) -> Figure:
    """Return a figure of both ways as mean futures, as sampled futures and as they happened, and of success over N."""
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
    """Draw the first paths of each way over the maze; the title has the mean distances to the goal."""
    draw_layout(axes, LAYOUT)
    corner = WINDY_CELL[::-1] + CELL_CENTRE_OFFSET - 0.5
    axes.add_patch(Rectangle((corner[0], corner[1]), 1, 1, facecolor="#9cc3e6", edgecolor="none"))
    for way in reversed(range(len(WAYS))):
        for number, path in enumerate(paths[ways == way][:SHOWN_PATHS]):
            label = f"{WAYS[way]} way" if number == 0 else None
            axes.plot(path[:, 1], path[:, 0], color=COLOURS[1 - way], linewidth=1.0, alpha=0.6, label=label)
            axes.plot(path[-1, 1], path[-1, 0], "o", color=COLOURS[1 - way], markersize=4, zorder=6)
    draw_marks(axes, START, GOAL)
    found = ", ".join(f"{name} {estimate_mean_distance(paths[ways == way]).value:.2f}" for way, name in enumerate(WAYS))
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
