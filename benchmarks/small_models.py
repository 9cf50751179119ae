"""Networks that a study trains for itself: kept beside its results, resumed, and used again by the same study."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from dfplan.benchmarks.ablation import Run
from dfplan.benchmarks.provenance import code_digests
from dfplan.config import Recipe
from dfplan.devices import find_device
from dfplan.diffusion_forcing import DiffusionForcing
from dfplan.envs.demonstrations import Dataset
from dfplan.envs.files import writable_folder
from dfplan.training import STATE_NAME, Trainer, saved_recipe

MODELS = "models"  # sub-folder of a study's folder; not part of the results


def small_models(
    recipe: Recipe, dataset: Dataset | Callable[[int], Dataset], run: Run, name: str, seeds: Sequence[int]
) -> list[DiffusionForcing]:
    """Return one model of ``recipe`` for each training seed; ``dataset`` may be a function of the seed."""
    recipes = [replace(recipe, training=replace(recipe.training, seed=seed)) for seed in seeds]
    datasets = (dataset(seed) if callable(dataset) else dataset for seed in seeds)  # one at a time
    return [small_model(own, data, run, f"{name}-seed{own.training.seed}") for own, data in zip(recipes, datasets)]


def small_model(recipe: Recipe, dataset: Dataset, run: Run, name: str) -> DiffusionForcing:
    """Return a model trained by ``recipe``, continuing or reusing what the same recipe on the same data left behind.

    What other code has left behind is not reused. The precision ``auto`` becomes float32, so that results do not depend
    on which precision a timing prefers.
    """
    if recipe.training.precision == "auto":
        recipe = replace(recipe, training=replace(recipe.training, precision="float32"))
    digest = hashlib.sha256(b"".join(np.ascontiguousarray(dataset[key]).tobytes() for key in sorted(dataset)))
    digest.update(repr(code_digests("dfplan.training")).encode())
    folder = writable_folder(run.output / MODELS / f"{name}-{digest.hexdigest()[:8]}")
    trainer = Trainer(recipe, dataset, folder, find_device(run.device))
    if (folder / STATE_NAME).exists() and saved_recipe(folder) == recipe:
        trainer.resume()
    return trainer.run()
