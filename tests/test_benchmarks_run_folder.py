import json
from argparse import ArgumentParser

import pytest

from dfplan.benchmarks.run_folder import claimed, folder_name
from dfplan.checkpoint import find_checkpoint, load_checkpoint, save_checkpoint
from dfplan.envs.errors import InputError

ASKED = {"command": "trial", "seed": 0, "settings": {"episodes": 9, "strengths": (0.3, float("inf"))}}


def write(folder, asked=ASKED, files=("report.md",), **options):
    with claimed(folder, asked, [], **options) as output, output.replaced({"format": 1, "by_seed": {3: 1.0}}) as new:
        for name in files:
            (new / name).write_text("new")


def contents(folder):
    return {file.name: file.read_text() for file in folder.iterdir() if not file.name.startswith(".")}


@pytest.mark.parametrize("name", ["report.md", "scores.png"])
def test_files_that_somebody_changes_or_adds_during_a_run_are_kept_and_the_results_go_beside(tmp_path, name, capsys):
    folder = tmp_path / "run"
    write(folder)
    with claimed(folder, ASKED, []) as output:
        (folder / name).write_text("mine")
        with output.replaced({"format": 2}) as new:
            (new / name).write_text("theirs")
    assert (folder / name).read_text() == "mine" and '"format": 1' in (folder / "results.json").read_text()
    assert (tmp_path / "run-2" / name).read_text() == "theirs"
    assert "were changed during the run; its results go to" in capsys.readouterr().err


def test_a_run_may_replace_what_it_left_and_removes_what_it_does_not_write_again(tmp_path):
    write(tmp_path, files=("report.md", "old.png"))
    write(tmp_path)
    assert contents(tmp_path).keys() == {"results.json", "report.md"}
    assert json.loads(contents(tmp_path)["results.json"])["by_seed"] == {"3": 1.0}


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (ASKED | {"seed": 1}, "with seed 0 instead of 1;"),
        (ASKED | {"command": "other"}, 'with command "trial" instead of "other";'),
        (ASKED | {"settings": {"episodes": 2}}, r"with episodes 9 instead of 2 \(and 1 more settings differ\);"),
    ],
)
def test_another_run_is_kept_and_told_apart_in_one_sentence(tmp_path, asked, reason):
    write(tmp_path)
    before = contents(tmp_path)
    with pytest.raises(InputError, match=reason):
        write(tmp_path, asked)
    assert contents(tmp_path) == before
    write(tmp_path, asked, overwrite=True)
    assert contents(tmp_path) != before


@pytest.mark.parametrize("name", ["report.md", "results.json"])
def test_a_file_that_was_changed_by_hand_is_kept(tmp_path, name):
    write(tmp_path)
    (tmp_path / name).write_text((tmp_path / name).read_text().replace("1.0", "2.0").replace("new", "newer"))
    before = contents(tmp_path)
    with pytest.raises(InputError, match=f"{name} was changed after its run had written it"):
        write(tmp_path)
    assert contents(tmp_path) == before
    write(tmp_path, overwrite=True)
    assert contents(tmp_path)["report.md"] == "new"


@pytest.mark.parametrize(("name", "text"), [("results.json", "{}"), ("results.json", "mine"), ("plan.png", "mine")])
def test_files_that_no_run_left_are_kept(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=f"{name} is not from a run of dfplan"):
        write(tmp_path)
    assert contents(tmp_path) == {name: text}


def test_a_file_beside_a_run_is_somebody_elses_and_stays_even_if_the_run_is_overwritten(tmp_path):
    write(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"notes.txt is not from the run in its folder"):
        write(tmp_path)
    write(tmp_path, ASKED | {"seed": 1}, overwrite=True)
    assert contents(tmp_path)["notes.txt"] == "mine"


def test_a_record_cannot_name_files_outside_its_folder_for_removal(tmp_path):
    write(tmp_path / "run")
    (tmp_path / "precious.txt").write_text("mine")
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    results["run"]["files"]["../precious.txt"] = ""
    (tmp_path / "run" / "results.json").write_text(json.dumps(results))
    write(tmp_path / "run", overwrite=True)
    assert (tmp_path / "precious.txt").read_text() == "mine"


def test_folders_and_hidden_files_are_ignored(tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / ".lock").write_text("")
    write(tmp_path)


def test_results_from_before_runs_recorded_what_they_ran_are_kept(tmp_path):
    (tmp_path / "results.json").write_text(json.dumps({"format": 1, "versions": {}, "agents": {}}))
    with pytest.raises(InputError, match="made before runs recorded what they ran"):
        write(tmp_path)
    write(tmp_path, overwrite=True)
    write(tmp_path)


def test_a_folder_has_one_run_at_a_time(tmp_path):
    with claimed(tmp_path, ASKED, []), pytest.raises(InputError, match="in use"):
        write(tmp_path, overwrite=True)
    assert not contents(tmp_path)


def test_a_run_on_other_checkpoints_is_another_run_also_if_they_are_loaded_later(tmp_path, tiny_model):
    file = tmp_path / "model.safetensors"
    save_checkpoint(file, tiny_model, {})
    for _ in range(2):
        with claimed(tmp_path / "run", ASKED, []) as output:
            load_checkpoint(find_checkpoint(file))
            with output.replaced({}):
                pass
    assert list(json.loads((tmp_path / "run" / "results.json").read_text())["run"]["checkpoints"]) == [str(file)]
    save_checkpoint(file, tiny_model, {"step": 1})
    with pytest.raises(InputError, match=f"other checkpoints \\({file} of digest "):
        write(tmp_path / "run")


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("", "maze2d-large"),
        ("--seed 7 --goal random --quick", "maze2d-large-seed7-random-quick"),
        ("--agents planner,policy --output out --overwrite", "maze2d-large-agents=planner+policy"),
        ("--checkpoint runs/short/model.safetensors", "maze2d-large-short"),
        ("--checkpoint runs/short", "maze2d-large-short"),
        ("--checkpoint maze2d-large-rnn.safetensors", "maze2d-large-maze2d-large-rnn"),
        ("--agents ../x", "maze2d-large-agents=.._x"),
    ],
)
def test_a_folder_is_named_after_what_is_asked_for_instead_of_the_defaults(words, name):
    parser = ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    for flag, default in (("goal", "fixed"), ("agents", "planner"), ("checkpoint", None), ("output", None)):
        parser.add_argument(f"--{flag}", default=default)
    for flag in ("quick", "overwrite"):
        parser.add_argument(f"--{flag}", action="store_true")
    assert folder_name("maze2d-large", parser, parser.parse_args(words.split())) == name


def test_agents_and_goals_of_one_name_have_folders_of_their_own():
    parser = ArgumentParser()
    for flag in ("--agents", "--goal"):
        parser.add_argument(flag)
    names = [folder_name("maze", parser, parser.parse_args([flag, "random"])) for flag in ("--agents", "--goal")]
    assert names == ["maze-agents=random", "maze-random"]


def test_a_link_to_nothing_is_somebody_elses(tmp_path):
    (tmp_path / "report.md").symlink_to(tmp_path / "nothing")
    with pytest.raises(InputError, match=r"report.md is not from a run of dfplan"):
        write(tmp_path)
    assert (tmp_path / "report.md").is_symlink()
