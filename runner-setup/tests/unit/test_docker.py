"""What is asked of a Docker daemon, by a server on a socket that is as strict as Docker 29."""

from __future__ import annotations

import http.server
import re
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from thebes_runner.docker import Docker
from thebes_runner.errors import HostError

OLDEST = (1, 44)


class Daemon(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        asked = re.match(r"/v(\d+)\.(\d+)/", self.path)
        if asked and tuple(map(int, asked.groups())) < OLDEST:
            self.answer(400, b'{"message":"client version is too old"}')
        elif self.path == "/_ping":
            self.answer(200, b"OK")
        elif self.path.startswith("/containers/json"):
            self.answer(200, b'[{"Id": "one"}]')
        else:
            self.answer(404, b"{}")

    def answer(self, status: int, text: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def address_string(self) -> str:
        return "socket"

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "docker.sock"
    with socketserver.UnixStreamServer(str(path), Daemon) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield path
        server.shutdown()
        thread.join()


def test_a_daemon_that_refuses_old_versions_is_understood(daemon: Path) -> None:
    docker = Docker(daemon)
    assert docker.ready()
    assert docker.containers() == ["one"]


def test_no_daemon_is_told_as_such(tmp_path: Path) -> None:
    docker = Docker(tmp_path / "none.sock")
    assert not docker.ready()
    with pytest.raises(HostError, match="is not ready after 0 s: see journalctl"):
        docker.wait(0.0)
