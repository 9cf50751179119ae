"""How near the network, predicting and training, comes to the machine's rate of matrix products."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from dfplan.benchmarks.ablation import Row
from dfplan.benchmarks.timing import DTYPES, Machine, beside_products, operations, repeated, wall_seconds
from dfplan.config import Recipe
from dfplan.diffusion_forcing import DiffusionForcing
from dfplan.levels import draw_levels
from dfplan.tokens import FIRST_PLANNED
from dfplan.training import Trainer


def pass_row(model: DiffusionForcing, batch: int, machine: Machine, budget: float) -> Row:
    """Return a row of the table of network passes: ``batch`` sequences as long as in training, in each precision.

    All have the same levels, as in sampling.
    """
    config = model.config
    time = FIRST_PLANNED + config.num_tokens
    noisy = torch.randn(batch, time, config.token_dim, device=machine.device)
    levels = torch.randint(config.num_levels + 1, (1, time), device=machine.device)
    row: Row = {"batch": batch}
    for precision, dtype in DTYPES.items():
        mixed = torch.autocast(machine.device.type, dtype, enabled=dtype != torch.float32)
        with torch.inference_mode(), mixed:
            work = operations(lambda: model.predict_x0(noisy, levels))
            seconds, share = beside_products(
                lambda: wall_seconds(lambda: model.predict_x0(noisy, levels), machine.device),
                work,
                machine,
                precision,
                budget,
            )
        row |= {f"{precision}: ms": 1e3 * seconds, "GFLOP": work / 1e9}
        row |= {f"{precision}: GFLOP/s": work / seconds / 1e9, f"{precision}: share": share}
    return row


def training_rows(recipe: Recipe, dataset: dict[str, np.ndarray], machine: Machine, budget: float) -> list[Row]:
    """Return the table of training: a row per precision, with the one that ``auto`` takes on this device marked."""
    by_auto = _trainer(recipe, "auto", dataset, machine)
    chosen = by_auto.config.precision
    rows = []
    for precision in DTYPES:
        trainer = by_auto if precision == chosen else _trainer(recipe, precision, dataset, machine)
        name = f"{precision} (auto)" if precision == chosen else precision
        rows.append({"precision": name} | _training_row(trainer, machine, budget))
    return rows


def _trainer(recipe: Recipe, precision: str, dataset: dict[str, np.ndarray], machine: Machine) -> Trainer:
    recipe = replace(recipe, training=replace(recipe.training, precision=precision))
    return Trainer(recipe, dataset, Path(), machine.device)  # updates alone write nothing to its folder


def _training_row(trainer: Trainer, machine: Machine, budget: float) -> Row:
    config, model = trainer.config, trainer.recipe.model
    work = operations(trainer.update)
    updating, share = beside_products(
        lambda: wall_seconds(trainer.update, machine.device), work, machine, config.precision, budget
    )
    drawing = float(np.median(repeated(lambda: wall_seconds(lambda: _draw(trainer), machine.device), budget / 4)))
    return {
        "updates/s": 1 / updating,
        "tokens/s": config.batch_size * model.num_tokens / updating,
        "GFLOP per update": work / 1e9,
        "GFLOP/s": work / updating / 1e9,
        "share": share,
        "share of time drawing data": round(drawing / updating, 3),
    }


def _draw(trainer: Trainer) -> None:
    """Draw what an update trains on, as the update does: windows, their levels and their noise."""
    model, config = trainer.recipe.model, trainer.config
    rng, generator = np.random.default_rng([config.seed, trainer.step]), torch.Generator().manual_seed(config.seed)
    tokens = trainer.windows.draw(config.batch_size, rng).to(trainer.device).tokens(trainer.model.codec)
    draw_levels(config, config.batch_size, model.num_tokens, model.num_levels, generator).to(trainer.device)
    torch.randn(tokens.shape, generator=generator).to(trainer.device)
