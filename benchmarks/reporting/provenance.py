"""Records which code made a result: the commit, a digest of every module, and the checkpoints that have changed.

The modules of a result are those that its own module imports, directly or not, including imports inside functions. The
digest of a module ignores what cannot change a number: comments, docstrings, layout, error messages, and
``EXPLANATION``, the text that explains the tables of a study. It does not depend on the version of Python.
"""

import ast
import hashlib
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from dfplan import ground
from dfplan.ground.errors import InputError
from dfplan.ground.files import digest_file

PACKAGE = Path(ground.__file__).resolve().parents[1]
ROOT = PACKAGE.parent
FOLDERS = (PACKAGE, ROOT)  # of modules: in a checkout, envs/, agents/ and benchmarks/ are beside the package
# Paths whose changes may change numbers. Checkpoints have digests of their own, and results change no number.
RESULTS_AND_CHECKPOINTS = ("benchmarks/results", "benchmarks/checkpoints", "dfplan/checkpoints")
CODE = ("dfplan", "envs", "agents", "benchmarks", *(f":(exclude){path}" for path in RESULTS_AND_CHECKPOINTS))
# Module -> what it does. A change of these modules, or of modules that only they import, changes no number.
LEFT_OUT = {
    "dfplan": "registers the mazes and holds the version",
    "dfplan.training.loaded_checkpoints": "records what was loaded",
    "dfplan.ground.errors": "reports mistakes of the user",
    "dfplan.ground.files": "writes files",
    "dfplan.envs.rendering": "draws",
    "dfplan.commands.bench": "reads the command line; the settings are recorded separately",
    "dfplan.commands.plan_pictures": "reads the command line; the settings are recorded separately",
    "dfplan.benchmarks.reporting.charts": "draws",
    "dfplan.benchmarks.reporting.figures": "draws",
    "dfplan.benchmarks.reporting.markdown": "formats tables",
    "dfplan.benchmarks.reporting.report": "formats tables and reports",
    "dfplan.benchmarks.reporting.run_folder": "manages the folder of a run",
    "dfplan.benchmarks.reporting.provenance": "records which code ran",
}


@cache
def read_commit(root: Path = ROOT) -> dict[str, Any]:
    """Return the commit that is checked out, and whether the code is unchanged since (``clean``).

    Both are None if dfplan is installed without its repository, or git is missing. Later calls return the answer of the
    first call, so the first call should come before anything is computed.
    """
    if not (root / "setup.cfg").is_file() or not (root / ".git").exists():  # or the repository may be another project's
        return {"commit": None, "clean": None}
    try:
        head, changes = _run_git(root, "rev-parse", "HEAD"), _run_git(root, "status", "--porcelain", "--", *CODE)
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "clean": None}
    return {"commit": head.strip(), "clean": not changes.strip()}


def describe_commit(root: Path = ROOT) -> str:
    """Return the commit in words, for a model card."""
    found = read_commit(root)
    if found["commit"] is None:
        return "no commit is known"
    return f"commit {found['commit'][:12]}{'' if found['clean'] else ' and changes that are not in it'}"


def digest_training_code() -> str:
    """Return one digest of all code on which the result of a training depends."""
    return hashlib.sha256(repr(digest_modules("dfplan.training.trainer")).encode()).hexdigest()[:12]


def digest_modules(*modules: str) -> dict[str, str]:
    """Return the digest of each of the ``modules``, and of each module that they import, directly or not."""
    seen, waiting = set(modules), list(modules)
    while waiting:
        module = waiting.pop()
        if module in LEFT_OUT and module not in modules:
            continue
        found = _find_imports(module) - seen
        seen |= found
        waiting += sorted(found)
    digests = {module: digest_module(module) for module in sorted(seen - LEFT_OUT.keys())}
    return {module: digest for module, digest in digests.items() if digest is not None}


@cache
def digest_module(module: str) -> str | None:
    """Return the digest of a module's code, or None if there is no such module."""
    if _find_source(module) is None:
        return None
    return hashlib.sha256(_format_canonically(_parse_code(module)).encode()).hexdigest()[:16]


def find_changed_checkpoints(recorded: dict[str, str]) -> list[str]:
    """Return the names of the recorded checkpoints whose files are missing or have changed."""
    from dfplan.training.checkpoint import find_checkpoint  # imports torch, which other functions do not need

    changed = []
    for name, digest in recorded.items():
        try:
            is_same = digest_file(find_checkpoint(name)) == digest
        except (InputError, OSError):
            is_same = False
        changed += [] if is_same else [name]
    return changed


def _run_git(root: Path, *words: str) -> str:
    return subprocess.run(["git", "-C", str(root), *words], capture_output=True, check=True, text=True).stdout


def _find_source(module: str) -> Path | None:
    """Return the source file of a module of dfplan without importing it, or None if there is no such module."""
    first, *rest = module.split(".")
    if first != "dfplan" or not all(map(str.isidentifier, rest)):
        return None
    for folder in FOLDERS:
        for file in (folder.joinpath(*rest).with_suffix(".py"), folder.joinpath(*rest, "__init__.py")):
            if file.is_file():
                return file
    return None


@cache
def _parse_code(module: str) -> ast.Module:
    """Return a module's syntax tree without the parts that cannot change a number."""
    file = _find_source(module)
    return _CodeFilter().visit(ast.parse(file.read_text(encoding="utf-8") if file else ""))


class _CodeFilter(ast.NodeTransformer):
    """Removes docstrings, error messages, ``EXPLANATION``, and code that runs only in a program or a type checker."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        is_text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if is_text else self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.Raise:
        return ast.Raise(exc=None, cause=None)

    def visit_Assign(self, node: ast.Assign) -> ast.AST | None:
        names = [target.id for target in node.targets if isinstance(target, ast.Name)]
        return None if names == ["EXPLANATION"] else self.generic_visit(node)

    def visit_If(self, node: ast.If) -> ast.AST | None:
        never_runs = ast.unparse(node.test) in ("__name__ == '__main__'", "TYPE_CHECKING")
        return None if never_runs else self.generic_visit(node)


def _find_imports(module: str) -> set[str]:
    """Return the modules of dfplan that a module names in imports and in strings such as ``dfplan.envs.maze:Env``."""
    names = set(_find_named_modules(_parse_code(module)))
    packages = {name.rsplit(".", depth)[0] for name in names for depth in range(1, name.count(".") + 1)}
    return {name for name in names | packages if _find_source(name)}


def _find_named_modules(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("dfplan."):
            yield node.value.split(":")[0]


def _format_canonically(node: Any) -> str:
    """Return a text of a syntax tree without empty fields, because these differ between versions of Python."""
    if isinstance(node, list):
        return f"[{','.join(map(_format_canonically, node))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = (
        f"{name}={_format_canonically(value)}" for name, value in ast.iter_fields(node) if value not in (None, [])
    )
    return f"{type(node).__name__}({','.join(fields)})"
