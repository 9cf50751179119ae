"""Writes files so that a failed run never leaves half of one or destroys an older one."""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dfplan.envs.errors import InputError


@contextmanager
def replaced(path: str | Path) -> Iterator[Path]:
    """Give a path beside ``path`` to write to, which takes the place of ``path`` only if the block succeeds.

    The new file is on the disk before it takes that place: a full disk may say so no sooner than that.

    Raises:
        InputError: if the file, or the folders above it, cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".unfinished-", dir=path.parent) as folder:
            unfinished = Path(folder) / path.name
            yield unfinished
            sync(unfinished)
            os.replace(unfinished, path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}.") from error


def write_whole(path: str | Path, content: bytes | memoryview) -> None:
    """Write a file that takes the place of ``path`` only once it has been read back and is equal to ``content``.

    Raises:
        InputError: if the file, or the folders above it, cannot be written.
    """
    with replaced(path) as unfinished:
        unfinished.write_bytes(content)
        sync(unfinished)
        if unfinished.read_bytes() != content:
            raise OSError(errno.EIO, "the disk does not return what was written to it")


def sync(file: Path) -> None:
    """Wait until the content of ``file`` is on the disk.

    Raises:
        OSError: if it cannot get there.
    """
    with open(file, "rb+") as opened:
        os.fsync(opened.fileno())


@contextmanager
def replaced_together(folder: str | Path) -> Iterator[Path]:
    """Give an empty folder to write to, whose files move into ``folder`` only once all of them are complete.

    Raises:
        InputError: if the files cannot be written.
    """
    try:
        with tempfile.TemporaryDirectory(prefix=".unfinished-", dir=folder) as unfinished:
            yield Path(unfinished)
            for file in sorted(Path(unfinished).iterdir()):
                os.replace(file, Path(folder) / file.name)
    except OSError as error:
        raise InputError(f"cannot write to the folder {folder}: {error.strerror or error}.") from error


def writable_folder(folder: str | Path) -> Path:
    """Return ``folder``, made if need be, after a file has been written to it: permission bits do not tell it all.

    Raises:
        InputError: if it cannot be made or written to.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return Path(folder)
    except OSError as error:
        raise InputError(f"cannot write to the folder {folder}: {error.strerror or error}.") from error
