"""The import rules of the rooms, and setup.cfg against the disk."""

import ast
import configparser
import importlib
import re
import subprocess
import sys
from collections import Counter

import pytest
from import_rules import (
    FOLDERS,
    MAY_IMPORT,
    ROOT,
    circle,
    dynamic_imports,
    forbidden_imports,
    imported_names,
    lazy_targets,
    read_modules,
    room_of,
    within,
)

import dfplan

MODULES = read_modules()
SUFFIXES = ("*.safetensors", "*.md")
SIDE_FOLDERS = ("envs", "agents", "benchmarks", "tests")
DOCUMENTS = ("README.md", "CONTRIBUTING.md", *(f"{folder}/README.md" for folder in SIDE_FOLDERS))


def setup():
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def pairs(text):
    return dict(map(str.strip, line.split("=", 1)) for line in text.strip().splitlines())


def parsed(**sources):
    """Modules of small sources; ``agents_planner`` names the module ``dfplan.agents.planner``."""
    return {f"dfplan.{name.replace('_', '.')}": ast.parse(source) for name, source in sources.items()}


def test_every_module_has_a_room():
    homeless = [name for name in MODULES if room_of(name) is None]
    assert not homeless, f"add the rooms of {homeless} to MAY_IMPORT in tests/import_rules.py"


def test_every_room_of_the_rules_exists():
    assert not [room for room in MAY_IMPORT if room not in {*map(room_of, MODULES)}]


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_module_imports_only_what_its_room_allows(name):
    wrong = forbidden_imports(MODULES, name)
    assert not wrong, f"{name} may not import {sorted(wrong)}"


@pytest.mark.parametrize(
    "source",
    [
        "import dfplan.agents.planner",
        "def act():\n    from dfplan.agents import planner",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from dfplan.agents.planner import Planner",
        "from dfplan.agents import Planner",
        "ENTRY = 'dfplan.agents.planner:Planner'",
    ],
)
def test_the_rules_see_a_forbidden_import_wherever_it_stands(source):
    tree = parsed(envs_scores=source, agents="_LAZY = {'Planner': 'planner'}", agents_planner="")
    assert "dfplan.agents.planner" in forbidden_imports(tree, "dfplan.envs.scores")


def test_the_rules_forbid_the_public_face_inside_the_project():
    tree = parsed(training_trainer="from dfplan import DFPlanner")
    assert forbidden_imports(tree, "dfplan.training.trainer") == {"dfplan.DFPlanner"}


def test_the_rules_forbid_commands_to_all_but_the_entry_of_training():
    source = "from dfplan.commands.train import main"
    tree = parsed(training_trainer=source, benchmarks_table1=source, commands_train="")
    tree["dfplan.training.__main__"] = ast.parse(source)
    assert forbidden_imports(tree, "dfplan.training.trainer") == {"dfplan.commands.train"}
    assert forbidden_imports(tree, "dfplan.benchmarks.table1") == {"dfplan.commands.train"}
    assert not forbidden_imports(tree, "dfplan.training.__main__")


def test_the_rules_forbid_an_import_from_a_higher_room():
    tree = parsed(benchmarks_evaluation_episodes="import dfplan.benchmarks.table1", benchmarks_table1="")
    assert forbidden_imports(tree, "dfplan.benchmarks.evaluation.episodes") == {"dfplan.benchmarks.table1"}
    tree = parsed(agents_planner="import dfplan.training.trainer", training_trainer="")
    assert forbidden_imports(tree, "dfplan.agents.planner") == {"dfplan.training.trainer"}


def test_the_rules_notice_a_module_without_a_room():
    assert room_of("dfplan.helpers") is None
    assert room_of("dfplan.benchmarks.helpers") == "dfplan.benchmarks"


@pytest.mark.parametrize("name", sorted(MODULES))
def test_imports_are_absolute_and_begin_with_dfplan(name):
    wrong = {
        imported
        for imported in imported_names(MODULES[name])
        if imported.startswith(".") or any(within(imported, folder) for folder in FOLDERS[1:])
    }
    assert not wrong, f"{name} should import {sorted(wrong)} as dfplan.something"


def test_the_rules_see_relative_imports():
    assert list(imported_names(ast.parse("from ..ground import errors"))) == ["..ground.errors"]


@pytest.mark.parametrize("name", sorted(MODULES))
def test_no_module_imports_by_a_text(name):
    wrong = dynamic_imports(MODULES, name)
    assert not wrong, f"{name} uses {sorted(wrong)}, which the import rules cannot follow"


@pytest.mark.parametrize(
    "source",
    [
        "import importlib\nimportlib.import_module('dfplan.commands')",
        "from importlib import import_module",
        "import importlib.util",
        "__import__('dfplan.commands')",
        "import runpy",
        "exec('import dfplan.commands')",
    ],
)
def test_the_rules_see_an_import_by_a_text(source):
    assert dynamic_imports(parsed(agents=source), "dfplan.agents")


def test_the_rules_allow_a_package_its_lazy_names():
    source = "import importlib\n_LAZY = {'A': 'a'}\ndef load(name):\n    return importlib.import_module(%s)"
    tree = parsed(envs=source % "f'dfplan.envs.{_LAZY[name]}'", agents=source % "f'dfplan.commands.{_LAZY[name]}'")
    assert not dynamic_imports(tree, "dfplan.envs")
    assert dynamic_imports(tree, "dfplan.agents")


def test_every_lazy_name_stands_for_a_module_that_defines_it():
    for package in ("dfplan.envs", "dfplan.agents"):
        targets = lazy_targets(MODULES, package)
        assert targets
        for name, module in targets.items():
            assert hasattr(importlib.import_module(module), name), f"{module} has no {name}"


def test_type_checkers_see_every_lazy_name():
    for package in ("dfplan.envs", "dfplan.agents"):
        typed = {}
        for node in ast.walk(MODULES[package]):
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
                typed |= {name.asname: line.module for line in node.body for name in line.names}
        assert typed == lazy_targets(MODULES, package)


def test_no_modules_import_each_other_in_a_circle():
    assert not circle(MODULES), f"{' imports '.join(circle(MODULES))} imports the first of them"


def test_the_rules_see_a_circle_through_a_function():
    tree = parsed(
        model_a="from dfplan.model import b", model_b="def f():\n    import dfplan.model.c", model_c="", model=""
    )
    assert not circle(tree)
    tree |= parsed(model_c="from dfplan.model.a import x")
    assert sorted(circle(tree)) == ["dfplan.model.a", "dfplan.model.b", "dfplan.model.c"]


def loaded_after_importing(modules):
    """Those of the heavy libraries that a fresh process has loaded after importing ``modules``."""
    code = f"import sys\nimport {', '.join(modules)}\nprint(*({{'torch', 'matplotlib'}} & sys.modules.keys()))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return run.stdout.split()


def test_environments_and_ground_load_without_torch_and_matplotlib():
    rooms = ("dfplan.envs", "dfplan.ground")
    modules = [name for name in MODULES if room_of(name) in rooms and name != "dfplan.ground.devices"]
    assert loaded_after_importing(sorted(modules)) == []


def test_what_a_process_has_loaded_is_seen():
    assert "torch" in loaded_after_importing(["dfplan.ground.devices"])


def test_environments_never_import_torch():
    for name in MODULES:
        if room_of(name) == "dfplan.envs":
            assert not [imported for imported in imported_names(MODULES[name]) if within(imported, "torch")], name


def test_no_two_modules_have_the_same_name():
    paths = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py") if not path.stem.startswith("__")]
    repeated = [name for name, count in Counter(path.name for path in paths).items() if count > 1]
    assert not repeated, f"several modules are called {repeated}"


def test_setup_lists_every_package_on_disk_and_no_other():
    on_disk = set()
    for folder in FOLDERS:
        for init in (ROOT / folder).rglob("__init__.py"):
            parts = init.parent.relative_to(ROOT).parts
            on_disk.add(".".join(parts if folder == "dfplan" else ("dfplan", *parts)))
    assert set(setup()["options"]["packages"].split()) == on_disk


def test_every_side_folder_is_installed_under_dfplan():
    expected = {"dfplan": "dfplan"} | {f"dfplan.{folder}": folder for folder in FOLDERS[1:]}
    assert pairs(setup()["options"]["package_dir"]) == expected


def test_every_package_data_pattern_matches_a_file():
    folders = pairs(setup()["options"]["package_dir"])
    for package, patterns in setup()["options.package_data"].items():
        for pattern in patterns.split():
            assert any((ROOT / folders[package]).glob(pattern)), f"no file for {package}: {pattern}"


def test_every_command_can_be_imported():
    for command, target in pairs(setup()["options.entry_points"]["console_scripts"]).items():
        module, function = target.split(":")
        assert callable(getattr(importlib.import_module(module), function)), command


def test_an_installed_package_holds_the_planners_and_is_small():
    folders = pairs(setup()["options"]["package_dir"])
    data = setup()["options.package_data"]
    installed = {
        file for name in data for pattern in data[name].split() for file in (ROOT / folders[name]).glob(pattern)
    }
    checkpoints = {file.stem for file in installed if file.suffix == ".safetensors"}
    of_mazes = {"maze2d-umaze", "maze2d-medium", "maze2d-large", "maze2d-umaze-rnn"}
    assert checkpoints == of_mazes | {"pointmaze-giant-navigate", "pointmaze-giant-stitch"}
    assert ROOT / "dfplan" / "py.typed" in installed
    sources = {file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py")}
    assert (
        sum(file.stat().st_size for file in installed | sources) < 20e6
    )  # bytes; a wheel is smaller, being compressed


def test_every_named_checkpoint_has_a_card():
    for folder in ("dfplan", "benchmarks"):
        files = {suffix: {file.stem for file in (ROOT / folder / "checkpoints").glob(suffix)} for suffix in SUFFIXES}
        assert files["*.safetensors"] == files["*.md"] != set()


def lowest_versions():
    """Package -> the lowest version that setup.cfg promises; tools that users never import are left out."""
    options, extras = setup()["options"], setup()["options.extras_require"]
    requirements = [*options["install_requires"].split("\n"), *extras["test"].split("\n")]
    bounds = dict(requirement.split(">=") for requirement in requirements if ">=" in requirement)
    return {package: bound for package, bound in bounds.items() if package not in ("mypy", "ruff")}


def test_the_lowest_versions_are_those_that_are_tested():
    lines = (ROOT / "tests" / "oldest.txt").read_text().splitlines()
    assert dict(line.split("==") for line in lines if not line.startswith("#")) == lowest_versions()


def test_the_version_is_that_of_the_package():
    assert setup()["metadata"]["version"] == "attr: dfplan.__version__"
    assert re.fullmatch(r"\d+\.\d+\.\d+", dfplan.__version__)


def paths_in(text):
    """Texts in backquotes that name a file or folder of the repository; patterns and commands are left out."""
    first = {path.name for path in ROOT.iterdir()}
    for name in re.findall(r"`([\w./-]+)`", text):
        if ("/" in name and name.split("/")[0] in first) or re.fullmatch(r"[A-Z]+\.md", name):
            yield name


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_path_in_the_documents_exists(document):
    text = (ROOT / document).read_text(encoding="utf-8")
    missing = [name for name in paths_in(text) if not (ROOT / name).exists()]
    missing += [name for name in re.findall(r"\]\(([\w./-]+)\)", text) if not (ROOT / name).exists()]
    assert not missing, f"{document} names {missing}"


def test_a_path_that_does_not_exist_is_noticed():
    text = "`envs/none.py`, `CHANGES.md`, `dfplan-train`, `runs/x`, `DFPlanner.load`"
    assert list(paths_in(text)) == ["envs/none.py", "CHANGES.md"]


def test_the_hooks_before_a_commit_are_those_of_the_checks():
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    checks = (ROOT / ".ci" / "run").read_text()
    assert "entry: ruff check" in hooks and "entry: ruff format" in hooks and hooks.count("language: system") == 2
    assert "\nruff check ." in checks and "\nruff format --check ." in checks
