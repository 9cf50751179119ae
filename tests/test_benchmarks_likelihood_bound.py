import numpy as np
import pytest
import torch

from dfplan.benchmarks import likelihood_bound
from dfplan.benchmarks.likelihood_bound import (
    BITS,
    CLOSED_FORM,
    DECODER_STDS,
    EXACT,
    PATHS,
    SCHEMES,
    Settings,
    make_subsets,
    study,
)
from dfplan.benchmarks.reporting.ablation import Run
from dfplan.ground.errors import InputError
from dfplan.model.tokens import FIRST_PLANNED, START

TINY = Settings(gaussian_steps=2, gaussian_sequences=6, maze_sequences=2, samples=2, checkpoints=("maze2d-umaze",))


def test_the_study_bounds_every_model_along_every_path(tmp_path, monkeypatch):
    monkeypatch.setattr(likelihood_bound, "GAUSSIAN_ROWS", 500)
    monkeypatch.setattr(likelihood_bound, "HELD_OUT_ROWS", 3000)
    findings = study(TINY, Run(0, "cpu", tmp_path))
    gaussian = [rows for title, rows in findings.tables.items() if title.startswith("Gaussian process")]
    maze = [rows for title, rows in findings.tables.items() if title.startswith("maze2d-umaze-v1")]
    assert len(gaussian) == len(maze) == 4
    assert [[row["model"] for row in rows] for rows in gaussian] == [[*SCHEMES, EXACT]] * 4
    assert all(row["trainings"] == 3 for rows in gaussian for row in rows)
    for rows in gaussian:  # two updates teach nothing, but the exact model needs no training
        below = {row["model"]: row["flat, below"].value for row in rows}
        assert below[EXACT] < below["independent"]
        for row in rows:
            assert row["flat, below"].value == pytest.approx(row[CLOSED_FORM].value - row["flat"].value)
    assert all(np.isfinite(row[path].low) for rows in gaussian + maze for row in rows for path in PATHS)
    decoders = findings.tables[f"maze2d-umaze, all, flat: {BITS}"]
    assert [row["decoder_std"] for row in decoders] == list(DECODER_STDS)
    assert set(findings.figures) == {"likelihood_gaussian_process", "likelihood_maze"}


def test_the_unknown_tokens_of_a_subset_are_those_that_its_name_says():
    asked = {title: unknown.nonzero()[:, 0].tolist() for title, (unknown, _) in make_subsets(4, FIRST_PLANNED).items()}
    assert asked == {
        "all": [2, 3, 4, 5],
        "future given past": [4, 5],
        "past given future": [2, 3],
        "every other given the rest": [3, 5],
    }
    assert make_subsets(4, START)["all"][0].tolist() == [False, True, True, True, True, True]
    assert all(torch.equal(unknown, ~given) for unknown, given in make_subsets(4, START).values())


def test_a_missing_checkpoint_is_reported_before_anything_is_trained(tmp_path):
    with pytest.raises(InputError, match="maze2d-umazes"):
        study(Settings(2, 6, 2, 2, checkpoints=("maze2d-umazes",)), Run(0, "cpu", tmp_path))
    assert not list(tmp_path.iterdir())
