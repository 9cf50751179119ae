"""The one way in which dfplan tells users about a mistake of theirs: one sentence, exit status 2."""

import argparse
import functools
import sys
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import NoReturn, TypeVar

Value = TypeVar("Value")
LARGEST_SEED = 2**32 - 1  # what every random number generator takes


class InputError(ValueError):
    """Something the user gave cannot be used; the message is one sentence that says what and what to do."""


def exit_two_on_input_error(main: Callable[[], None]) -> Callable[[], None]:
    """Return ``main`` such that an ``InputError`` prints its sentence and ends the program with status 2."""

    @functools.wraps(main)
    def guarded() -> None:
        try:
            main()
        except InputError as error:
            print(f"{sys.argv[0].rsplit('/', 1)[-1]}: {error}", file=sys.stderr)
            sys.exit(2)

    return guarded


def unknown_name(kind: str, name: str, known: Iterable[str]) -> InputError:
    """Return the error for a name that is not known, with its near matches (or all names, when none is near)."""
    known = sorted(known)
    near = get_close_matches(name, known, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(known)}."
    return InputError(f"there is no {kind} {name!r}; {hint}")


def choose(kind: str, name: str, table: Mapping[str, Value]) -> Value:
    """Return what ``table`` has under ``name``.

    Raises:
        InputError: if it has nothing there; with the near matches.
    """
    if name not in table:
        raise unknown_name(kind, name, table)
    return table[name]


class _DefaultsFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows the default of every option that has one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default in (None, False) else super()._get_help_string(action)


class CommandParser(argparse.ArgumentParser):
    """An argument parser whose complaints are ``InputError`` sentences instead of a usage dump.

    Options must be written in full: an abbreviation that works today would mean something else once an option is added.
    """

    def __init__(self, *args, **kwargs) -> None:
        kwargs.setdefault("allow_abbrev", False)
        kwargs.setdefault("formatter_class", _DefaultsFormatter)
        super().__init__(*args, **kwargs)

    def error(self, message: str) -> NoReturn:
        """Raise the complaint; ``exit_two_on_input_error`` prints it."""
        raise InputError(f"{message.rstrip('.')}; see --help.")


def positive_integer(text: str) -> int:
    """Return a whole number of at least 1, for ``type=`` of an argument."""
    return _number(text, int, lambda number: number >= 1, "a whole number of 1 or more")


def natural_number(text: str) -> int:
    """Return a whole number of at least 0, for ``type=`` of an argument."""
    return _number(text, int, lambda number: number >= 0, "a whole number of 0 or more")


def seed_number(text: str) -> int:
    """Return a seed, for ``type=`` of an argument."""
    return _number(text, int, lambda number: 0 <= number <= LARGEST_SEED, f"a whole number of 0 to {LARGEST_SEED}")


def positive_number(text: str) -> float:
    """Return a finite number above 0, for ``type=`` of an argument."""
    return _number(text, float, lambda number: 0 < number < float("inf"), "a number above 0")


def non_negative_number(text: str) -> float:
    """Return a finite number of at least 0, for ``type=`` of an argument."""
    return _number(text, float, lambda number: 0 <= number < float("inf"), "a number of 0 or more")


def share(text: str) -> float:
    """Return a share of a whole, for ``type=`` of an argument."""
    return _number(text, float, lambda number: 0 <= number <= 1, "a number from 0 to 1")


def _number(text: str, kind: Callable, is_allowed: Callable[..., bool], expected: str):
    try:
        number = kind(text)
    except ValueError:
        number = None
    if number is None or not is_allowed(number):
        raise argparse.ArgumentTypeError(f"expected {expected}, not {text!r}")
    return number
