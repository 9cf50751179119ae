"""Writes files so that a failed run never leaves half of one or destroys an older one, and locks folders in use."""

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from dfplan.envs.errors import InputError

LOCK_NAME = ".lock"  # in a folder that is in use


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
def replaced_together(folder: str | Path, last: str = "", removed: Iterable[str] = ()) -> Iterator[Path]:
    """Give an empty folder to write to, whose files then take their places in ``folder``: all of them or none.

    If one cannot take its place, those that have are taken back.

    Args:
        folder: where the files go.
        last: name of the file that takes its place after all others.
        removed: names of older files to remove, unless new ones take their places.

    Raises:
        InputError: if the files cannot be written.
    """
    folder = Path(folder)
    try:
        with tempfile.TemporaryDirectory(prefix=".unfinished-", dir=folder) as scratch:
            unfinished, earlier = Path(scratch) / "new", Path(scratch) / "earlier"
            unfinished.mkdir()
            earlier.mkdir()
            yield unfinished
            new = sorted((file.name for file in unfinished.iterdir()), key=lambda name: (name == last, name))
            gone = [name for name in removed if name not in new]
            for name in new:
                sync(unfinished / name)
            _copy([name for name in (*gone, *new) if (folder / name).exists()], folder, earlier)
            try:
                for name in gone:
                    (folder / name).unlink(missing_ok=True)
                for name in new:
                    os.replace(unfinished / name, folder / name)
            except BaseException:
                _restore((*gone, *new), earlier, folder)
                raise
    except OSError as error:
        raise InputError(f"cannot write to the folder {folder}: {error.strerror or error}.") from error


def _copy(names: Iterable[str], source: Path, target: Path) -> None:
    for name in names:
        shutil.copy2(source / name, target / name)


def _restore(names: Iterable[str], earlier: Path, folder: Path) -> None:
    """Bring the files of ``folder`` back to what ``earlier`` holds of them; what it lacks was not there."""
    for name in names:
        if (earlier / name).exists():
            os.replace(earlier / name, folder / name)
        else:
            (folder / name).unlink(missing_ok=True)


@contextmanager
def locked(folder: str | Path) -> Iterator[Path]:
    """Give ``folder``, made if need be, which no other process gets by this function until the block ends.

    The lock is the operating system's, so it ends with the process however that ends. Its file, ``.lock``, stays and
    locks nothing by itself. Removing it would let two processes in, one with the old file open, one with a new one.

    Raises:
        InputError: if the folder cannot be written to, or another process has locked it.
    """
    folder = writable_folder(folder)
    lock = FileLock(folder / LOCK_NAME)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise InputError(f"the folder {folder} is in use by another process; wait for it or choose another.") from error
    except (OSError, NotImplementedError) as error:  # some file systems have no locks
        raise InputError(f"cannot lock the folder {folder}: {getattr(error, 'strerror', None) or error}.") from error
    try:
        yield folder
    finally:
        lock.release()


def file_digest(path: str | Path) -> str:
    """Return the SHA-256 digest of a file's bytes, in hexadecimal digits."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


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
