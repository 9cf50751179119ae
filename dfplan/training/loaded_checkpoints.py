"""A record of the checkpoints that were loaded, so that results can name their networks. It does not import torch."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from dfplan.ground.files import digest_file

# The dictionary of the innermost ``track_checkpoints`` block; None outside of such blocks.
_record: ContextVar[dict[str, str] | None] = ContextVar("loaded checkpoints", default=None)


@contextmanager
def track_checkpoints() -> Iterator[dict[str, str]]:
    """Yield a dictionary that gets an entry for each checkpoint loaded in the block: its name and its file's digest."""
    checkpoints: dict[str, str] = {}
    token = _record.set(checkpoints)
    try:
        yield checkpoints
    finally:
        _record.reset(token)


def record_checkpoint(name: str, file: Path) -> None:
    """Add a checkpoint to the dictionary of the innermost block, if there is one.

    Args:
        name: a name or path for which ``find_checkpoint`` returns the file.
        file: the file that was loaded.
    """
    checkpoints = _record.get()
    if checkpoints is not None:
        checkpoints[name] = digest_file(file)
