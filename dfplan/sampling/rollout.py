"""Roll-outs of any length by a sliding window, also beyond the training length (§3.3, App. C.4).

The model sees at most as many tokens as in training: the last generated tokens, followed by the next tokens to
generate. Generated tokens have errors, and a model that takes them for clean may enlarge these errors again and again.
Diffusion Forcing knows slightly noisy tokens from training, so it is told that generated tokens are at a small level.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from dfplan.config import ModelConfig
from dfplan.data.trajectories import Trajectories
from dfplan.ground.errors import InputError, choose
from dfplan.model.diffusion_forcing import DiffusionForcing
from dfplan.model.noise import draw_noise
from dfplan.sampling.sampler import sample
from dfplan.sampling.schedules import scheduling_matrix
from dfplan.sampling.sequence import DISGUISES, Sequence, build_sequence

Tokens = Float[Tensor, "batch time channel"]


@dataclass(frozen=True)
class SlidingWindow:
    """How a roll-out is continued.

    Attributes:
        schedule: of the new tokens in the window, see ``scheduling_matrix``.
        history: number of generated tokens that stay in the window; with 0 only the last observation stays.
        small_level: k_small, the level at which generated tokens are believed (§3.3), as a share of K.
        disguise: how generated tokens are shown at that level, a name in ``DISGUISES``.
        sampling_steps: denoising steps of each new token.
        uncertainty_scale: of the pyramid schedule.
        error: standard deviation, in normalised units, of an error that is added to each generated token before it is
            shown again, the same in all of its frames. It imitates a worse model; for experiments.

    Raises:
        ValueError: if a number is out of range.
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
    """Return unguided roll-outs of ``num_tokens`` tokens that begin after ``starts``, in environment units.

    The goal is masked throughout.

    Args:
        model: of any level sampler and backbone.
        starts: observations, taken as clean.
        num_tokens: length of each roll-out in tokens.
        window: how to continue.
        generators: one random stream per roll-out.

    Raises:
        InputError: if the window's history leaves no room for a new token.
    """
    if window.history >= model.config.num_tokens:
        raise InputError(f"a history of {window.history} tokens fills the window of {model.config.num_tokens}.")
    generated = torch.empty(len(starts), 0, model.config.token_dim, device=model.alpha_bar.device)
    shown = generated  # the same tokens with the window's error
    while generated.shape[1] < num_tokens:
        sequence = _next_window(model, starts, shown, window, generators)
        new = sample(model, sequence, generators)[:, sequence.planned]
        generated = torch.cat([generated, new], dim=1)
        shown = torch.cat([shown, new + window.error * _draw_frame_noise(new, model.config, generators)], dim=1)
    return model.codec.decode(generated[:, :num_tokens])


def _next_window(
    model: DiffusionForcing,
    starts: Float[Tensor, "batch observation"],
    generated: Float[Tensor, "batch generated channel"],
    window: SlidingWindow,
    generators: list[Generator],
) -> Sequence:
    """Return the sequences [goal, start, last generated tokens, new tokens] before sampling.

    The start is the observation before the last generated tokens. Everything generated is shown at the small level.
    """
    codec, config, age = model.codec, model.config, generated.shape[1]
    before, history = generated.tensor_split([max(0, age - window.history)], dim=1)
    observation = codec.decode(before[:, -1:]).observations[:, -1] if age else starts
    given = torch.cat([codec.encode_start(observation), history], dim=1)  # (batch, 1 + history, channel)
    level = round(window.small_level * config.num_levels) if age else 0
    plan_levels = scheduling_matrix(
        window.schedule,
        config.num_tokens - history.shape[1],
        window.sampling_steps,
        config.num_levels,
        window.uncertainty_scale,
    )
    given_levels = torch.full((len(plan_levels), given.shape[1]), level)
    disguise = choose("disguise", window.disguise, DISGUISES)
    return build_sequence(model, given, given_levels, plan_levels, generators, disguise=disguise)


def _draw_frame_noise(tokens: Tokens, config: ModelConfig, generators: list[Generator]) -> Tokens:
    """Return noise for each token that is the same in all of its frames, so that no average over them removes it."""
    _, time, channels = tokens.shape
    noise = draw_noise((time, channels // config.frame_stack), generators, tokens.device)
    return noise.repeat(1, 1, config.frame_stack)
