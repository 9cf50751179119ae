"""``python -m dfplan.benchmarks.likelihood``: the likelihood bound along any path, for any tokens (Thm. 3.1).

Models of the three training schemes bound the same held-out sequences: of a Gaussian process, whose likelihood is known
in closed form, and of a maze.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from matplotlib.figure import Figure
from torch import Tensor
from tqdm import tqdm

from dfplan.agents.seeds import episode_seeds
from dfplan.benchmarks.ablation import TRAINING_SEEDS, Findings, Row, Run, main
from dfplan.benchmarks.charts import bars
from dfplan.benchmarks.figures import INK
from dfplan.benchmarks.gaussian_process import ExactModel, GaussianProcess
from dfplan.benchmarks.small_models import small_model
from dfplan.benchmarks.statistics import bootstrap, over_trainings
from dfplan.checkpoint import find_checkpoint, load_checkpoint
from dfplan.config import ModelConfig, Recipe, TrainingConfig
from dfplan.data import WindowSampler
from dfplan.devices import find_device
from dfplan.diffusion_forcing import DiffusionForcing
from dfplan.envs.datasets import generate
from dfplan.envs.layouts import maze_name
from dfplan.likelihood import BoundSettings
from dfplan.tokens import FIRST_PLANNED, GOAL, START, Statistics

Tokens = Float[Tensor, "batch time channel"]
Subset = tuple[Bool[Tensor, " time"], Bool[Tensor, " time"]]  # unknown, given
SCHEMES = ("mixture", "independent", "teacher_forcing", "full_sequence")
EXACT = "exact posterior mean"
PATHS = {
    "flat": BoundSettings("full_sequence"),
    "pyramid": BoundSettings("pyramid", uncertainty_scale=250.0),  # a token lags by so many moves
    "autoregressive": BoundSettings("autoregressive"),
}
# Every token is one step, so that the process has no redundancy for which the SNR would have to be scaled.
GAUSSIAN_MODEL = ModelConfig(frame_stack=1, num_tokens=12, snr_scale=1.0, width=64, depth=3)
GAUSSIAN_TRAINING = TrainingConfig(goal_known=0.0, start_known=0.0, hold_goal=False)
GAUSSIAN_ROWS = 200_000
HELD_OUT_SEED = 1_000_000  # added to the run's: no training data have it
HELD_OUT_ROWS = 100_000  # of a maze, from which windows are drawn
DECODER_STDS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.5)  # normalised units
# The figures' axis is linear up to the smallest of these bits and logarithmic beyond, where bounds are very loose.
TICKS = (1, 2, 4, 8, 16, 32)
BITS, CLOSED_FORM = "bits per dimension", "closed form"


@dataclass(frozen=True)
class Settings:
    """Budget of the comparison, the same for every scheme."""

    gaussian_steps: int  # updates of each model of the Gaussian process
    gaussian_sequences: int
    maze_sequences: int
    samples: int  # rows of a path that the network sees, for each sequence
    training_seeds: tuple[int, ...] = TRAINING_SEEDS  # of the models of the Gaussian process
    checkpoints: tuple[str, ...] = tuple(f"maze2d-umaze-{scheme}" for scheme in SCHEMES)


FULL = Settings(gaussian_steps=3000, gaussian_sequences=128, maze_sequences=64, samples=32)
QUICK = Settings(
    gaussian_steps=300, gaussian_sequences=32, maze_sequences=16, samples=6, training_seeds=TRAINING_SEEDS[:1]
)

EXPLANATION = """
A model that was trained with one level per token bounds the likelihood of any tokens, given any others, along every
path on which they can be denoised: `flat` (all at once: the bound of full-sequence diffusion), `autoregressive` (one
after another: that of next-token diffusion), and a `pyramid` in between. The models of the other schemes are asked the
same, also along paths and for tokens whose patterns of levels they never met in training. Every bound is a
log-likelihood in bits per dimension of normalised tokens, estimated from the same sequences, rows and noise for every
scheme; the intervals are over sequences.

**Gaussian process.** Models of the same size, data and number of updates, from several training seeds; the start is one
of the unknown tokens, the goal masked. `closed form` is the true likelihood, and the columns `below` tell how far the
bound stays below it, of the same sequences: 0 is perfect. The exact posterior mean, which no training can beat, shows
how much the bound itself gives away (mostly the noise left in a token when it is decoded); an interval that reaches
below 0 is noise of the estimate. **Maze.** Windows of data that no model was trained on, drawn as for training: goal
and start are given, and after the goal a window stands still. Values above 0 are densities above 1.

The last table varies what is left of the noise when a token is decoded: less is sharper, but a network that predicts x0
is punished for its own error, seen through an ever higher SNR.
"""


def study(settings: Settings, run: Run) -> Findings:
    """Return the bounds of all schemes along all paths, and how far they stay below the closed form where it is known.

    Raises:
        InputError: if a checkpoint does not exist.
    """
    loaded = {name: load_checkpoint(find_checkpoint(name), find_device(run.device)) for name in settings.checkpoints}
    gaussian = gaussian_tables(settings, run)
    first, (model, info) = next(iter(loaded.items()))
    tokens = maze_tokens(info["env_id"], model, settings, run)
    maze = maze_tables({name: one for name, (one, _) in loaded.items()}, tokens, settings, run)
    tables = {f"Gaussian process, {title}: {BITS}": rows for title, rows in gaussian.items()}
    tables |= {f"{info['env_id']}, {title}: {BITS}": rows for title, rows in maze.items()}
    tables[f"{first}, all, flat: {BITS}"] = decoder_rows(model, tokens, settings, run)
    figures = {"likelihood_gaussian_process": bound_figure(gaussian), "likelihood_maze": bound_figure(maze)}
    return Findings(tables, figures, EXPLANATION)


def subsets(num_tokens: int, first: int) -> dict[str, Subset]:
    """Return what is asked of sequences that begin at position ``first``; the goal is given if it is before that."""
    position = torch.arange(FIRST_PLANNED + num_tokens)
    sequence, past = position >= first, position < FIRST_PLANNED + num_tokens // 2
    unknown = {
        "all": sequence,
        "future given past": sequence & ~past,
        "past given future": sequence & past,
        "every other given the rest": sequence & (position % 2 == 1),
    }
    return {title: (mask, ~mask) for title, mask in unknown.items()}


def bound(
    model: DiffusionForcing, tokens: Tokens, subset: Subset, path: BoundSettings, run: Run
) -> Float[np.ndarray, " batch"]:
    """Return the bound of every sequence, with the same noise and rows for every model."""
    generators = [torch.Generator().manual_seed(seed) for seed in episode_seeds(run.seed, len(tokens))]
    tokens = tokens.to(model.alpha_bar.device)
    return model.elbo(tokens, generators, *subset, path).double().cpu().numpy()


@dataclass(frozen=True)
class GaussianTraining:
    """The models of the Gaussian process from one training seed, and the sequences on which they are judged.

    Attributes:
        models: one of each scheme, and the exact posterior mean.
        tokens: sequences of the process that no training has seen.
    """

    models: dict[str, DiffusionForcing]
    tokens: Tokens

    @property
    def exact(self) -> ExactModel:
        """The model that knows the process."""
        return self.models[EXACT]


def gaussian_tables(settings: Settings, run: Run) -> dict[str, list[Row]]:
    """Return, for each subset, every scheme's bound and how far it stays below the closed form."""
    trainings = [_gaussian_training(number, settings, run) for number in range(len(settings.training_seeds))]
    several = {} if len(trainings) == 1 else {"trainings": len(trainings)}
    tables = {}
    for title, (unknown, given) in subsets(GAUSSIAN_MODEL.num_tokens, START).items():
        given[GOAL] = False  # which is marginalised, meaning nothing
        truths = [one.exact.log_likelihood(one.tokens, unknown, given).double().numpy() for one in trainings]
        found = [bounds(one.models, one.tokens, (unknown, given), settings, run) for one in trainings]
        tables[title] = [
            {"model": name} | several | _gaussian_row([bounds_of[name] for bounds_of in found], truths)
            for name in found[0]
        ]
    return tables


def _gaussian_row(along: list[dict[str, Float[np.ndarray, " batch"]]], truths: list[np.ndarray]) -> Row:
    """Return one model's bounds along each path, from each training, beside the closed form."""
    below = {path: [truth - one[path] for one, truth in zip(along, truths)] for path in along[0]}
    return (
        {CLOSED_FORM: over_trainings(truths, bootstrap)}
        | {path: over_trainings([one[path] for one in along], bootstrap) for path in along[0]}
        | {f"{path}, below": over_trainings(differences, bootstrap) for path, differences in below.items()}
    )


def _gaussian_training(number: int, settings: Settings, run: Run) -> GaussianTraining:
    process, seed = GaussianProcess(GAUSSIAN_MODEL), settings.training_seeds[number]
    data = process.dataset(GAUSSIAN_ROWS, np.random.default_rng(seed))
    models: dict[str, DiffusionForcing] = {
        scheme: _gaussian_model(scheme, seed, data, settings, run) for scheme in SCHEMES
    }
    models[EXACT] = exact = ExactModel(process, Statistics.of(data))
    rng = np.random.default_rng(run.seed + HELD_OUT_SEED + number)
    return GaussianTraining(models, process.tokens(settings.gaussian_sequences, exact.codec, rng))


def _gaussian_model(
    scheme: str, seed: int, data: Mapping[str, np.ndarray], settings: Settings, run: Run
) -> DiffusionForcing:
    training = replace(GAUSSIAN_TRAINING, level_sampler=scheme, steps=settings.gaussian_steps, seed=seed)
    recipe = Recipe("gaussian-process", GAUSSIAN_MODEL, training)
    return small_model(recipe, data, run, f"gaussian-{scheme}-seed{seed}")


def maze_tokens(env_id: str, model: DiffusionForcing, settings: Settings, run: Run) -> Tokens:
    """Return windows of newly generated data, drawn and normalised as for the training of ``model``."""
    data = generate(maze_name(env_id), HELD_OUT_ROWS, seed=run.seed + HELD_OUT_SEED)
    windows = WindowSampler(data, model.config, TrainingConfig())
    drawn = windows.draw(settings.maze_sequences, np.random.default_rng(run.seed))
    return drawn.to(model.alpha_bar.device).tokens(model.codec)


def maze_tables(
    models: Mapping[str, DiffusionForcing], tokens: Tokens, settings: Settings, run: Run
) -> dict[str, list[Row]]:
    """Return, for each subset, every checkpoint's bound; all were trained on the same data."""
    asked = subsets(tokens.shape[1] - FIRST_PLANNED, FIRST_PLANNED)
    tables = {}
    for title, subset in asked.items():
        found = bounds(models, tokens, subset, settings, run)
        tables[title] = [
            {"model": name} | {path: bootstrap(one[path]) for path in PATHS} for name, one in found.items()
        ]
    return tables


def decoder_rows(model: DiffusionForcing, tokens: Tokens, settings: Settings, run: Run) -> list[Row]:
    """Return the bound of one checkpoint for several decoders."""
    subset = subsets(tokens.shape[1] - FIRST_PLANNED, FIRST_PLANNED)["all"]
    paths = {std: replace(PATHS["flat"], decoder_std=std, samples=settings.samples) for std in DECODER_STDS}
    return [
        {"decoder_std": std, BITS: bootstrap(bound(model, tokens, subset, path, run))}
        for std, path in tqdm(paths.items(), desc="decoders")
    ]


def bounds(
    models: Mapping[str, DiffusionForcing], tokens: Tokens, subset: Subset, settings: Settings, run: Run
) -> dict[str, dict[str, Float[np.ndarray, " batch"]]]:
    """Return each model's bounds along each path."""
    paths = {name: replace(path, samples=settings.samples) for name, path in PATHS.items()}
    return {
        name: {title: bound(model, tokens, subset, path, run) for title, path in paths.items()}
        for name, model in tqdm(models.items(), desc="bounds")
    }


def bound_figure(tables: Mapping[str, list[Row]]) -> Figure:
    """Return one panel per subset, with a group of bars per path, a bar per model, and a line for the closed form."""
    panels = {
        title: {path: {row["model"]: row[path] for row in rows} for path in PATHS} for title, rows in tables.items()
    }
    figure = bars(panels, BITS)
    limits = np.array([axes.get_ylim() for axes in figure.axes])  # (panel, end)
    ticks = [-tick for tick in reversed(TICKS)] + [0, *TICKS]
    for axes, rows in zip(figure.axes, tables.values()):
        axes.set_yscale("symlog", linthresh=TICKS[0], base=2)
        axes.set_yticks(ticks, [str(tick) for tick in ticks])
        axes.minorticks_off()
        axes.set_ylim(limits[:, 0].min(), limits[:, 1].max())
        if CLOSED_FORM in rows[0]:
            axes.axhline(rows[0][CLOSED_FORM].value, color=INK, linestyle="--", linewidth=1.2, label=CLOSED_FORM)
    if any(CLOSED_FORM in row for rows in tables.values() for row in rows):
        figure.axes[0].legend(handles=[figure.axes[0].lines[-1]], frameon=False, fontsize=8)
    return figure


if __name__ == "__main__":
    main("likelihood", __doc__, study, FULL, QUICK)
