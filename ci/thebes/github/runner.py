"""The files and commands by which a step talks to its runner. Untrusted text never becomes one of them."""

import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from thebes.errors import InputError

SUMMARY_LIMIT = 1 << 20  # bytes for a step; GitHub drops a summary that is larger
# Through these a process gives orders to the steps after it: not for tests.
COMMAND_FILES = ("GITHUB_ENV", "GITHUB_OUTPUT", "GITHUB_PATH", "GITHUB_STATE", "GITHUB_STEP_SUMMARY")
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,199}")
FILE_LIMIT = 48 * 1024  # bytes of an env-file; GitHub's own limit for a secret

Write = Callable[[str], object]


def set_outputs(environment: Mapping[str, str], values: Mapping[str, str]) -> None:
    """Outputs of the step; nothing where there is no runner to hear them."""
    text = "".join(_output(name, value) for name, value in values.items())
    _append(environment.get("GITHUB_OUTPUT"), text)


def _output(name: str, value: str) -> str:
    """A value stands between two lines that it can't contain."""
    mark = f"thebes-{secrets.token_hex(16)}"
    return f"{name}<<{mark}\n{value}\n{mark}\n"


def add_summary(environment: Mapping[str, str], text: str) -> None:
    """Append to the job's page, if there is room for all of it."""
    path = environment.get("GITHUB_STEP_SUMMARY")
    if path and len(text.encode()) + _size(path) > SUMMARY_LIMIT:
        text = "The summary did not fit on this page; the report has everything.\n"
    _append(path, text)


def _size(path: str) -> int:
    return Path(path).stat().st_size if Path(path).exists() else 0


def _append(path: str | None, text: str) -> None:
    if path:
        with Path(path).open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)


@contextmanager
def inert(write: Write) -> Iterator[None]:
    """What is printed within is text for the runner: a test's `::error::` or `::add-mask::` does nothing."""
    token = f"thebes-{secrets.token_hex(16)}"
    write(f"::stop-commands::{token}\n")
    try:
        yield
    finally:
        write(f"\n::{token}::\n")


def command(kind: str, text: str) -> str:
    """A workflow command with nothing but a message."""
    from thebes.publish.text import command_data  # noqa: PLC0415  (with it comes all that writes reports)

    return f"::{kind}::{command_data(text)}"


def without_command_files(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment for other people's commands."""
    return {name: value for name, value in environment.items() if name not in COMMAND_FILES}


def dotenv(text: str, source: str) -> dict[str, str]:
    """Variables of a dotenv text: NAME=value, one a line; `export`, comments and one pair of quotes are understood.

    InputError names the line by its number, never by its content: it is a secret.
    """
    if len(text.encode()) > FILE_LIMIT:
        raise InputError(f"{source}: more than {FILE_LIMIT} bytes")
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not (line := line.strip()) or line.startswith("#"):
            continue
        name, equals, value = line.removeprefix("export ").partition("=")
        if not equals or not NAME.fullmatch(name.strip()):
            raise InputError(f"{source}: line {number} is not NAME=value")
        found[name.strip()] = _value(value.strip(), f"{source}: line {number}")
    return found


def _value(text: str, where: str) -> str:
    quote = text[:1]
    if quote not in {'"', "'"}:
        return text.partition(" #")[0].rstrip()
    inner, end, rest = text[1:].rpartition(quote)
    if not end or (rest.strip() and not rest.strip().startswith("#")):
        raise InputError(f"{where} has a quote that is not closed")
    return inner.replace(r"\n", "\n").replace(r"\"", '"') if quote == '"' else inner


def masks(values: Mapping[str, str]) -> list[str]:
    """Commands that hide the values in every log that follows; lines of a value each for itself."""
    lines = {line for value in values.values() for line in value.splitlines() if len(line) > 3}
    return [f"::add-mask::{line.replace('%', '%25').replace(chr(13), '%0D')}" for line in sorted(lines)]
