"""`[tool.thebes]` in pyproject.toml: parsed strictly, with defaults that make it unnecessary."""

import datetime as dt
import re
import tomllib
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import Any, Literal, TypeVar

import msgspec

from .errors import InputError
from .model import GATES
from .plugin.thebes_plugin.split import SPEEDS

DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|h)")
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
SIZE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?(MiB|GiB|MB|GB)")
SIZES = {"MiB": 1 << 20, "GiB": 1 << 30, "MB": 10**6, "GB": 10**9}
SHIPPED = ("postgres", "redis")
LABEL = 50  # characters of a label that GitHub takes
SOURCES = ("url", "path", "docker", "embedded")
Leaks = Literal["none", "report", "fail"]


class Section(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """Base of all tables; keys are written with hyphens."""


T = TypeVar("T", bound=Section)


class GateConfig(Section, frozen=True, kw_only=True):
    """One gate. `paths` are folders or files it claims; `marker` narrows what runs; `checks` are commands;
    `test_limit` and `leaks` win over the project's. `services`: names, or versions by name; each combination of
    versions is a suite of its own. `changes`: globs of files; a change of none of them skips the gate."""

    paths: tuple[str, ...] = ()
    marker: str | None = None
    coverage: float | None = None
    changed_coverage: float | None = None
    checks: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()
    test_limit: str | None = None
    leaks: Leaks | None = None
    services: tuple[str, ...] | dict[str, tuple[str, ...]] = ()


class ServiceConfig(Section, frozen=True, kw_only=True):
    """A service: one that ships, adjusted, or one from a compose file. See docs/services.md."""

    sources: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    limit: str = "60s"
    image: str | None = None
    compose: str | None = None
    service: str | None = None
    port: int | None = None
    url: str | None = None


class PlanConfig(Section, frozen=True, kw_only=True):
    """What the planner keeps in one piece. `whole`: files that are never cut. `together`: "class" and "module" are
    never cut; a glob's files share a shard, and so do the tests with a marker, "@name". `serial`: files that run
    alone. `runner_speeds`: of the machines, the first shard for the first; 1 is the one that took the timings."""

    whole: tuple[str, ...] = ()
    together: tuple[str, ...] = ()
    serial: tuple[str, ...] = ()
    runner_speeds: tuple[float, ...] = ()


class Quarantine(Section, frozen=True, kw_only=True):
    """A test that cannot fail its gate until `expires`. `test` is a node id, or its part before `[`."""

    test: str
    owner: str
    expires: dt.date
    reason: str = ""


class Baseline(Section, frozen=True, kw_only=True):
    """Findings that are known and do not fail a check until `expires`: those of `rule` in files that `file`, a glob,
    matches; findings without a file are matched by an empty one."""

    rule: str
    file: str
    owner: str
    expires: dt.date
    reason: str = ""


class Profile(Section, frozen=True, kw_only=True):
    """A named set of defaults for options of `thebes run`: each key is an option's name, each value what would be
    typed after it. `args`: pytest arguments, before those that are typed."""

    gate: tuple[str, ...] = ()
    module: tuple[str, ...] = ()
    speed: tuple[str, ...] = ()
    failed: bool | None = None
    collect: bool | None = None
    python: tuple[str, ...] = ()
    shards: int | None = None
    target: str | None = None
    parallel: int | None = None
    workers: str | None = None
    jobs: int | None = None
    maxfail: int | None = None
    task_limit: str | None = None
    test_limit: str | None = None
    default_test_limit: str | None = None
    memory_limit: str | None = None
    measure_memory: bool | None = None
    isolate: Literal["module", "test"] | None = None
    coverage: bool | None = None
    foreground: bool | None = None
    times: bool | None = None
    flame: bool | None = None
    args: tuple[str, ...] = ()


class Config(Section, frozen=True, kw_only=True):
    """Everything that can be configured. Durations stand as in `target = "2m"`. `labels`: of pull requests, each with
    globs of the changed files that earn it."""

    python: tuple[str, ...] = ()
    interpreter: str | None = None
    projects: tuple[str, ...] = (".",)
    args: tuple[str, ...] = ()
    shards: int | None = None
    max_shards: int = 32
    target: str | None = None
    job_start: str | None = None
    workers: str | None = None
    task_limit: str = "2h"
    test_limit: str | None = None
    collect_limit: str | None = None
    memory_limit: str | None = None
    task_memory_limit: str | None = None
    measure_memory: bool = False
    isolate: Literal["module", "test"] | None = None
    leaks: Leaks | None = None
    speed_classes: tuple[str, str] = ("100ms", "1s")
    profiles: dict[str, Profile] = {}
    required_gates: tuple[str, ...] = ()
    gates: dict[str, GateConfig] = {}
    services: dict[str, ServiceConfig] = {}
    quarantine: tuple[Quarantine, ...] = ()
    baseline: tuple[Baseline, ...] = ()
    labels: dict[str, tuple[str, ...]] = {}
    history: str | None = None
    plan: PlanConfig = PlanConfig()
    max_tasks: int = 256
    price_per_minute: float | None = None


def load(folder: Path) -> Config:
    """The configuration of a project. No file, or none of our tables, is fine."""
    path = folder / "pyproject.toml"
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return Config()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: can't be read: {error}") from None
    return parse(text, str(path))


def parse(text: str, source: str) -> Config:
    """The configuration in the text of a pyproject.toml. InputError names the key, what was found and expected."""
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also an integer that is too long, nesting that is too deep
        raise InputError(f"{source}: not TOML: {error}") from None
    tool = document.get("tool", {})
    if not isinstance(tool, dict):
        raise InputError(f"{source}: tool: expected a table, found {tool!r}")
    table = tool.get("thebes", {})
    _refuse_unknown(table, f"{source}: tool.thebes")
    for name, gate in table.get("gates", {}).items():  # apart, because msgspec does not tell the gate's name
        _convert(gate, GateConfig, f"{source}: tool.thebes.gates.{name}")
    for name, service in table.get("services", {}).items():
        _convert(service, ServiceConfig, f"{source}: tool.thebes.services.{name}")
    for name, profile in table.get("profiles", {}).items():
        _convert(profile, Profile, f"{source}: tool.thebes.profiles.{name}")
    config = _convert(table, Config, f"{source}: tool.thebes")
    _refuse_values(config, f"{source}: tool.thebes")
    return config


def _convert(table: Any, kind: type[T], where: str) -> T:
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        what, _, place = str(error).partition(" - at `$")
        raise InputError(f"{where}{place.rstrip('`')}: {what}") from None


def _refuse_unknown(table: Any, where: str) -> None:
    _known_keys(table, Config, where)
    if not isinstance(table, dict):
        return
    gates = table.get("gates", {})
    _known_names(gates, GATES, f"{where}.gates")
    for name, gate in gates.items() if isinstance(gates, dict) else ():
        _known_keys(gate, GateConfig, f"{where}.gates.{name}")
    services = table.get("services", {})
    if not isinstance(services, dict):
        raise InputError(f"{where}.services: expected a table, found {services!r}")
    for name, service in services.items():
        _known_keys(service, ServiceConfig, f"{where}.services.{name}")
    profiles = table.get("profiles", {})
    if not isinstance(profiles, dict):
        raise InputError(f"{where}.profiles: expected a table, found {profiles!r}")
    for name, profile in profiles.items():
        _known_keys(profile, Profile, f"{where}.profiles.{name}")
    _known_keys(table.get("plan", {}), PlanConfig, f"{where}.plan")
    for name, kind in (("quarantine", Quarantine), ("baseline", Baseline)):
        entries = table.get(name, [])
        for entry in entries if isinstance(entries, list) else ():
            _known_keys(entry, kind, f"{where}.{name}")


def _known_keys(table: Any, kind: type[Section], where: str) -> None:
    _known_names(table, [field.encode_name for field in msgspec.structs.fields(kind)], where)


def _known_names(table: Any, known: Sequence[str], where: str) -> None:
    if not isinstance(table, dict):
        raise InputError(f"{where}: expected a table, found {table!r}")
    for name in table:
        _known_name(name, known, where)


def _known_name(name: str, known: Sequence[str], where: str) -> None:
    if name not in known:
        near = get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
        raise InputError(f"{where}: unknown key {name!r}; {hint}")


def _refuse_values(config: Config, where: str) -> None:
    for gate in config.required_gates:
        _known_name(gate, GATES, f"{where}.required-gates")
    for name, gate_config in config.gates.items():
        for key, percent in (("coverage", gate_config.coverage), ("changed-coverage", gate_config.changed_coverage)):
            if percent is not None and not 0 <= percent <= 100:
                raise InputError(f"{where}.gates.{name}.{key}: {percent:g} is not between 0 and 100")
        if gate_config.test_limit is not None:
            limit(gate_config.test_limit, f"{where}.gates.{name}.test-limit")
    _refuse_numbers(config, where)
    _refuse_limits(config, where)
    _refuse_plan(config.plan, f"{where}.plan")
    for name, service in config.services.items():
        _refuse_service(name, service, f"{where}.services.{name}")
    for name, gate_config in config.gates.items():
        _refuse_wanted(gate_config.services, (*SHIPPED, *config.services), f"{where}.gates.{name}.services")
    for version in config.python:
        python(version, f"{where}.python")
    _refuse_labels(config.labels, f"{where}.labels")
    _refuse_projects(config.projects, f"{where}.projects")
    for name, profile in config.profiles.items():
        _refuse_profile(name, profile, f"{where}.profiles.{name}")
    speed_limits(config, where)


def _refuse_profile(name: str, profile: Profile, where: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_-]{0,40}", name):
        raise InputError(f"{where}: {name!r} is not a name of small letters, digits, _ and -")
    for key, found, known in (("gate", profile.gate, GATES), ("speed", profile.speed, SPEEDS)):
        for one in found:
            _known_name(one, known, f"{where}.{key}")
    for key, number in (
        ("shards", profile.shards),
        ("parallel", profile.parallel),
        ("jobs", profile.jobs),
        ("maxfail", profile.maxfail),
    ):
        if number is not None and number < 1:
            raise InputError(f"{where}.{key}: {number} is not at least 1")
    checks: tuple[tuple[str, str | None, Callable[[str, str], object]], ...] = (
        ("target", profile.target, seconds),
        ("task-limit", profile.task_limit, limit),
        ("test-limit", profile.test_limit, limit),
        ("default-test-limit", profile.default_test_limit, limit),
        ("memory-limit", profile.memory_limit, size_limit),
        ("workers", profile.workers, workers),
        *(("python", version, python) for version in profile.python),
    )
    for key, text, check in checks:
        if text is not None:
            check(text, f"{where}.{key}")


def speed_limits(config: Config, where: str = "tool.thebes") -> tuple[float, float]:
    """From so many seconds on a test is medium, and slow."""
    medium, slow = (seconds(text, f"{where}.speed-classes") for text in config.speed_classes)
    if medium >= slow:
        raise InputError(
            f"{where}.speed-classes: {config.speed_classes[0]!r} is not less than {config.speed_classes[1]!r};"
            " expected where medium begins, then where slow begins"
        )
    return medium, slow


def _refuse_labels(labels: dict[str, tuple[str, ...]], where: str) -> None:
    for label, globs in labels.items():
        if not 0 < len(label.strip()) <= LABEL or not globs:
            raise InputError(f"{where}: {label!r}: expected a label of {LABEL} characters at most, with globs")


def _refuse_projects(projects: Sequence[str], where: str) -> None:
    if not projects:
        raise InputError(f'{where}: an empty list; expected folders, "." for the repository itself')
    for project in projects:
        path = PurePosixPath(project)
        if path.is_absolute() or ".." in path.parts:
            raise InputError(f"{where}: {project!r} is not a folder inside the repository")
        if path.as_posix() != project:
            raise InputError(f"{where}: {project!r} has a plainer form; write {path.as_posix()!r}")
        if projects.count(project) > 1:
            raise InputError(f"{where}: {project!r} stands there {projects.count(project)} times")


def _refuse_numbers(config: Config, where: str) -> None:
    for key, value in (
        ("max-shards", config.max_shards),
        ("shards", config.shards),
        ("max-tasks", config.max_tasks),
    ):
        if value is not None and value < 1:
            raise InputError(f"{where}.{key}: {value} is not at least 1")
    for key, text in (
        ("target", config.target),
        ("job-start", config.job_start),
    ):
        if text is not None:
            seconds(text, f"{where}.{key}")
    limit(config.task_limit, f"{where}.task-limit")
    if config.price_per_minute is not None and config.price_per_minute < 0:
        raise InputError(f"{where}.price-per-minute: {config.price_per_minute:g} is less than nothing")
    if config.workers is not None:
        workers(config.workers, f"{where}.workers")


def _refuse_limits(config: Config, where: str) -> None:
    for key, text in (("test-limit", config.test_limit), ("collect-limit", config.collect_limit)):
        if text is not None:
            limit(text, f"{where}.{key}")
    for key, text in (("memory-limit", config.memory_limit), ("task-memory-limit", config.task_memory_limit)):
        if text is not None:
            size(text, f"{where}.{key}")


def _refuse_service(name: str, config: ServiceConfig, where: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_-]{0,40}", name):
        raise InputError(f"{where}: {name!r} is not a name of small letters, digits, _ and -")
    for source in config.sources:
        _known_name(source, SOURCES, f"{where}.sources")
    for variable in config.variables:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,100}", variable):
            raise InputError(f"{where}.variables: {variable!r} is not the name of an environment variable")
    seconds(config.limit, f"{where}.limit")
    own = {"compose": config.compose, "port": config.port, "url": config.url}
    if name in SHIPPED:
        if told := [key for key, value in own.items() if value is not None]:
            raise InputError(f"{where}.{told[0]}: not for {name}, which ships; give yours another name")
        return
    if config.image is not None:
        raise InputError(f"{where}.image: only for {' and '.join(SHIPPED)}; the compose file names yours")
    if missing := [key for key, value in own.items() if value is None]:
        raise InputError(f"{where}: without {missing[0]}; a service needs {', '.join(own)}")
    if not 1 <= (config.port or 0) <= 65535:
        raise InputError(f"{where}.port: {config.port} is not between 1 and 65535")
    _refuse_url(config.url or "", f"{where}.url")


def _refuse_url(url: str, where: str) -> None:
    try:
        url.format(host="", port=0)
    except (LookupError, ValueError, AttributeError, TypeError):
        raise InputError(f"{where}: {url!r} has other places than {{host}} and {{port}}") from None
    if "{port}" not in url:
        raise InputError(f"{where}: {url!r} is without the place {{port}}")


def _refuse_wanted(wanted: tuple[str, ...] | dict[str, tuple[str, ...]], known: Sequence[str], where: str) -> None:
    for name in wanted:
        _known_name(name, known, where)
    for name, versions in wanted.items() if isinstance(wanted, dict) else ():
        if not versions or len(set(versions)) < len(versions):
            raise InputError(f"{where}.{name}: expected different versions, found {list(versions)!r}")
        for version in versions:
            service_version(version, f"{where}.{name}")


def _refuse_plan(config: PlanConfig, where: str) -> None:
    for entry in config.together:
        if re.fullmatch(r"\w+", entry) and entry not in {"class", "module"}:
            raise InputError(
                f'{where}.together: {entry!r} is neither "class" nor "module" nor a glob of files;'
                f" a folder is written with a slash, {entry + '/'!r}, a marker with an at sign, {'@' + entry!r}"
            )
    for speed in config.runner_speeds:
        if not 0.01 <= speed <= 100:
            raise InputError(f"{where}.runner-speeds: {speed:g} is not between 0.01 and 100; 1 is the usual machine")


def seconds(text: str, where: str) -> float:
    """ "90s", "2m", "1h" as seconds. InputError names `where`."""
    match = DURATION.fullmatch(text.strip())
    if not match or not (value := float(match[1]) * UNITS[match[2]]):
        raise InputError(f'{where}: {text!r} is not a duration; expected a number with its unit, as in "90s" or "2m"')
    return value


def limit(text: str, where: str) -> float | None:
    """As `seconds`, or None for "none". InputError names `where`."""
    return None if text.strip() == "none" else seconds(text, where)


def size_limit(text: str, where: str) -> int | None:
    """As `size`, or None for "none". InputError names `where`."""
    return None if text.strip() == "none" else size(text, where)


def size(text: str, where: str) -> int:
    """ "512MiB", "1.5GB" in bytes. InputError names `where`."""
    match = SIZE.fullmatch(text.strip())
    if not match or not (value := int(float(match[1]) * SIZES[match[2]])):
        raise InputError(f'{where}: {text!r} is not a size; expected a number with its unit, as in "512MiB" or "2GB"')
    return value


def workers(text: str, where: str) -> str:
    """ "auto" or a number from 0. InputError names `where`."""
    if text != "auto" and not re.fullmatch(r"[0-9]{1,4}", text):
        raise InputError(f'{where}: {text!r} is neither "auto" nor a number')
    return text


def service_version(text: str, where: str) -> str:
    """A version as in "16" or "7.4". InputError names `where`."""
    if not re.fullmatch(r"[0-9A-Za-z][0-9A-Za-z._-]{0,40}", text):
        raise InputError(f'{where}: {text!r} is not a version such as "16"')
    return text


def python(text: str, where: str) -> str:
    """A version as in "3.12". InputError names `where`."""
    if not re.fullmatch(r"3\.[0-9]{1,2}", text):
        raise InputError(f'{where}: {text!r} is not a version such as "3.12"')
    return text
