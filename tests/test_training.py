import math

import numpy as np
import pytest
import torch

from dfplan.checkpoint import load_checkpoint
from dfplan.config import Recipe, TrainingConfig
from dfplan.envs.errors import InputError
from dfplan.training import Trainer, learning_rate, saved_recipe

CPU = torch.device("cpu")


@pytest.fixture
def recipe(tiny_config):
    return Recipe("maze2d-umaze-v1", tiny_config, TrainingConfig(steps=6, batch_size=4, rows=50, warmup_steps=2))


def weights(model):
    return torch.cat([parameter.flatten() for parameter in model.parameters()])


def test_the_learning_rate_warms_up_then_falls_to_its_last_value():
    config = TrainingConfig(steps=100, warmup_steps=10, learning_rate=1.0, final_learning_rate=0.1)
    rates = [learning_rate(config, step) for step in (0, 9, 10, 55, 100)]
    assert rates == pytest.approx([0.1, 1.0, 1.0, 0.55, 0.1])


def test_a_killed_and_resumed_run_ends_with_the_same_weights_as_an_uninterrupted_one(recipe, tiny_dataset, tmp_path):
    uninterrupted = Trainer(recipe, tiny_dataset, tmp_path / "one", CPU)
    uninterrupted.run()
    killed = Trainer(recipe, tiny_dataset, tmp_path / "two", CPU)
    for _ in range(3):
        killed.update()
    killed.save()
    killed.update()  # lost
    resumed = Trainer(saved_recipe(tmp_path / "two"), tiny_dataset, tmp_path / "two", CPU)
    resumed.resume()
    assert resumed.step == 3
    resumed.run()
    assert torch.equal(weights(resumed.model), weights(uninterrupted.model))
    assert torch.equal(weights(resumed.ema), weights(uninterrupted.ema))


def test_a_run_leaves_a_checkpoint_of_the_averaged_model_that_says_where_it_comes_from(recipe, tiny_dataset, tmp_path):
    averaged = Trainer(recipe, tiny_dataset, tmp_path, CPU).run()
    model, info = load_checkpoint(tmp_path / "model.safetensors")
    assert info == {"env_id": "maze2d-umaze-v1", "step": 6}
    assert torch.equal(weights(model), weights(averaged))
    np.testing.assert_allclose(model.codec.mean[:2], tiny_dataset["observations"][:, :2].mean(0), rtol=1e-5)


def test_the_averaged_weights_follow_the_trained_ones(recipe, tiny_dataset, tmp_path):
    trainer = Trainer(recipe, tiny_dataset, tmp_path, CPU)
    before = weights(trainer.model).clone()
    trainer.update()
    moved = weights(trainer.model) - before
    decay = min(recipe.training.ema_decay, 1 / 10)
    torch.testing.assert_close(weights(trainer.ema) - before, (1 - decay) * moved, rtol=1e-3, atol=1e-7)


def test_measuring_the_throughput_leaves_the_run_as_it_was(recipe, tiny_dataset, tmp_path):
    trainer = Trainer(recipe, tiny_dataset, tmp_path, CPU)
    before = weights(trainer.model).clone()
    assert math.isfinite(trainer.seconds_per_step()) and trainer.seconds_per_step() > 0
    assert torch.equal(weights(trainer.model), before) and trainer.step == 0
    trainer.set_steps(3)
    trainer.run()
    assert trainer.step == 3 and saved_recipe(tmp_path).training.steps == 3


def test_a_folder_without_a_run_or_with_a_damaged_state_cannot_be_resumed(recipe, tiny_dataset, tmp_path):
    with pytest.raises(InputError, match="no run to resume"):
        saved_recipe(tmp_path)
    trainer = Trainer(recipe, tiny_dataset, tmp_path, CPU)
    trainer.save()
    (tmp_path / "state.pt").write_bytes(b"half a file")
    with pytest.raises(InputError, match="cannot resume"):
        trainer.resume()
