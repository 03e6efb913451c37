"""What the kit needs of a Docker daemon, over its socket's HTTP interface.

No version of that interface is asked for, as newer daemons refuse older ones (Docker 29 what is before
1.44): what is used here has been the same since 1.40 (Docker 19.03).

No client program is started as root on a socket that a job can replace: the rootless socket lives
in the job's own runtime directory. Whatever answers there is limited in time and size, must belong to
the runner's user (the path may be a link to somebody else's socket), and is believed in nothing but its
form.
"""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
import struct
import time
import urllib.parse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from thebes_runner import processes
from thebes_runner.errors import HostError
from thebes_runner.settings import Instance, Runner

ROOTFUL_SOCKET = Path("/var/run/docker.sock")
MAX_ANSWER = 16 * 1024 * 1024
SIGNAL_SECONDS = 10.0  # the watchdog has other jobs to look at
REMOVE_SECONDS = 900.0
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,254}")
PEER = struct.Struct("=iII")  # struct ucred of unix(7): process, user, group


class LimitedSocket(socket.socket):
    """One deadline and one budget of bytes for all that is sent and received.

    A time-out of the socket alone starts anew with each byte, and http.client reads a chunk of
    negative size, or one "100 Continue" after the other, for ever.
    """

    def __init__(self, deadline: float) -> None:
        super().__init__(socket.AF_UNIX, socket.SOCK_STREAM)
        self.deadline = deadline
        self.budget = MAX_ANSWER

    def limit(self) -> None:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("no whole answer in time")
        self.settimeout(left)

    def sendall(self, data: Any, flags: int = 0) -> None:
        self.limit()
        super().sendall(data, flags)

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        self.limit()
        count = super().recv_into(buffer, nbytes, flags)
        self.budget -= count
        if self.budget < 0:
            raise OSError(f"more than {MAX_ANSWER} bytes")
        return count


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, deadline: float, owners: Sequence[range]) -> None:
        super().__init__("docker")
        self.path = path
        self.deadline = deadline
        self.owners = owners

    def connect(self) -> None:
        self.sock = limited = LimitedSocket(self.deadline)  # here, so that it is closed whatever happens
        limited.limit()
        limited.connect(str(self.path))
        # Who called listen(2), as this user namespace numbers users.
        _, uid, _ = PEER.unpack(self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, PEER.size))
        if not any(uid in uids for uids in self.owners):
            raise OSError(f"the socket is that of user {uid}")


def names(answer: object, key: str) -> list[str]:
    """What the objects of a list have under `key`; HostError when it is anything else than such names."""
    if not isinstance(answer, list):
        raise HostError(f"Docker answered {type(answer).__name__}, expected a list")
    found = [value.get(key) if isinstance(value, dict) else None for value in answer]
    if not all(isinstance(name, str) and NAME.fullmatch(name) for name in found):
        raise HostError(f"Docker answered a list whose {key} is not everywhere a name")
    return [str(name) for name in found]


def rootless(instance: Instance) -> Docker:
    """The daemon of a runner; no other user's may answer, though the job could put a link in its place."""
    return Docker(instance.docker_socket, processes.owner_ranges(instance.uid, instance.user))


def rootful() -> Docker:
    return Docker(ROOTFUL_SOCKET, [range(1)])


def daemon(runner: Runner, instance: Instance) -> Docker:
    """The one that the runner's jobs use; not with docker_mode none."""
    return rootful() if runner.docker_mode == "rootful" else rootless(instance)


class Docker:
    def __init__(self, path: Path, owners: Sequence[range]) -> None:
        self.path = path
        self.owners = owners

    def request(self, method: str, where: str, deadline: float) -> bytes:
        """What the daemon answers until then (time.monotonic); every failure is a HostError."""
        connection = UnixConnection(self.path, deadline, self.owners)
        try:
            connection.request(method, where)
            answer = connection.getresponse()
            text = answer.read(MAX_ANSWER)
        except Exception as error:
            # http.client and its helpers raise more than they say when an answer is made to hurt them.
            raise HostError(f"Docker at {self.path} does not answer: {error}") from None
        finally:
            connection.close()
        if answer.status >= 400 and answer.status not in (404, 409):  # gone, or going
            raise HostError(f"Docker: {method} {where} answered {answer.status}: {text[:200]!r}")
        return text

    def value(self, where: str, deadline: float) -> Any:
        text = self.request("GET", where, deadline)
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            raise HostError(f"Docker: GET {where} answered something that is not JSON") from None

    def ready(self) -> bool:
        try:
            self.request("GET", "/_ping", time.monotonic() + 5.0)
        except HostError:
            return False
        return True

    def wait(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not self.ready():
            if time.monotonic() > deadline:
                raise HostError(
                    f"Docker at {self.path} is not ready after {seconds:.0f} s: "
                    "see journalctl _SYSTEMD_USER_UNIT=thebes-docker.service"
                )
            time.sleep(0.1)

    def containers(self, deadline: float, everything: bool = True) -> list[str]:
        return names(self.value(f"/containers/json?all={int(everything)}", deadline), "Id")

    def volumes(self, deadline: float) -> list[str]:
        answer = self.value("/volumes", deadline)
        # Docker says null when there are none.
        return names((answer.get("Volumes") if isinstance(answer, dict) else answer) or [], "Name")

    def signal_all(self, number: signal.Signals, seconds: float = SIGNAL_SECONDS) -> int:
        """Send it to the main process of each running container; how many there were."""
        deadline = time.monotonic() + seconds
        running = self.containers(deadline, everything=False)
        for container in running:
            self.request("POST", f"/containers/{container}/kill?signal={number.name}", deadline)
        return len(running)

    def remove_work(self, keep_images: bool, seconds: float = REMOVE_SECONDS) -> None:
        """Remove containers, volumes and networks, and images too unless they are to be kept."""
        deadline = time.monotonic() + seconds
        for container in self.containers(deadline):
            self.request("DELETE", f"/containers/{container}?force=1&v=1", deadline)
        for volume in self.volumes(deadline):
            self.request("DELETE", f"/volumes/{volume}?force=1", deadline)
        self.request("POST", "/networks/prune", deadline)
        if not keep_images:
            self.request("POST", "/images/prune?filters=" + filters(dangling=["false"]), deadline)
            self.request("POST", "/build/prune?all=1", deadline)

    def prune_images(self, older_than_hours: int, seconds: float = REMOVE_SECONDS) -> None:
        """Remove images that no container uses and that were made longer ago than that."""
        deadline = time.monotonic() + seconds
        until = [f"{older_than_hours}h"]
        self.request("POST", "/images/prune?filters=" + filters(dangling=["false"], until=until), deadline)
        self.request("POST", "/build/prune?filters=" + filters(until=until), deadline)


def filters(**values: list[str]) -> str:
    return urllib.parse.quote(json.dumps(values))
