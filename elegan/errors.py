"""What elegan raises when a person has to act: one line that says what came, what was expected and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class EleganError(Exception):
    """A mistake a person can mend. The command line prints it as one line and exits with code 2."""


class DataError(EleganError):
    """The data cannot be used as asked."""


class NoSplitError(DataError):
    """The data is there, and has no split of the name that was asked for."""


class OptionError(EleganError):
    """An option, a recipe or a command that does not exist or does not fit."""


class RunError(EleganError):
    """A run directory or a checkpoint that cannot be used."""


class NotFiniteError(EleganError):
    """Training met a NaN or an infinity and stopped before using it."""


def nearest(name: str, known: Iterable[str]) -> str:
    """A sentence that helps after the unknown `name`: what begins so, or the nearest spelling if one is close, else all that is known."""
    options = sorted(known)
    begun = [option for option in options if len(name) > 2 and option.startswith(name)]
    close = begun or difflib.get_close_matches(name, options, n=1, cutoff=0.6)
    if close:
        return f"Did you mean {close[0]!r}?"
    return f"Known: {', '.join(options)}." if options else ""


def printable(text: str) -> str:
    """`text` as a terminal may have it: names come from files, and could hold what a terminal takes for commands."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape", "surrogatepass").decode() for c in text)
