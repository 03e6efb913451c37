"""The environment of the user's tests: which Python, installed how, and kept in the cache under which key. Pure."""

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from hashlib import blake2b
from pathlib import PurePosixPath
from typing import Any

from thebes.model import Value

FOLDER = ".venv"
DEFAULT_PYTHON = "3.13"
CLASSIFIER = re.compile(r"Programming Language :: Python :: (3\.\d+)")
# What the tests of a project are usually called to need, in the order of likelihood.
EXTRAS = ("test", "tests", "testing", "dev")
# What Python 3.11 and 3.12 bring along does not know groups.
PIP_WITH_GROUPS = ("python", "-m", "pip", "install", "pip>=25.1")
REQUIREMENTS = re.compile(
    r"(requirements/)?((dev|test|tests|testing|ci)[-_]requirements|requirements([-_](dev|test|tests|testing|ci))?|(?<=/)(dev|test|tests|testing|ci))\.txt"
)
MANIFESTS = ("pyproject.toml", "setup.cfg", "setup.py", "Pipfile.lock", "pylock.toml")
LOCKS = {"uv.lock": "uv", "poetry.lock": "poetry", "pdm.lock": "pdm"}


class Recipe(Value, frozen=True, kw_only=True):
    """How an environment is made. `tool`: uv, poetry, pdm, pip, or "" for the user's own command. `commands` run one
    after the other, in the environment; `files` name everything that decides what gets installed; `locked`: those
    files alone do."""

    tool: str
    commands: tuple[tuple[str, ...], ...]
    files: tuple[str, ...]
    locked: bool


def recipe(files: Sequence[str], pyproject: Mapping[str, Any], install: str) -> Recipe:
    """How to install. `files`: names of the files in the folder and in `requirements/`; `install`: a command that
    was given, which wins over what the files tell."""
    relevant = tuple(sorted(file for file in files if _relevant(file)))
    lock = next((name for name in LOCKS if name in files), None)
    if install.strip():
        return Recipe(
            tool="", commands=(("bash", "-euo", "pipefail", "-c", install),), files=relevant, locked=bool(lock)
        )
    if lock:
        return Recipe(tool=LOCKS[lock], commands=(_locked(LOCKS[lock]),), files=relevant, locked=True)
    wanted = _arguments(relevant, files, pyproject)
    newer = (PIP_WITH_GROUPS,) if "--group" in wanted else ()
    commands = (*newer, ("python", "-m", "pip", "install", *wanted))
    return Recipe(tool="pip", commands=commands, files=relevant, locked=False)


def _relevant(file: str) -> bool:
    return file in LOCKS or file in MANIFESTS or REQUIREMENTS.fullmatch(file) is not None


def _locked(tool: str) -> tuple[str, ...]:
    return {
        "uv": ("uv", "sync", "--frozen", "--all-extras", "--all-groups"),
        "poetry": ("poetry", "install", "--no-interaction", "--all-extras", "--all-groups"),
        "pdm": ("pdm", "sync", "--group", ":all"),
    }[tool]


def _arguments(relevant: Sequence[str], files: Sequence[str], pyproject: Mapping[str, Any]) -> Iterable[str]:
    """What pip is asked for: files of requirements, groups, the project itself with its extra for tests. And pytest,
    which some leave to tox or hatch: whoever asks for a version of it gets that."""
    wanted: list[str] = []
    for file in relevant:
        if file.endswith(".txt"):
            wanted += ["--requirement", file]
    groups = _table(pyproject.get("dependency-groups"))
    for group in (name for name in EXTRAS if name in groups):
        wanted += ["--group", group]
    if "project" in pyproject or "build-system" in pyproject or "setup.py" in files:
        extras = _table(_table(pyproject.get("project")).get("optional-dependencies"))
        found = [name for name in EXTRAS if name in extras]
        wanted += ["--editable", f".[{','.join(found)}]" if found else "."]
    return [*wanted, "pytest"]


def pythons(given: str, configured: Sequence[str], version_file: str, pyproject: Mapping[str, Any]) -> tuple[str, ...]:
    """The Pythons to test with: as given, as configured, as `.python-version` says, else the newest the project
    names in its classifiers, else a recent one."""
    if words := re.split(r"[,\s]+", given.strip()):
        named = tuple(word for word in words if word)
        if named:
            return named
    if configured:
        return tuple(configured)
    if match := re.match(r"\s*(3\.\d+)", version_file):
        return (match[1],)
    classifiers = _table(pyproject.get("project")).get("classifiers")
    found = CLASSIFIER.findall("\n".join(map(str, classifiers))) if isinstance(classifiers, list) else []
    return (max(found, key=lambda version: int(version[2:])) if found else DEFAULT_PYTHON,)


def key(made: Recipe, contents: Mapping[str, bytes], machine: Sequence[str], bust: str, today: date) -> str:
    """The name of the environment in the cache.

    It tells apart all that an environment depends on: Python and machine (`machine`), how it is made, what the files
    say; GitHub's cache adds the folder. Without a lock file also the week, as the packages of one week need not be
    those of the next.
    """
    week = "" if made.locked else "{}-{}".format(*today.isocalendar()[:2])
    digest = blake2b(digest_size=16)
    for part in (bust, week, *machine, *(word for command in made.commands for word in command)):
        digest.update(part.encode() + b"\0")
    for name in sorted(contents):
        digest.update(name.encode() + b"\0" + blake2b(contents[name], digest_size=16).digest())
    return f"thebes-environment-{digest.hexdigest()}"


def parse(text: str) -> Mapping[str, Any]:
    """A pyproject.toml, as far as it can be read: what is wrong with it, its own tool says better."""
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError):
        return {}


def candidates(names: Iterable[str]) -> list[str]:
    """Of the files at hand (relative paths), those that may decide what is installed."""
    return sorted(name for name in names if len(PurePosixPath(name).parts) <= 2 and _relevant(name))


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
