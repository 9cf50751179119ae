"""The value of an observation: the discounted return that the best recorded behaviour earns from there on.

A plan ends after a few steps, but its return does not. The value says what follows, as far as a recording knows it. It
is for tasks without a goal; tasks with one have the cost to go (``dfplan.data.cost_to_go``).

V is fitted in-sample, by expectile regression of the target r + γ V(s') on V(s) over the recorded steps (Kostrikov et
al. 2021, IQL). A high expectile approaches the best recorded step from an observation, and no action is asked about
that was never taken. IQL has Q between reward and V, to average over the randomness of the world. Here V stands alone:
in a random world it is optimistic.

V is a share of the range of possible returns, the sigmoid of a network's output, and is fitted by cross-entropy instead
of squared error (Ayoub et al. 2024, FQI-LOG). Where the best return is within reach, V is then flat, and a few recorded
failures show clearly. With squared error its noise there led plans astray.

Several networks are fitted, each from its own batches, and V is their mean: the errors of a single one mislead a guide
that follows the gradient of V.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from tqdm import trange

from dfplan.data.recording import Recording
from dfplan.ground.errors import InputError
from dfplan.task import Task

DISCOUNT = 0.99  # γ per step
EXPECTILE = 0.95  # weight of targets above V; those below have 1 − EXPECTILE
MEMBERS = 3  # networks whose mean is V
WIDTH = 128  # of the two hidden layers
UPDATES, BATCH_SIZE, LEARNING_RATE, FINAL_LEARNING_RATE = 6_000, 512, 1e-3, 1e-5
TARGET_RATE = 0.05  # share by which the averaged weights, which give the targets, approach V in each update
SMALLEST_STD = 1e-3  # of an observation channel, so that a constant one is no division by 0
SMALLEST_SPREAD = 1e-3  # of V, as a share of the range of returns
START_MARGIN = 0.01  # distance of the first V from the bounds of returns, as a share of their range

Layer = tuple[Float[Tensor, "member _ _"], Float[Tensor, "member 1 _"]]  # weights (outputs, inputs), and biases


@dataclass(frozen=True, eq=False)
class Value:
    """Networks with two hidden layers, whose mean is V.

    Attributes:
        mean, std: of each observation channel in the recording.
        weights_1, biases_1, weights_2, biases_2, weights_3, biases_3: of the layers; each hidden layer is normalised
            and followed by SiLU.
        lowest, highest: bounds of returns.
        spread: standard deviation of V over the recording, in units of the return.
        discount: γ per step.
    """

    mean: Float[Tensor, " observation"]
    std: Float[Tensor, " observation"]
    weights_1: Float[Tensor, "member hidden observation"]
    biases_1: Float[Tensor, "member 1 hidden"]
    weights_2: Float[Tensor, "member hidden hidden"]
    biases_2: Float[Tensor, "member 1 hidden"]
    weights_3: Float[Tensor, "member 1 hidden"]
    biases_3: Float[Tensor, "member 1 1"]
    lowest: Float[Tensor, ""]
    highest: Float[Tensor, ""]
    spread: Float[Tensor, ""]
    discount: Float[Tensor, ""]

    @property
    def layers(self) -> list[Layer]:
        """Weights and biases of each layer."""
        return [
            (self.weights_1, self.biases_1),
            (self.weights_2, self.biases_2),
            (self.weights_3, self.biases_3),
        ]

    def __call__(self, observations: Float[Tensor, "*batch observation"]) -> Float[Tensor, "*batch"]:
        """Return V of observations in environment units, in units of the return."""
        normalised = (observations - self.mean.to(observations)) / self.std.to(observations)
        rows = normalised.reshape(-1, normalised.shape[-1]).expand(len(self.biases_1), -1, -1)
        layers = [(weights.to(rows), biases.to(rows)) for weights, biases in self.layers]
        shares = _run_networks(layers, rows).sigmoid().mean(dim=0).reshape(observations.shape[:-1])
        return torch.lerp(self.lowest.to(shares), self.highest.to(shares), shares)

    def to_tensors(self) -> dict[str, Tensor]:
        """Return the attributes by name; ``Value(**tensors)`` restores the value."""
        return asdict(self)

    def check(self, source: str, observation_dim: int) -> None:
        """Check a value that was read from ``source``.

        Raises:
            InputError: if the shapes do not match each other and ``observation_dim``, or if numbers are not finite.
        """
        members, _, width = self.biases_1.shape if self.biases_1.ndim == 3 else (0, 1, 0)
        shapes = {
            "biases_1": (members, 1, width),
            "mean": (observation_dim,),
            "std": (observation_dim,),
            "weights_1": (members, width, observation_dim),
            "weights_2": (members, width, width),
            "biases_2": (members, 1, width),
            "weights_3": (members, 1, width),
            "biases_3": (members, 1, 1),
            "lowest": (),
            "highest": (),
            "spread": (),
            "discount": (),
        }
        tensors = self.to_tensors()
        if any(tensors[name].shape != shape for name, shape in shapes.items()):
            raise InputError(f"{source} holds a value with shapes that do not match; train or copy it again.")
        if not all(tensor.isfinite().all() for tensor in tensors.values()) or not (self.std > 0).all():
            raise InputError(f"{source} holds a value with impossible numbers; train or copy it again.")


def fit_value(recording: Recording, task: Task, seed: int = 0, show_progress: bool = False) -> Value | None:
    """Return the value of the observations of a recording; None if the task has a goal or no value can be learned.

    Random numbers of its own leave those of the caller as they are.

    Args:
        recording: whose steps are learned from.
        task: says which reward belongs to a step. Nothing is earned from an absorbing observation on.
        seed: of the initial weights and the batches.
        show_progress: whether to show a progress bar; fitting takes about 40 seconds.
    """
    bounds = None if task.goal else find_return_bounds(recording, task)
    if bounds is None:
        return None
    lowest, highest = bounds
    now, rewards, then, goes_on = _take_steps(recording, task)
    mean, std = now.mean(dim=0), now.std(dim=0).clamp_min(SMALLEST_STD)
    now, then = (now - mean) / std, (then - mean) / std
    # With V = lowest + (highest - lowest) · share, r + γ V(s') is the share ``earned`` + γ · share(s').
    earned = (rewards + (DISCOUNT * goes_on - 1) * lowest) / (highest - lowest)
    generator = torch.Generator().manual_seed(seed)
    layers = _draw_layers(now.shape[1], generator, _share_forever(rewards, lowest, highest))
    averaged = [part.clone() for layer in layers for part in layer]
    parts = [part.requires_grad_() for layer in layers for part in layer]
    optimizer = torch.optim.Adam(parts, LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, UPDATES, FINAL_LEARNING_RATE)
    for _ in trange(UPDATES, desc="value", mininterval=1.0, disable=not show_progress):
        batch = torch.randint(len(now), (MEMBERS, BATCH_SIZE), generator=generator)
        logits = _run_networks(layers, now[batch])
        with torch.no_grad():
            shares = earned[batch] + DISCOUNT * goes_on[batch] * _run_networks(_pair(averaged), then[batch]).sigmoid()
            shares = shares.clamp(0, 1)  # bounds of forever, and rounding
            weights = torch.where(shares > logits.sigmoid(), EXPECTILE, 1 - EXPECTILE)
        losses = nn.functional.binary_cross_entropy_with_logits(logits, shares, weights, reduction="none")
        optimizer.zero_grad()
        losses.mean(dim=1).sum().backward()
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            torch._foreach_lerp_(averaged, parts, TARGET_RATE)
    fixed = (torch.tensor(number) for number in (lowest, highest, 1.0, DISCOUNT))
    value = Value(mean, std, *averaged, *fixed)
    spread = value(now * std + mean).std().clamp_min(SMALLEST_SPREAD * (highest - lowest))
    return Value(**(value.to_tensors() | {"spread": spread}))


def find_return_bounds(recording: Recording, task: Task) -> tuple[float, float] | None:
    """Return the lowest and the highest return that the rewards of a recording allow; None if there is only one.

    A return cannot exceed that of the highest reward forever, or that of a last step if it is higher. A reward for
    reaching the end is paid once, so it does not count as one that could be had forever. The return from an absorbing
    observation is 0.

    Raises:
        InputError: if returns are too large for float32.
    """
    _, rewards, goes_on = _take_rewards(recording, task)
    with np.errstate(over="ignore"):
        returns = rewards / (1 - DISCOUNT * goes_on)
        is_too_large = len(returns) and not np.isfinite(np.ptp(returns))
    if is_too_large:
        most = np.abs(rewards).max()
        raise InputError(f"rewards in {recording.source} of up to {most:.3g} have returns too large for float32.")
    if not len(returns):
        return None
    lowest, highest = float(returns.min()), float(returns.max())
    return None if lowest == highest else (lowest, highest)


def _take_steps(recording: Recording, task: Task) -> tuple[Tensor, ...]:
    """Return each recorded step: the observation before, its reward, the observation after, whether it goes on."""
    row, rewards, goes_on = _take_rewards(recording, task)
    columns = (recording.observations[row], rewards, recording.observations[_find_next(recording, row)], goes_on)
    now, reward, then, onward = (torch.from_numpy(column).float() for column in columns)
    return now, reward, then, onward


def _take_rewards(recording: Recording, task: Task) -> tuple[np.ndarray, ...]:
    """Return the row of each recorded step, its reward, and whether it goes on; the latter two as float32.

    A step that stays in an absorbing observation, with reward 0, follows each terminal. V is fitted there too, so that
    it adds nothing to a plan that has ended. A reward of the observation after the last step is not recorded; where
    rewards are of observations, such a step is left out, unless the episode terminated there.
    """
    row = np.flatnonzero(~recording.is_last | recording.is_absorbing)
    after = _find_next(recording, row)
    if task.reward_of == "state":
        is_told = ~recording.is_final[after] | recording.is_absorbing[after]
        row, after = row[is_told], after[is_told]
    rewards = recording.rewards[after if task.reward_of == "state" else row]
    rewards = np.where(recording.is_absorbing[row], 0, rewards)
    return row, rewards.astype(np.float32), (~recording.is_absorbing[after]).astype(np.float32)


def _find_next(recording: Recording, row: Int[np.ndarray, " step"]) -> Int[np.ndarray, " step"]:
    """Return the row after each row, and an absorbing row itself."""
    return row + ~recording.is_absorbing[row]


def _share_forever(rewards: Float[Tensor, " step"], lowest: float, highest: float) -> float:
    """Return the return of the mean reward forever as a share of the range, away from 0 and 1."""
    share = (float(rewards.mean()) / (1 - DISCOUNT) - lowest) / (highest - lowest)
    return min(max(share, START_MARGIN), 1 - START_MARGIN)


def _draw_layers(observation_dim: int, generator: torch.Generator, share: float) -> list[Layer]:
    """Return initial layers with the output ``share`` everywhere, because targets keep any other for long."""
    sizes = ((observation_dim, WIDTH), (WIDTH, WIDTH), (WIDTH, 1))
    layers = []
    for inputs, outputs in sizes:
        bound = 0.0 if outputs == 1 else (6 / inputs) ** 0.5  # He et al. 2015, uniform
        weights = (2 * torch.rand(MEMBERS, outputs, inputs, generator=generator) - 1) * bound
        layers.append((weights, torch.zeros(MEMBERS, 1, outputs)))
    layers[-1][1].fill_(math.log(share / (1 - share)))
    return layers


def _pair(parts: Sequence[Tensor]) -> list[Layer]:
    """Return layers from weights and biases in turn."""
    return list(zip(parts[::2], parts[1::2], strict=True))


def _run_networks(
    layers: Sequence[Layer], rows: Float[Tensor, "member row observation"]
) -> Float[Tensor, "member row"]:
    """Return the output of every network for its own rows of normalised observations."""
    hidden = rows
    for number, (weights, biases) in enumerate(layers):
        hidden = torch.baddbmm(biases, hidden, weights.transpose(1, 2))  # (member, row, outputs)
        if number < len(layers) - 1:
            hidden = nn.functional.silu(nn.functional.layer_norm(hidden, hidden.shape[-1:]))
    return hidden[..., 0]
