"""``python -m dfplan.benchmarks.rollout``: roll-outs up to ten times longer than training, and what keeps them stable
(§3.3, App. C.4).

One small model for each training scheme (App. C.8), told of no goal and guided by nothing, imagines endless motion
through a maze by a sliding window.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from torch import Tensor
from tqdm import tqdm

from dfplan.benchmarks import consistency
from dfplan.benchmarks.ablation import Findings, Row, Run, main, small_model
from dfplan.benchmarks.charts import lines
from dfplan.benchmarks.figures import DOTS_PER_INCH, INK, TIME_COLOURS, draw_layout, draw_marks, draw_path
from dfplan.benchmarks.statistics import Estimate, bootstrap, proportion
from dfplan.config import ModelConfig, Recipe, TrainingConfig
from dfplan.data import WindowSampler
from dfplan.diffusion_forcing import DiffusionForcing
from dfplan.envs.datasets import load_dataset
from dfplan.envs.errors import choose
from dfplan.envs.layouts import LAYOUTS
from dfplan.noise import add_noise, draw_noise
from dfplan.sampler import sample
from dfplan.schedules import scheduling_matrix
from dfplan.tokens import FIRST_PLANNED, GOAL, START, Trajectories

Tokens = Float[Tensor, "batch time channel"]


def relabelled(tokens: Tokens, alpha_bar: Float[Tensor, ""], noise: Tokens) -> Tokens:
    """Clean tokens as they are: only the level that the model is told makes them noisy."""
    return tokens


def scaled(tokens: Tokens, alpha_bar: Float[Tensor, ""], noise: Tokens) -> Tokens:
    """What a noisy token is on average: the paper's released code, when it samples by DDIM."""
    return add_noise(tokens, alpha_bar.expand(tokens.shape[1]), torch.zeros_like(noise))


def noised(tokens: Tokens, alpha_bar: Float[Tensor, ""], noise: Tokens) -> Tokens:
    """A token that is as noisy as the model is told; drawn anew for each window."""
    return add_noise(tokens, alpha_bar.expand(tokens.shape[1]), noise)


# How generated tokens are shown to the model as slightly noisy ones.
DISGUISES: dict[str, Callable[[Tokens, Tensor, Tokens], Tokens]] = {
    "relabelled": relabelled,
    "scaled": scaled,
    "noised": noised,
}


@dataclass(frozen=True)
class SlidingWindow:
    """How a roll-out goes on where training ended.

    Attributes:
        schedule: the scheduling matrix of the window's new tokens.
        history: generated tokens that stay in the window before them; with 0 it only knows the last observation.
        small_level: k_small, the level that generated tokens are believed at (§3.3), as a share of K.
        disguise: how they are shown, a name in ``DISGUISES``.
        error: standard deviation of noise that spoils every token once it is generated, in normalised units: what a
            worse model would do.
        sampling_steps: denoising steps of each new token.
        uncertainty_scale: of the pyramid.
    """

    schedule: str
    history: int
    small_level: float = 0.0
    disguise: str = "scaled"
    error: float = 0.0
    sampling_steps: int = 5
    uncertainty_scale: float = 1.0


@torch.no_grad()
def roll_out(
    model: DiffusionForcing,
    starts: Float[Tensor, "batch observation"],
    num_tokens: int,
    window: SlidingWindow,
    generators: list[torch.Generator],
) -> Trajectories:
    """Return unguided roll-outs of ``num_tokens`` tokens from ``starts``, all in environment units (§3.3, App. C.4).

    The model always sees as many tokens as in training. Its goal is masked.
    """
    rolled = torch.empty(len(starts), 0, model.config.token_dim, device=model.alpha_bar.device)
    remembered = rolled
    with tqdm(total=num_tokens, desc=window.schedule, unit="token", leave=False) as bar:
        while rolled.shape[1] < num_tokens:
            known = min(window.history, rolled.shape[1])
            tokens, matrix = _first_row(model, starts, remembered, known, window, generators)
            new = sample(model, tokens, matrix, generators)[:, FIRST_PLANNED + known :]
            rolled = torch.cat([rolled, new], dim=1)
            frame = new.shape[2] // model.config.frame_stack
            spoilt = new + window.error * draw_noise((new.shape[1], frame), generators, new.device).repeat(1, 1, model.config.frame_stack)
            remembered = torch.cat([remembered, spoilt], dim=1)
            bar.update(new.shape[1])
    return model.codec.decode(rolled[:, :num_tokens])


def _first_row(
    model: DiffusionForcing, starts: Tensor, rolled: Tokens, known: int, window: SlidingWindow, generators
) -> tuple[Tokens, Int[Tensor, "row time"]]:
    """Return the window before sampling and its matrix: [goal, start, ``known`` generated tokens, new tokens].

    The start is the observation before the known tokens. Whatever was generated is believed at the small level.
    """
    level = round(window.small_level * model.config.num_levels) if rolled.shape[1] else 0
    before, history = rolled.split([rolled.shape[1] - known, known], dim=1)
    latest = model.codec.decode(before[:, -1:]).observations[:, -1] if rolled.shape[1] else starts
    shown = torch.cat([model.codec.encode_start(latest), history], dim=1)  # (batch, 1 + known, channel)
    matrix = _matrix(model.config, known, level, window).to(rolled.device)
    tokens = draw_noise((matrix.shape[1], model.config.token_dim), generators, rolled.device)
    tokens = tokens * model.codec.used_channels(model.config.num_tokens)
    past = slice(START, FIRST_PLANNED + known)
    disguise = choose("disguise", window.disguise, DISGUISES)
    tokens[:, past] = disguise(shown, model.alpha_bar[level], tokens[:, past])
    return tokens, matrix


def _matrix(config: ModelConfig, known: int, level: int, window: SlidingWindow) -> Int[Tensor, "row time"]:
    """Return the schedule of the new tokens behind the constant columns of goal, start and known tokens."""
    new = scheduling_matrix(
        window.schedule, config.num_tokens - known, window.sampling_steps, config.num_levels, window.uncertainty_scale
    )
    past = torch.full((len(new), FIRST_PLANNED + known), level)
    past[:, GOAL] = config.num_levels
    return torch.cat([past, new], dim=1)


@dataclass(frozen=True)
class Contender:
    """One way to roll out: the level sampler of the training, the schedule, and whether the window has a past."""

    training: str
    schedule: str
    remembers: bool = True


CONTENDERS = {
    "Diffusion Forcing, pyramid": Contender("independent", "pyramid"),
    "Diffusion Forcing, autoregressive": Contender("independent", "autoregressive"),
    "Diffusion Forcing, full sequence": Contender("independent", "full_sequence"),
    "Diffusion Forcing, no past": Contender("independent", "full_sequence", remembers=False),
    "teacher forcing, autoregressive": Contender("teacher_forcing", "autoregressive"),
    "full sequence, full sequence": Contender("full_sequence", "full_sequence"),
    "full sequence, no past": Contender("full_sequence", "full_sequence", remembers=False),
}


@dataclass(frozen=True)
class Settings:
    """Budget of the comparison, the same for every contender."""

    rows: int
    steps: int
    roll_outs: int
    small_levels: tuple[float, ...]  # k_small as shares of K
    small_level: float = 0.02  # the one of the first table; this family's snr_scale makes a level noisier than usual
    multiples: tuple[int, ...] = (1, 2, 5, 10)  # lengths of roll-outs, as multiples of the training length
    history: int = 5  # tokens of the window that stay
    sampling_steps: int = 5
    maze: str = "umaze"
    model: ModelConfig = ModelConfig(num_tokens=10, depth=3)


FULL = Settings(rows=1_000_000, steps=2_000, roll_outs=96, small_levels=(0.0, 0.01, 0.02, 0.05, 0.1))
QUICK = Settings(rows=300_000, steps=250, roll_outs=16, small_levels=(0.0, 0.02, 0.1))

EXPLANATION = """
"""


class Judge:
    """Compares roll-outs with the world and with held windows of the data, which begin where the roll-outs begin."""

    def __init__(self, sampler: WindowSampler, settings: Settings, seed: int):
        self.layout, self.settings = LAYOUTS[settings.maze], settings
        rng = np.random.default_rng(seed)
        self.data = sampler.draw(settings.roll_outs, rng)
        self.starts = self.data.starts
        others = sampler.draw(settings.roll_outs, rng)
        self.reference = others.trajectories.observations.numpy().astype(float)
        self.spread = self.reference.std(axis=(0, 1))

    def row(self, trajectories: Trajectories, multiple: int) -> dict[str, Estimate]:
        """Return the measures over the last training length of roll-outs cut to ``multiple`` training lengths."""
        length = self.settings.model.horizon
        first, last = length * (multiple - 1), length * multiple
        observations = trajectories.observations[:, :last].cpu().double().numpy()
        paths = np.concatenate([self.starts[:, None].numpy(), observations], axis=1)  # (path, 1 + step, 4)
        segment, actions = paths[:, first:], trajectories.actions[:, first:last].cpu().double().numpy()
        position, velocity = consistency.one_step_errors(self.layout, segment, actions)
        distance = consistency.wall_distance(self.layout, segment[:, 1:, :2])
        states = segment[:, 1::STATE_STRIDE] / self.spread
        reference = self.reference[:, ::STATE_STRIDE] / self.spread
        return {
            POSITION_ERROR: bootstrap(position.mean(axis=1)),
            VELOCITY_ERROR: bootstrap(velocity.mean(axis=1)),
            "median velocity error": bootstrap(np.median(velocity, axis=1)),
            IN_WALL: bootstrap((distance == 0).mean(axis=1)),
            "closer than its radius": bootstrap((distance < BALL_RADIUS).mean(axis=1)),
            STATE_DISTANCE: consistency.EnergyCoefficient.of(states, reference).estimate(),
            DIVERGED: proportion(consistency.diverged(self.layout, paths)),
        }
