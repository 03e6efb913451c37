"""Finds who can serve what is asked for, in the designed order, and starts it there.

A source that has nothing to offer is passed over, with the reason; one that was named (a URL) and does not answer is
an error, because something else than what was meant would be tested.
"""

import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

from thebes.errors import InputError

from . import compose
from .kinds import Kind, NotReadyError, Place
from .launch import (
    HOST,
    Guarded,
    Instructions,
    data_folder,
    free_port,
    give,
    new_folder,
    new_password,
    owner,
    plain_environment,
    reachable,
    wait_until,
)
from .model import Server, Service, ServiceError, Source, matches, variable
from .postgres import Postgres
from .redis import Redis

KINDS: Mapping[str, Kind] = {"postgres": Postgres(), "redis": Redis()}
VERSION = re.compile(r"(?:v=|\)\s)(\d+(?:\.\d+)*)")
PORT_TRIES = 5
IN_USE = b"ddress already in use"


class Running(NamedTuple):
    """A server that answers; `guarded` is None where it is not ours."""

    server: Server
    guarded: Guarded | None


class Context(NamedTuple):
    """Where servers are started for: their logs' folder, the environment, who hears of progress, who may stop it.

    `name`: what this start is for, part of every name that must be unique. `detached`: they outlive us.
    """

    root: Path
    logs: Path
    environment: Mapping[str, str]
    name: str
    tell: Callable[[str], None]
    stopped: Callable[[], bool] = lambda: False
    detached: bool = False


class Starter(Protocol):
    """One source: starts the service, or says why it can't serve it. ServiceError: it should have and did not."""

    def __call__(self, service: Service, asked: str, context: Context) -> Running | str: ...


def start(service: Service, asked: str, context: Context) -> Running:
    """A server of the service in version `asked`. ServiceError names what was tried and the ways to get one."""
    tried = []
    for source in service.sources:
        found = STARTERS[source](service, asked, context)
        if not isinstance(found, str):
            return found
        tried.append(f"{source}: {found}")
    raise missing(service, asked, tried)


def missing(service: Service, asked: str, tried: Sequence[str]) -> ServiceError:
    return ServiceError("service-missing", f"{label(service, asked)}: {'; '.join(tried)}. {_ways(service, asked)}")


def label(service: Service, asked: str) -> str:
    return f"{service.name} {asked}" if asked else service.name


def _ways(service: Service, asked: str) -> str:
    """How somebody could come by one."""
    kind = KINDS.get(service.kind)
    ways = {Source.URL: f"set {variable(service.name)} to a server's URL"}
    if kind:
        ways[Source.PATH] = f"install {service.kind}{f' {asked}' if asked else ''}"
        ways[Source.EMBEDDED] = f"install {kind.embedded} beside Thebes (pip install 'thebes[services]')"
    ways[Source.DOCKER] = "start Docker"
    told = [way for source, way in ways.items() if source in service.sources]
    return f"To get one: {', or '.join(told)}"


# ---------------------------------------------------------------------------------------------- a URL


def from_url(service: Service, asked: str, context: Context) -> Running | str:
    """Asks the server at the URL, and starts nothing."""
    names = [variable(service.name, asked), variable(service.name)] if asked else [variable(service.name)]
    for name in names:
        if url := context.environment.get(name):
            return _at_url(service, asked, name, url)
    return f"{names[-1]} is not set"


def _at_url(service: Service, asked: str, name: str, url: str) -> Running | str:
    kind = KINDS.get(service.kind)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or HOST, parts.port or (kind.container_port if kind else 0)
    except ValueError as error:
        raise InputError(f"{name}: not a URL: {error}") from None
    version = "given"
    if kind:
        try:
            version = _probe(kind, url, service)
        except NotReadyError as error:
            raise ServiceError(
                "service-failed", f"{service.name}: {name}: the server at {host}:{port}: {error}"
            ) from None
        if not matches(version, asked):
            return f"{name} leads to {version}"
    server = Server(name=service.name, version=version, source=Source.URL, where=name, url=url, host=host, port=port)
    return Running(server, None)


def _probe(kind: Kind, url: str, service: Service) -> str:
    try:
        return kind.probe(url)
    except ModuleNotFoundError as error:
        raise ServiceError(
            "service-missing",
            f"{service.name}: the client {error.name} is missing beside Thebes; pip install 'thebes[services]'",
        ) from None


# ---------------------------------------------------------------------------------------------- binaries


def from_path(service: Service, asked: str, context: Context) -> Running | str:
    kind = KINDS.get(service.kind)
    if kind is None:
        return f"not for {service.name}"
    return _binary(service, kind, asked, context, Source.PATH, kind.on_path(context.environment.get("PATH")))


def from_wheels(service: Service, asked: str, context: Context) -> Running | str:
    kind = KINDS.get(service.kind)
    if kind is None:
        return f"not for {service.name}"
    return _binary(service, kind, asked, context, Source.EMBEDDED, kind.in_wheels())


def _binary(
    service: Service, kind: Kind, asked: str, context: Context, source: Source, binaries: Sequence[str]
) -> Running | str:
    found = fitting(binaries, asked)
    return found if isinstance(found, str) else _run_binary(service, kind, found.path, context, source)


class Binary(NamedTuple):
    """A server's binary, and the version that it tells."""

    path: str
    version: str


def fitting(binaries: Sequence[str], asked: str) -> Binary | str:
    """The first of the binaries that is of version `asked`, or what there is instead."""
    versions = {binary: binary_version(binary) for binary in binaries}
    for path, version in versions.items():
        if version and matches(version, asked):
            return Binary(path, version)
    there = ", ".join(sorted({version for version in versions.values() if version}))
    return f"only {there}" if there else "none"


def binary_version(binary: str) -> str | None:
    """As its --version says; None where it does not run or says nothing of the kind."""
    try:
        done = subprocess.run([binary, "--version"], capture_output=True, text=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return None
    found = VERSION.search(done.stdout)
    return found[1] if found else None


class _PortTakenError(ServiceError):
    """Somebody else was faster with the port."""


def _run_binary(service: Service, kind: Kind, binary: str, context: Context, source: Source) -> Running:
    """Start it on a free port; on another one if somebody was faster."""
    for _ in range(PORT_TRIES - 1):
        try:
            return _run_once(service, kind, binary, context, source)
        except _PortTakenError as error:
            context.tell(f"{error}; trying another port")
    return _run_once(service, kind, binary, context, source)


def _run_once(service: Service, kind: Kind, binary: str, context: Context, source: Source) -> Running:
    log = context.logs / f"{service.name}.log"
    before = log.stat().st_size if log.exists() else 0
    what = f"{service.name} from {binary}"
    try:
        guarded, url, port = _guarded(kind, binary, context, log)
    except OSError as error:
        raise ServiceError("service-failed", f"{what}: its folder can't be made: {_words(error)}") from None
    try:
        version = wait_until(
            guarded, lambda: _answer(kind, url, service), service.limit, what, context.tell, context.stopped
        )
    except BaseException as error:
        guarded.stop()
        if isinstance(error, ServiceError) and IN_USE in log.read_bytes()[before:]:
            raise _PortTakenError(error.code, str(error), error.log) from None
        raise
    where = kind.embedded if source == Source.EMBEDDED else binary
    server = Server(name=service.name, version=version, source=source, where=where, url=url, host=HOST, port=port)
    return Running(server, guarded)


def _answer(kind: Kind, url: str, service: Service) -> str | None:
    """The version, or None while it is not ready. A refusal can be that of a stranger on the same port."""
    try:
        return _probe(kind, url, service)
    except NotReadyError:
        return None


def _words(error: OSError) -> str:
    """Why, and where; of many that copying a folder has met, the first."""
    if isinstance(error, shutil.Error) and error.args and isinstance(error.args[0], list):
        return str(error.args[0][0][-1])
    return str(error)


def _guarded(kind: Kind, binary: str, context: Context, log: Path) -> tuple[Guarded, str, int]:
    folder = new_folder(context.name)
    who = owner()
    data = data_folder(folder)
    place = Place(data / "run", HOST, free_port(), new_password())
    try:
        place.folder.mkdir(mode=0o700)
        launch = kind.launch(reachable(binary, who, folder), place)
        give(place.folder, who)
    except BaseException:
        for made in {folder, data}:  # nobody guards them yet
            shutil.rmtree(made, ignore_errors=True)
        raise
    instructions = Instructions(
        folder=str(folder),
        log=str(log),
        prepare=tuple(tuple(command) for command in launch.prepare),
        server=tuple(launch.server),
        stop=int(launch.stop),
        user=who.user,
        group=who.group,
        environment=plain_environment(context.environment),
        data=None if data == folder else str(data),
        detached=context.detached,
    )
    return Guarded(instructions), kind.url(place.host, place.port, place.password), place.port


# ---------------------------------------------------------------------------------------------- Docker


def from_docker(service: Service, asked: str, context: Context) -> Running | str:
    engine = compose.engine(context.environment)
    if isinstance(engine, str):
        return engine
    password = new_password()
    environment = compose.client_environment(context.environment, service.name, asked)
    shipped = service.kind in KINDS
    own = None if shipped else compose.of_file(service, context.root, engine, environment)
    folder = new_folder(context.name)
    inner = own or compose.of_kind(_kind(service), image(service, asked), password, folder)
    project = re.sub(r"[^a-z0-9-]+", "-", f"thebes-{folder.name.lower()}")
    up = compose.Up(engine, project, inner, environment)
    guarded = Guarded(
        Instructions(
            folder=str(folder),
            log=str(context.logs / f"{service.name}.log"),
            server=up.command("up", "--no-color", "--abort-on-container-exit", inner.service),
            stop=signal.SIGINT,  # compose stops its containers
            environment=up.environment,
            cleanup=(up.command("down", "--volumes", "--remove-orphans", "--timeout", "2"),),
            detached=context.detached,
        )
    )
    try:
        server = _container(service, asked, up, guarded, password, context)
    except BaseException:
        guarded.stop()
        raise
    return Running(server, guarded)


def _kind(service: Service) -> Kind:
    return KINDS[service.kind]


def image(service: Service, asked: str) -> str:
    return f"{service.image or _kind(service).image}:{asked or 'latest'}"


def _container(
    service: Service, asked: str, up: compose.Up, guarded: Guarded, password: str, context: Context
) -> Server:
    """The container's server, once it is healthy and, where we know how to ask, answers."""
    kind = KINDS.get(service.kind)
    what = f"{service.name} from Docker"
    wait_until(guarded, up.healthy, service.limit, what, context.tell, context.stopped)
    host, port = up.address()
    image = up.image()
    version = image.rpartition(":")[2]
    url = kind.url(host, port, password) if kind else service.url.format(host=host, port=port)
    if kind:
        answer = partial(_answer, kind, url, service)
        version = wait_until(guarded, answer, service.limit, what, context.tell, context.stopped)
        if not matches(version, asked):
            raise ServiceError("service-failed", f"{what}: {image} serves {version}, {label(service, asked)} is wanted")
    return Server(name=service.name, version=version, source=Source.DOCKER, where=image, url=url, host=host, port=port)


STARTERS: Mapping[Source, Starter] = {
    Source.URL: from_url,
    Source.PATH: from_path,
    Source.DOCKER: from_docker,
    Source.EMBEDDED: from_wheels,
}

__all__ = ["KINDS", "Binary", "Context", "Running", "fitting", "label", "missing", "start"]
