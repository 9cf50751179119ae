"""Writes results so that a failed run never leaves half a file or destroys an older one."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dfplan.envs.errors import InputError


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Give a path beside ``path`` to write to, which takes the place of ``path`` only if the block succeeds."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        yield unfinished
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def replaced_together(folder: Path) -> Iterator[Path]:
    """Give an empty folder to write to, whose files move into ``folder`` only once all of them are complete."""
    with tempfile.TemporaryDirectory(prefix=".unfinished-", dir=folder) as unfinished:
        yield Path(unfinished)
        for file in sorted(Path(unfinished).iterdir()):
            os.replace(file, folder / file.name)


def writable_folder(folder: Path) -> Path:
    """Return ``folder``, created where missing.

    Raises:
        InputError: if no file can be written there, found out by writing one, since permission bits do not tell it all.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        raise InputError(
            f"the output folder {folder} cannot be written ({error.strerror}); choose another one with --output."
        ) from error
