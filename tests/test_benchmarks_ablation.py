import json
from dataclasses import dataclass, replace

import numpy as np
import pytest
from matplotlib.figure import Figure

from dfplan.benchmarks import ablation
from dfplan.benchmarks.ablation import Findings, Run, main, markdown_table, small_model
from dfplan.benchmarks.evaluation import FIRST_REPORTED_SEED
from dfplan.benchmarks.statistics import Estimate
from dfplan.config import ModelConfig, Recipe, TrainingConfig


@dataclass(frozen=True)
class Settings:
    episodes: int


def study(settings, run):
    row = {"agent": "planner", "normalized": Estimate(10.0 * settings.episodes, float("nan"), float("nan")), "N": 4}
    return Findings({"Scores": [row]}, {"scores": Figure()}, "What is varied.")


@pytest.fixture
def command(monkeypatch, tmp_path):
    """Runs an ablation of one table and one figure as a command."""

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["trial", "--output", str(tmp_path / "trial"), "--device", "cpu", *arguments])
        main("trial", "A trial.", study, Settings(episodes=9), Settings(episodes=2))
        return tmp_path / "trial"

    return run


def test_a_command_leaves_json_a_report_and_figures_that_name_it(command):
    folder = command("--seed", "3")
    contents = json.loads((folder / "results.json").read_text())
    assert contents["command"] == "python -m dfplan.benchmarks.trial --seed 3"
    assert contents["settings"] == {"episodes": 9}
    assert contents["tables"]["Scores"][0]["normalized"] == {"value": 90.0, "ci95": [None, None]}
    report = (folder / "report.md").read_text()
    assert "What is varied." in report and "| planner | 90.0 | 4 |" in report and "![scores](scores.png)" in report
    assert (folder / "scores.png").stat().st_size > 0


def test_a_study_evaluates_on_the_first_reported_seed_unless_another_is_asked_for(monkeypatch, tmp_path):
    seeds = []

    def seen(settings, run):
        seeds.append(run.seed)
        return study(settings, run)

    for flags in ([], ["--seed", "0"]):
        monkeypatch.setattr("sys.argv", ["trial", "--output", str(tmp_path), "--device", "cpu", *flags])
        main("trial", "A trial.", seen, Settings(episodes=9), Settings(episodes=2))
    assert seeds == [FIRST_REPORTED_SEED, 0]
    assert json.loads((tmp_path / "results.json").read_text())["command"].endswith("trial --seed 0")


def test_quick_takes_the_small_settings_and_replaces_an_earlier_run(command, capsys):
    command()
    contents = json.loads((command("--quick") / "results.json").read_text())
    assert contents["settings"] == {"episodes": 2} and contents["command"].endswith("trial --quick")
    assert "| planner | 20.0 | 4 |" in capsys.readouterr().out


def test_a_folder_of_somebody_else_is_left_alone_with_one_sentence(command, tmp_path, capsys):
    (tmp_path / "trial").mkdir()
    (tmp_path / "trial" / "report.md").write_text("mine")
    with pytest.raises(SystemExit) as ended:
        command()
    assert ended.value.code == 2 and "is not from this ablation" in capsys.readouterr().err
    assert (tmp_path / "trial" / "report.md").read_text() == "mine"


def test_a_table_has_the_columns_of_all_rows_and_a_dash_where_a_row_has_none():
    table = markdown_table([{"a": 1, "b": 0.12345}, {"a": "x", "c": Estimate(1.0, 0.5, 2.0)}])
    assert table.splitlines() == [
        "| a | b | c |",
        "| --- | ---: | ---: |",
        "| 1 | 0.1235 | - |",
        "| x | - | 1 [0.5, 2] |",
    ]


def test_a_small_model_is_trained_once_and_anew_for_another_recipe(tiny_config, tiny_dataset, tmp_path, monkeypatch):
    updates = []
    monkeypatch.setattr(
        ablation.Trainer, "update", lambda self, update=ablation.Trainer.update: updates.append(1) or update(self)
    )
    run = Run(seed=0, device="cpu", output=tmp_path)
    recipe = Recipe("trial", tiny_config, TrainingConfig(steps=2, batch_size=2))
    first = small_model(recipe, tiny_dataset, run, "tiny")
    again = small_model(recipe, tiny_dataset, run, "tiny")
    assert len(updates) == 2
    assert all((a == b).all() for a, b in zip(first.parameters(), again.parameters()))
    longer = replace(recipe, training=replace(recipe.training, steps=3))
    small_model(longer, tiny_dataset, run, "tiny")
    assert len(updates) == 5
    assert isinstance(first.config, ModelConfig) and np.isfinite(float(next(first.parameters()).sum()))
