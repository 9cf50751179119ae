"""The folder of a run: its name, its lock, and the rules for replacing earlier results.

``results.json`` records under ``run`` the settings, the code (``provenance.py``) and a digest of each file of the run.
A later run replaces the files only if it has the same settings and checkpoints and the files have not been changed.
"""

import hashlib
import json
import re
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from dfplan.benchmarks.evaluation.statistics import make_json_safe
from dfplan.benchmarks.reporting.provenance import digest_modules, find_changed_checkpoints, read_commit
from dfplan.ground.errors import InputError
from dfplan.ground.files import digest_file, lock_folder, replace_files
from dfplan.training.loaded_checkpoints import track_checkpoints

RESULTS, RUN = "results.json", "run"  # the file, and the key of its record of the run
MODELS = "models"  # sub-folder for the networks that a study trains, which are not part of the results
WHERE = ("output", "overwrite")  # arguments that do not change the results
WAY_OUT = "choose another folder with --output, or add --overwrite"


@dataclass(frozen=True)
class RunFolder:
    """A folder that a run has locked and may write to.

    Attributes:
        path: the folder.
        record: the record of the run for ``results.json``.
        earlier: names of the files of an earlier run, which this run replaces.
        found: digests of the files that were in the folder when the run began.
    """

    path: Path
    record: dict[str, Any]
    earlier: tuple[str, ...]
    found: dict[str, str]

    @contextmanager
    def replace_files(self, contents: dict[str, Any]) -> Iterator[Path]:
        """Yield an empty folder for the files of the run; at the end, they replace those of the earlier run together.

        ``results.json`` is written here, from ``contents`` and the record of the run. If a file in the folder has
        changed since the run began, the folder stays as it is: a warning is printed, and the results go to a new folder
        beside it.
        """
        path, removed = self.path, self.earlier
        if _digest_files(path) != self.found:
            path, removed = _make_folder_beside(path), ()
            warning = f"files in {self.path} were changed during the run; its results go to {path}."
            print(f"warning: {warning}", file=sys.stderr)
        with replace_files(path, last=RESULTS, removed=removed) as unfinished:
            yield unfinished
            files = {file.name: digest_file(file) for file in sorted(unfinished.iterdir())}
            contents = make_json_safe(contents)
            run = self.record | {"files": files | {RESULTS: _digest_contents(contents)}}
            text = json.dumps(contents | {RUN: run}, indent=2, allow_nan=False)
            (unfinished / RESULTS).write_text(text + "\n", encoding="utf-8")


@contextmanager
def claim_folder(
    folder: Path,
    asked: dict[str, Any],
    modules: Collection[str],
    overwrite: bool = False,
    checkpoints: dict[str, str] | None = None,
) -> Iterator[RunFolder]:
    """Lock the folder for a run, check that the run may write to it, and yield it; a missing folder is made.

    Args:
        folder: for the results.
        asked: all settings on which the numbers depend, in types that JSON has.
        modules: names of the modules whose code computes the numbers.
        overwrite: whether to replace results of another run, and files that were changed by hand.
        checkpoints: digests of the loaded checkpoints by name; None records those that are loaded inside the block.

    Raises:
        InputError: if the folder is in use or cannot be written; without ``overwrite`` also if it holds files other
            than unchanged files of the same run.
    """
    asked = json.loads(json.dumps(make_json_safe(asked)))
    with ExitStack() as stack:
        stack.enter_context(lock_folder(folder))
        earlier, found = read_earlier_run(folder), _digest_files(folder)
        if found and not overwrite:
            _check_folder(folder, found, earlier, asked, checkpoints)
        if checkpoints is None:
            checkpoints = stack.enter_context(track_checkpoints())
        record = {"asked": asked, **read_commit(), "code": digest_modules(*modules), "checkpoints": checkpoints}
        files = earlier["files"] if earlier else {}
        earlier_files = tuple(name for name in files if Path(name).name == name)
        yield RunFolder(folder, record, earlier_files, found)


def _check_folder(
    folder: Path,
    found: dict[str, str],
    earlier: dict[str, Any] | None,
    asked: dict[str, Any],
    checkpoints: dict[str, str] | None,
) -> None:
    """Raise ``InputError`` unless all files ``found`` are unchanged files of the same run, ``earlier``."""
    if earlier is None:
        if {"format", "versions"} <= _read_json(folder / RESULTS).keys():
            raise InputError(f"the results in {folder} are from a version of dfplan that kept no records; {WAY_OUT}.")
        raise InputError(f"{folder / next(iter(found))} is not from a run of dfplan; {WAY_OUT}.")
    differences = _find_differences(earlier["asked"], asked)
    if differences:
        raise InputError(f"the folder {folder} holds another run, {_describe_differences(differences)}; {WAY_OUT}.")
    for name, digest in found.items():
        if name not in earlier["files"]:
            raise InputError(f"{folder / name} is not from the run in its folder; {WAY_OUT}.")
        if name == RESULTS:  # it cannot contain its own digest
            digest = _digest_contents({key: value for key, value in _read_json(folder / name).items() if key != RUN})
        if digest != earlier["files"][name]:
            raise InputError(f"{folder / name} was changed after its run had written it; {WAY_OUT}.")
    if _use_other_checkpoints(earlier["checkpoints"], checkpoints):
        others = ", ".join(f"{name} of digest {digest[:8]}" for name, digest in earlier["checkpoints"].items())
        raise InputError(f"the run in {folder} was made with other checkpoints ({others}); {WAY_OUT}.")


def _digest_files(folder: Path) -> dict[str, str]:
    """Return the digest of each file in a folder by name, without hidden files and sub-folders."""
    files = sorted(file for file in folder.iterdir() if not file.is_dir() and not file.name.startswith("."))
    # A pipe or a broken link cannot be read and has the empty digest.
    return {file.name: digest_file(file) if file.is_file() else "" for file in files}


def _make_folder_beside(folder: Path) -> Path:
    """Make and return a new folder beside ``folder``, whose name ends in a number."""
    beside = next(path for path in (folder.with_name(f"{folder.name}-{n}") for n in count(2)) if not path.exists())
    beside.mkdir()
    return beside


def name_folder(name: str, parser: ArgumentParser, arguments: Namespace, leave_out: Collection[str] = ()) -> str:
    """Return ``name`` and the arguments that differ from their defaults, such as ``maze2d-large-seed7-random``.

    Args:
        name: of the study or of the maze.
        parser: of the command; it knows the defaults.
        arguments: the parsed arguments.
        leave_out: names of arguments that ``name`` contains already.
    """
    words = [name]
    for flag, value in vars(arguments).items():
        if flag in WHERE or flag in leave_out or value == parser.get_default(flag):
            continue
        if flag == "checkpoint":
            path = Path(value).resolve()
            words.append(path.parent.name if path.name == "model.safetensors" else path.name.split(".")[0])
        elif value is True:
            words.append(flag)
        elif flag == "agents":  # without its flag, the agent random would look like --goal random
            words.append(f"agents={value}")
        else:
            words.append(value if isinstance(value, str) else f"{flag}{value}")
    return re.sub(r"[^\w.+=-]+", "_", "-".join(words).replace(",", "+"))


def add_output_arguments(parser: ArgumentParser, default: str) -> None:
    """Add the arguments that choose the folder of the results; ``default`` describes the default folder."""
    parser.add_argument("--output", type=Path, help=f"folder of the results (default: {default})")
    text = "replace results of another run, or results that were changed by hand"
    parser.add_argument("--overwrite", action="store_true", help=text)


def read_earlier_run(folder: Path) -> dict[str, Any] | None:
    """Return the record of the run whose results are in the folder, or None if there is no record."""
    run = _read_json(folder / RESULTS).get(RUN)
    kinds = {name: dict for name in ("asked", "files", "checkpoints")}
    is_record = isinstance(run, dict) and all(isinstance(run.get(name), kind) for name, kind in kinds.items())
    return run if is_record else None


def _read_json(path: Path) -> dict[str, Any]:
    """Return the contents of a JSON file, or {} if it is missing or holds no JSON object."""
    try:
        contents = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return contents if isinstance(contents, dict) else {}


def _digest_contents(contents: dict[str, Any]) -> str:
    """Return the digest of the contents of a JSON file; the layout of the file does not matter."""
    contents = json.loads(json.dumps(contents))  # as in a file, where all keys are texts
    return hashlib.sha256(json.dumps(contents, sort_keys=True).encode()).hexdigest()


def _use_other_checkpoints(recorded: dict[str, str], loaded: dict[str, str] | None) -> bool:
    """Return whether a run uses other checkpoints than the recorded ones.

    If ``loaded`` is None, the run loads its checkpoints later; then this tells whether the recorded ones have changed.
    """
    if loaded is None:
        return bool(find_changed_checkpoints(recorded))
    return set(recorded.values()) != set(loaded.values())


def _find_differences(earlier: dict[str, Any], asked: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """Return (name, earlier value, new value) of each setting that differs."""
    found: list[tuple[str, Any, Any]] = []
    for name in dict.fromkeys((*earlier, *asked)):
        old, new = earlier.get(name), asked.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            found += _find_differences(old, new)
        elif old != new:
            found.append((name, old, new))
    return found


def _describe_differences(differences: list[tuple[str, Any, Any]]) -> str:
    name, old, new = differences[0]
    more = f" (and {len(differences) - 1} more settings differ)" if len(differences) > 1 else ""
    return f"with {name} {_shorten(old)} instead of {_shorten(new)}{more}"


def _shorten(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
