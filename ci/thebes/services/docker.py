"""Servers in containers, through Docker or Podman."""

import re
import signal
from functools import partial

from . import compose
from .folders import new_folder
from .kinds import Kind
from .launch import Guarded, Instructions, new_password, wait_until
from .model import Server, Service, ServiceError, Source, matches
from .source import KINDS, Context, Running, answer, label


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
        ready = partial(answer, kind, url, service)
        version = wait_until(guarded, ready, service.limit, what, context.tell, context.stopped)
        if not matches(version, asked):
            raise ServiceError("service-failed", f"{what}: {image} serves {version}, {label(service, asked)} is wanted")
    return Server(name=service.name, version=version, source=Source.DOCKER, where=image, url=url, host=host, port=port)
