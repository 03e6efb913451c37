"""Where a failure is, told from what pytest said about it. Pure."""

import re
from pathlib import PurePosixPath
from typing import NamedTuple

# The last line of pytest's tracebacks: where the exception came from, relative to where pytest ran.
_LAST_LINE = re.compile(r"^(?P<path>[^\n:]+):(?P<line>\d{1,9}): (?P<exception>[A-Za-z_][\w.]*)\s*\Z", re.MULTILINE)
_FRAME = re.compile(r"^(?P<path>[^\s:>][^\n:]*\.py):(?P<line>\d{1,9}): ?", re.MULTILINE)
_EXCEPTION = re.compile(r"(?P<name>[A-Za-z_][\w.]*)(?::|\s*\Z)")
_LIBRARY = re.compile(r".*/(?=(?:site|dist)-packages/|lib/python3)")


class Place(NamedTuple):
    """`line` counts from 1; 0 is unknown. `path` is absolute only where it lies outside of the project."""

    path: str
    line: int
    exception: str


class Told(NamedTuple):
    """What a phase says: path and line of the exception, its message, the end of the traceback."""

    path: str
    line: int
    message: str
    tail: str


def place(told: Told, root: str, file: str) -> Place:
    """The place of a failure in the test file `file` of a project that lay in the folder `root`, if known."""
    last = _LAST_LINE.search(told.tail)
    exception = last["exception"] if last else exception_of(told.message)
    if not told.path:
        return Place(file, 0, exception)
    if root and told.path.startswith(root):
        return Place(told.path[len(root) :], told.line, exception)
    if last and _own(last["path"]):
        return Place(last["path"], int(last["line"]), exception)
    return Place(_LIBRARY.sub("/…/", told.path), told.line, exception)


def deepest(text: str) -> tuple[str, int] | None:
    """The innermost frame of a traceback that lies in the project."""
    frames = [(match["path"], int(match["line"])) for match in _FRAME.finditer(text) if _own(match["path"])]
    return frames[-1] if frames else None


def exception_of(message: str) -> str:
    """The name of the exception that a message begins with; pytest leaves out AssertionError's."""
    if message.startswith("assert "):
        return "AssertionError"
    found = _EXCEPTION.match(message)
    return found["name"] if found else ""


def root_of(path: str, test: str) -> str | None:
    """The folder that the ids of tests are relative to, if `path` is the test's own file."""
    file = test.partition("::")[0]
    return path[: -len(file)] if file and path.endswith(f"/{file}") else None


def inside(rootdir: str, path: str) -> str:
    """A path in a project's root as one in the repository."""
    return path if rootdir in {"", "."} or path.startswith("/") else str(PurePosixPath(rootdir, path))


def _own(path: str) -> bool:
    return not path.startswith(("/", "..", "<"))
