"""Roll-outs of any length, beyond the training length too, by a sliding window (§3.3, App. C.4).

The model only ever sees as many tokens as in training: the last tokens that were generated, and behind them the next
ones to be. Generated tokens have errors, which a model that takes them for clean may make larger and larger.
Diffusion Forcing knows slightly noisy tokens from training, so it is told that generated tokens are at a small level.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from dfplan.config import ModelConfig
from dfplan.diffusion_forcing import DiffusionForcing
from dfplan.envs.errors import InputError, choose
from dfplan.noise import add_noise, draw_noise
from dfplan.sampler import sample
from dfplan.schedules import scheduling_matrix
from dfplan.tokens import FIRST_PLANNED, GOAL, START, Trajectories

Tokens = Float[Tensor, "batch time channel"]
AlphaBar = Float[Tensor, "batch time"]


def relabelled(tokens: Tokens, alpha_bar: AlphaBar, noise: Tokens) -> Tokens:
    """Return the tokens as they are; only their level calls them noisy."""
    return tokens


def scaled(tokens: Tokens, alpha_bar: AlphaBar, noise: Tokens) -> Tokens:
    """Return what noisy tokens are on average; so does the paper's released code when it samples by DDIM."""
    return add_noise(tokens, alpha_bar, torch.zeros_like(noise))


def noised(tokens: Tokens, alpha_bar: AlphaBar, noise: Tokens) -> Tokens:
    """Return tokens as noisy as their level says; so does the paper's released code when it samples by DDPM."""
    return add_noise(tokens, alpha_bar, noise)


DISGUISES: dict[str, Callable[[Tokens, AlphaBar, Tokens], Tokens]] = {
    "relabelled": relabelled,
    "scaled": scaled,
    "noised": noised,
}


@dataclass(frozen=True)
class SlidingWindow:
    """How a roll-out goes on.

    Attributes:
        schedule: of the new tokens in the window, see ``scheduling_matrix``.
        history: generated tokens that stay in the window before them; with 0 all that stays is the last observation.
        small_level: k_small, the level at which generated tokens are believed (§3.3), as a share of K.
        disguise: how generated tokens are shown at that level, a name in ``DISGUISES``.
        sampling_steps: denoising steps of each new token.
        uncertainty_scale: of the pyramid schedule.
        error: standard deviation, in normalised units, of an error made to each generated token before it is shown
            again, the same in all of its frames. What a worse model would do; for experiments.
    """

    schedule: str = "pyramid"
    history: int = 0
    small_level: float = 0.0
    disguise: str = "scaled"
    sampling_steps: int = 4
    uncertainty_scale: float = 1.0
    error: float = 0.0

    def __post_init__(self):
        if self.history < 0 or self.error < 0 or not 0 <= self.small_level < 1:
            raise ValueError(f"no window with {self.history=}, {self.error=}, {self.small_level=}")


@torch.no_grad()
def roll_out(
    model: DiffusionForcing,
    starts: Float[Tensor, "batch observation"],
    num_tokens: int,
    window: SlidingWindow,
    generators: list[Generator],
) -> Trajectories:
    """Return unguided roll-outs of ``num_tokens`` tokens that begin after ``starts``, all in environment units.

    The goal is masked throughout.

    Args:
        model: of any level sampler and backbone.
        starts: observations, taken for clean.
        num_tokens: as many as wanted.
        window: how to go on.
        generators: one per roll-out.

    Raises:
        InputError: if the window's history leaves no room for a new token.
    """
    if window.history >= model.config.num_tokens:
        raise InputError(f"a history of {window.history} tokens fills the window of {model.config.num_tokens}.")
    generated = torch.empty(len(starts), 0, model.config.token_dim, device=model.alpha_bar.device)
    remembered = generated  # the same, errors included
    while generated.shape[1] < num_tokens:
        tokens, matrix = _first_row(model, starts, remembered, window, generators)
        known = min(window.history, generated.shape[1])
        new = sample(model, tokens, matrix, generators)[:, FIRST_PLANNED + known :]
        generated = torch.cat([generated, new], dim=1)
        remembered = torch.cat([remembered, new + window.error * _frame_noise(new, model.config, generators)], dim=1)
    return model.codec.decode(generated[:, :num_tokens])


def _first_row(
    model: DiffusionForcing,
    starts: Float[Tensor, "batch observation"],
    remembered: Float[Tensor, "batch generated channel"],
    window: SlidingWindow,
    generators: list[Generator],
) -> tuple[Tokens, Int[Tensor, "row time"]]:
    """Return a window before sampling, and its matrix: goal, start, known tokens, and pure noise for the new ones.

    The start is the observation before the known tokens. Whatever was generated is shown at the small level.
    """
    codec, config, age = model.codec, model.config, remembered.shape[1]
    before, history = remembered.tensor_split([max(0, age - window.history)], dim=1)
    observation = codec.decode(before[:, -1:]).observations[:, -1] if age else starts
    level = round(window.small_level * config.num_levels) if age else 0
    past = torch.cat([codec.encode_start(observation), history], dim=1)  # (batch, 1 + known, channel)
    matrix = _matrix(config, history.shape[1], level, window).to(past.device)
    tokens = draw_noise((matrix.shape[1], config.token_dim), generators, past.device)
    tokens = tokens * codec.used_channels(config.num_tokens)
    known = slice(START, START + past.shape[1])
    alpha_bar = model.alpha_bar[matrix[0, known]].expand(len(past), -1)
    tokens[:, known] = choose("disguise", window.disguise, DISGUISES)(past, alpha_bar, tokens[:, known])
    return tokens, matrix


def _matrix(config: ModelConfig, num_known: int, level: int, window: SlidingWindow) -> Int[Tensor, "row time"]:
    """Return the schedule of the new tokens behind the constant columns of goal, start and known tokens."""
    new = scheduling_matrix(
        window.schedule,
        config.num_tokens - num_known,
        window.sampling_steps,
        config.num_levels,
        window.uncertainty_scale,
    )
    known = torch.full((len(new), FIRST_PLANNED + num_known), level)
    known[:, GOAL] = config.num_levels
    return torch.cat([known, new], dim=1)


def _frame_noise(tokens: Tokens, config: ModelConfig, generators: list[Generator]) -> Tokens:
    """Return noise for each token that is the same in all of its frames, so that no average over them removes it."""
    _, time, channels = tokens.shape
    noise = draw_noise((time, channels // config.frame_stack), generators, tokens.device)
    return noise.repeat(1, 1, config.frame_stack)
