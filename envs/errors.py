"""The one way in which dfplan tells users about a mistake of theirs: one sentence, exit status 2."""

import functools
import sys
from collections.abc import Callable, Iterable
from difflib import get_close_matches


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
