"""The likelihood bound (Thm. 3.1) of any tokens given any others, along any path of noise levels.

Take a scheduling matrix whose row m holds the levels k_m,t. Let z_m be the tokens at those levels, and let the model
generate row by row, as the sampler does but with noise: z_0 is drawn from N(0, I), and

    p(z_m+1 | z_m) = prod_t q(z_m+1,t | z_m,t, x_t = x̂_t(z_m)),

where q is the forward process run backwards from a known x and x̂ the network's prediction from all tokens of row m.
This is a latent-variable model of x for every matrix, and because the noise of each token is independent of the
others', its evidence lower bound is a sum over rows and over the tokens that move in them (as for one common level,
Kingma et al. 2021, Eq. 11-13):

    log p(x) >= - Σ_m Σ_t E ½ (SNR(k_m+1,t) - SNR(k_m,t)) ‖x_t - x̂_t(z_m)‖²     moves to a level above 0: the KL of
                                                                                two Gaussians of the same variance
                + Σ_t E log N(x_t; x̂_t(z_m), I / SNR(k_m,t))                    the move to level 0: the decoder

with z_m = sqrt(ᾱ) x + sqrt(1 - ᾱ) ε at the levels of row m. There is no prior term since ᾱ_K = 0 exactly. The decoder's
variance 1 / SNR is that of the noise left in the token, so that it is a proper density. Equal columns give the bound of
full-sequence diffusion, token after token that of next-token diffusion; the training loss is, up to its weights, a
mixture of such terms at all combinations of levels. Columns that stay at 0 are conditioned on. Columns that stay at K
are noise without information about x, so p is a model of the other tokens alone: these tokens are marginalised.

All values are log-likelihoods in bits per dimension of NORMALISED tokens: higher is better, and a value is above 0
where the density exceeds 1. ``compute_environment_offset`` converts to environment units.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dfplan.ground.errors import InputError, choose
from dfplan.model.diffusion_forcing import DiffusionForcing
from dfplan.model.noise import add_noise, draw_noise
from dfplan.model.tokens import FIRST_PLANNED, TrajectoryCodec
from dfplan.sampling.schedules import SCHEDULES, place_columns

Matrix = Int[Tensor, "row time"]


@dataclass(frozen=True)
class BoundSettings:
    """The path along which a likelihood is bounded, and the precision of the estimate.

    Attributes:
        schedule: a name in ``SCHEDULES``, which the unknown tokens follow in their order in time.
        uncertainty_scale: steps by which a token lags behind its predecessor (see ``schedules.pyramid``).
        steps: moves of each token. A coarse path gives a looser bound and is not cheaper, because the network only sees
            ``samples`` rows of it. About L² / (2.8 · steps) bits are lost, L = log(1 + SNR) of the last level.
        decoder_std: standard deviation of the noise that is left in a token when it is decoded, in normalised units. A
            large value blurs finer details. A small value demands predictions of the same precision, which a network
            that predicts x0 does not make: its error counts SNR / 2 times. Values below the noise of level 1 mean
            level 1.
        samples: number of random rows of the path, each with its own noise, that estimate the bound of a sequence
            without bias; None uses every row once.

    Raises:
        InputError: if a number is out of range.
    """

    schedule: str = "full_sequence"
    uncertainty_scale: float = 1.0
    steps: int = 1000
    decoder_std: float = 0.2
    samples: int | None = 64

    def __post_init__(self):
        if self.steps < 2:
            raise InputError(f"a path needs at least 2 steps, one to denoise and one to decode, not {self.steps}.")
        if not self.uncertainty_scale >= 0:
            raise InputError(f"uncertainty_scale must be at least 0, not {self.uncertainty_scale}.")
        if not self.decoder_std > 0:
            raise InputError(f"the decoder's standard deviation must be positive, not {self.decoder_std}.")
        if self.samples is not None and self.samples < 1:
            raise InputError(f"a bound needs at least 1 sample, not {self.samples}.")


def compute_snr(alpha_bar: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return ᾱ / (1 - ᾱ) in double precision: infinite at level 0 and exactly 0 at level K."""
    alpha_bar = alpha_bar.double().cpu()
    return alpha_bar / (1 - alpha_bar)


def choose_rungs(alpha_bar: Float[Tensor, " level"], steps: int, decoder_std: float) -> Int[Tensor, " step"]:
    """Return the levels of a token on its path from K to 0, in rising order; the token is decoded from the second one.

    They are spread evenly in log(1 + SNR), which is twice the information about a channel of unit variance, so every
    step adds the same amount to the bound. Steps that are even in level would lose most of it near level 0, where the
    SNR grows severalfold from one level to the next. Levels that coincide count once, so there may be fewer than
    ``steps``.
    """
    information = torch.log1p(compute_snr(alpha_bar)[1:])  # (level,), of the levels 1..K, falling to 0
    finest = math.log1p(decoder_std**-2)
    decoded = int((information > finest).sum().clamp_max(len(information) - 2))  # K itself cannot be decoded
    wanted = torch.linspace(0, float(information[decoded]), steps, dtype=torch.float64)
    distance = (information[None, decoded:] - wanted[:, None]).abs()  # (step, level)
    chosen = torch.unique(decoded + 1 + distance.argmin(dim=1))
    ends = torch.tensor([0, decoded + 1, len(information)])
    return torch.unique(torch.cat([ends, chosen]))


def build_bound_matrix(
    alpha_bar: Float[Tensor, " level"],
    unknown: Bool[Tensor, " time"],
    given: Bool[Tensor, " time"],
    settings: BoundSettings = BoundSettings(),
) -> Matrix:
    """Return the levels over [goal, start, tokens] along which ``unknown`` is bounded: 0 where given, K where neither.

    Raises:
        InputError: if nothing is unknown, or something both unknown and given.
    """
    if unknown.shape != given.shape:
        raise InputError(f"{len(unknown)} unknown or known positions do not fit {len(given)} given or not.")
    if not unknown.any():
        raise InputError("no position is unknown; choose at least one whose likelihood to bound.")
    if (unknown & given).any():
        both = (unknown & given).nonzero()[:, 0].tolist()
        raise InputError(f"the positions {both} cannot be both unknown and given.")
    levels = choose_rungs(alpha_bar, settings.steps, settings.decoder_std)
    draw = choose("schedule", settings.schedule, SCHEDULES)
    rungs = len(levels) - 1  # a token moves down one of them in each step
    path = levels[draw(int(unknown.sum()), rungs, rungs, settings.uncertainty_scale)]  # (row, unknown)
    levels_at_rest = torch.where(given.cpu(), 0, len(alpha_bar) - 1)
    return place_columns(levels_at_rest, unknown.cpu(), path)


def bound_likelihood(
    model: DiffusionForcing,
    tokens: Float[Tensor, "batch time channel"],
    generators: list[torch.Generator],
    unknown: Bool[Tensor, " time"] | None = None,
    given: Bool[Tensor, " time"] | None = None,
    settings: BoundSettings = BoundSettings(),
) -> Float[Tensor, " batch"]:
    """Return a lower bound on log p(unknown | given), in bits per dimension: higher is better (Thm. 3.1).

    The bits are those of a density of normalised tokens, so they may be positive. ``compute_environment_offset``
    converts them to environment units.

    Args:
        model: whose likelihood is bounded.
        tokens: clean sequences [goal, start, tokens].
        generators: one random stream per sequence.
        unknown: positions in time whose likelihood is bounded; the planned tokens by default.
        given: positions that are conditioned on; all positions that are not unknown by default. Positions that are
            neither unknown nor given are marginalised.
        settings: path and precision of the estimate.

    Raises:
        InputError: if the masks contradict each other or the tokens.
    """
    unknown = torch.arange(tokens.shape[1]) >= FIRST_PLANNED if unknown is None else unknown
    matrix = build_bound_matrix(model.alpha_bar, unknown, ~unknown if given is None else given, settings)
    return compute_elbo(model, tokens, matrix, generators, settings.samples)


def compute_elbo(
    model: DiffusionForcing,
    tokens: Float[Tensor, "batch time channel"],
    matrix: Matrix,
    generators: list[torch.Generator],
    samples: int | None = 64,
) -> Float[Tensor, " batch"]:
    """Return a lower bound on the log-likelihood of each sequence, in bits per dimension (Thm. 3.1).

    Tokens whose levels fall from K to 0 are bounded, tokens that stay at 0 are given, tokens that stay at K are
    marginalised. Padding channels do not count as dimensions. The value is an unbiased estimate from ``samples`` rows;
    it depends on the sequence and its own generator alone.

    Args:
        model: whose likelihood is bounded.
        tokens: clean sequences; values at marginalised positions are ignored.
        matrix: levels, row by row (``build_bound_matrix``, or any scheduling matrix).
        generators: one random stream per sequence.
        samples: see ``BoundSettings``.

    Raises:
        InputError: if the matrix is no path of this model, or tokens and generators do not fit it.
    """
    matrix = matrix.cpu()
    _check(model, tokens, matrix, generators)
    masked = (matrix[-1] == model.config.num_levels).to(tokens.device)
    tokens = torch.where(masked[:, None], 0.0, tokens)
    used = model.codec.used_channels(tokens.shape[1] - FIRST_PLANNED)
    unknown = (matrix[0] != matrix[-1]).to(used.device)
    dimensions = used.sum(dim=1).cpu()
    weight, constant = _weights(matrix, model.alpha_bar, dimensions)
    expected = dimensions / (1 + _finite(compute_snr(model.alpha_bar)[matrix[:-1]]))  # squared errors, at a guess
    proposal = (weight * expected).sum(dim=1)
    draws = [_draw_rows(proposal, samples, generator) for generator in generators]
    rows, importance = (torch.stack(part, dim=1) for part in zip(*draws))  # (sample, batch)
    nats = torch.full((len(tokens),), constant, dtype=torch.float64)
    for row, factor in zip(rows, importance):
        noise = draw_noise(tuple(tokens.shape[1:]), generators, tokens.device)
        error = compute_squared_errors(model, tokens, matrix[row].to(tokens.device), noise)
        nats -= factor * (weight[row] * error.double().cpu() * unknown.cpu()).sum(dim=1)
    return (nats / math.log(2) / used[unknown].sum().cpu()).float().to(tokens.device)


@torch.no_grad()
def compute_squared_errors(
    model: DiffusionForcing,
    tokens: Float[Tensor, "batch time channel"],
    levels: Int[Tensor, "batch time"],
    noise: Float[Tensor, "batch time channel"],
) -> Float[Tensor, "batch time"]:
    """Return ‖x - x̂‖² of every token seen at ``levels``, over the channels that carry anything."""
    used = model.codec.used_channels(tokens.shape[1] - FIRST_PLANNED)
    noisy = add_noise(tokens, model.alpha_bar[levels], noise) * used
    return (((model.predict_x0(noisy, levels) - tokens) * used) ** 2).sum(dim=-1)


def compute_environment_offset(codec: TrajectoryCodec, unknown: Bool[Tensor, " time"]) -> float:
    """Return what to add to the bits per dimension of normalised tokens to have those of environment units.

    It is the mean of -log2 of the data's standard deviations over the unknown dimensions (change of variables).
    """
    used = codec.used_channels(len(unknown) - FIRST_PLANNED) & unknown[:, None].to(codec.std.device)
    bits = -codec.std.double().cpu().log2().repeat(codec.config.frame_stack)  # (channel,)
    return float(bits.expand(used.shape)[used.cpu()].mean())


def _weights(
    matrix: Matrix, alpha_bar: Float[Tensor, " level"], dimensions: Int[Tensor, " time"]
) -> tuple[Float[Tensor, "move time"], float]:
    """Return the factor of each squared error in the negative bound, and the decoders' normalising constant in nats."""
    snr = compute_snr(alpha_bar)
    before, after = snr[matrix[:-1]], snr[matrix[1:]]
    decodes = (matrix[1:] == 0) & (matrix[:-1] > 0)
    moves = matrix[1:] != matrix[:-1]
    weight = torch.where(decodes, before, torch.where(moves, after - before, 0.0)) / 2
    constant = torch.where(decodes, _finite(before).clamp_min(1e-300).log() - math.log(2 * math.pi), 0.0) / 2
    return weight, float((constant * dimensions).sum())


def _finite(snr: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return the ratios with 0 for those of clean tokens, which never move."""
    return torch.where(snr.isinf(), 0.0, snr)


def _draw_rows(
    proposal: Float[Tensor, " move"], samples: int | None, generator: torch.Generator
) -> tuple[Int[Tensor, " sample"], Float[Tensor, " sample"]]:
    """Return random moves and the factors that make the sum over them an unbiased estimate of the sum over all.

    Drawn, stratified, in proportion to ``proposal``: what each would add to the bound were every channel of unit
    variance and independent of the others.
    """
    if samples is None:
        return torch.arange(len(proposal)), torch.ones(len(proposal), dtype=torch.float64)
    cumulative = proposal.cumsum(dim=0)
    position = (torch.arange(samples) + torch.rand(samples, generator=generator, dtype=torch.float64)) / samples
    row = torch.searchsorted(cumulative, position * cumulative[-1], right=True).clamp_max(len(proposal) - 1)
    return row, cumulative[-1] / (samples * proposal[row])


def _check(model: DiffusionForcing, tokens: Tensor, matrix: Matrix, generators: list[torch.Generator]) -> None:
    """Raise an ``InputError`` unless the matrix is a path of the model and everything has the same sizes."""
    num_levels = model.config.num_levels
    if len(generators) != len(tokens):
        raise InputError(f"{len(tokens)} sequences need as many generators, not {len(generators)}.")
    if matrix.shape[1] != tokens.shape[1] or len(matrix) < 2:
        raise InputError(f"a path of {tuple(matrix.shape)} does not fit {tokens.shape[1]} positions and several rows.")
    if ((matrix < 0) | (matrix > num_levels)).any() or (matrix.diff(dim=0) > 0).any():
        raise InputError(f"the levels of a path lie in 0..{num_levels} and never rise.")
    falls = matrix[0] != matrix[-1]
    if not falls.any() or (matrix[0, falls] != num_levels).any() or (matrix[-1, falls] != 0).any():
        raise InputError(f"a path leads some tokens from {num_levels} to 0 and leaves the others where they are.")
    if not ((matrix[0] == 0) | (matrix[0] == num_levels)).all():
        raise InputError(f"tokens that stay where they are must be given (0) or masked ({num_levels}).")
    if ((matrix[:-1] == num_levels) & (matrix[1:] == 0)).any():
        raise InputError("a token cannot be decoded from pure noise; stop at a level between.")
    if not tokens[:, (matrix[-1] == 0).to(tokens.device)].isfinite().all():
        raise InputError("the tokens hold NaN or infinity.")
