"""The one family of exceptions. Each carries one line of text and the exit code that goes with it."""

from collections.abc import Iterable
from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of every command."""

    PASS = 0
    FAIL = 1
    BAD_INPUT = 2
    EVIDENCE_MISSING = 3


class ThebesError(Exception):
    """Base: what went wrong, in one line that names the place, what was found and what was expected."""

    exit_code = Exit.BAD_INPUT


class InputError(ThebesError):
    """A file, key or option that can't be used as it is."""


class FormatError(InputError):
    """Bytes that are not the format, or not the version of it, that they should be."""


class EvidenceError(ThebesError):
    """What is needed to judge can't be had: not the user's input, but the proof is missing."""

    exit_code = Exit.EVIDENCE_MISSING


class NothingSelectedError(EvidenceError):
    """What was asked for selects nothing. Nothing is run, so nothing can be proved: INVALID."""

    def __init__(self, text: str) -> None:
        super().__init__(f"INVALID: {text}")


def nearest(name: str, known: Iterable[str]) -> str:
    """For a name that is not known: the one that was probably meant, as a question; empty if none is like it."""
    from difflib import get_close_matches  # noqa: PLC0415  (only for a mistake)

    found = get_close_matches(name, list(known), 1)
    return f"did you mean {found[0]!r}?" if found else ""


def hint(name: str, known: Iterable[str]) -> str:
    """The same, and where none is like it, all that are known."""
    known = list(known)
    return nearest(name, known) or f"there are {', '.join(known)}"
