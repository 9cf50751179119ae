"""The value of an observation: the discounted return that the best recorded behaviour earns from there on.

A plan ends after a few steps, but its return does not. The value says what follows, as far as a recording knows it. It
is for tasks without a goal; the cost to go (``dfplan.data.cost_to_go``) has its place in tasks with one.

V is fitted in-sample, by expectile regression of the target r + γ V(s') on V(s) over the recorded steps (Kostrikov et
al. 2021, IQL). A high expectile approaches the best recorded step from an observation, and no action is asked about
that was never taken. IQL has Q between reward and V, to average over the randomness of the world. Here V stands alone:
in a random world it is optimistic.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from dfplan.data.recording import Recording
from dfplan.ground.errors import InputError
from dfplan.task import Task

DISCOUNT = 0.99  # γ per step
EXPECTILE = 0.9  # weight of targets above V; those below have 1 − EXPECTILE
WIDTH = 128  # of the two hidden layers
UPDATES, BATCH_SIZE, LEARNING_RATE, FINAL_LEARNING_RATE = 3_000, 512, 1e-3, 1e-5
TARGET_RATE = 0.05  # share by which the network of the targets approaches V in each update
SMALLEST_SPREAD = 1e-3  # of an observation channel and of rewards, so that constants are no division by 0


@dataclass(frozen=True, eq=False)
class Value:
    """A network with two hidden layers that computes V.

    Attributes:
        mean, std: of each observation channel in the recording.
        weights_1, biases_1, weights_2, biases_2, weights_3, biases_3: of the layers; each hidden layer is normalised
            and followed by SiLU.
        offset: return of the network's output 0: that of the mean reward forever.
        scale: return by which the network's output 1 differs from it.
        spread: standard deviation of V over the recording, in units of the return.
        discount: γ per step.
    """

    mean: Float[Tensor, " observation"]
    std: Float[Tensor, " observation"]
    weights_1: Float[Tensor, "hidden observation"]
    biases_1: Float[Tensor, " hidden"]
    weights_2: Float[Tensor, "hidden hidden"]
    biases_2: Float[Tensor, " hidden"]
    weights_3: Float[Tensor, "1 hidden"]
    biases_3: Float[Tensor, "1"]
    offset: Float[Tensor, ""]
    scale: Float[Tensor, ""]
    spread: Float[Tensor, ""]
    discount: Float[Tensor, ""]

    def __call__(self, observations: Float[Tensor, "*batch observation"]) -> Float[Tensor, "*batch"]:
        """Return V of observations in environment units, in units of the return."""
        hidden = (observations - self.mean.to(observations)) / self.std.to(observations)
        for weights, biases in ((self.weights_1, self.biases_1), (self.weights_2, self.biases_2)):
            hidden = nn.functional.linear(hidden, weights.to(hidden), biases.to(hidden))
            hidden = nn.functional.silu(nn.functional.layer_norm(hidden, hidden.shape[-1:]))
        output = nn.functional.linear(hidden, self.weights_3.to(hidden), self.biases_3.to(hidden))
        return self.offset.to(hidden) + output[..., 0] * self.scale.to(hidden)

    def to_tensors(self) -> dict[str, Tensor]:
        """Return the attributes by name; ``Value(**tensors)`` restores the value."""
        return asdict(self)

    def check(self, source: str, observation_dim: int) -> None:
        """Check a value that was read from ``source``.

        Raises:
            InputError: if the shapes do not match each other and ``observation_dim``, or if numbers are not finite.
        """
        width = len(self.biases_1)
        shapes = {
            "mean": (observation_dim,),
            "std": (observation_dim,),
            "weights_1": (width, observation_dim),
            "weights_2": (width, width),
            "biases_2": (width,),
            "weights_3": (1, width),
            "biases_3": (1,),
            "offset": (),
            "scale": (),
            "spread": (),
            "discount": (),
        }
        tensors = self.to_tensors()
        if any(tensors[name].shape != shape for name, shape in shapes.items()):
            raise InputError(f"{source} holds a value with shapes that do not match; train or copy it again.")
        if not all(tensor.isfinite().all() for tensor in tensors.values()) or not (self.std > 0).all():
            raise InputError(f"{source} holds a value with impossible numbers; train or copy it again.")


def fit_value(recording: Recording, task: Task, seed: int = 0) -> Value:
    """Return the value of the observations of a recording.

    Args:
        recording: whose steps are learned from.
        task: says which reward belongs to a step. Steps into an absorbing observation earn nothing more.
        seed: of the initial weights and the batches.
    """
    now, rewards, then, goes_on = _take_steps(recording, task)
    offset = float(rewards.mean()) / (1 - DISCOUNT)
    scale = max(float(rewards.square().mean().sqrt()), SMALLEST_SPREAD) / (1 - DISCOUNT)
    mean, std = now.mean(dim=0), now.std(dim=0).clamp_min(SMALLEST_SPREAD)
    now, then = (now - mean) / std, (then - mean) / std
    # In units of the network, V = offset + scale · output turns r + γ V(s') into known + γ · output(s').
    known = (rewards + (DISCOUNT * goes_on - 1) * offset) / scale
    generator = torch.Generator().manual_seed(seed)
    network, target = _make_network(now.shape[1], generator), _make_network(now.shape[1], generator)
    optimizer = torch.optim.Adam(network.parameters(), LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, UPDATES, FINAL_LEARNING_RATE)
    with torch.no_grad():
        target.load_state_dict(network.state_dict())
    for _ in range(UPDATES):
        batch = torch.randint(len(now), (BATCH_SIZE,), generator=generator)
        with torch.no_grad():
            aim = known[batch] + DISCOUNT * goes_on[batch] * target(then[batch])[:, 0]
        error = aim - network(now[batch])[:, 0]
        weight = torch.where(error > 0, EXPECTILE, 1 - EXPECTILE)
        optimizer.zero_grad()
        (weight * error.square()).mean().backward()
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            torch._foreach_lerp_(list(target.parameters()), list(network.parameters()), TARGET_RATE)
    layers = [part.detach() for layer in target if isinstance(layer, nn.Linear) for part in layer.parameters()]
    fixed = (torch.tensor(number) for number in (offset, scale, 1.0, DISCOUNT))
    value = Value(mean, std, *layers, *fixed)
    found = value(now * std + mean).std().clamp_min(SMALLEST_SPREAD)
    return Value(**(value.to_tensors() | {"spread": found}))


def _take_steps(recording: Recording, task: Task) -> tuple[Tensor, ...]:
    """Return each recorded step: the observation before, its reward, the observation after, whether it goes on."""
    row = np.flatnonzero(~recording.is_last)
    of_reward = row + 1 if task.reward_of == "state" else row
    columns = (recording.observations[row], recording.rewards[of_reward], recording.observations[row + 1])
    now, rewards, then = (torch.from_numpy(np.ascontiguousarray(column)).float() for column in columns)
    return now, rewards, then, torch.from_numpy(~recording.is_absorbing[row + 1]).float()


def _make_network(observation_dim: int, generator: torch.Generator) -> nn.Sequential:
    """Return a network whose output is 0 at first, which targets would keep for thousands of updates otherwise."""

    def make_layer(inputs: int, outputs: int, draw: Callable[[Tensor], object]) -> nn.Linear:
        layer = nn.Linear(inputs, outputs)
        draw(layer.weight)
        nn.init.zeros_(layer.bias)
        return layer

    def draw(weights: Tensor) -> Tensor:
        return nn.init.kaiming_uniform_(weights, nonlinearity="relu", generator=generator)

    hidden = [nn.LayerNorm(WIDTH, elementwise_affine=False), nn.SiLU()]
    return nn.Sequential(
        make_layer(observation_dim, WIDTH, draw),
        *hidden,
        make_layer(WIDTH, WIDTH, draw),
        *hidden,
        make_layer(WIDTH, 1, nn.init.zeros_),
    )
