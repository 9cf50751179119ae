import pytest

from dfplan.benchmarks.reporting.provenance import digest_training_code
from dfplan.benchmarks.reporting.run_folder import claim_folder
from dfplan.commands import stale
from dfplan.commands.stale import find_stale_cards, find_stale_results, main
from dfplan.training.checkpoint import find_checkpoint, load_checkpoint, save_checkpoint


@pytest.fixture
def results(tmp_path, tiny_model, monkeypatch):
    """Results of one run of a tiny model, in a checkout."""
    monkeypatch.setattr(stale, "ROOT", tmp_path)
    save_checkpoint(tmp_path / "tiny.safetensors", tiny_model, {})
    folder = tmp_path / "benchmarks" / "results" / "table1"
    with claim_folder(folder, {}, ["dfplan.sampling.sampler"]) as output:
        load_checkpoint(find_checkpoint(tmp_path / "tiny.safetensors"))
        with output.replace_files({}) as unfinished:
            (unfinished / "report.md").write_text("")
    return folder.parent


def test_results_with_unchanged_code_and_checkpoints_are_not_listed(results):
    assert find_stale_results(results) == []


def test_a_result_is_listed_with_the_modules_and_checkpoints_that_have_changed(
    results, tiny_model, tmp_path, monkeypatch
):
    present = stale.digest_module
    monkeypatch.setattr(
        stale, "digest_module", lambda name: "new" if name == "dfplan.sampling.schedules" else present(name)
    )
    (line,) = find_stale_results(results)
    assert line.startswith("benchmarks/results/table1: dfplan.sampling.schedules changed since (made at ")
    checkpoint = tmp_path / "tiny.safetensors"
    save_checkpoint(checkpoint, tiny_model, {"step": 1})
    (line,) = find_stale_results(results)
    assert f": dfplan.sampling.schedules, checkpoint {checkpoint} changed since (made at " in line


def test_results_without_a_record_are_listed_and_models_are_not(results):
    for folder in ("speed", "maze2d-large/plan", "table1/models/tiny"):
        (results / folder).mkdir(parents=True)
        (results / folder / "file").write_text("")
    reason = "its code and checkpoints were not recorded"
    assert find_stale_results(results) == [
        f"benchmarks/results/{name}: {reason}" for name in ("maze2d-large/plan", "speed")
    ]


@pytest.mark.parametrize(("words", "status"), [([], 0), (["--strict"], 1)])
def test_the_command_fails_for_stale_results_only_if_it_is_strict(results, monkeypatch, capsys, words, status):
    (results / "speed").mkdir()
    (results / "speed" / "results.json").write_text("{}")
    monkeypatch.setattr("sys.argv", ["stale", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == status and capsys.readouterr().out.startswith(
        "benchmarks/results/speed: its code and checkpoints"
    )


def test_the_command_needs_a_checkout(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(stale, "ROOT", tmp_path)
    monkeypatch.setattr("sys.argv", ["stale"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2 and "in a checkout" in capsys.readouterr().err


def test_a_checkpoint_is_listed_if_its_card_names_other_code_of_the_training_or_none(tmp_path):
    for name, text in {
        "new": f"training code {digest_training_code()}.",
        "old": "training code 0123abc.",
        "oldest": "",
    }.items():
        (tmp_path / f"{name}.md").write_text(text)
    old, oldest = find_stale_cards(tmp_path)
    assert old.startswith("old: the code of the training has changed") and oldest.startswith(
        "oldest: its card does not name the code"
    )


@pytest.mark.parametrize("text", ["[]", "{", '{"run": {}}', '{"run": 3}'])
def test_a_damaged_result_is_listed_too(results, text):
    (results / "speed").mkdir()
    (results / "speed" / "results.json").write_text(text)
    assert find_stale_results(results) == ["benchmarks/results/speed: its code and checkpoints were not recorded"]
