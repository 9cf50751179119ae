import os
import subprocess

import pytest

from dfplan.benchmarks.reporting import provenance
from dfplan.benchmarks.reporting.provenance import (
    describe_commit,
    digest_module,
    digest_modules,
    find_changed_checkpoints,
    read_commit,
)
from dfplan.ground.files import digest_file
from dfplan.training.checkpoint import save_checkpoint

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
    monkeypatch.setattr(provenance, "FOLDERS", (tmp_path,))
    for function in (provenance._parse_code, provenance.digest_module):
        function.cache_clear()
    yield tmp_path
    for function in (provenance._parse_code, provenance.digest_module):
        function.cache_clear()


def digest_of(package, source):
    (package / "module.py").write_text(source)
    provenance._parse_code.cache_clear()
    digest_module.cache_clear()
    return digest_module("dfplan.module")


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
    read_commit.cache_clear()


def git(folder, *words):
    return subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def test_the_commit_is_recorded_and_whether_the_code_has_changed_since(repository):
    head = git(repository, "rev-parse", "HEAD")
    (repository / "benchmarks/results/table1/report.md").write_text("two")  # of a run just before
    assert read_commit(repository) == {"commit": head, "clean": True}
    assert describe_commit(repository) == f"commit {head[:12]}"
    read_commit.cache_clear()
    (repository / "dfplan/new.py").write_text("two")
    assert read_commit(repository) == {"commit": head, "clean": False}
    assert describe_commit(repository) == f"commit {head[:12]} and changes that are not in it"


def test_a_shallow_clone_knows_its_commit(repository, tmp_path_factory):
    clone = tmp_path_factory.mktemp("clone") / "dfplan"
    git(clone.parent, "clone", "--depth", "1", repository.as_uri(), str(clone))
    assert read_commit(clone) == {"commit": git(repository, "rev-parse", "HEAD"), "clean": True}


def test_an_installation_inside_another_projects_repository_has_no_commit(repository):
    (repository / "lib").mkdir()
    assert read_commit(repository / "lib") == {"commit": None, "clean": None}
    assert describe_commit(repository / "lib") == "no commit is known"


def test_without_git_there_is_no_commit(repository, monkeypatch):
    monkeypatch.setitem(os.environ, "PATH", "")
    assert read_commit(repository) == {"commit": None, "clean": None}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""Return half."""', '"""Return a half of it."""'),
        ("  # of two", ""),
        ("number / 2", "number/2"),
        ('"no number"', '"give a number"'),
        ("How to read it.", "How to read this."),
        ("\ndef half", '\nif __name__ == "__main__":\n    print(1)\n\ndef half'),
        ("\ndef half", "\nif TYPE_CHECKING:\n    from dfplan.envs import scores\n\ndef half"),
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
    (package / "envs" / "__init__.py").write_text('ENTRY = "dfplan.envs.point_maze_vector:Vector"')
    for name in ("envs/physics", "envs/point_maze_vector", "model", "unused"):
        (package / f"{name}.py").write_text("")
    expected = {"start", "envs", "envs.physics", "envs.point_maze_vector", "model"}
    assert digest_modules("dfplan.start").keys() == {f"dfplan.{name}" for name in expected}


def test_a_benchmark_depends_on_environments_agents_and_networks_but_not_on_drawing():
    ran = digest_modules("dfplan.commands.bench").keys()
    expected = {"envs.point_maze", "envs.point_maze_vector", "envs.physics", "agents.planner", "agents.random_agent"}
    expected |= {"sampling.sampler", "model.backbones.transformer", "training.checkpoint"}
    expected |= {"benchmarks.evaluation.episodes", "benchmarks.evaluation.estimates"}
    assert {f"dfplan.{name}" for name in expected} <= ran
    assert not ran & provenance.LEFT_OUT.keys() and "dfplan.training.trainer" not in ran
    assert "dfplan.training.trainer" in digest_modules("dfplan.benchmarks.decisions")


def test_every_module_that_is_left_out_exists():
    assert all(provenance._find_source(module) for module in provenance.LEFT_OUT)


def test_a_checkpoint_has_changed_if_its_file_has_changed_or_is_missing(tiny_model, tmp_path):
    files = [tmp_path / f"{name}.safetensors" for name in ("same", "other", "gone")]
    for file in files:
        save_checkpoint(file, tiny_model, {})
    recorded = {str(file): digest_file(file) for file in files}
    assert find_changed_checkpoints(recorded) == []
    save_checkpoint(files[1], tiny_model, {"step": 1})
    files[2].unlink()
    assert find_changed_checkpoints(recorded) == [str(files[1]), str(files[2])]
