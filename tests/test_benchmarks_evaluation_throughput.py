import numpy as np
import pytest
import torch

from dfplan.benchmarks.evaluation import timing
from dfplan.benchmarks.evaluation.throughput import measure_pass, measure_training
from dfplan.benchmarks.evaluation.timing import Machine
from dfplan.config import Recipe, TrainingConfig
from dfplan.model.backbones.base import find_minimum_rows

MACHINE = Machine(torch.device("cpu"), "abacus", 1, {"float32": {8: 1e9}, "bfloat16": {4: 4e9}})


def test_a_pass_is_timed_and_counted_in_each_precision(tiny_model, monkeypatch):
    monkeypatch.setattr(timing, "measure_seconds", lambda call, device: 1e-6)  # of a product of 8 x 8, or 4 x 4
    row = measure_pass(tiny_model, 8, MACHINE, budget=1e-4)
    assert row["batch"] == 8 and row["GFLOP"] > 0
    for precision, best in (("float32", 1.024), ("bfloat16", 0.128)):
        assert row[f"{precision}: GFLOP/s"] == pytest.approx(1e3 * row["GFLOP"] / row[f"{precision}: ms"])
        assert row[f"{precision}: share"] == pytest.approx(row[f"{precision}: GFLOP/s"] / best, rel=1e-3, abs=1e-3)


def test_training_has_a_row_per_precision_and_marks_the_choice_of_auto(tiny_config, tiny_dataset):
    recipe = Recipe("trial", tiny_config, TrainingConfig(steps=2, batch_size=6, precision="auto"))
    rows = measure_training(recipe, tiny_dataset, MACHINE, budget=1e-4)
    assert [row["precision"].split()[0] for row in rows] == ["float32", "bfloat16"]
    assert sum("(auto)" in row["precision"] for row in rows) == 1
    for row in rows:
        assert row["tokens/s"] == pytest.approx(6 * tiny_config.num_tokens * row["updates/s"])
        assert row["GFLOP/s"] == pytest.approx(row["GFLOP per update"] * row["updates/s"])
        assert row["share of time drawing data"] > 0


def test_an_update_takes_three_times_the_operations_of_a_pass_minus_the_gradient_of_the_input(
    tiny_model, tiny_config, tiny_dataset
):
    recipe = Recipe("trial", tiny_config, TrainingConfig(steps=2, batch_size=8))
    (row, _), forward = (
        measure_training(recipe, tiny_dataset, MACHINE, 1e-4),
        measure_pass(tiny_model, 8, MACHINE, 1e-4),
    )
    time = 2 + tiny_config.num_tokens
    rows = 8 * time
    # By two products, the update embeds the levels of each sequence; the pass those of one, filled up.
    embedded = max(time, find_minimum_rows())
    of_levels = 2 * 2 * (rows - embedded) * tiny_config.width**2
    # Neither noisy tokens nor embedded levels have a gradient.
    of_inputs = 2 * rows * (tiny_config.token_dim + tiny_config.width) * tiny_config.width
    assert 1e9 * row["GFLOP per update"] == pytest.approx(3 * (1e9 * forward["GFLOP"] + of_levels) - of_inputs)
    assert np.isfinite(row["share"])
