"""``python -m dfplan.benchmarks.likelihood_bound``: lower bounds on likelihoods, for all tokens and paths (Thm. 3.1).

Models of all training schemes bound the likelihood of the same held-out sequences: sequences of a Gaussian process,
whose likelihood is known in closed form, and windows of a maze's data.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from matplotlib.figure import Figure
from torch import Tensor
from tqdm import tqdm

from dfplan.agents.seeds import assign_seeds
from dfplan.benchmarks.evaluation.estimates import Row
from dfplan.benchmarks.evaluation.statistics import bootstrap, pool_trainings
from dfplan.benchmarks.reporting.ablation import TRAINING_SEEDS, Findings, Run, main
from dfplan.benchmarks.reporting.charts import draw_bars
from dfplan.benchmarks.reporting.figures import INK
from dfplan.benchmarks.small_models import train_small_model
from dfplan.benchmarks.worlds.gaussian_process import ExactModel, GaussianProcess
from dfplan.config import ModelConfig, Recipe, TrainingConfig
from dfplan.data.recording import Recording
from dfplan.data.trajectories import Statistics
from dfplan.data.windows import WindowSampler
from dfplan.envs.datasets import generate
from dfplan.envs.layouts import parse_maze_name
from dfplan.ground.devices import find_device
from dfplan.model.diffusion_forcing import DiffusionForcing
from dfplan.model.tokens import FIRST_PLANNED, GOAL, START
from dfplan.sampling.likelihood import BoundSettings, bound_likelihood
from dfplan.training.checkpoint import find_checkpoint, load_checkpoint

Tokens = Float[Tensor, "batch time channel"]
Subset = tuple[Bool[Tensor, " time"], Bool[Tensor, " time"]]  # unknown, given
SCHEMES = ("mixture", "independent", "teacher_forcing", "full_sequence")
EXACT = "exact posterior mean"
PATHS = {
    "flat": BoundSettings("full_sequence"),
    "pyramid": BoundSettings(
        "pyramid", uncertainty_scale=250.0
    ),  # each token lags 250 moves behind the token before it
    "autoregressive": BoundSettings("autoregressive"),
}
# A token is a single step. The SNR is not scaled, because there are no redundant steps within a token.
GAUSSIAN_MODEL = ModelConfig(frame_stack=1, num_tokens=12, snr_scale=1.0, width=64, depth=3)
GAUSSIAN_TRAINING = TrainingConfig(goal_known=0.0, start_known=0.0, hold_goal=False)
GAUSSIAN_ROWS = 200_000
HELD_OUT_SEED = 1_000_000  # added to the run's seed, so that it differs from the seeds of all training data
HELD_OUT_ROWS = 100_000  # rows of the maze's data from which windows are drawn
DECODER_STDS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.5)  # normalised units
# Ticks in bits. The axis is linear up to the smallest one and logarithmic beyond, since some bounds are very loose.
TICKS = (1, 2, 4, 8, 16, 32)
BITS, CLOSED_FORM = "bits per dimension", "closed form"


@dataclass(frozen=True)
class Settings:
    """Budget of the comparison, the same for every scheme."""

    gaussian_steps: int  # training updates of each model of the Gaussian process
    gaussian_sequences: int
    maze_sequences: int
    samples: int  # rows of a path that are evaluated, for each sequence
    training_seeds: tuple[int, ...] = TRAINING_SEEDS  # of the models of the Gaussian process
    checkpoints: tuple[str, ...] = tuple(f"maze2d-umaze-{scheme}" for scheme in SCHEMES)


FULL = Settings(gaussian_steps=3000, gaussian_sequences=128, maze_sequences=64, samples=32)
QUICK = Settings(
    gaussian_steps=300, gaussian_sequences=32, maze_sequences=16, samples=6, training_seeds=TRAINING_SEEDS[:1]
)

EXPLANATION = """
A model that was trained with one level per token bounds the likelihood of any tokens, given any other tokens. There is
one bound for each path of levels from pure noise to clean: `flat` (all tokens together, as in full-sequence diffusion),
`autoregressive` (one token after another, as in next-token diffusion), and `pyramid` in between. Models of the other
schemes are evaluated in the same way, including paths and tokens whose levels do not occur in their training. Every
bound is a log-likelihood in bits per dimension of normalised tokens. It is estimated from the same sequences, rows and
noise for every scheme; the intervals are over sequences.

**Gaussian process.** The models have the same size, data and number of updates, and several training seeds. The start
is one of the unknown tokens, and the goal is masked. `closed form` is the true log-likelihood. The columns `below` are
the difference between it and the bound for the same sequences; 0 is perfect. The exact posterior mean, which no trained
model can surpass, shows how loose the bound itself is (mostly because of the noise that remains in a token when it is
decoded). Intervals that reach below 0 result from the noise of the estimate. **Maze.** The windows are from data that
no model was trained on, drawn as in training: goal and start are given, and a window stands still after the goal.
Values above 0 are densities above 1.

The last table varies the noise that remains when a token is decoded. With less noise the decoder is sharper, but the
network's error in x0 costs more, because it is weighted by a higher SNR.
"""


def study(settings: Settings, run: Run) -> Findings:
    """Return the bounds of all schemes along all paths, and their distance from the closed form where it is known.

    Raises:
        InputError: if a checkpoint does not exist.
    """
    loaded = {name: load_checkpoint(find_checkpoint(name), find_device(run.device)) for name in settings.checkpoints}
    gaussian = make_gaussian_tables(settings, run)
    first, (model, info) = next(iter(loaded.items()))
    tokens = draw_maze_tokens(info["env_id"], model, settings, run)
    maze = make_maze_tables({name: one for name, (one, _) in loaded.items()}, tokens, settings, run)
    tables = {f"Gaussian process, {title}: {BITS}": rows for title, rows in gaussian.items()}
    tables |= {f"{info['env_id']}, {title}: {BITS}": rows for title, rows in maze.items()}
    tables[f"{first}, all, flat: {BITS}"] = measure_decoders(model, tokens, settings, run)
    figures = {"likelihood_gaussian_process": draw_bounds(gaussian), "likelihood_maze": draw_bounds(maze)}
    return Findings(tables, figures, EXPLANATION)


def make_subsets(num_tokens: int, first: int) -> dict[str, Subset]:
    """Return name -> (unknown tokens, given tokens) of sequences; positions before ``first`` are always given."""
    position = torch.arange(FIRST_PLANNED + num_tokens)
    sequence, past = position >= first, position < FIRST_PLANNED + num_tokens // 2
    unknown = {
        "all": sequence,
        "future given past": sequence & ~past,
        "past given future": sequence & past,
        "every other given the rest": sequence & (position % 2 == 1),
    }
    return {title: (mask, ~mask) for title, mask in unknown.items()}


def measure_bound(
    model: DiffusionForcing, tokens: Tokens, subset: Subset, path: BoundSettings, run: Run
) -> Float[np.ndarray, " batch"]:
    """Return the bound of every sequence in bits per dimension, with the same noise and rows for every model."""
    generators = [torch.Generator().manual_seed(seed) for seed in assign_seeds(run.seed, len(tokens))]
    tokens = tokens.to(model.alpha_bar.device)
    return bound_likelihood(model, tokens, generators, *subset, path).double().cpu().numpy()


@dataclass(frozen=True)
class GaussianTraining:
    """The models of the Gaussian process from one training seed, and the sequences on which they are evaluated.

    Attributes:
        models: one model per scheme, and the exact posterior mean.
        tokens: sequences of the process that are not training data.
    """

    models: dict[str, DiffusionForcing]
    tokens: Tokens

    @property
    def exact(self) -> ExactModel:
        """The exact posterior mean."""
        model = self.models[EXACT]
        assert isinstance(model, ExactModel)
        return model


def make_gaussian_tables(settings: Settings, run: Run) -> dict[str, list[Row]]:
    """Return one table per subset: the bounds of each model, and their distance from the closed form."""
    trainings = [_train_gaussian_models(number, settings, run) for number in range(len(settings.training_seeds))]
    several = {} if len(trainings) == 1 else {"trainings": len(trainings)}
    tables = {}
    for title, (unknown, given) in make_subsets(GAUSSIAN_MODEL.num_tokens, START).items():
        given[GOAL] = False  # it is marginalised, because it has no meaning here
        truths = [one.exact.log_likelihood(one.tokens, unknown, given).double().numpy() for one in trainings]
        found = [measure_bounds(one.models, one.tokens, (unknown, given), settings, run) for one in trainings]
        tables[title] = [
            {"model": name} | several | _make_gaussian_row([bounds_of[name] for bounds_of in found], truths)
            for name in found[0]
        ]
    return tables


def _make_gaussian_row(along: list[dict[str, Float[np.ndarray, " batch"]]], truths: list[np.ndarray]) -> Row:
    """Return the row of one model: the closed form, and the bounds along each path, over all trainings."""
    below = {path: [truth - one[path] for one, truth in zip(along, truths)] for path in along[0]}
    return (
        {CLOSED_FORM: pool_trainings(truths, bootstrap)}
        | {path: pool_trainings([one[path] for one in along], bootstrap) for path in along[0]}
        | {f"{path}, below": pool_trainings(differences, bootstrap) for path, differences in below.items()}
    )


def _train_gaussian_models(number: int, settings: Settings, run: Run) -> GaussianTraining:
    process, seed = GaussianProcess(GAUSSIAN_MODEL), settings.training_seeds[number]
    data = process.make_dataset(GAUSSIAN_ROWS, np.random.default_rng(seed))
    models: dict[str, DiffusionForcing] = {
        scheme: _train_gaussian_model(scheme, seed, data, settings, run) for scheme in SCHEMES
    }
    models[EXACT] = exact = ExactModel(process, Statistics.from_recording(Recording.from_rows(data)))
    rng = np.random.default_rng(run.seed + HELD_OUT_SEED + number)
    return GaussianTraining(models, process.draw_tokens(settings.gaussian_sequences, exact.codec, rng))


def _train_gaussian_model(
    scheme: str, seed: int, data: dict[str, np.ndarray], settings: Settings, run: Run
) -> DiffusionForcing:
    training = replace(GAUSSIAN_TRAINING, level_sampler=scheme, steps=settings.gaussian_steps, seed=seed)
    recipe = Recipe("gaussian-process", GAUSSIAN_MODEL, training)
    return train_small_model(recipe, data, run, f"gaussian-{scheme}-seed{seed}")


def draw_maze_tokens(env_id: str, model: DiffusionForcing, settings: Settings, run: Run) -> Tokens:
    """Return windows of newly generated data, drawn and normalised as in the training of ``model``."""
    data = generate(parse_maze_name(env_id), HELD_OUT_ROWS, seed=run.seed + HELD_OUT_SEED)
    windows = WindowSampler(Recording.from_rows(data), model.config, TrainingConfig())
    drawn = windows.draw(settings.maze_sequences, np.random.default_rng(run.seed))
    return model.codec.encode_windows(drawn.to(model.alpha_bar.device))


def make_maze_tables(
    models: Mapping[str, DiffusionForcing], tokens: Tokens, settings: Settings, run: Run
) -> dict[str, list[Row]]:
    """Return one table per subset: the bounds of each checkpoint."""
    asked = make_subsets(tokens.shape[1] - FIRST_PLANNED, FIRST_PLANNED)
    tables = {}
    for title, subset in asked.items():
        found = measure_bounds(models, tokens, subset, settings, run)
        tables[title] = [
            {"model": name} | {path: bootstrap(one[path]) for path in PATHS} for name, one in found.items()
        ]
    return tables


def measure_decoders(model: DiffusionForcing, tokens: Tokens, settings: Settings, run: Run) -> list[Row]:
    """Return one row per decoder with the bound of one checkpoint."""
    subset = make_subsets(tokens.shape[1] - FIRST_PLANNED, FIRST_PLANNED)["all"]
    paths = {std: replace(PATHS["flat"], decoder_std=std, samples=settings.samples) for std in DECODER_STDS}
    return [
        {"decoder_std": std, BITS: bootstrap(measure_bound(model, tokens, subset, path, run))}
        for std, path in tqdm(paths.items(), desc="decoders")
    ]


def measure_bounds(
    models: Mapping[str, DiffusionForcing], tokens: Tokens, subset: Subset, settings: Settings, run: Run
) -> dict[str, dict[str, Float[np.ndarray, " batch"]]]:
    """Return model -> path -> bound of every sequence."""
    paths = {name: replace(path, samples=settings.samples) for name, path in PATHS.items()}
    return {
        name: {title: measure_bound(model, tokens, subset, path, run) for title, path in paths.items()}
        for name, model in tqdm(models.items(), desc="bounds")
    }


def draw_bounds(tables: Mapping[str, list[Row]]) -> Figure:
    """Return a figure with one panel per subset: bars of each model for each path, and a line at the closed form."""
    panels = {
        title: {path: {row["model"]: row[path] for row in rows} for path in PATHS} for title, rows in tables.items()
    }
    figure = draw_bars(panels, BITS)
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
    main("likelihood_bound", __doc__, study, FULL, QUICK)
