"""The folder of a run: named after what ran, locked while in use, and replaced only by the same run.

``results.json`` records under ``run`` what was asked for, what ran (``provenance.py``), and a digest of each file of
the run. A later run replaces the files only if it was asked for the same and nobody has touched them since.
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

from dfplan.benchmarks.provenance import changed_checkpoints, code_digests, commit
from dfplan.benchmarks.statistics import json_safe
from dfplan.envs.errors import InputError
from dfplan.envs.files import file_digest, locked, replaced_together
from dfplan.loaded import recorded_checkpoints

RESULTS, RUN = "results.json", "run"  # the file, and its entry about the run
WHERE = ("output", "overwrite")  # flags that say where results go
WAY_OUT = "choose another folder with --output, or add --overwrite"


@dataclass(frozen=True)
class RunFolder:
    """A folder that is claimed for a run.

    Attributes:
        path: the folder.
        record: what ``results.json`` says of the run.
        earlier: names of an earlier run's files, which this run replaces.
        found: digests of the files that were there when the run began.
    """

    path: Path
    record: dict[str, Any]
    earlier: tuple[str, ...]
    found: dict[str, str]

    @contextmanager
    def replaced(self, contents: dict[str, Any]) -> Iterator[Path]:
        """Give an empty folder for all files but ``results.json``, which gets ``contents`` and the run's record.

        Together they take the place of the earlier run's files. If somebody has changed a file in the folder since the
        run began, nothing there is touched: the results go to a new folder beside it, with a warning.
        """
        path, removed = self.path, self.earlier
        if _present(path) != self.found:
            path, removed = _new_folder_beside(path), ()
            warning = f"files in {self.path} were changed during the run; its results go to {path}."
            print(f"warning: {warning}", file=sys.stderr)
        with replaced_together(path, last=RESULTS, removed=removed) as unfinished:
            yield unfinished
            files = {file.name: file_digest(file) for file in sorted(unfinished.iterdir())}
            contents = json_safe(contents)
            run = self.record | {"files": files | {RESULTS: _digest(contents)}}
            text = json.dumps(contents | {RUN: run}, indent=2, allow_nan=False)
            (unfinished / RESULTS).write_text(text + "\n", encoding="utf-8")


@contextmanager
def claimed(
    folder: Path,
    asked: dict[str, Any],
    modules: Collection[str],
    overwrite: bool = False,
    checkpoints: dict[str, str] | None = None,
) -> Iterator[RunFolder]:
    """Give the folder, made if need be, to a run that may write to it and that nobody else writes to meanwhile.

    Args:
        folder: where results are to go.
        asked: all settings that decide about the numbers, as JSON has them.
        modules: those whose code makes the numbers.
        overwrite: replace another run's results, and files that were changed since.
        checkpoints: those that are loaded already; None records those that are loaded in the block.

    Raises:
        InputError: if it is in use or cannot be written, or, unless it is to be overwritten, if it holds anything but
            untouched files of the same run.
    """
    asked = json.loads(json.dumps(json_safe(asked)))
    with ExitStack() as stack:
        stack.enter_context(locked(folder))
        earlier, found = earlier_run(folder), _present(folder)
        if found and not overwrite:
            _check(folder, found, earlier, asked, checkpoints)
        if checkpoints is None:
            checkpoints = stack.enter_context(recorded_checkpoints())
        record = {"asked": asked, **commit(), "code": code_digests(*modules), "checkpoints": checkpoints}
        files = earlier["files"] if earlier else {}
        earlier_files = tuple(name for name in files if Path(name).name == name)
        yield RunFolder(folder, record, earlier_files, found)


def _check(
    folder: Path,
    found: dict[str, str],
    earlier: dict[str, Any] | None,
    asked: dict[str, Any],
    checkpoints: dict[str, str] | None,
) -> None:
    """Raise ``InputError`` unless the files ``found`` in the folder are untouched ones of the same run, ``earlier``."""
    if earlier is None:
        if {"format", "versions"} <= _contents(folder / RESULTS).keys():
            raise InputError(f"the results in {folder} were made before runs recorded what they ran; {WAY_OUT}.")
        raise InputError(f"{folder / next(iter(found))} is not from a run of dfplan; {WAY_OUT}.")
    differences = _differences(earlier["asked"], asked)
    if differences:
        raise InputError(f"the folder {folder} holds another run, {_in_words(differences)}; {WAY_OUT}.")
    for name, digest in found.items():
        if name not in earlier["files"]:
            raise InputError(f"{folder / name} is not from the run in its folder; {WAY_OUT}.")
        if name == RESULTS:  # which cannot hold a digest of itself
            digest = _digest({key: value for key, value in _contents(folder / name).items() if key != RUN})
        if digest != earlier["files"][name]:
            raise InputError(f"{folder / name} was changed after its run had written it; {WAY_OUT}.")
    if _are_others(earlier["checkpoints"], checkpoints):
        others = ", ".join(f"{name} of digest {digest[:8]}" for name, digest in earlier["checkpoints"].items())
        raise InputError(f"the run in {folder} was made with other checkpoints ({others}); {WAY_OUT}.")


def _present(folder: Path) -> dict[str, str]:
    """Return the name and digest of each file in a folder, hidden ones and folders left out."""
    files = sorted(file for file in folder.iterdir() if not file.is_dir() and not file.name.startswith("."))
    # What is no regular file, such as a pipe or a link to nothing, cannot be read and has no digest.
    return {file.name: file_digest(file) if file.is_file() else "" for file in files}


def _new_folder_beside(folder: Path) -> Path:
    """Return a new folder whose name is that of ``folder`` and a number."""
    beside = next(path for path in (folder.with_name(f"{folder.name}-{n}") for n in count(2)) if not path.exists())
    beside.mkdir()
    return beside


def folder_name(name: str, parser: ArgumentParser, arguments: Namespace, leave_out: Collection[str] = ()) -> str:
    """Return ``name`` followed by what was asked for instead of defaults, such as ``maze2d-large-seed7-random``.

    Args:
        name: of the study, or of the maze.
        parser: has the defaults.
        arguments: what it parsed.
        leave_out: arguments that the name has in it already.
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
        elif flag == "agents":  # one of them is called as a kind of goal is
            words.append(f"agents={value}")
        else:
            words.append(value if isinstance(value, str) else f"{flag}{value}")
    return re.sub(r"[^\w.+=-]+", "_", "-".join(words).replace(",", "+"))


def add_output_arguments(parser: ArgumentParser, default: str) -> None:
    """Add the arguments that say where results go."""
    parser.add_argument("--output", type=Path, help=f"folder for the results instead of {default}")
    text = "replace the results of another run, or ones that were changed by hand"
    parser.add_argument("--overwrite", action="store_true", help=text)


def earlier_run(folder: Path) -> dict[str, Any] | None:
    """Return what the run in the folder recorded, None if there is none that did."""
    run = _contents(folder / RESULTS).get(RUN)
    kinds = {name: dict for name in ("asked", "files", "checkpoints")}
    is_record = isinstance(run, dict) and all(isinstance(run.get(name), kind) for name, kind in kinds.items())
    return run if is_record else None


def _contents(path: Path) -> dict[str, Any]:
    """Return what a JSON file holds, nothing if it is no JSON object."""
    try:
        contents = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return contents if isinstance(contents, dict) else {}


def _digest(contents: dict[str, Any]) -> str:
    """Return the digest of what a JSON file holds; its layout plays no part."""
    contents = json.loads(json.dumps(contents))  # keys are texts in a file
    return hashlib.sha256(json.dumps(contents, sort_keys=True).encode()).hexdigest()


def _are_others(recorded: dict[str, str], loaded: dict[str, str] | None) -> bool:
    """Return whether a run would use other checkpoints than the recorded ones.

    Those that the run loads later are not known yet: then it is asked whether the recorded ones have changed.
    """
    if loaded is None:
        return bool(changed_checkpoints(recorded))
    return set(recorded.values()) != set(loaded.values())


def _differences(earlier: dict[str, Any], asked: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """Return the name of each setting that differs, with what it was and what it is."""
    found: list[tuple[str, Any, Any]] = []
    for name in dict.fromkeys((*earlier, *asked)):
        old, new = earlier.get(name), asked.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            found += _differences(old, new)
        elif old != new:
            found.append((name, old, new))
    return found


def _in_words(differences: list[tuple[str, Any, Any]]) -> str:
    name, old, new = differences[0]
    more = f" (and {len(differences) - 1} more settings differ)" if len(differences) > 1 else ""
    return f"with {name} {_shown(old)} instead of {_shown(new)}{more}"


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
