"""Which Python runs the user's tests. Theirs, not ours: Thebes lives in an environment of its own."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from .errors import InputError
from .model import Value

# _pytest knows its version without importing the rest, which would take as long as starting a task.
PROBE = """
import sys
python = "python %d.%d" % sys.version_info[:2]
try:
    import _pytest
except ImportError:
    print(python, "without pytest")
else:
    print(python, "pytest", _pytest.__version__)
"""
ANSWER = re.compile(r"^python (3\.\d+) (?:without pytest|pytest (\d+\.\S*))$", re.MULTILINE)
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
        with contextlib.suppress(InputError):  # a leftover on PATH is no reason to give up
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
    """The interpreter at `path`, or None if it has no pytest. InputError: it can't be run, or is no Python."""
    try:
        done = subprocess.run([path, "-c", PROBE], capture_output=True, text=True, check=False, timeout=60)
    except OSError as error:
        raise InputError(f"{path} ({why}): can't be run: {error.strerror}") from None
    except (subprocess.TimeoutExpired, UnicodeDecodeError):
        raise InputError(f"{path} ({why}): does not answer as Python 3 would") from None
    answer = ANSWER.search(done.stdout)
    if done.returncode or not answer:
        raise InputError(f"{path} ({why}): does not answer as Python 3 would (exit code {done.returncode})")
    return Interpreter(path=path, why=why, python=answer[1], pytest=answer[2]) if answer[2] else None


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
