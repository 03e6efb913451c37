"""What a repository tells: Pythons, test folders, lock file, tools, services, owner, runners."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from thebes.github.environment import CLASSIFIER, LOCKS, parse
from thebes.model import GATES, Value
from thebes.repository import git

OLDEST, NEWEST = 11, 14  # minor versions of Python 3 that the kit runs under
COMPOSE = ("compose.yml", "compose.yaml", "docker-compose.yml", "docker-compose.yaml")
IMAGE = re.compile(r"^\s*image:\s*[\"']?(?:[\w.-]+/)*(postgres|redis):v?(\d+(?:\.\d+)?)", re.MULTILINE)
REMOTE = re.compile(r"github\.com[:/]([\w-]+)/([\w.-]+?)(?:\.git)?/?$")
TOOLS = ("ruff", "mypy", "pyright", "bandit", "pip-audit", "detect-secrets", "zizmor", "actionlint")
# `runs-on` of a job: one label, a list in brackets, or one below the other.
RUNS_ON = re.compile(
    r"^ +runs-on: *(?:\[(?P<list>[^\]\n]*)\]|(?P<one>[\w.-]+))? *(?:#.*)?(?P<rows>(?:\n +- *[\w.\"'-]+ *(?:#.*)?$)*)$",
    re.MULTILINE,
)
SELF_HOSTED = "self-hosted"
PYTEST_FILES = ("pytest.ini", ".pytest.ini", "tox.ini", "setup.cfg")
TIMEOUT = re.compile(r"^timeout *= *[0-9]|--timeout[ =][0-9]", re.MULTILINE)
LIMIT = 8 << 20  # bytes of a file that is looked into


class Found(Value, frozen=True, kw_only=True):
    """`pythons`: minor versions such as "3.12"; `others`: those that the kit does not run under. `gates`: those that
    have a folder in `tests`. `tools`: checkers that the project's dependencies name. `services`: versions by name.
    `repository`: OWNER/NAME on GitHub, or empty. `labels`: of the self-hosted runners that its workflows use most, none
    where they use none. `limited`: pytest-timeout has a limit for its tests."""

    pythons: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    gates: tuple[str, ...] = ()
    lock: str = ""
    tools: tuple[str, ...] = ()
    services: dict[str, tuple[str, ...]] = {}
    repository: str = ""
    labels: tuple[str, ...] = ()
    limited: bool = False


def look(folder: Path) -> Found:
    """Look at the repository in `folder`. What can't be read tells nothing."""
    pyproject = parse(_text(folder / "pyproject.toml"))
    installed = {_name(one) for one in (*_dependencies(pyproject), *_requirements(folder))}
    pythons = _pythons(pyproject)
    return Found(
        pythons=tuple(python for python in pythons if _supported(python)),
        others=tuple(python for python in pythons if not _supported(python)),
        gates=tuple(gate for gate in GATES if any((folder / top / gate).is_dir() for top in ("tests", "test"))),
        lock=next((name for name in LOCKS if (folder / name).is_file()), ""),
        tools=tuple(tool for tool in TOOLS if tool in installed),
        services=_services(folder),
        repository=_repository(folder),
        labels=_labels(folder),
        limited=_limited(folder, pyproject),
    )


def _limited(folder: Path, pyproject: Mapping[str, Any]) -> bool:
    options = _table(_table(_table(pyproject.get("tool")).get("pytest")).get("ini_options"))
    texts = [str(options.get("addopts", "")), *(_text(folder / name) for name in PYTEST_FILES)]
    return "timeout" in options or any(TIMEOUT.search(text) for text in texts)


def _pythons(pyproject: Mapping[str, Any]) -> tuple[str, ...]:
    """From the classifiers, the oldest first."""
    project = pyproject.get("project")
    classifiers = project.get("classifiers") if isinstance(project, dict) else None
    found = CLASSIFIER.findall("\n".join(map(str, classifiers))) if isinstance(classifiers, list) else []
    minors = sorted({int(version[2:]) for version in found})
    return tuple(f"3.{minor}" for minor in minors)


def _supported(python: str) -> bool:
    return OLDEST <= int(python[2:]) <= NEWEST


def _requirements(folder: Path) -> Iterator[str]:
    for pattern in ("*requirements*.txt", "requirements/*.txt"):
        for path in sorted(folder.glob(pattern)):
            yield from _text(path).splitlines()


def _dependencies(pyproject: Mapping[str, Any]) -> Iterator[str]:
    """What pyproject.toml asks for, wherever it says so."""
    project, poetry = _table(pyproject.get("project")), _table(_table(pyproject.get("tool")).get("poetry"))
    lists = [project.get("dependencies"), *_table(project.get("optional-dependencies")).values()]
    lists += _table(pyproject.get("dependency-groups")).values()
    for found in lists:
        yield from (one for one in found if isinstance(one, str)) if isinstance(found, list) else ()
    for group in (poetry, *_table(poetry.get("group")).values()):
        yield from _table(_table(group).get("dependencies"))


def _name(requirement: str) -> str:
    """The package of a requirement, as PyPI spells it."""
    match = re.match(r"\s*([A-Za-z0-9][\w.-]*)", requirement)
    return re.sub(r"[-_.]+", "-", match[1]).lower() if match else ""


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _services(folder: Path) -> dict[str, tuple[str, ...]]:
    """Servers that the compose files start, by their images."""
    found: dict[str, set[str]] = {}
    for name in COMPOSE:
        for service, version in IMAGE.findall(_text(folder / name)):
            found.setdefault(service, set()).add(version)
    return {
        service: tuple(sorted(versions, key=lambda text: [*map(int, text.split("."))]))
        for service, versions in sorted(found.items())
    }


def _repository(folder: Path) -> str:
    match = REMOTE.search(git(folder, "remote", "get-url", "origin") or "")
    return f"{match[1]}/{match[2]}" if match else ""


def _labels(folder: Path) -> tuple[str, ...]:
    """The labels that most jobs of the workflows ask for, among those that ask for self-hosted runners."""
    texts = [_text(path) for path in sorted((folder / ".github" / "workflows").glob("*.y*ml"))]
    found = Counter(_words(match) for text in texts for match in RUNS_ON.finditer(text))
    return next((labels for labels, _ in found.most_common() if SELF_HOSTED in labels), ())


def _words(match: re.Match[str]) -> tuple[str, ...]:
    told = match["one"] or match["list"] or re.sub(r"#.*|\n +-", ",", match["rows"])
    return tuple(word.strip(" \"'") for word in told.split(",") if word.strip(" \"'"))


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(LIMIT).decode("utf-8", "replace")
    except OSError:
        return ""
