"""What every source of servers is told, and what it returns."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from .kinds import Kind, NotReadyError
from .launch import Guarded
from .model import Server, Service, ServiceError
from .postgres import Postgres
from .redis import Redis

KINDS: Mapping[str, Kind] = {"postgres": Postgres(), "redis": Redis()}


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


def label(service: Service, asked: str) -> str:
    return f"{service.name} {asked}" if asked else service.name


def probe(kind: Kind, url: str, service: Service) -> str:
    try:
        return kind.probe(url)
    except ModuleNotFoundError as error:
        raise ServiceError(
            "service-missing",
            f"{service.name}: the client {error.name} is missing beside Thebes; pip install 'thebes[services]'",
        ) from None


def answer(kind: Kind, url: str, service: Service) -> str | None:
    """The version, or None while it is not ready. A refusal can be that of a stranger on the same port."""
    try:
        return probe(kind, url, service)
    except NotReadyError:
        return None
