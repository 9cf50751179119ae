"""Measures the speed of network passes and of training, as a share of the machine's rate of matrix products."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from dfplan.benchmarks.evaluation.estimates import Row
from dfplan.benchmarks.evaluation.timing import (
    DTYPES,
    Machine,
    compare_with_products,
    count_operations,
    measure_seconds,
    time_repeatedly,
)
from dfplan.config import Recipe
from dfplan.data.recording import Recording
from dfplan.model.diffusion_forcing import DiffusionForcing
from dfplan.model.levels import draw_levels
from dfplan.model.tokens import FIRST_PLANNED
from dfplan.training.trainer import Trainer


def measure_pass(model: DiffusionForcing, batch: int, machine: Machine, budget: float) -> Row:
    """Return a row of the table of network passes: times and rates of one pass in each precision.

    A pass has ``batch`` sequences as long as in training, all with the same noise levels, as in sampling. ``budget`` is
    about the seconds of one measurement.
    """
    config = model.config
    time = FIRST_PLANNED + config.num_tokens
    noisy = torch.randn(batch, time, config.token_dim, device=machine.device)
    levels = torch.randint(config.num_levels + 1, (1, time), device=machine.device)
    row: Row = {"batch": batch}
    for precision, dtype in DTYPES.items():
        mixed = torch.autocast(machine.device.type, dtype, enabled=dtype != torch.float32)
        with torch.inference_mode(), mixed:
            work = count_operations(lambda: model.predict_x0(noisy, levels))
            seconds, share = compare_with_products(
                lambda: measure_seconds(lambda: model.predict_x0(noisy, levels), machine.device),
                work,
                machine,
                precision,
                budget,
            )
        row |= {f"{precision}: ms": 1e3 * seconds, "GFLOP": work / 1e9}
        row |= {f"{precision}: GFLOP/s": work / seconds / 1e9, f"{precision}: share": share}
    return row


def measure_training(recipe: Recipe, dataset: dict[str, np.ndarray], machine: Machine, budget: float) -> list[Row]:
    """Return the table of training: one row per precision. ``(auto)`` marks the precision that ``auto`` chooses here.

    ``budget`` is about the seconds of one measurement.
    """
    recording = Recording.from_rows(dataset)
    by_auto = _make_trainer(recipe, "auto", recording, machine)
    chosen = by_auto.config.precision
    rows = []
    for precision in DTYPES:
        trainer = by_auto if precision == chosen else _make_trainer(recipe, precision, recording, machine)
        name = f"{precision} (auto)" if precision == chosen else precision
        rows.append({"precision": name} | _measure_updates(trainer, machine, budget))
    return rows


def _make_trainer(recipe: Recipe, precision: str, recording: Recording, machine: Machine) -> Trainer:
    recipe = replace(recipe, training=replace(recipe.training, precision=precision))
    return Trainer(
        recipe, recording, Path(), machine.device
    )  # the folder is not used, since single updates write nothing


def _measure_updates(trainer: Trainer, machine: Machine, budget: float) -> Row:
    config, model = trainer.config, trainer.recipe.model
    work = count_operations(trainer.update)
    updating, share = compare_with_products(
        lambda: measure_seconds(trainer.update, machine.device), work, machine, config.precision, budget
    )
    drawing = float(
        np.median(time_repeatedly(lambda: measure_seconds(lambda: _draw_batch(trainer), machine.device), budget / 4))
    )
    return {
        "updates/s": 1 / updating,
        "tokens/s": config.batch_size * model.num_tokens / updating,
        "GFLOP per update": work / 1e9,
        "GFLOP/s": work / updating / 1e9,
        "share": share,
        "share of time drawing data": round(drawing / updating, 3),
    }


def _draw_batch(trainer: Trainer) -> None:
    """Draw the windows, noise levels and noise of one update, as ``Trainer.update`` does."""
    model, config = trainer.recipe.model, trainer.config
    rng, generator = np.random.default_rng([config.seed, trainer.step]), torch.Generator().manual_seed(config.seed)
    windows = trainer.windows.draw(config.batch_size, rng).to(trainer.device)
    tokens = trainer.model.codec.encode_windows(windows)
    draw_levels(config, config.batch_size, model.num_tokens, model.num_levels, generator).to(trainer.device)
    torch.randn(tokens.shape, generator=generator).to(trainer.device)
