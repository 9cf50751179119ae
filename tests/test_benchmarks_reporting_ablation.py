import json
from dataclasses import dataclass, replace

import numpy as np
import pytest
from matplotlib.figure import Figure

from dfplan.benchmarks.evaluation.episodes import FIRST_REPORTED_SEED, Conditions, Evaluation
from dfplan.benchmarks.evaluation.statistics import Estimate
from dfplan.benchmarks.reporting import ablation
from dfplan.benchmarks.reporting.ablation import (
    Findings,
    describe_intervals,
    format_markdown_table,
    main,
    make_score_row,
)
from dfplan.ground.files import LOCK_NAME, digest_file, lock_folder
from dfplan.training.checkpoint import find_checkpoint, load_checkpoint


@dataclass(frozen=True)
class Settings:
    episodes: int


def study(settings, run):
    row = {"agent": "planner", "normalized": Estimate(10.0 * settings.episodes, float("nan"), float("nan")), "N": 4}
    return Findings({"Scores": [row]}, {"scores": Figure()}, "What is varied.")


@pytest.fixture
def command(monkeypatch, tmp_path):
    """A function that runs a study with one table and one figure as a command."""

    def run(*arguments, study=study):
        monkeypatch.setattr("sys.argv", ["trial", "--output", str(tmp_path / "trial"), "--device", "cpu", *arguments])
        main("trial", "A trial.", study, Settings(episodes=9), Settings(episodes=2))
        return tmp_path / "trial"

    return run


def test_a_command_writes_json_a_report_and_figures_and_the_report_names_the_command(command):
    folder = command("--seed", "3")
    contents = json.loads((folder / "results.json").read_text())
    assert contents["command"] == "python -m dfplan.benchmarks.trial --seed 3"
    assert contents["ablation"] == "trial"
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


def test_quick_uses_the_small_settings(command, capsys):
    contents = json.loads((command("--quick") / "results.json").read_text())
    assert contents["settings"] == {"episodes": 2} and contents["command"].endswith("trial --quick")
    assert "| planner | 20.0 | 4 |" in capsys.readouterr().out


def test_a_folder_with_files_of_the_user_is_refused_in_one_sentence_and_unchanged(command, tmp_path, capsys):
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


def test_a_picture_of_the_user_is_not_overwritten(command, tmp_path):
    (tmp_path / "trial").mkdir()
    (tmp_path / "trial" / "scores.png").write_text("mine")
    with pytest.raises(SystemExit):
        command()
    assert (tmp_path / "trial" / "scores.png").read_text() == "mine"


def test_the_pictures_that_a_later_run_does_not_draw_are_removed(command):
    command(study=lambda settings, run: replace(study(settings, run), figures={"old": Figure()}))
    found = {file.name for file in command().iterdir()} - {LOCK_NAME}
    assert found == {"results.json", "report.md", "scores.png"}


def test_a_folder_in_use_is_refused_before_anything_is_computed(command, tmp_path, capsys):
    with lock_folder(tmp_path / "trial"), pytest.raises(SystemExit) as ended:
        command(study=lambda *_: pytest.fail("computed"))
    assert ended.value.code == 2 and "in use" in capsys.readouterr().err


def test_the_default_folder_is_named_after_the_arguments(monkeypatch, tmp_path):
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
    assert {"dfplan.benchmarks.reporting.ablation", "dfplan.benchmarks.evaluation.estimates"} <= run["code"].keys()
    assert "dfplan.training.trainer" not in run["code"], "a study that trains nothing does not depend on how one trains"
    assert run["checkpoints"] == {"maze2d-umaze": digest_file(find_checkpoint("maze2d-umaze"))}


def test_a_table_has_the_columns_of_all_rows_and_a_dash_where_a_row_has_none():
    table = format_markdown_table([{"a": 1, "b": 0.12345}, {"a": "x", "c": Estimate(1.0, 0.5, 2.0)}])
    assert table.splitlines() == [
        "| a | b | c |",
        "| --- | ---: | ---: |",
        "| 1 | 0.1235 | - |",
        "| x | - | 1 [0.5, 2] |",
    ]


def evaluated(normalized):
    """An evaluation of two episodes with the given normalized scores."""
    scores = {name: np.array(normalized) for name in ("return", "normalized", "normalized_if_stay")}
    scores |= {"success": np.ones(2, bool), "first_reach": np.full(2, 5.0)}
    nothing, conditions = np.empty(0), Conditions("maze2d-umaze-v1", episodes=2)
    return Evaluation(conditions, np.ones((2, 2)), np.ones((2, 10, 2)), np.ones((2, 9)), scores, nothing, nothing)


def test_a_row_of_scores_has_its_numbers_of_episodes_and_trainings():
    one = make_score_row(evaluated([0.0, 10.0]))
    assert list(one)[:2] == ["episodes", "normalized"] and one["episodes"] == 2
    several = make_score_row([evaluated([0.0, 0.0]), evaluated([10.0, 10.0]), evaluated([20.0, 20.0])])
    assert (several["trainings"], several["episodes"]) == (3, 6)
    spread = 4.3027 * 10 / 3**0.5  # Student's, of three trainings; all of it from the differences between them
    found = several["normalized"]
    assert (found.value, found.low, found.high) == pytest.approx((10.0, 10 - spread, 10 + spread), abs=1e-3)
    assert "s per plan" not in one and "s per plan" not in several


def test_a_report_says_whether_its_intervals_are_over_training_seeds():
    once, often = (describe_intervals(Findings({}, {}, "", trainings)) for trainings in (1, 3))
    assert "Every network was\ntrained once" in once and "trained 3 times" not in once
    assert "over training seeds and episodes" in often and "trained 3 times" in often
    mixed = describe_intervals(
        Findings({"shipped": [{"agent": "a"}], "trained": [{"agent": "b", "trainings": 3}]}, {}, "")
    )
    assert "except in rows with `trainings`" in mixed and "Student's" in mixed
