"""The one family of exceptions. Each carries one line of text and the exit code that goes with it."""

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
