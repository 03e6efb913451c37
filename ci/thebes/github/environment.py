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
# Below it, so that the cache keeps it along: what makes the next set-up short, out of the tests' sight.
KEPT = f"{FOLDER}/.thebes"
BACKEND = f"{KEPT}/build"
DEFAULT_PYTHON = "3.13"
CLASSIFIER = re.compile(r"Programming Language :: Python :: (3\.\d+)")
# What the tests of a project are usually called to need, in the order of likelihood.
EXTRAS = ("test", "tests", "testing", "dev")
# What Python 3.11 and 3.12 bring along does not know groups.
PIP = ("python", "-m", "pip")
PIP_WITH_GROUPS = (*PIP, "install", "pip>=25.1")
# What pip takes for a project that does not say how it is built.
SETUPTOOLS = ("setuptools>=40.8.0",)
LEGACY = "setuptools.build_meta:__legacy__"
REQUIREMENTS = re.compile(
    r"(requirements/)?((dev|test|tests|testing|ci)[-_]requirements|requirements([-_](dev|test|tests|testing|ci))?|(?<=/)(dev|test|tests|testing|ci))\.txt"
)
MANIFESTS = ("pyproject.toml", "setup.cfg", "setup.py", "Pipfile.lock", "pylock.toml")
LOCKS = {"uv.lock": "uv", "poetry.lock": "poetry", "pdm.lock": "pdm"}


class Build(Value, frozen=True, kw_only=True):
    """How the project called `name` is built, by its `build-system`: what the backend needs, its name as
    MODULE:OBJECT, and folders of the project that it is looked for in."""

    name: str
    requires: tuple[str, ...]
    backend: str
    path: tuple[str, ...]


class Again(Value, frozen=True, kw_only=True):
    """What brings an environment from the cache to this commit without asking an index: `project` installs the
    project and nothing else, with what it is built from in the folder BACKEND; `check` fails unless everything else
    that was asked for is there."""

    build: Build
    project: tuple[str, ...]
    check: tuple[str, ...]


class Recipe(Value, frozen=True, kw_only=True):
    """How an environment is made. `tool`: uv, poetry, pdm, pip, or "" for the user's own command. `commands` run one
    after the other, in the environment; `files` name everything that decides what gets installed; `locked`: those
    files alone do. `again`: the short way for an environment from the cache; None where there is none."""

    tool: str
    commands: tuple[tuple[str, ...], ...]
    files: tuple[str, ...]
    locked: bool
    again: Again | None = None


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
    commands = (*newer, (*PIP, "install", *wanted))
    again = _again(wanted, pyproject)
    return Recipe(tool="pip", commands=commands, files=relevant, locked=False, again=again)


def _again(wanted: Sequence[str], pyproject: Mapping[str, Any]) -> Again | None:
    """Needs the project's name, which only its own table tells without a build."""
    name = _table(pyproject.get("project")).get("name")
    if "--editable" not in wanted or not isinstance(name, str):
        return None
    at = wanted.index("--editable")
    installed = name + wanted[at + 1].removeprefix(".")
    return Again(
        build=_build(name, pyproject),
        project=(*PIP, "install", "--no-index", "--no-deps", "--no-build-isolation", "--editable", "."),
        check=(*PIP, "install", "--no-index", *wanted[:at], installed, *wanted[at + 2 :]),
    )


def _build(name: str, pyproject: Mapping[str, Any]) -> Build:
    system = _table(pyproject.get("build-system"))
    backend = system.get("build-backend")
    return Build(
        name=name,
        requires=_texts(system.get("requires")) or SETUPTOOLS,
        backend=backend if isinstance(backend, str) else LEGACY,
        path=_texts(system.get("backend-path")),
    )


def _relevant(file: str) -> bool:
    return file in LOCKS or file in MANIFESTS or REQUIREMENTS.fullmatch(file) is not None


def _locked(tool: str) -> tuple[str, ...]:
    return {
        "uv": ("uv", "sync", "--frozen", "--all-extras", "--all-groups"),
        "poetry": ("poetry", "install", "--no-interaction", "--all-extras", "--all-groups"),
        "pdm": ("pdm", "sync", "--group", ":all"),
    }[tool]


def _arguments(relevant: Sequence[str], files: Sequence[str], pyproject: Mapping[str, Any]) -> Sequence[str]:
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


def _texts(value: object) -> tuple[str, ...]:
    return tuple(word for word in value if isinstance(word, str)) if isinstance(value, list) else ()
