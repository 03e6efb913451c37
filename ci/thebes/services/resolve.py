"""Finds who can serve what is asked for, in the designed order, and starts it there.

A source that has nothing to offer is passed over, with the reason; one that was named (a URL) and does not answer is
an error, because something else than what was meant would be tested.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol
from urllib.parse import urlsplit

from thebes.errors import InputError

from .binaries import from_path, from_wheels
from .docker import from_docker
from .kinds import NotReadyError
from .launch import HOST
from .model import Server, Service, ServiceError, Source, matches, variable
from .source import KINDS, Context, Running, label, probe


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
            version = probe(kind, url, service)
        except NotReadyError as error:
            raise ServiceError(
                "service-failed", f"{service.name}: {name}: the server at {host}:{port}: {error}"
            ) from None
        if not matches(version, asked):
            return f"{name} leads to {version}"
    server = Server(name=service.name, version=version, source=Source.URL, where=name, url=url, host=host, port=port)
    return Running(server, None)


# ---------------------------------------------------------------------------------------------- Docker


STARTERS: Mapping[Source, Starter] = {
    Source.URL: from_url,
    Source.PATH: from_path,
    Source.DOCKER: from_docker,
    Source.EMBEDDED: from_wheels,
}
