import json
from argparse import ArgumentParser

import pytest

from dfplan.benchmarks.reporting.run_folder import claim_folder, name_folder
from dfplan.ground.errors import InputError
from dfplan.training.checkpoint import find_checkpoint, load_checkpoint, save_checkpoint

ASKED = {"command": "trial", "seed": 0, "settings": {"episodes": 9, "strengths": (0.3, float("inf"))}}


def write(folder, asked=ASKED, files=("report.md",), **options):
    with (
        claim_folder(folder, asked, [], **options) as output,
        output.replace_files({"format": 1, "by_seed": {3: 1.0}}) as new,
    ):
        for name in files:
            (new / name).write_text("new")


def contents(folder):
    return {file.name: file.read_text() for file in folder.iterdir() if not file.name.startswith(".")}


@pytest.mark.parametrize("name", ["report.md", "scores.png"])
def test_files_that_change_during_a_run_are_kept_and_the_results_go_to_a_folder_beside_them(tmp_path, name, capsys):
    folder = tmp_path / "run"
    write(folder)
    with claim_folder(folder, ASKED, []) as output:
        (folder / name).write_text("mine")
        with output.replace_files({"format": 2}) as new:
            (new / name).write_text("theirs")
    assert (folder / name).read_text() == "mine" and '"format": 1' in (folder / "results.json").read_text()
    assert (tmp_path / "run-2" / name).read_text() == "theirs"
    assert "were changed during the run; its results go to" in capsys.readouterr().err


def test_a_run_replaces_its_earlier_files_and_removes_those_that_it_does_not_write_again(tmp_path):
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
def test_results_of_another_run_are_kept_and_one_sentence_names_the_difference(tmp_path, asked, reason):
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
def test_files_that_no_run_has_written_are_kept(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=f"{name} is not from a run of dfplan"):
        write(tmp_path)
    assert contents(tmp_path) == {name: text}


def test_a_users_file_beside_a_run_stays_even_if_the_run_is_overwritten(tmp_path):
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


def test_results_without_a_record_of_their_run_are_kept(tmp_path):
    (tmp_path / "results.json").write_text(json.dumps({"format": 1, "versions": {}, "agents": {}}))
    with pytest.raises(InputError, match="from a version of dfplan that kept no records"):
        write(tmp_path)
    write(tmp_path, overwrite=True)
    write(tmp_path)


def test_a_folder_has_one_run_at_a_time(tmp_path):
    with claim_folder(tmp_path, ASKED, []), pytest.raises(InputError, match="in use"):
        write(tmp_path, overwrite=True)
    assert not contents(tmp_path)


def test_a_run_with_other_checkpoints_is_another_run_even_if_they_are_loaded_later(tmp_path, tiny_model):
    file = tmp_path / "model.safetensors"
    save_checkpoint(file, tiny_model, {})
    for _ in range(2):
        with claim_folder(tmp_path / "run", ASKED, []) as output:
            load_checkpoint(find_checkpoint(file))
            with output.replace_files({}):
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
def test_a_folder_is_named_after_the_arguments_that_are_not_defaults(words, name):
    parser = ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    for flag, default in (("goal", "fixed"), ("agents", "planner"), ("checkpoint", None), ("output", None)):
        parser.add_argument(f"--{flag}", default=default)
    for flag in ("quick", "overwrite"):
        parser.add_argument(f"--{flag}", action="store_true")
    assert name_folder("maze2d-large", parser, parser.parse_args(words.split())) == name


def test_an_agent_and_a_goal_with_the_same_name_have_different_folders():
    parser = ArgumentParser()
    for flag in ("--agents", "--goal"):
        parser.add_argument(flag)
    names = [name_folder("maze", parser, parser.parse_args([flag, "random"])) for flag in ("--agents", "--goal")]
    assert names == ["maze-agents=random", "maze-random"]


def test_a_broken_link_counts_as_a_file_of_the_user(tmp_path):
    (tmp_path / "report.md").symlink_to(tmp_path / "nothing")
    with pytest.raises(InputError, match=r"report.md is not from a run of dfplan"):
        write(tmp_path)
    assert (tmp_path / "report.md").is_symlink()
