import json
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from dfplan.benchmarks import ablation
from dfplan.benchmarks.ablation import (
    Findings,
    Run,
    intervals,
    main,
    markdown_table,
    score_row,
    small_model,
    small_models,
)
from dfplan.benchmarks.evaluation import FIRST_REPORTED_SEED, Conditions, Evaluation
from dfplan.benchmarks.statistics import Estimate
from dfplan.checkpoint import find_checkpoint, load_checkpoint
from dfplan.config import ModelConfig, Recipe, TrainingConfig
from dfplan.envs.files import file_digest, locked
from dfplan.training import saved_recipe


@dataclass(frozen=True)
class Settings:
    episodes: int


def study(settings, run):
    row = {"agent": "planner", "normalized": Estimate(10.0 * settings.episodes, float("nan"), float("nan")), "N": 4}
    return Findings({"Scores": [row]}, {"scores": Figure()}, "What is varied.")


@pytest.fixture
def command(monkeypatch, tmp_path):
    """Runs an ablation of one table and one figure as a command."""

    def run(*arguments, study=study):
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
        folder = tmp_path / f"run{len(flags)}"
        monkeypatch.setattr("sys.argv", ["trial", "--output", str(folder), "--device", "cpu", *flags])
        main("trial", "A trial.", seen, Settings(episodes=9), Settings(episodes=2))
    assert seeds == [FIRST_REPORTED_SEED, 0]
    assert json.loads((folder / "results.json").read_text())["command"].endswith("trial --seed 0")


def test_quick_takes_the_small_settings(command, capsys):
    contents = json.loads((command("--quick") / "results.json").read_text())
    assert contents["settings"] == {"episodes": 2} and contents["command"].endswith("trial --quick")
    assert "| planner | 20.0 | 4 |" in capsys.readouterr().out


def test_a_folder_of_somebody_else_is_left_alone_with_one_sentence(command, tmp_path, capsys):
    (tmp_path / "trial").mkdir()
    (tmp_path / "trial" / "report.md").write_text("mine")
    with pytest.raises(SystemExit) as ended:
        command()
    assert ended.value.code == 2 and "is not from a run of dfplan" in capsys.readouterr().err
    assert (tmp_path / "trial" / "report.md").read_text() == "mine"


def test_a_quick_run_or_another_seed_does_not_replace_a_full_one(command, capsys):
    folder = command()
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    for flags, difference in ((["--quick"], "episodes 9 instead of 2"), (["--seed", "7"], "instead of 7")):
        with pytest.raises(SystemExit) as ended:
            command(*flags, study=lambda *_: pytest.fail("computed"))
        (complaint,) = capsys.readouterr().err.splitlines()
        assert ended.value.code == 2 and difference in complaint and "--overwrite" in complaint
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    assert json.loads((command("--quick", "--overwrite") / "results.json").read_text())["settings"] == {"episodes": 2}


def test_a_picture_that_no_run_drew_is_not_overwritten(command, tmp_path):
    (tmp_path / "trial").mkdir()
    (tmp_path / "trial" / "scores.png").write_text("mine")
    with pytest.raises(SystemExit):
        command()
    assert (tmp_path / "trial" / "scores.png").read_text() == "mine"


def test_the_pictures_that_a_later_run_does_not_draw_are_removed(command):
    command(study=lambda settings, run: replace(study(settings, run), figures={"old": Figure()}))
    assert {file.name for file in command().iterdir()} == {"results.json", "report.md", "scores.png"}


def test_a_folder_in_use_is_refused_before_anything_is_computed(command, tmp_path, capsys):
    with locked(tmp_path / "trial"), pytest.raises(SystemExit) as ended:
        command(study=lambda *_: pytest.fail("computed"))
    assert ended.value.code == 2 and "in use" in capsys.readouterr().err


def test_the_default_folder_says_what_was_asked_for(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for flags, folder in (([], "trial"), (["--quick"], "trial-quick"), (["--seed", "7"], "trial-seed7")):
        monkeypatch.setattr("sys.argv", ["trial", *flags])
        main("trial", "A trial.", study, Settings(episodes=9), Settings(episodes=2))
        assert (tmp_path / "dfplan-bench" / folder / "results.json").is_file()


def test_a_variant_has_a_folder_of_its_own_name(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["trial", "--scaling", "--quick"])
    variant = ablation.Variant("scaling", "Another trial.", study, Settings(episodes=9), Settings(episodes=2))
    main("trial", "A trial.", study, Settings(episodes=9), Settings(episodes=2), variant)
    assert [folder.name for folder in (tmp_path / "dfplan-bench").iterdir()] == ["trial_scaling-quick"]


def test_results_say_which_code_and_checkpoints_they_are_from(command):
    def loading(settings, run):
        load_checkpoint(find_checkpoint("maze2d-umaze"))
        return study(settings, run)

    run = json.loads((command(study=loading) / "results.json").read_text())["run"]
    assert {"commit", "clean"} <= run.keys()
    assert {"dfplan.benchmarks.ablation", "dfplan.training", "dfplan.data"} <= run["code"].keys()
    assert run["checkpoints"] == {"maze2d-umaze": file_digest(find_checkpoint("maze2d-umaze"))}


def test_a_table_has_the_columns_of_all_rows_and_a_dash_where_a_row_has_none():
    table = markdown_table([{"a": 1, "b": 0.12345}, {"a": "x", "c": Estimate(1.0, 0.5, 2.0)}])
    assert table.splitlines() == [
        "| a | b | c |",
        "| --- | ---: | ---: |",
        "| 1 | 0.1235 | - |",
        "| x | - | 1 [0.5, 2] |",
    ]


def test_a_small_model_is_trained_once_and_anew_for_another_recipe_or_by_other_code(
    tiny_config, tiny_dataset, tmp_path, monkeypatch
):
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
    monkeypatch.setattr(ablation, "code_digests", lambda module: {module: "changed"})
    small_model(longer, tiny_dataset, run, "tiny")
    assert len(updates) == 8
    assert isinstance(first.config, ModelConfig) and np.isfinite(float(next(first.parameters()).sum()))


def test_several_training_seeds_make_a_model_each_on_their_own_data_once(
    tiny_config, tiny_dataset, tmp_path, monkeypatch
):
    drawn = []

    def dataset(seed):
        drawn.append(seed)
        return tiny_dataset | {"actions": tiny_dataset["actions"] + seed}

    run = Run(seed=1000, device="cpu", output=tmp_path)
    recipe = Recipe("trial", tiny_config, TrainingConfig(steps=1, batch_size=2))
    models = small_models(recipe, dataset, run, "tiny", seeds=(0, 2))
    assert drawn == [0, 2] and not torch.equal(*(next(model.parameters()) for model in models))
    folders = sorted((tmp_path / "models").iterdir())
    assert [folder.name[:-9] for folder in folders] == ["tiny-seed0", "tiny-seed2"]
    assert [saved_recipe(folder).training.seed for folder in folders] == [0, 2]
    monkeypatch.setattr(ablation.Trainer, "update", lambda self: pytest.fail("trained again"))
    assert len(small_models(recipe, dataset, run, "tiny", seeds=(0, 2))) == 2


@pytest.mark.parametrize(("asked", "trained_in"), [("auto", "float32"), ("bfloat16", "bfloat16")])
def test_a_small_model_is_trained_in_float32_unless_its_recipe_names_a_precision(
    asked, trained_in, tiny_config, tiny_dataset, tmp_path
):
    recipe = Recipe("trial", tiny_config, TrainingConfig(steps=1, batch_size=2, precision=asked))
    small_model(recipe, tiny_dataset, Run(0, "cpu", tmp_path), "tiny")
    (folder,) = (tmp_path / "models").iterdir()
    assert saved_recipe(folder).training.precision == trained_in


def evaluated(normalized):
    """An evaluation of two episodes with the given normalized scores."""
    scores = {name: np.array(normalized) for name in ("return", "normalized", "normalized_if_stay")}
    scores |= {"success": np.ones(2, bool), "first_reach": np.full(2, 5.0)}
    nothing, conditions = np.empty(0), Conditions("maze2d-umaze-v1", episodes=2)
    return Evaluation(conditions, np.ones((2, 2)), np.ones((2, 10, 2)), np.ones((2, 9)), scores, nothing, nothing)


def test_a_row_of_scores_says_of_how_many_episodes_and_trainings_it_is():
    one = score_row(evaluated([0.0, 10.0]))
    assert list(one)[:2] == ["episodes", "normalized"] and one["episodes"] == 2
    several = score_row([evaluated([0.0, 0.0]), evaluated([10.0, 10.0]), evaluated([20.0, 20.0])])
    assert (several["trainings"], several["episodes"]) == (3, 6)
    assert several["normalized"] == Estimate(10.0, 0.0, 20.0)  # all of it from the differences between trainings
    assert "s per plan" not in one and "s per plan" not in several


def test_a_report_says_whether_its_intervals_are_over_training_seeds():
    once, often = (intervals(Findings({}, {}, "", trainings)) for trainings in (1, 3))
    assert "Every network was\ntrained once" in once and "trained 3 times" not in once
    assert "over training seeds and episodes" in often and "trained 3 times" in often
