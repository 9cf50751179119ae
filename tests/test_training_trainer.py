import math
import pickle
import sys
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torchrun import torchrun

from dfplan.config import Recipe, TrainingConfig
from dfplan.data.recording import Recording
from dfplan.envs.demonstrations import generate
from dfplan.ground.errors import InputError
from dfplan.ground.processes import Processes, find_processes
from dfplan.training.checkpoint import load_checkpoint
from dfplan.training.trainer import Trainer, compute_learning_rate, load_recipe

CPU = torch.device("cpu")
UPDATES = 6


@pytest.fixture
def recipe(tiny_config):
    return Recipe("maze2d-umaze-v1", tiny_config, TrainingConfig(steps=6, batch_size=4, rows=50, warmup_steps=2))


def weights(model):
    return torch.cat([parameter.flatten() for parameter in model.parameters()])


def test_the_learning_rate_warms_up_then_falls_to_its_final_value():
    config = TrainingConfig(steps=100, warmup_steps=10, learning_rate=1.0, final_learning_rate=0.1)
    rates = [compute_learning_rate(config, step) for step in (0, 9, 10, 55, 100)]
    assert rates == pytest.approx([0.1, 1.0, 1.0, 0.55, 0.1])


def test_a_killed_and_resumed_run_ends_with_the_same_weights_as_an_uninterrupted_one(recipe, tiny_dataset, tmp_path):
    uninterrupted = Trainer(recipe, Recording.from_rows(tiny_dataset), tmp_path / "one", CPU)
    uninterrupted.run()
    killed = Trainer(recipe, Recording.from_rows(tiny_dataset), tmp_path / "two", CPU)
    for _ in range(3):
        killed.update()
    killed.save()
    killed.update()  # lost
    resumed = Trainer(load_recipe(tmp_path / "two"), Recording.from_rows(tiny_dataset), tmp_path / "two", CPU)
    resumed.resume()
    assert resumed.step == 3
    resumed.run()
    assert torch.equal(weights(resumed.model), weights(uninterrupted.model))
    assert torch.equal(weights(resumed.ema), weights(uninterrupted.ema))


def test_a_run_is_not_resumed_with_another_recording(recipe, tiny_dataset, tmp_path):
    Trainer(recipe, Recording.from_rows(tiny_dataset), tmp_path, CPU).save()
    other = Recording.from_rows(tiny_dataset | {"rewards": tiny_dataset["rewards"] + 1})
    with pytest.raises(InputError, match="was trained on another recording than the recording, or it has changed"):
        Trainer(recipe, other, tmp_path, CPU).resume()


def test_a_state_of_another_version_is_not_resumed(recipe, tiny_dataset, tmp_path):
    trainer = Trainer(recipe, Recording.from_rows(tiny_dataset), tmp_path, CPU)
    torch.save({"step": 3}, tmp_path / "state.pt")
    with pytest.raises(InputError, match="it is of another version of dfplan; start a new run in another folder"):
        trainer.resume()


def test_a_run_writes_a_checkpoint_of_the_averaged_model_with_its_origin(recipe, tiny_dataset, tmp_path):
    averaged = Trainer(recipe, Recording.from_rows(tiny_dataset), tmp_path, CPU).run()
    model, info = load_checkpoint(tmp_path / "model.safetensors")
    assert info == {"env_id": "maze2d-umaze-v1", "step": 6, "demonstrations": "recorded"}
    assert torch.equal(weights(model), weights(averaged))
    np.testing.assert_allclose(model.codec.mean[:2], tiny_dataset["observations"][:, :2].mean(0), rtol=1e-5)


def test_the_averaged_weights_follow_the_trained_ones(recipe, tiny_dataset, tmp_path):
    trainer = Trainer(recipe, Recording.from_rows(tiny_dataset), tmp_path, CPU)
    before = weights(trainer.model).clone()
    trainer.update()
    moved = weights(trainer.model) - before
    decay = min(recipe.training.ema_decay, 1 / 10)
    torch.testing.assert_close(weights(trainer.ema) - before, (1 - decay) * moved, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("size", [0, 1_000, 50_000])
def test_a_full_disk_is_an_error_of_one_sentence_and_the_run_resumes_from_the_old_state(
    recipe, tiny_dataset, tmp_path, full_disk, size
):
    trainer = Trainer(recipe, Recording.from_rows(tiny_dataset), tmp_path, CPU)
    trainer.save()
    files = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    trainer.update()
    with full_disk(size), pytest.raises(InputError, match=r"cannot write .*state\.pt"):
        trainer.save()
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == files
    trainer.resume()
    assert trainer.step == 0


def test_measuring_the_throughput_does_not_change_the_run(recipe, tiny_dataset, tmp_path):
    trainer = Trainer(recipe, Recording.from_rows(tiny_dataset), tmp_path, CPU)
    before = weights(trainer.model).clone()
    assert math.isfinite(trainer.measure_seconds_per_step()) and trainer.measure_seconds_per_step() > 0
    assert torch.equal(weights(trainer.model), before) and trainer.step == 0
    trainer.set_steps(3)
    trainer.run()
    assert trainer.step == 3 and load_recipe(tmp_path).training.steps == 3


def test_a_folder_without_a_run_or_with_a_damaged_state_cannot_be_resumed(recipe, tiny_dataset, tmp_path):
    with pytest.raises(InputError, match="no run to resume"):
        load_recipe(tmp_path)
    trainer = Trainer(recipe, Recording.from_rows(tiny_dataset), tmp_path, CPU)
    trainer.save()
    (tmp_path / "state.pt").write_bytes(b"half a file")
    with pytest.raises(InputError, match="cannot resume"):
        trainer.resume()


@pytest.mark.parametrize("loss_weight", ["constant", "min_snr"])
@pytest.mark.parametrize("count", [2, 4])
def test_the_losses_of_all_slices_add_up_to_the_loss_of_the_batch(recipe, tiny_dataset, tmp_path, loss_weight, count):
    changed = {"loss_weight": loss_weight, "level_sampler": "teacher_forcing", "precision": "float32"}  # much is clean
    recipe = replace(recipe, training=replace(recipe.training, **changed))
    whole = Trainer(recipe, Recording.from_rows(tiny_dataset), tmp_path, CPU)._compute_own_loss()
    trainers = [
        Trainer(recipe, Recording.from_rows(tiny_dataset), tmp_path, CPU, Processes(rank, count))
        for rank in range(count)
    ]
    assert sum(trainer._compute_own_loss() for trainer in trainers).item() == pytest.approx(whole.item(), rel=1e-6)


def test_the_share_of_a_slice_is_its_share_of_the_tokens_to_predict(recipe, tiny_dataset, tmp_path):
    recipe = replace(recipe, training=replace(recipe.training, precision="float32"))
    first, second = (
        Trainer(recipe, Recording.from_rows(tiny_dataset), tmp_path, CPU, Processes(rank, 2)) for rank in range(2)
    )
    levels = torch.tensor([[0, 0, 5, 0, 0, 0], [0, 0, 5, 5, 5, 0]])  # one planned token, and three
    assert [trainer._compute_own_share(levels, None).item() for trainer in (first, second)] == [0.25, 0.75]


def test_two_processes_have_the_losses_and_weights_of_one_and_resume_as_one(recipe, tmp_path):
    recipe = replace(recipe, training=replace(recipe.training, precision="float32", warmup_steps=1))
    dataset = generate("umaze", 1000)
    (tmp_path / "task.pickle").write_bytes(pickle.dumps((recipe, dataset)))
    ended = torchrun(__file__, tmp_path)
    assert ended.returncode == 0, ended.stderr
    losses, *by_process = torch.load(tmp_path / "found.pt")
    alone = Trainer(recipe, Recording.from_rows(dataset), tmp_path / "alone", CPU)
    assert losses == pytest.approx([alone.update().item() for _ in range(UPDATES)], abs=1e-5)
    assert torch.equal(*by_process)
    torch.testing.assert_close(by_process[0], weights(alone.model), rtol=0, atol=1e-5)


def train_with_the_others(folder):
    """Train, stop and resume in each of two processes; the first one writes the losses and the weights of all."""
    recipe, dataset = pickle.loads((folder / "task.pickle").read_bytes())
    processes = find_processes()
    with processes.connect(CPU):
        connection = weakref.ref(torch.distributed.group.WORLD)
        trainer = Trainer(recipe, Recording.from_rows(dataset), folder / "run", CPU, processes)
        losses = [trainer.update().item() for _ in range(UPDATES // 2)]
        trainer.save()
        trainer.update()  # lost
        resumed = Trainer(recipe, Recording.from_rows(dataset), folder / "run", CPU, processes)
        resumed.resume()
        losses += [resumed.update().item() for _ in range(UPDATES // 2)]
        found = [losses, *processes.gather(weights(resumed.model).detach())]
        if processes.is_first:
            torch.save(found, folder / "found.pt")
    assert connection() is None  # or else its threads outlive the program's end and abort it


def test_a_diverging_training_is_told_to_learn_more_slowly(recipe, tiny_dataset, tmp_path):
    trainer = Trainer(recipe, Recording.from_rows(tiny_dataset), tmp_path, CPU)
    with torch.no_grad():
        for weight in trainer.model.parameters():
            weight.fill_(float("inf"))
    with pytest.raises(InputError, match=r"the training diverged at update 0: .* choose a smaller learning_rate"):
        trainer.update()


if __name__ == "__main__":  # started by torchrun
    train_with_the_others(Path(sys.argv[1]))
