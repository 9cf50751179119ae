"""What a run ran: the commit, one digest of the code of each module, and one of each checkpoint.

Modules are found by following the imports of the run's own module inside dfplan, those inside functions included. The
digest of a module leaves out what changes no number: comments, docstrings, layout, the messages of errors, and
``EXPLANATION``, in which a study says how to read its tables. It is the same for all versions of Python.
"""

import ast
import hashlib
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import dfplan
from dfplan.envs.errors import InputError
from dfplan.envs.files import file_digest

ROOT = Path(dfplan.__file__).resolve().parent.parent
# Paths whose changes decide about numbers; checkpoints are recorded by themselves, and results decide nothing.
CODE = ("dfplan", "envs", "agents", "benchmarks", ":(exclude)benchmarks/results", ":(exclude)dfplan/checkpoints")
# Module -> why a change of it, or of what only it imports, makes no number stale.
LEFT_OUT = {
    "dfplan": "registers the mazes and has the version",
    "dfplan.loaded": "records what was loaded",
    "dfplan.envs.errors": "tells users of their mistakes",
    "dfplan.envs.files": "writes files",
    "dfplan.envs.rendering": "draws",
    "dfplan.benchmarks.bench": "reads the command line; the settings are recorded themselves",
    "dfplan.benchmarks.plan_pictures": "reads the command line; the settings are recorded themselves",
    "dfplan.benchmarks.charts": "draws",
    "dfplan.benchmarks.figures": "draws",
    "dfplan.benchmarks.report": "puts numbers into words",
    "dfplan.benchmarks.run_folder": "decides where files go",
    "dfplan.benchmarks.provenance": "records what ran",
}


@cache
def commit(root: Path = ROOT) -> dict[str, Any]:
    """Return the commit that is checked out, and whether code and checkpoints are as in it.

    Both are None where dfplan is installed without its repository, or git is absent. The answer is that of the first
    call, which should come before anything is computed.
    """
    if not (root / "setup.cfg").is_file() or not (root / ".git").exists():  # the repository may be somebody else's
        return {"commit": None, "clean": None}
    try:
        head, changes = _git(root, "rev-parse", "HEAD"), _git(root, "status", "--porcelain", "--", *CODE)
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "clean": None}
    return {"commit": head.strip(), "clean": not changes.strip()}


def commit_in_words(root: Path = ROOT) -> str:
    """Return the commit as a model card names it."""
    found = commit(root)
    if found["commit"] is None:
        return "no commit is known"
    return f"commit {found['commit'][:12]}{'' if found['clean'] else ' and changes that are not in it'}"


def training_code() -> str:
    """Return one digest of all code that decides what a training makes of its recipe and its data."""
    return hashlib.sha256(repr(code_digests("dfplan.training")).encode()).hexdigest()[:12]


def code_digests(*modules: str) -> dict[str, str]:
    """Return the digest of each module that ``modules`` import, directly or not, and of themselves."""
    seen, waiting = set(modules), list(modules)
    while waiting:
        module = waiting.pop()
        if module in LEFT_OUT and module not in modules:
            continue
        found = _imported(module) - seen
        seen |= found
        waiting += sorted(found)
    return {module: code_digest(module) for module in sorted(seen - LEFT_OUT.keys()) if _file(module)}


@cache
def code_digest(module: str) -> str | None:
    """Return the digest of a module's code, None if there is no such module."""
    if _file(module) is None:
        return None
    return hashlib.sha256(_canonical(_code(module)).encode()).hexdigest()[:16]


def changed_checkpoints(recorded: dict[str, str]) -> list[str]:
    """Return the names of the recorded checkpoints whose files are gone or are others by now."""
    from dfplan.checkpoint import find_checkpoint  # here, so that runs without networks do without torch

    changed = []
    for name, digest in recorded.items():
        try:
            is_same = file_digest(find_checkpoint(name)) == digest
        except (InputError, OSError):
            is_same = False
        changed += [] if is_same else [name]
    return changed


def _git(root: Path, *words: str) -> str:
    return subprocess.run(["git", "-C", str(root), *words], capture_output=True, check=True, text=True).stdout


def _file(module: str) -> Path | None:
    """Return the source of a module of dfplan, which is looked for and not imported; None if there is none."""
    first, *rest = module.split(".")
    if first != "dfplan" or not all(map(str.isidentifier, rest)):
        return None
    for folder in map(Path, dfplan.__path__):
        for file in (folder.joinpath(*rest).with_suffix(".py"), folder.joinpath(*rest, "__init__.py")):
            if file.is_file():
                return file
    return None


@cache
def _code(module: str) -> ast.Module:
    """Return a module's syntax tree without what changes no number."""
    file = _file(module)
    return _Code().visit(ast.parse(file.read_text(encoding="utf-8") if file else ""))


class _Code(ast.NodeTransformer):
    """Removes docstrings, the messages of errors, explanations, and what runs only if the module is the program."""

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        is_text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if is_text else self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.Raise:
        return ast.Raise(exc=None, cause=None)

    def visit_Assign(self, node: ast.Assign) -> ast.Assign | None:
        names = [target.id for target in node.targets if isinstance(target, ast.Name)]
        return None if names == ["EXPLANATION"] else self.generic_visit(node)

    def visit_If(self, node: ast.If) -> ast.If | None:
        is_program = isinstance(node.test, ast.Compare) and ast.unparse(node.test) == "__name__ == '__main__'"
        return None if is_program else self.generic_visit(node)


def _imported(module: str) -> set[str]:
    """Return the modules of dfplan that a module names: in imports, and in texts such as ``dfplan.envs.vector:Env``."""
    names = set(_named(_code(module)))
    packages = {name.rsplit(".", depth)[0] for name in names for depth in range(1, name.count(".") + 1)}
    return {name for name in names | packages if _file(name)}


def _named(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("dfplan."):
            yield node.value.split(":")[0]


def _canonical(node: Any) -> str:
    """Return a text of a syntax tree that leaves out empty fields, which differ between versions of Python."""
    if isinstance(node, list):
        return f"[{','.join(map(_canonical, node))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = (f"{name}={_canonical(value)}" for name, value in ast.iter_fields(node) if value not in (None, []))
    return f"{type(node).__name__}({','.join(fields)})"
