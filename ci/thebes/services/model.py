"""What a service is, where it may come from, and what is known of one that runs."""

from collections.abc import Mapping
from enum import StrEnum

from thebes.errors import EvidenceError
from thebes.model import Value

ANY = ""  # the version that takes whatever there is


class Source(StrEnum):
    """Where a server comes from, in the order in which they are asked."""

    URL = "url"
    PATH = "path"
    DOCKER = "docker"
    EMBEDDED = "embedded"


SOURCES = tuple(Source)


class ServiceError(EvidenceError):
    """No source can serve what is asked for, or the server did not start. `code` is a reason's code, `log` the end
    of what the server wrote."""

    def __init__(self, code: str, text: str, log: str = "") -> None:
        super().__init__(text)
        self.code = code
        self.log = log


class Service(Value, frozen=True, kw_only=True):
    """A service as configured. `kind`: the shipped kind that it is, or "compose".

    `variables` get its URL, beside THEBES_NAME_URL. `limit`: seconds until it must be healthy. `compose`, `service`,
    `port` and `url` describe one from a compose file; `url` has the places {host} and {port}.
    """

    name: str
    kind: str
    sources: tuple[Source, ...] = SOURCES
    variables: tuple[str, ...] = ()
    limit: float = 60.0
    compose: str | None = None
    service: str | None = None
    port: int = 0
    url: str = ""
    image: str = ""


class Server(Value, frozen=True, kw_only=True):
    """A server that answers. `where`: the binary, the image or the variable it comes from, without any secret."""

    name: str
    version: str
    source: Source
    where: str
    url: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.name} {self.version} ({self.source}: {self.where})"


def variable(name: str, version: str = ANY) -> str:
    """The environment variable for a service's URL: THEBES_POSTGRES_URL, or of one version THEBES_POSTGRES_16_URL."""
    words = [name, version] if version else [name]
    return f"THEBES_{'_'.join(words)}_URL".upper().replace("-", "_").replace(".", "_")


def matches(version: str, asked: str) -> bool:
    """Does a server of `version` serve where `asked` is wanted? "16" takes 16.4, "16.4" takes 16.4.1."""
    return asked in {ANY, version} or version.startswith(f"{asked}.")


def environment_of(servers: Mapping[str, Server], services: Mapping[str, Service]) -> dict[str, str]:
    """The variables through which a task's child learns of its servers."""
    found = {}
    for name, server in servers.items():
        for key in (variable(name), *services[name].variables):
            found[key] = server.url
    return found
