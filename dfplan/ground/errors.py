"""The error for a user's mistake. Commands print its one sentence and exit with status 2."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, TypeVar

Value = TypeVar("Value")


class InputError(ValueError):
    """An input of the user cannot be used. The message is one sentence that says what is wrong and what to do."""


def find_reason(error: Exception) -> str:
    """Return the first line of another error's message without a full stop, to be quoted in a sentence."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].strip().rstrip(".?!")


def unknown_name(kind: str, name: Any, known: Iterable[str]) -> InputError:
    """Return the error for an unknown name. It lists similar names, or all known names if none is similar."""
    known = sorted(known)
    near = get_close_matches(str(name), known, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(known)}."
    return InputError(f"there is no {kind} {name!r}; {hint}")


def choose(kind: str, name: Any, table: Mapping[str, Value]) -> Value:
    """Return the entry of ``table`` under ``name``.

    Args:
        kind: what the entries are, for the message of the error.
        name: key of the entry.
        table: the entries by name.

    Raises:
        InputError: if the table has no such entry; the message lists similar names.
    """
    if name not in table:
        raise unknown_name(kind, name, table)
    return table[name]
