import os
import subprocess

import pytest

from dfplan.benchmarks import provenance
from dfplan.benchmarks.provenance import changed_checkpoints, code_digest, code_digests, commit, commit_in_words
from dfplan.checkpoint import save_checkpoint
from dfplan.envs.files import file_digest

SOURCE = '''
"""A module."""
EXPLANATION = "How to read it."

def half(number):
    """Return half."""
    if number is None:
        raise ValueError("no number")
    return number / 2  # of two
'''


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A folder whose files are modules of dfplan."""
    monkeypatch.setattr(provenance.dfplan, "__path__", [str(tmp_path)])
    for function in (provenance._code, provenance.code_digest):
        function.cache_clear()
    yield tmp_path
    for function in (provenance._code, provenance.code_digest):
        function.cache_clear()


def digest_of(package, source):
    (package / "module.py").write_text(source)
    provenance._code.cache_clear()
    code_digest.cache_clear()
    return code_digest("dfplan.module")


@pytest.fixture
def repository(tmp_path):
    """A repository with one commit of one module."""
    for name in ("setup.cfg", "dfplan/sampler.py", "benchmarks/results/table1/report.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("one")
    git(tmp_path, "init")
    git(tmp_path, "add", ".")
    git(tmp_path, "-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-m", "First")
    yield tmp_path
    commit.cache_clear()


def git(folder, *words):
    return subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def test_the_commit_is_recorded_with_whether_code_has_changed_since(repository):
    head = git(repository, "rev-parse", "HEAD")
    (repository / "benchmarks/results/table1/report.md").write_text("two")  # of a run just before
    assert commit(repository) == {"commit": head, "clean": True}
    assert commit_in_words(repository) == f"commit {head[:12]}"
    commit.cache_clear()
    (repository / "dfplan/new.py").write_text("two")
    assert commit(repository) == {"commit": head, "clean": False}
    assert commit_in_words(repository) == f"commit {head[:12]} and changes that are not in it"


def test_a_shallow_clone_knows_its_commit(repository, tmp_path_factory):
    clone = tmp_path_factory.mktemp("clone") / "dfplan"
    git(clone.parent, "clone", "--depth", "1", repository.as_uri(), str(clone))
    assert commit(clone) == {"commit": git(repository, "rev-parse", "HEAD"), "clean": True}


def test_an_installation_inside_somebody_elses_repository_has_no_commit(repository):
    (repository / "lib").mkdir()
    assert commit(repository / "lib") == {"commit": None, "clean": None}
    assert commit_in_words(repository / "lib") == "no commit is known"


def test_without_git_there_is_no_commit(repository, monkeypatch):
    monkeypatch.setitem(os.environ, "PATH", "")
    assert commit(repository) == {"commit": None, "clean": None}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""Return half."""', '"""Return a half of it."""'),
        ("  # of two", ""),
        ("number / 2", "number/2"),
        ('"no number"', '"give a number"'),
        ("How to read it.", "How to read this."),
        ("\ndef half", '\nif __name__ == "__main__":\n    print(1)\n\ndef half'),
    ],
)
def test_words_and_layout_change_no_digest(package, old, new):
    assert old in SOURCE
    assert digest_of(package, SOURCE) == digest_of(package, SOURCE.replace(old, new))


@pytest.mark.parametrize(("old", "new"), [("/ 2", "/ 2.0"), ("is None", "is not None"), ("(number)", "(number=1)")])
def test_a_change_of_code_changes_the_digest(package, old, new):
    assert old in SOURCE
    assert digest_of(package, SOURCE) != digest_of(package, SOURCE.replace(old, new))


def test_a_digest_is_the_same_for_every_version_of_python(package):
    assert digest_of(package, SOURCE) == "aac4ce7ec172fa1d"


def test_imports_are_followed_through_packages_functions_and_names_in_texts(package):
    (package / "start.py").write_text("def act():\n    from dfplan.envs import physics\n    import dfplan.model\n")
    (package / "envs").mkdir()
    (package / "envs" / "__init__.py").write_text('ENTRY = "dfplan.envs.vector:Vector"')
    for name in ("envs/physics", "envs/vector", "model", "unused"):
        (package / f"{name}.py").write_text("")
    expected = {"start", "envs", "envs.physics", "envs.vector", "model"}
    assert code_digests("dfplan.start").keys() == {f"dfplan.{name}" for name in expected}


def test_a_benchmark_ran_environments_agents_and_networks_but_no_drawing():
    ran = code_digests("dfplan.benchmarks.bench").keys()
    expected = {"envs.point_maze", "envs.vector", "envs.physics", "agents.planner", "agents.random", "sampler"}
    expected |= {"backbones.transformer", "benchmarks.evaluation", "benchmarks.estimates", "checkpoint"}
    assert {f"dfplan.{name}" for name in expected} <= ran
    assert not ran & provenance.LEFT_OUT.keys() and "dfplan.training" not in ran
    assert "dfplan.training" in code_digests("dfplan.benchmarks.decisions")


def test_every_module_that_is_left_out_exists():
    assert all(provenance._file(module) for module in provenance.LEFT_OUT)


def test_a_checkpoint_has_changed_if_its_file_has_or_is_gone(tiny_model, tmp_path):
    files = [tmp_path / f"{name}.safetensors" for name in ("same", "other", "gone")]
    for file in files:
        save_checkpoint(file, tiny_model, {})
    recorded = {str(file): file_digest(file) for file in files}
    assert changed_checkpoints(recorded) == []
    save_checkpoint(files[1], tiny_model, {"step": 1})
    files[2].unlink()
    assert changed_checkpoints(recorded) == [str(files[1]), str(files[2])]
