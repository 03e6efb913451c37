"""What the kit needs of a Docker daemon, over its socket's HTTP interface.

No version of that interface is asked for, as newer daemons refuse older ones (Docker 29 what is before
1.44): what is used here has been the same since 1.40 (Docker 19.03).

No client program is started as root on a socket that a job can replace: the rootless socket lives
in the job's own runtime directory, so answers are size-limited and every call has a time limit.
"""

from __future__ import annotations

import http.client
import json
import socket
import time
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from thebes_runner.errors import HostError

ROOTFUL_SOCKET = Path("/var/run/docker.sock")
MAX_ANSWER = 16 * 1024 * 1024


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("docker", timeout=timeout)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))


class Docker:
    def __init__(self, path: Path) -> None:
        self.path = path

    def request(self, method: str, where: str, timeout: float = 60.0) -> Any:
        connection = UnixConnection(self.path, timeout)
        try:
            connection.request(method, where)
            answer = connection.getresponse()
            text = answer.read(MAX_ANSWER)
        except (OSError, http.client.HTTPException) as error:
            raise HostError(f"Docker at {self.path} does not answer: {error}") from None
        finally:
            connection.close()
        if answer.status >= 400 and answer.status not in (404, 409):  # gone, or going
            raise HostError(f"Docker: {method} {where} answered {answer.status}: {text[:200]!r}")
        try:
            return json.loads(text) if text else None
        except ValueError:
            return None  # /_ping answers the word OK

    def ready(self) -> bool:
        try:
            self.request("GET", "/_ping", timeout=5.0)
        except HostError:
            return False
        return True

    def wait(self, seconds: float, pause: Callable[[float], None] = time.sleep) -> None:
        deadline = time.monotonic() + seconds
        while not self.ready():
            if time.monotonic() > deadline:
                raise HostError(
                    f"Docker at {self.path} is not ready after {seconds:.0f} s: "
                    "see journalctl _SYSTEMD_USER_UNIT=thebes-docker.service"
                )
            pause(0.1)

    def containers(self, everything: bool = True) -> list[str]:
        answer = self.request("GET", f"/containers/json?all={int(everything)}")
        return [str(container["Id"]) for container in answer or []]

    def interrupt(self) -> int:
        """SIGINT to the main process of each running container; how many there were."""
        running = self.containers(everything=False)
        for container in running:
            self.request("POST", f"/containers/{container}/kill?signal=SIGINT")
        return len(running)

    def remove_work(self, keep_images: bool) -> None:
        """Remove containers, volumes and networks, and images too unless they are to be kept."""
        for container in self.containers():
            self.request("DELETE", f"/containers/{container}?force=1&v=1")
        for volume in (self.request("GET", "/volumes") or {}).get("Volumes") or []:
            name = urllib.parse.quote(volume["Name"], safe="")
            self.request("DELETE", f"/volumes/{name}?force=1")
        self.request("POST", "/networks/prune")
        if not keep_images:
            self.request("POST", "/images/prune?filters=" + filters(dangling=["false"]), timeout=600)
            self.request("POST", "/build/prune?all=1", timeout=600)

    def prune_images(self, older_than_hours: int) -> None:
        """Remove images that no container uses and that were made longer ago than that."""
        until = [f"{older_than_hours}h"]
        self.request("POST", "/images/prune?filters=" + filters(dangling=["false"], until=until), timeout=600)
        self.request("POST", "/build/prune?filters=" + filters(until=until), timeout=600)


def filters(**values: list[str]) -> str:
    return urllib.parse.quote(json.dumps(values))
