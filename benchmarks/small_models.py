"""Trains the small networks of a study. They are stored beside its results, and a later run reuses or resumes them."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from dfplan.benchmarks.reporting.ablation import Run
from dfplan.benchmarks.reporting.provenance import digest_modules
from dfplan.benchmarks.reporting.run_folder import MODELS
from dfplan.config import Recipe
from dfplan.data.recording import Recording
from dfplan.envs.demonstrations import Dataset
from dfplan.ground.devices import find_device
from dfplan.ground.files import make_writable_folder
from dfplan.model.diffusion_forcing import DiffusionForcing
from dfplan.training.trainer import STATE_NAME, Trainer, load_recipe


def set_budget(recipe: Recipe, steps: int, rows: int, precision: str, **changes: Any) -> Recipe:
    """Return the recipe with another number of updates, rows of data and precision, and other ``changes``."""
    budget: dict[str, Any] = {"steps": steps, "rows": rows, "precision": precision}
    return replace(recipe, training=replace(recipe.training, **budget, **changes))


def train_small_models(
    recipe: Recipe, dataset: Dataset | Callable[..., Dataset], run: Run, name: str, seeds: Sequence[int]
) -> list[DiffusionForcing]:
    """Return one model of ``recipe`` per training seed; ``dataset`` may be a function ``dataset(seed=...)``."""
    recipes = [replace(recipe, training=replace(recipe.training, seed=seed)) for seed in seeds]
    datasets = (dataset(seed=seed) if callable(dataset) else dataset for seed in seeds)  # made one at a time
    return [
        train_small_model(own, data, run, f"{name}-seed{own.training.seed}") for own, data in zip(recipes, datasets)
    ]


def train_small_model(recipe: Recipe, dataset: Dataset | Recording, run: Run, name: str) -> DiffusionForcing:
    """Return a model trained by ``recipe``; an earlier training with equal recipe, data and code is reused or resumed.

    The precision ``auto`` becomes float32, because ``auto`` depends on measured times, and results must not.
    """
    if recipe.training.precision == "auto":
        recipe = replace(recipe, training=replace(recipe.training, precision="float32"))
    recording = dataset if isinstance(dataset, Recording) else Recording.from_rows(dataset)
    digest = hashlib.sha256(f"{recording.digest} {digest_modules('dfplan.training.trainer')}".encode())
    folder = make_writable_folder(run.output / MODELS / f"{name}-{digest.hexdigest()[:8]}")
    trainer = Trainer(recipe, recording, folder, find_device(run.device))
    if (folder / STATE_NAME).exists() and load_recipe(folder) == recipe:
        trainer.resume()
    return trainer.run()
