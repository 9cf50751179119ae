"""The import rules of the folders, and setup.cfg against the disk."""

import ast
import configparser
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("dfplan", "envs", "agents", "benchmarks")
# What a folder may not import, as prefixes of dotted names. Benchmarks may import everything.
FORBIDDEN = {
    "envs": ["torch", "dfplan"],
    "dfplan": ["dfplan.agents", "dfplan.benchmarks"],
    "agents": ["dfplan.envs", "dfplan.benchmarks"],
}
# Exceptions to it. The errors module is about users and not about the world, so agents may use it.
ALLOWED = {"envs": ["dfplan.envs"], "dfplan": [], "agents": ["dfplan.envs.errors"]}


def sources(folder):
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files, f"{folder}/ holds no source"
    return files


def imported_names(tree):
    """Dotted names of all imports of a file, wherever in it they stand."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names)


def within(name, prefixes):
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


def parsed(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if path == ROOT / "dfplan" / "__init__.py":  # the one place that hands out the agent, loaded on first use
        tree.body = [node for node in tree.body if getattr(node, "name", None) != "__getattr__"]
    return tree


def setup():
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def pairs(text):
    return dict(map(str.strip, line.split("=", 1)) for line in text.strip().splitlines())


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_a_folder_imports_only_what_its_duty_allows(folder):
    for path in sources(folder):
        names = set(imported_names(parsed(path)))
        wrong = {name for name in names if within(name, FORBIDDEN[folder]) and not within(name, ALLOWED[folder])}
        assert not wrong, f"{path.relative_to(ROOT)} may not import {sorted(wrong)}"


@pytest.mark.parametrize("folder", FOLDERS)
def test_imports_are_absolute_and_begin_with_dfplan(folder):
    for path in sources(folder):
        wrong = {name for name in imported_names(parsed(path)) if name.startswith(".") or within(name, FOLDERS[1:])}
        assert not wrong, f"{path.relative_to(ROOT)} should import {sorted(wrong)} as dfplan.something"


def test_the_rules_see_an_import_inside_a_function():
    tree = ast.parse("def act():\n    from dfplan import benchmarks\n    import torch.nn")
    assert set(imported_names(tree)) == {"dfplan.benchmarks", "torch.nn"}
    assert within("dfplan.benchmarks", FORBIDDEN["agents"]) and within("torch.nn", FORBIDDEN["envs"])


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
