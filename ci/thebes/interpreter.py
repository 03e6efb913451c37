"""Which Python runs the user's tests. Theirs, not ours: Thebes lives in an environment of its own."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from .errors import InputError
from .model import Value

PROBE = (
    "import sys; v = '%d.%d' % sys.version_info[:2]\n"
    "try:\n import pytest\nexcept ImportError:\n print(v, '-')\nelse:\n print(v, pytest.__version__)"
)
OLDEST_PYTEST = 8


class Interpreter(Value, frozen=True, kw_only=True):
    """A Python that can run the tests: where it is, why it was chosen, its version as in "3.12"."""

    path: str
    why: str
    python: str
    pytest: str


def find(folder: Path, environment: Mapping[str, str], configured: str | None = None) -> Interpreter:
    """The interpreter for the project in `folder`.

    In this order: the one that is configured, the active virtual environment, `.venv` or `venv` in the project
    or above it, the first Python on PATH that has pytest, the one that runs Thebes. The first three are taken at
    their word: without pytest they are an error, not a reason to look further.
    """
    for path, why in _named(folder, environment, configured):
        found = probe(path, why)
        if found is None:
            raise InputError(f"{path} ({why}): has no pytest; install it there, or name another with --interpreter")
        return _supported(found)
    for path, why in _likely(environment):
        if found := probe(path, why):
            return _supported(found)
    raise InputError(f"{folder}: no Python with pytest found; name one with --interpreter")


def _named(folder: Path, environment: Mapping[str, str], configured: str | None) -> Iterator[tuple[str, str]]:
    if configured:
        path = folder / configured if "/" in configured else Path(shutil.which(configured) or configured)
        yield str(path), "as configured"
    if active := environment.get("VIRTUAL_ENV"):
        yield str(Path(active) / "bin" / "python"), "the active virtual environment"
    for place in (folder, *folder.parents):
        for name in (".venv", "venv"):
            if (python := place / name / "bin" / "python").exists():
                yield str(python), f"the project's {name}"
        if (place / ".git").exists():
            return


def _likely(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name in ("python", "python3"):
        if path := shutil.which(name, path=environment.get("PATH")):
            yield path, f"{name} on PATH"
    yield sys.executable, "the one that runs Thebes"


def probe(path: str, why: str) -> Interpreter | None:
    """The interpreter at `path`, or None if it has no pytest. InputError: it can't be run."""
    try:
        done = subprocess.run([path, "-c", PROBE], capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        raise InputError(f"{path} ({why}): can't be run: {error}") from None
    python, _, version = done.stdout.strip().rpartition("\n")[2].partition(" ")
    return None if version in {"", "-"} else Interpreter(path=path, why=why, python=python, pytest=version)


def _supported(found: Interpreter) -> Interpreter:
    if int(found.pytest.partition(".")[0]) < OLDEST_PYTEST:
        raise InputError(f"{found.path}: pytest {found.pytest}; {OLDEST_PYTEST} or newer is needed")
    return found


def child_environment(environment: Mapping[str, str], interpreter: str) -> dict[str, str]:
    """The environment for the user's commands: their Python's folder first on PATH, and we as their parent."""
    folder = str(Path(interpreter).parent)
    return {
        **environment,
        "PATH": folder + os.pathsep + environment.get("PATH", os.defpath),
        "THEBES_PARENT": str(os.getpid()),
    }
