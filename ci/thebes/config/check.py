"""Refuses values that are of the right type and mean nothing."""

import re
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath

from thebes.errors import InputError
from thebes.model import GATES
from thebes.plugin.thebes_plugin.split import SPEEDS

from .keys import known_name
from .tables import Config, PlanConfig, Profile, ServiceConfig
from .values import limit, python, seconds, service_version, size, size_limit, workers

SHIPPED = ("postgres", "redis")
SOURCES = ("url", "path", "docker", "embedded")
LABEL = 50  # characters of a label that GitHub takes


def refuse_values(config: Config, where: str) -> None:
    for gate in config.required_gates:
        known_name(gate, GATES, f"{where}.required-gates")
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
            known_name(one, known, f"{where}.{key}")
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
        known_name(source, SOURCES, f"{where}.sources")
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
        known_name(name, known, where)
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
    for key, globs in (("whole", config.whole), ("serial", config.serial), ("together", config.together)):
        for glob in globs:
            if glob.startswith(("/", "./", "../")) or (glob.startswith("@") and key != "together"):
                raise InputError(f"{where}.{key}: {glob!r} is no glob of files below the project's root")
    for speed in config.runner_speeds:
        if not 0.01 <= speed <= 100:
            raise InputError(f"{where}.runner-speeds: {speed:g} is not between 0.01 and 100; 1 is the usual machine")
