"""What would serve a service here: the sources in their order, as `resolve` asks them, and nothing is started."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from . import compose
from .binaries import fitting
from .docker import image
from .kinds import Kind
from .model import Service, Source
from .resolve import from_url, missing
from .source import KINDS, Context


class Offer(NamedTuple):
    """What a source would serve with: a version, as far as it is known before the start, and what brings it."""

    version: str
    where: str


def look(service: Service, asked: str, context: Context) -> str:
    """What would serve `service` in version `asked`, as "postgres 16.4 (path: /usr/bin/postgres)".

    ServiceError: nothing would; it names what was asked and the ways to get one. A URL is asked whether it answers,
    as it would be for a run. InputError: a compose file is not as it must be.
    """
    tried = []
    for source in service.sources:
        found = LOOKS[source](service, asked, context)
        if isinstance(found, Offer):
            return f"{service.name} {found.version or 'of any version'} ({source}: {found.where})"
        tried.append(f"{source}: {found}")
    raise missing(service, asked, tried)


def _url(service: Service, asked: str, context: Context) -> Offer | str:
    found = from_url(service, asked, context)
    return found if isinstance(found, str) else Offer(found.server.version, found.server.where)


def _path(service: Service, asked: str, context: Context) -> Offer | str:
    return _binary(service, asked, lambda kind: kind.on_path(context.environment.get("PATH")), "")


def _wheels(service: Service, asked: str, _: Context) -> Offer | str:
    kind = KINDS.get(service.kind)
    return _binary(service, asked, lambda kind: kind.in_wheels(), kind.embedded if kind else "")


def _binary(service: Service, asked: str, binaries: Callable[[Kind], Sequence[str]], where: str) -> Offer | str:
    """`where` is told instead of the binary, if it is not empty."""
    kind = KINDS.get(service.kind)
    if kind is None:
        return f"not for {service.name}"
    found = fitting(binaries(kind), asked)
    return found if isinstance(found, str) else Offer(found.version, where or found.path)


def _docker(service: Service, asked: str, context: Context) -> Offer | str:
    engine = compose.engine(context.environment)
    if isinstance(engine, str):
        return engine
    if service.kind in KINDS:
        return Offer(asked, image(service, asked))
    environment = compose.client_environment(context.environment, service.name, asked)
    inner = compose.of_file(service, context.root, engine, environment)
    return Offer(asked, f"{inner.service} of {service.compose}")


LOOKS: Mapping[Source, Callable[[Service, str, Context], Offer | str]] = {
    Source.URL: _url,
    Source.PATH: _path,
    Source.DOCKER: _docker,
    Source.EMBEDDED: _wheels,
}
