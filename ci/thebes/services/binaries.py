"""Servers from binaries: those on PATH, those in wheels."""

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from .folders import data_folder, new_folder
from .kinds import Kind, Place
from .launch import HOST, Guarded, Instructions, free_port, new_password, plain_environment, wait_until
from .model import Server, Service, ServiceError, Source, matches
from .owner import give, owner, reachable
from .source import KINDS, Context, Running, answer

VERSION = re.compile(r"(?:v=|\)\s)(\d+(?:\.\d+)*)")
PORT_TRIES = 5
IN_USE = b"ddress already in use"


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
            guarded, lambda: answer(kind, url, service), service.limit, what, context.tell, context.stopped
        )
    except BaseException as error:
        guarded.stop()
        if isinstance(error, ServiceError) and IN_USE in log.read_bytes()[before:]:
            raise _PortTakenError(error.code, str(error), error.log) from None
        raise
    where = kind.embedded if source == Source.EMBEDDED else binary
    server = Server(name=service.name, version=version, source=source, where=where, url=url, host=HOST, port=port)
    return Running(server, guarded)


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
