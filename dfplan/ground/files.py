"""Write files completely or not at all, and lock the folder of a run.

A run that fails leaves neither a half-written file nor a damaged older one.
"""

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from dfplan.ground.errors import InputError

LOCK_NAME = ".lock"  # the file in a locked folder


@contextmanager
def replace_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path to write to; the new file replaces ``path`` only if the block succeeds.

    The new file is flushed to the disk before it replaces the old one, because a full disk may report its error only
    then.

    Raises:
        InputError: if the file or its parent folders cannot be written.
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


def write_file(path: str | Path, content: bytes | memoryview) -> None:
    """Write ``content`` to a new file, read it back, and let it replace ``path`` only if both are equal.

    Raises:
        InputError: if the file or its parent folders cannot be written, or if the content read back differs.
    """
    with replace_file(path) as unfinished:
        unfinished.write_bytes(content)
        sync(unfinished)
        if unfinished.read_bytes() != content:
            raise OSError(errno.EIO, "the file that was read back differs from the content that was written")


def sync(file: Path) -> None:
    """Flush the content of ``file`` to the disk.

    Raises:
        OSError: if the disk reports an error.
    """
    with open(file, "rb+") as opened:
        os.fsync(opened.fileno())


@contextmanager
def replace_files(folder: str | Path, last: str = "", removed: Iterable[str] = ()) -> Iterator[Path]:
    """Yield an empty temporary folder; if the block succeeds, its files replace those in ``folder``, all or none.

    If one file cannot be moved, the files that were moved before it are restored.

    Args:
        folder: the folder that gets the files.
        last: name of the file that is moved last.
        removed: names of older files to delete, unless new files of these names replace them.

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
    """Copy files from one folder to another."""
    for name in names:
        shutil.copy2(source / name, target / name)


def _restore(names: Iterable[str], earlier: Path, folder: Path) -> None:
    """Restore files of ``folder`` from their copies in ``earlier``; delete those without a copy, which are new."""
    for name in names:
        if (earlier / name).exists():
            os.replace(earlier / name, folder / name)
        else:
            (folder / name).unlink(missing_ok=True)


@contextmanager
def lock_folder(folder: str | Path) -> Iterator[Path]:
    """Lock ``folder`` during the block and yield it; the folder is created if it does not exist.

    The operating system holds the lock, so the lock ends when the process ends, whatever ends it. The file ``.lock``
    stays, and its presence alone locks nothing. It must not be deleted: otherwise one process could hold a lock on the
    deleted file while another process locks a new file.

    Raises:
        InputError: if the folder cannot be written to, or if another process has locked it.
    """
    folder = make_writable_folder(folder)
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


def digest_file(path: str | Path) -> str:
    """Return the SHA-256 digest of a file's bytes, in hexadecimal digits."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def make_writable_folder(folder: str | Path) -> Path:
    """Create ``folder`` if it does not exist, and return it once a trial file has been written to it.

    A trial file is needed because permission bits alone do not tell whether a folder can be written to.

    Raises:
        InputError: if the folder cannot be created or written to.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return Path(folder)
    except OSError as error:
        raise InputError(f"cannot write to the folder {folder}: {error.strerror or error}.") from error
