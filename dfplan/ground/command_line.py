"""The parts that all commands share: a parser, types of arguments, and exit status 2 for a user's mistake."""

import argparse
import functools
import sys
from collections.abc import Callable
from typing import NoReturn

from dfplan.ground.errors import InputError

LARGEST_SEED = 2**32 - 1  # every random number generator accepts seeds up to this one


def exit_two_on_input_error(main: Callable[[], None]) -> Callable[[], None]:
    """Return a version of ``main`` that prints the message of an ``InputError`` and exits with status 2."""

    @functools.wraps(main)
    def guarded() -> None:
        try:
            main()
        except InputError as error:
            print(f"{sys.argv[0].rsplit('/', 1)[-1]}: {error}", file=sys.stderr)
            sys.exit(2)

    return guarded


class _DefaultsFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Formats the help text; it shows the default of every option that has one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default in (None, False) else super()._get_help_string(action)


class CommandParser(argparse.ArgumentParser):
    """An argument parser that raises an ``InputError`` of one sentence instead of printing its usage.

    Options must be written in full, because a new option could change the meaning of an abbreviation.
    """

    def __init__(self, *args, **kwargs) -> None:
        kwargs.setdefault("allow_abbrev", False)
        kwargs.setdefault("formatter_class", _DefaultsFormatter)
        super().__init__(*args, **kwargs)

    def error(self, message: str) -> NoReturn:
        """Raise an ``InputError`` with the message; ``exit_two_on_input_error`` prints it."""
        raise InputError(f"{message.rstrip('.')}; see --help.")


def positive_integer(text: str) -> int:
    """Parse a whole number of at least 1. Like the functions below, it is a ``type`` of ``add_argument``."""
    return _parse(text, int, lambda number: number >= 1, "a whole number of 1 or more")


def natural_number(text: str) -> int:
    """Parse a whole number of at least 0."""
    return _parse(text, int, lambda number: number >= 0, "a whole number of 0 or more")


def seed_number(text: str) -> int:
    """Parse a seed: a whole number from 0 to ``LARGEST_SEED``."""
    return _parse(text, int, lambda number: 0 <= number <= LARGEST_SEED, f"a whole number from 0 to {LARGEST_SEED}")


def positive_number(text: str) -> float:
    """Parse a finite number above 0."""
    return _parse(text, float, lambda number: 0 < number < float("inf"), "a number above 0")


def non_negative_number(text: str) -> float:
    """Parse a finite number of at least 0."""
    return _parse(text, float, lambda number: 0 <= number < float("inf"), "a number of 0 or more")


def share(text: str) -> float:
    """Parse a share: a number from 0 to 1."""
    return _parse(text, float, lambda number: 0 <= number <= 1, "a number from 0 to 1")


def channels(text: str) -> tuple[int, ...]:
    """Parse different channel numbers that are separated by commas; ``none`` stands for no channel."""
    if text.strip() == "none":
        return ()
    try:
        numbers = tuple(int(number) for number in text.split(","))
    except ValueError:
        numbers = (-1,)
    if min(numbers) < 0 or len(set(numbers)) < len(numbers):
        raise argparse.ArgumentTypeError(f"expected channel numbers such as 0,1, or none, not {text!r}")
    return numbers


def _parse(text: str, kind: Callable, is_allowed: Callable[..., bool], expected: str):
    try:
        number = kind(text)
    except ValueError:
        number = None
    if number is None or not is_allowed(number):
        raise argparse.ArgumentTypeError(f"expected {expected}, not {text!r}")
    return number
