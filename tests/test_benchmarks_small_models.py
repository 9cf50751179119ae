from dataclasses import replace

import numpy as np
import pytest
import torch

from dfplan.benchmarks import small_models
from dfplan.benchmarks.reporting.ablation import Run
from dfplan.config import ModelConfig, Recipe, TrainingConfig
from dfplan.training.trainer import load_recipe


def test_a_small_model_is_trained_once_and_again_for_another_recipe_or_other_code(
    tiny_config, tiny_dataset, tmp_path, monkeypatch
):
    updates = []
    monkeypatch.setattr(
        small_models.Trainer,
        "update",
        lambda self, update=small_models.Trainer.update: updates.append(1) or update(self),
    )
    run = Run(seed=0, device="cpu", output=tmp_path)
    recipe = Recipe("trial", tiny_config, TrainingConfig(steps=2, batch_size=2))
    first = small_models.train_small_model(recipe, tiny_dataset, run, "tiny")
    again = small_models.train_small_model(recipe, tiny_dataset, run, "tiny")
    assert len(updates) == 2
    assert all((a == b).all() for a, b in zip(first.parameters(), again.parameters()))
    longer = replace(recipe, training=replace(recipe.training, steps=3))
    small_models.train_small_model(longer, tiny_dataset, run, "tiny")
    assert len(updates) == 5
    monkeypatch.setattr(small_models, "digest_modules", lambda module: {module: "changed"})
    small_models.train_small_model(longer, tiny_dataset, run, "tiny")
    assert len(updates) == 8
    assert isinstance(first.config, ModelConfig) and np.isfinite(float(next(first.parameters()).sum()))


def test_every_training_seed_has_a_model_that_is_trained_once_on_its_own_data(
    tiny_config, tiny_dataset, tmp_path, monkeypatch
):
    drawn = []

    def dataset(seed):
        drawn.append(seed)
        return tiny_dataset | {"actions": tiny_dataset["actions"] + seed}

    run = Run(seed=1000, device="cpu", output=tmp_path)
    recipe = Recipe("trial", tiny_config, TrainingConfig(steps=1, batch_size=2))
    models = small_models.train_small_models(recipe, dataset, run, "tiny", seeds=(0, 2))
    assert drawn == [0, 2] and not torch.equal(*(next(model.parameters()) for model in models))
    folders = sorted((tmp_path / "models").iterdir())
    assert [folder.name[:-9] for folder in folders] == ["tiny-seed0", "tiny-seed2"]
    assert [load_recipe(folder).training.seed for folder in folders] == [0, 2]
    monkeypatch.setattr(small_models.Trainer, "update", lambda self: pytest.fail("trained again"))
    assert len(small_models.train_small_models(recipe, dataset, run, "tiny", seeds=(0, 2))) == 2


@pytest.mark.parametrize(("asked", "trained_in"), [("auto", "float32"), ("bfloat16", "bfloat16")])
def test_a_small_model_is_trained_in_float32_unless_its_recipe_names_a_precision(
    asked, trained_in, tiny_config, tiny_dataset, tmp_path
):
    recipe = Recipe("trial", tiny_config, TrainingConfig(steps=1, batch_size=2, precision=asked))
    small_models.train_small_model(recipe, tiny_dataset, Run(0, "cpu", tmp_path), "tiny")
    (folder,) = (tmp_path / "models").iterdir()
    assert load_recipe(folder).training.precision == trained_in
