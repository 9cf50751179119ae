"""Which room of the project may import which other rooms, and functions that find imports against these rules.

A room is a package or a module named in ``MAY_IMPORT``. A module belongs to the room with the longest matching name.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("dfplan", "envs", "agents", "benchmarks")

LIBRARY = [
    "dfplan.ground",
    "dfplan.task",
    "dfplan.spaces",
    "dfplan.config",
    "dfplan.recipes",
    "dfplan.data",
    "dfplan.model",
]
AGENT = [*LIBRARY, "dfplan.sampling", "dfplan.training", "dfplan.agents"]
BELOW_EVALUATION = ["dfplan", *AGENT, "dfplan.envs"]
STUDIES = [
    *BELOW_EVALUATION,
    "dfplan.benchmarks",
    "dfplan.benchmarks.evaluation",
    "dfplan.benchmarks.reporting",
    "dfplan.benchmarks.worlds",
]
# Room -> the rooms and modules that it may import. A room may always import itself.
MAY_IMPORT = {
    "dfplan": [
        "dfplan.envs",
        "dfplan.agents",
        "dfplan.task",
        "dfplan.data",
        "dfplan.benchmarks.evaluation",
        "dfplan.commands",
    ],
    "dfplan.ground": [],
    "dfplan.task": ["dfplan.ground"],
    "dfplan.spaces": ["dfplan.ground", "dfplan.task"],
    "dfplan.config": ["dfplan.ground", "dfplan.task"],
    "dfplan.recipes": ["dfplan.ground", "dfplan.task", "dfplan.config", "dfplan.data"],
    "dfplan.envs": ["dfplan.ground", "dfplan.task", "dfplan.spaces"],
    "dfplan.data": ["dfplan.ground", "dfplan.task", "dfplan.spaces", "dfplan.config"],
    "dfplan.model": ["dfplan.ground", "dfplan.task", "dfplan.config", "dfplan.data"],
    "dfplan.sampling": ["dfplan.ground", "dfplan.task", "dfplan.config", "dfplan.data", "dfplan.model"],
    "dfplan.training": LIBRARY,
    "dfplan.training.__main__": ["dfplan.commands"],
    "dfplan.agents": [
        "dfplan.ground",
        "dfplan.task",
        "dfplan.spaces",
        "dfplan.config",
        "dfplan.data",
        "dfplan.model",
        "dfplan.sampling",
        "dfplan.training.checkpoint",
        "dfplan.training.loaded_checkpoints",
    ],
    "dfplan.benchmarks.evaluation": BELOW_EVALUATION,
    "dfplan.benchmarks.reporting": [*BELOW_EVALUATION, "dfplan.benchmarks.evaluation"],
    "dfplan.benchmarks.worlds": [*BELOW_EVALUATION, "dfplan.benchmarks.evaluation", "dfplan.benchmarks.reporting"],
    "dfplan.benchmarks": STUDIES,
    "dfplan.commands": STUDIES,
}
# Packages that load their public names on first use. Their table ``_LAZY`` maps a name to a module of the package.
LAZY_PACKAGES = ("dfplan.envs", "dfplan.agents")
# Modules and functions that can import by a text, which these rules could not follow.
DYNAMIC_MODULES = ("importlib", "pkgutil", "runpy")
STATIC_PARTS = ("importlib.metadata", "importlib.resources")
DYNAMIC_FUNCTIONS = ("__import__", "exec", "eval")
# A text such as "dfplan.envs.point_maze:PointMazeEnv", which Gymnasium imports.
ENTRY_POINT = re.compile(r"(dfplan[\w.]*):\w+")

Modules = dict[str, ast.Module]


def read_modules() -> Modules:
    """Return the syntax tree of every module of the project, by its dotted name as installed."""
    files = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
    return {module_name(path): ast.parse(path.read_text(encoding="utf-8")) for path in files}


def module_name(path: Path) -> str:
    """Return the name under which a file is imported: ``envs/scores.py`` is ``dfplan.envs.scores``."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts if parts[0] == "dfplan" else ("dfplan", *parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def within(name: str, prefix: str) -> bool:
    """Return whether a dotted name is ``prefix`` or lies below it."""
    return name == prefix or name.startswith(f"{prefix}.")


def room_of(module: str) -> str | None:
    """Return the room of a module, None if it has none. A module directly below ``dfplan`` needs a room of its own."""
    rooms = [room for room in MAY_IMPORT if within(module, room) and (room != "dfplan" or module == "dfplan")]
    return max(rooms, key=len, default=None)


def imported_names(tree: ast.Module) -> Iterator[str]:
    """Yield the dotted name of every import, wherever it stands; relative imports begin with a dot."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = "." * node.level + (node.module or "")
            yield from (f"{origin}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found = ENTRY_POINT.fullmatch(node.value)
            if found:
                yield found[1]


def imported_modules(modules: Modules, name: str) -> set[str]:
    """Return the modules of the project that a module imports, those that a lazy public name stands for included."""
    names = {imported for imported in imported_names(modules[name]) if within(imported, "dfplan")}
    names |= set(lazy_targets(modules, name).values())
    return {target for imported in names for target in _targets(modules, imported)}


def lazy_targets(modules: Modules, package: str) -> dict[str, str]:
    """Return the modules of a package's lazy public names, by name; nothing for a module without a lazy table."""
    if package not in LAZY_PACKAGES:
        return {}
    for node in modules[package].body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_LAZY":
            return {name: f"{package}.{module}" for name, module in ast.literal_eval(node.value).items()}
    return {}


def _targets(modules: Modules, imported: str) -> set[str]:
    """Return the modules that an imported dotted name loads; the name itself if the project has no such module."""
    if imported in modules:
        return {imported}
    package, _, name = imported.rpartition(".")
    if package == "dfplan" and name != "__version__":  # DFPlanner, which only users import from here
        return {imported}
    lazy = lazy_targets(modules, package) if package in modules else {}
    return {package} | ({lazy[name]} if name in lazy else set())


def forbidden_imports(modules: Modules, name: str) -> set[str]:
    """Return the modules that a module imports although its room may not."""
    room = room_of(name)
    allowed = [room, *MAY_IMPORT[room]]
    return {
        target
        for target in imported_modules(modules, name)
        if room_of(target) not in allowed and not any(target == entry for entry in allowed)
    }


def dynamic_imports(modules: Modules, name: str) -> set[str]:
    """Return what a module uses to import by a text, except for the lazy names of a package."""
    found = set()
    for imported in imported_names(modules[name]):
        is_dynamic = any(within(imported, module) for module in DYNAMIC_MODULES)
        if is_dynamic and not any(within(imported, part) for part in STATIC_PARTS):
            found.add(imported)
    found |= {
        node.id for node in ast.walk(modules[name]) if isinstance(node, ast.Name) and node.id in DYNAMIC_FUNCTIONS
    }
    return found - {"importlib"} if _imports_only_lazy_names(modules[name], name) else found


def _imports_only_lazy_names(tree: ast.Module, package: str) -> bool:
    """Return whether a package face uses ``importlib`` for nothing but the modules in its lazy table."""
    uses = [
        node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "importlib"
    ]
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and node.func in uses]
    expected = f"importlib.import_module(f'{package}.{{_LAZY[name]}}')"
    return package in LAZY_PACKAGES and len(uses) == len(calls) and all(ast.unparse(call) == expected for call in calls)


def circle(modules: Modules) -> list[str]:
    """Return modules of which each imports the next and the last imports the first; nothing if there are none."""
    imports = {name: sorted(imported_modules(modules, name) - {name}) for name in modules}
    done: set[str] = set()

    def visit(name: str, path: list[str]) -> list[str]:
        if name in path:
            return path[path.index(name) :]
        if name in done:
            return []
        for target in imports.get(name, ()):
            found = visit(target, [*path, name])
            if found:
                return found
        done.add(name)
        return []

    return next(filter(None, (visit(name, []) for name in modules)), [])
