"""Which checkpoints were loaded, so that results can say from which networks they are. Costs no torch."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from dfplan.envs.files import file_digest

# The dictionary of the innermost ``recorded_checkpoints`` around the present code.
_record: ContextVar[dict[str, str] | None] = ContextVar("loaded checkpoints", default=None)


@contextmanager
def recorded_checkpoints() -> Iterator[dict[str, str]]:
    """Give a dictionary to which each checkpoint loaded in the block is added: its name and the file's digest."""
    checkpoints: dict[str, str] = {}
    token = _record.set(checkpoints)
    try:
        yield checkpoints
    finally:
        _record.reset(token)


def record_checkpoint(name: str, file: Path) -> None:
    """Add a checkpoint to the record, if one is kept; ``find_checkpoint(name)`` finds the file again."""
    checkpoints = _record.get()
    if checkpoints is not None:
        checkpoints[name] = file_digest(file)
