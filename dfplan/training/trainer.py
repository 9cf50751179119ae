"""Training (Alg. 1): draw windows, draw a level for each token, predict x0.

The trainer averages the weights (EMA), can compute in bfloat16 (autocast), and saves a state from which a killed run is
resumed. Every update draws from a generator seeded with (seed, step), so a resumed run continues exactly as an
uninterrupted one. Several processes (``torchrun ... -m dfplan.training``) draw the same batch; each takes its slice.
"""

import copy
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

from dfplan.config import Recipe, TrainingConfig, read_model_config
from dfplan.data.recording import Recording
from dfplan.data.segments import fit_cost_to_go
from dfplan.data.trajectories import Statistics
from dfplan.data.value import Value, fit_value
from dfplan.data.windows import WindowSampler
from dfplan.ground.devices import is_bfloat16_faster
from dfplan.ground.errors import InputError, choose, find_reason
from dfplan.ground.files import write_file
from dfplan.ground.processes import SINGLE_PROCESS, Processes
from dfplan.model.diffusion_forcing import DiffusionForcing
from dfplan.model.levels import LEVEL_SAMPLERS, draw_levels
from dfplan.model.loss import LOSS_WEIGHTS
from dfplan.training.checkpoint import FILE_NAME, save_checkpoint

STATE_NAME, RECIPE_NAME = "state.pt", "recipe.json"
STATE_PARTS = {"step", "model", "ema", "optimizer", "value", "recording"}  # of a saved state
SAVE_SECONDS = 60.0  # between two saves
LOG_STEPS = 50  # updates between two logs
TIMED_STEPS = 20  # updates by which the duration of an update is measured


def compute_learning_rate(config: TrainingConfig, step: int) -> float:
    """Return the learning rate of an update: a linear warm-up, then half a cosine down to the final rate."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    progress = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    share = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return config.final_learning_rate + share * (config.learning_rate - config.final_learning_rate)


@dataclass
class Progress:
    """The progress of the training at a log.

    Attributes:
        step: number of updates so far.
        loss: loss of the last update.
        learning_rate: learning rate of the last update.
        tokens_per_second: planned tokens per second since the last log.
    """

    step: int
    loss: float
    learning_rate: float
    tokens_per_second: float


class Trainer:
    """Trains one model on one recording and writes its files to a folder.

    With several processes, each has a trainer with the same recipe and recording, and all of them call ``run``,
    ``update`` and ``measure_seconds_per_step`` together. Losses, gradients and weights equal those of one process with
    the whole batch, up to rounding. Only the first process writes.

    Args:
        recipe: settings of the model and of the training; ``precision="auto"`` is measured and replaced.
        recording: what the model learns from.
        output: folder of the files.
        device: where to train.
        processes: those that share the batches.

    Raises:
        InputError: if a name in the recipe is unknown, or the recording does not suit the recipe.
    """

    def __init__(
        self,
        recipe: Recipe,
        recording: Recording,
        output: str | Path,
        device: torch.device,
        processes: Processes = SINGLE_PROCESS,
    ):
        if recipe.training.precision == "auto":
            precision = processes.broadcast("bfloat16" if is_bfloat16_faster(device) else "float32")
            recipe = replace(recipe, training=replace(recipe.training, precision=precision))
        self.recipe, self.config = recipe, recipe.training
        self.output, self.device, self.processes = Path(output), device, processes
        choose("level sampler", self.config.level_sampler, LEVEL_SAMPLERS)
        choose("loss weight", self.config.loss_weight, LOSS_WEIGHTS)
        self.windows = WindowSampler(recording, recipe.model, self.config)
        self.recording = recording
        torch.manual_seed(self.config.seed)
        cost_to_go = fit_cost_to_go(recording, recipe.model.task)
        model = DiffusionForcing(recipe.model, Statistics.from_recording(recording), cost_to_go)
        self.model = model.to(device)
        self.ema = copy.deepcopy(self.model).eval().requires_grad_(False)
        self.optimizer = self._make_optimizer(self.model)
        self.step = 0

    def run(self, on_progress: Callable[[Progress], None] = lambda progress: None) -> DiffusionForcing:
        """Train from the present step to the last one, and return the averaged model.

        Without a goal, the value is fitted first, unless the resumed state has it. The state is saved about every
        ``SAVE_SECONDS``, and ``on_progress`` is called at every log.
        """
        self.save()
        if self.ema.value is None:
            task, is_first = self.recipe.model.task, self.processes.is_first
            self.ema.value = fit_value(self.recording, task, self.config.seed, show_progress=is_first)
        self.save()
        saved = time.monotonic()
        with self._open_progress_bar() as bar:
            while self.step < self.config.steps:
                progress = self._update_until_log(bar)
                bar.set_postfix(loss=f"{progress.loss:.4f}")
                on_progress(progress)
                if time.monotonic() - saved > SAVE_SECONDS:
                    self.save()
                    saved = time.monotonic()
        self.save()
        return self.ema

    def _open_progress_bar(self) -> tqdm:
        counts = {"total": self.config.steps, "initial": self.step, "unit": "step"}
        return tqdm(**counts, desc="training", mininterval=1.0, disable=not self.processes.is_first)

    def _update_until_log(self, bar: tqdm) -> Progress:
        """Take updates up to the next log, and return the progress."""
        began, first = time.perf_counter(), self.step
        while self.step < self.config.steps and (self.step == first or self.step % LOG_STEPS):
            loss = self.update()
            bar.update()
        tokens = (self.step - first) * self.config.batch_size * self.recipe.model.num_tokens
        last_loss = float(loss)  # waits for the device
        rate = compute_learning_rate(self.config, self.step - 1)
        return Progress(self.step, last_loss, rate, tokens / (time.perf_counter() - began))

    def update(self) -> torch.Tensor:
        """Take one optimisation step and return the loss of the whole batch."""
        for group in self.optimizer.param_groups:
            group["lr"] = compute_learning_rate(self.config, self.step)
        loss = self._compute_own_loss()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        loss = loss.detach()
        gradients = [weights.grad for weights in self.model.parameters() if weights.grad is not None]
        self.processes.sum_in_place([loss, *gradients])
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.gradient_clip)
        if not norm.isfinite():
            raise InputError(
                f"the training diverged at update {self.step}: its gradients are not finite; choose a smaller "
                f"learning_rate than {self.config.learning_rate:g}."
            )
        self.optimizer.step()
        self._update_ema()
        self.step += 1
        return loss

    def _compute_own_loss(self) -> torch.Tensor:
        """Return the share of the batch's loss that this process's slice of the batch contributes."""
        model, config = self.recipe.model, self.config
        rng = np.random.default_rng([config.seed, self.step])
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        windows = self.windows.draw(config.batch_size, rng).to(self.device)
        levels = draw_levels(config, config.batch_size, model.num_tokens, model.num_levels, generator)
        tokens, is_known = self.model.codec.encode_windows(windows), self.model.codec.find_known(windows)
        levels = levels.to(self.device)
        if is_known is not None:
            levels = torch.where(is_known, levels, model.num_levels)
        noise = torch.randn(tokens.shape, generator=generator).to(self.device)
        own = self.processes.slice_of(config.batch_size)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=config.precision == "bfloat16"):
            weights = config.loss_weight, config.next_token_weight, None if is_known is None else is_known[own]
            loss = self.model.loss(tokens[own], levels[own], noise[own], *weights)
        return loss if self.processes.count == 1 else loss * self._compute_own_share(levels, is_known)

    def _compute_own_share(self, levels: torch.Tensor, is_known: torch.Tensor | None) -> torch.Tensor:
        """Return this process's share of the values that the loss of the whole batch averages over.

        It differs from the share of the windows: tokens of weight 0 do not count, and windows have different numbers of
        them.
        """
        counts = self.model.count_predicted(levels, self.config.loss_weight, self.config.next_token_weight, is_known)
        return counts[self.processes.slice_of(len(levels))].sum() / counts.sum().clamp_min(1)

    @torch.no_grad()
    def _update_ema(self) -> None:
        """Move the averaged weights towards the present ones; the decay is smaller in the first updates."""
        decay = min(self.config.ema_decay, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(list(self.ema.parameters()), list(self.model.parameters()), 1 - decay)

    def _make_optimizer(self, model: DiffusionForcing) -> torch.optim.Optimizer:
        config = self.config
        return torch.optim.AdamW(
            model.parameters(), config.learning_rate, betas=(0.9, 0.99), weight_decay=config.weight_decay, fused=True
        )

    def set_steps(self, steps: int) -> None:
        """Change the number of updates; it must be called before the first update."""
        self.config = replace(self.config, steps=steps)
        self.recipe = replace(self.recipe, training=self.config)

    def measure_seconds_per_step(self) -> float:
        """Return the duration of an update, measured on a copy of the trainer. All processes get that of the first."""
        probe = copy.copy(self)
        probe.model, probe.ema = copy.deepcopy(self.model), copy.deepcopy(self.ema)
        probe.optimizer = self._make_optimizer(probe.model)
        probe.update()
        start = time.perf_counter()
        for _ in range(TIMED_STEPS):
            probe.update()
        return self.processes.broadcast((time.perf_counter() - start) / TIMED_STEPS)

    def save(self) -> None:
        """Write the training state, the recipe and the averaged model, each file completely or not at all.

        Only the first process writes.

        Raises:
            InputError: if a file cannot be written.
        """
        if not self.processes.is_first:
            return
        state = {
            "step": self.step,
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "value": None if self.ema.value is None else self.ema.value.to_tensors(),
            "recording": self.recording.digest,
        }
        image = io.BytesIO()  # torch.save to a file raises no OSError if the disk is full
        torch.save(state, image)
        write_file(self.output / STATE_NAME, image.getbuffer())
        write_file(self.output / RECIPE_NAME, json.dumps(asdict(self.recipe), indent=2).encode())
        info = {"env_id": self.recipe.env_id, "step": self.step, "demonstrations": self.config.demonstrations}
        save_checkpoint(self.output / FILE_NAME, self.ema, info)

    def resume(self) -> None:
        """Load the state that was saved in the folder, so that ``run`` continues from it.

        Raises:
            InputError: if the state is missing, unreadable, or of another recipe or recording.
        """
        path, advice = self.output / STATE_NAME, "start a new run in another folder"
        try:
            state = torch.load(path, map_location=self.device, weights_only=True)
        except Exception as error:  # of many kinds for files that are no state
            raise InputError(f"cannot resume from {path}: {find_reason(error)}; {advice}.") from error
        if not isinstance(state, dict) or not set(state) >= STATE_PARTS:
            raise InputError(f"cannot resume from {path}: it is of another version of dfplan; {advice}.")
        if state["recording"] != self.recording.digest:
            raise InputError(
                f"cannot resume from {path}: the run was trained on another recording than {self.recording.source}, or "
                "it has changed; give the same recording."
            )
        try:
            self.ema.value = None if state["value"] is None else Value(**state["value"])
            if self.ema.value is not None:
                self.ema.value.check(str(path), self.recipe.model.task.observation_dim)
            self.model.load_state_dict(state["model"])
            self.ema.load_state_dict(state["ema"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step = state["step"]
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise InputError(
                f"cannot resume from {path}: its weights are not those of the recipe; {advice}."
            ) from error


def load_recipe(output: str | Path) -> Recipe:
    """Return the recipe of the run in a folder.

    Raises:
        InputError: if the folder contains no readable recipe.
    """
    path = Path(output) / RECIPE_NAME
    try:
        saved = json.loads(path.read_text())
        return Recipe(saved["env_id"], read_model_config(saved["model"]), TrainingConfig(**saved["training"]))
    except FileNotFoundError as error:
        raise InputError(f"the folder {output} contains no run to resume: there is no file {path}.") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"the folder {output} contains no run to resume: {find_reason(error)}.") from error
