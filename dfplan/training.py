"""Training (Alg. 1): draw windows, draw a level per token, predict x0; with EMA, autocast, and a state that survives
a kill.

Every update draws from a generator seeded with (seed, step), so a resumed run continues exactly as an uninterrupted
one, and several processes (``torchrun ... -m dfplan.training``) draw the same batch, of which each takes its part.
"""

import copy
import importlib
import io
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from dfplan.checkpoint import FILE_NAME, save_checkpoint
from dfplan.config import ModelConfig, Recipe, TrainingConfig
from dfplan.data import WindowSampler, recorded_cost_to_go
from dfplan.devices import bfloat16_pays
from dfplan.diffusion_forcing import DiffusionForcing
from dfplan.distributed import ALONE, Processes
from dfplan.envs.errors import InputError
from dfplan.envs.files import write_whole
from dfplan.levels import draw_levels
from dfplan.loss import LOSS_WEIGHTS
from dfplan.tokens import FIRST_PLANNED, Statistics

STATE_NAME, RECIPE_NAME = "state.pt", "recipe.json"
SAVE_SECONDS = 60.0
LOG_STEPS = 50
TIMED_STEPS = 20  # updates that estimate the throughput


def learning_rate(config: TrainingConfig, step: int) -> float:
    """Return the rate of an update: a linear warm-up, then half a cosine down to the final rate."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    progress = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    share = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return config.final_learning_rate + share * (config.learning_rate - config.final_learning_rate)


@dataclass
class Progress:
    """What one update tells: its number, loss, learning rate, and tokens per second since the last log."""

    step: int
    loss: float
    learning_rate: float
    tokens_per_second: float


class Trainer:
    """Trains one model on one dataset, keeping its files in a folder.

    With several processes, each has a trainer of the same recipe and dataset, and all call ``run``, ``update`` and
    ``seconds_per_step`` together. Losses, gradients and weights are those of one process with the whole batch, up to
    rounding. Only the first process writes.
    """

    def __init__(
        self,
        recipe: Recipe,
        dataset: dict[str, np.ndarray],
        output: str | Path,
        device: torch.device,
        processes: Processes = ALONE,
    ):
        if recipe.training.precision == "auto":
            precision = processes.from_first("bfloat16" if bfloat16_pays(device) else "float32")
            recipe = replace(recipe, training=replace(recipe.training, precision=precision))
        self.recipe, self.config = recipe, recipe.training
        self.output, self.device, self.processes = Path(output), device, processes
        torch.manual_seed(self.config.seed)
        cost_to_go = recorded_cost_to_go(dataset, recipe.model.goal_dim)
        self.model = DiffusionForcing(recipe.model, Statistics.of(dataset), cost_to_go).to(device)
        self.ema = copy.deepcopy(self.model).eval().requires_grad_(False)
        self.windows = WindowSampler(dataset, recipe.model, self.config)
        self.optimizer = self._new_optimizer(self.model)
        self.step = 0

    def run(self, on_progress: Callable[[Progress], None] = lambda progress: None) -> DiffusionForcing:
        """Train from the present step to the last, saving now and then, and return the averaged model."""
        self.save()
        saved = time.monotonic()
        with self._progress_bar() as bar:
            while self.step < self.config.steps:
                progress = self._some_updates(bar)
                bar.set_postfix(loss=f"{progress.loss:.4f}")
                on_progress(progress)
                if time.monotonic() - saved > SAVE_SECONDS:
                    self.save()
                    saved = time.monotonic()
        self.save()
        return self.ema

    def _progress_bar(self) -> tqdm:
        counts = {"total": self.config.steps, "initial": self.step, "unit": "step"}
        return tqdm(**counts, desc="training", mininterval=1.0, disable=not self.processes.is_first)

    def _some_updates(self, bar: tqdm) -> Progress:
        """Take the updates up to the next one that is logged, and return how they went."""
        began, first = time.perf_counter(), self.step
        while self.step < self.config.steps and (self.step == first or self.step % LOG_STEPS):
            loss = self.update()
            bar.update()
        tokens = (self.step - first) * self.config.batch_size * self.recipe.model.num_tokens
        loss = float(loss)  # waits for the device
        rate = learning_rate(self.config, self.step - 1)
        return Progress(self.step, loss, rate, tokens / (time.perf_counter() - began))

    def update(self) -> torch.Tensor:
        """Take one optimisation step and return the loss of the whole batch."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.config, self.step)
        loss = self._part_of_loss()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        loss = loss.detach()
        self.processes.add_up([loss, *(weights.grad for weights in self.model.parameters())])
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.gradient_clip, error_if_nonfinite=True)
        self.optimizer.step()
        self._average()
        self.step += 1
        return loss

    def _part_of_loss(self) -> torch.Tensor:
        """Return what this process's part of the batch adds to the batch's loss."""
        model, config = self.recipe.model, self.config
        rng = np.random.default_rng([config.seed, self.step])
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        windows = self.windows.draw(config.batch_size, rng).to(self.device)
        levels = draw_levels(config, config.batch_size, model.num_tokens, model.num_levels, generator)
        tokens = windows.tokens(self.model.codec)
        levels = levels.to(self.device)
        noise = torch.randn(tokens.shape, generator=generator).to(self.device)
        part = self.processes.part(config.batch_size)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=config.precision == "bfloat16"):
            weights = config.loss_weight, config.next_token_weight
            loss = self.model.loss(tokens[part], levels[part], noise[part], *weights)
        return loss if self.processes.count == 1 else loss * self._share_of_loss(levels)

    def _share_of_loss(self, levels: torch.Tensor) -> torch.Tensor:
        """Return what share of the numbers that ``DiffusionForcing.loss`` averages over the batch is this process's.

        It is not the share in the windows: tokens of weight 0 are left out of the mean, and windows differ in them.
        """
        weight = LOSS_WEIGHTS[self.config.loss_weight](self.model.alpha_bar[levels]) * (levels > 0)  # (batch, time)
        used = self.model.codec.used_channels(levels.shape[1] - FIRST_PLANNED).sum(dim=1)  # (time,)
        counted = ((weight > 0) * used).sum(dim=1)  # (batch,)
        return counted[self.processes.part(len(levels))].sum() / counted.sum().clamp_min(1)

    @torch.no_grad()
    def _average(self) -> None:
        """Move the averaged weights towards the present ones; the average is short while training is young."""
        decay = min(self.config.ema_decay, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(list(self.ema.parameters()), list(self.model.parameters()), 1 - decay)

    def _new_optimizer(self, model: DiffusionForcing) -> torch.optim.Optimizer:
        config = self.config
        return torch.optim.AdamW(
            model.parameters(), config.learning_rate, betas=(0.9, 0.99), weight_decay=config.weight_decay, fused=True
        )

    def set_steps(self, steps: int) -> None:
        """Change the number of updates before the first."""
        self.config = replace(self.config, steps=steps)
        self.recipe = replace(self.recipe, training=self.config)

    def seconds_per_step(self) -> float:
        """Return the duration of an update, measured on a copy that is thrown away; the first process's, for all."""
        probe = copy.copy(self)
        probe.model, probe.ema = copy.deepcopy(self.model), copy.deepcopy(self.ema)
        probe.optimizer = self._new_optimizer(probe.model)
        probe.update()
        start = time.perf_counter()
        for _ in range(TIMED_STEPS):
            probe.update()
        return self.processes.from_first((time.perf_counter() - start) / TIMED_STEPS)

    def save(self) -> None:
        """Write the training state and the averaged model, each in one piece or not at all; the first process does."""
        if not self.processes.is_first:
            return
        state = {
            "step": self.step,
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        image = io.BytesIO()  # torch does not raise an OSError where a disk is full
        torch.save(state, image)
        write_whole(self.output / STATE_NAME, image.getbuffer())
        write_whole(self.output / RECIPE_NAME, json.dumps(asdict(self.recipe), indent=2).encode())
        info = {"env_id": self.recipe.env_id, "step": self.step, "demonstrations": self.config.demonstrations}
        save_checkpoint(self.output / FILE_NAME, self.ema, info)

    def resume(self) -> None:
        """Continue where the folder's saved state stopped.

        Raises:
            InputError: if the state is missing or unreadable.
        """
        path = self.output / STATE_NAME
        try:
            state = torch.load(path, map_location=self.device, weights_only=True)
            self.model.load_state_dict(state["model"])
            self.ema.load_state_dict(state["ema"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step = state["step"]
        except Exception as error:
            raise InputError(f"cannot resume from {path}: {str(error).splitlines()[0]}.") from error


def saved_recipe(output: str | Path) -> Recipe:
    """Return the recipe of the run in a folder.

    Raises:
        InputError: if the folder holds no run.
    """
    path = Path(output) / RECIPE_NAME
    try:
        saved = json.loads(path.read_text())
        return Recipe(saved["env_id"], ModelConfig(**saved["model"]), TrainingConfig(**saved["training"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"there is no run to resume in {output}: {error}.") from error


if __name__ == "__main__":
    # The command reports and evaluates what it trains, so it lives in benchmarks, which this package may not import.
    importlib.import_module("dfplan.benchmarks.train").main()
