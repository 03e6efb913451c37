"""What is asked of a Docker daemon, by a server on a socket that is as strict as Docker 29."""

from __future__ import annotations

import contextlib
import gc
import http.server
import itertools
import json
import os
import re
import signal
import socketserver
import threading
import time
import urllib.parse
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from conftest import Runners
from thebes_runner import docker, processes, reset
from thebes_runner.docker import Docker
from thebes_runner.errors import HostError
from thebes_runner.settings import Instance

OLDEST = (1, 44)
OWN = [range(os.getuid(), os.getuid() + 1)]


class Daemon(http.server.BaseHTTPRequestHandler):
    asked: ClassVar[list[str]] = []  # to change something

    def do_POST(self) -> None:
        self.asked.append(f"{self.command} {self.path}")
        self.answer(204, b"")

    do_DELETE = do_POST  # noqa: N815  (http.server's name)

    def do_GET(self) -> None:
        asked = re.match(r"/v(\d+)\.(\d+)/", self.path)
        if asked and tuple(map(int, asked.groups())) < OLDEST:
            self.answer(400, b'{"message":"client version is too old"}')
        elif self.path == "/_ping":
            self.answer(200, b"OK")
        elif self.path.startswith("/containers/json"):
            ended = b"" if self.path.endswith("?all=0") else b', {"Id": "ended"}'
            self.answer(200, b'[{"Id": "one"}, {"Id": "two"}' + ended + b"]")
        elif self.path == "/volumes":
            self.answer(200, b'{"Volumes": [{"Name": "v_1"}]}')
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


def soon() -> float:
    return time.monotonic() + 5.0


def test_a_daemon_that_refuses_old_versions_is_understood(daemon: Path) -> None:
    docker = Docker(daemon, OWN)
    assert docker.ready()
    assert docker.containers(soon()) == ["one", "two", "ended"]
    assert docker.volumes(soon()) == ["v_1"]


def test_running_containers_are_interrupted_and_no_others(daemon: Path) -> None:
    Daemon.asked.clear()
    assert Docker(daemon, OWN).signal_all(signal.SIGINT) == 2
    assert Daemon.asked == [f"POST /containers/{name}/kill?signal=SIGINT" for name in ("one", "two")]


@pytest.fixture
def of_a_runner(daemon: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemon is the rootless one of a runner."""
    monkeypatch.setattr(docker, "rootless", lambda _: Docker(daemon, OWN))
    Daemon.asked.clear()


@pytest.mark.usefixtures("of_a_runner")
def test_containers_are_killed_before_their_daemon_is_stopped(instance: Instance, runner: Runners) -> None:
    assert not reset.clean_docker(runner(instance, docker_mode="rootless"), instance)
    assert Daemon.asked == [f"POST /containers/{name}/kill?signal=SIGKILL" for name in ("one", "two")]


@pytest.mark.usefixtures("of_a_runner")
@pytest.mark.parametrize("keep_images", [False, True])
def test_between_jobs_what_the_job_made_in_docker_goes(instance: Instance, runner: Runners, keep_images: bool) -> None:
    work = instance.runner_dir / "_work" / "product"
    work.mkdir(parents=True)
    values = runner(instance, docker_mode="rootless", ephemeral=False, docker_keep_images=keep_images)
    reset.between_jobs(values, instance)
    containers = [f"DELETE /containers/{name}?force=1&v=1" for name in ("one", "two", "ended")]
    expected = [*containers, "DELETE /volumes/v_1?force=1", "POST /networks/prune"]
    assert Daemon.asked[: len(expected)] == expected
    pruned = [asked.partition("?")[0] for asked in Daemon.asked[len(expected) :]]
    assert pruned == ([] if keep_images else ["POST /images/prune", "POST /build/prune"])
    assert not work.parent.exists()


@pytest.mark.parametrize(("hours", "until"), [(24, "24h"), (0, "0h")], ids=["by age", "all unused"])
def test_images_are_pruned_by_age(daemon: Path, hours: int, until: str) -> None:
    Daemon.asked.clear()
    Docker(daemon, OWN).prune_images(hours)
    told = [urllib.parse.unquote(text) for text in Daemon.asked]
    assert told == [
        f'POST /images/prune?filters={{"dangling": ["false"], "until": ["{until}"]}}',
        f'POST /build/prune?filters={{"until": ["{until}"]}}',
    ]


def test_a_socket_is_closed_when_its_time_is_over_before_it_begins(daemon: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(HostError, match=r"no whole answer in time"):
            Docker(daemon, OWN).containers(time.monotonic() - 1.0)
        gc.collect()


def test_no_daemon_is_told_as_such(tmp_path: Path) -> None:
    docker = Docker(tmp_path / "none.sock", OWN)
    assert not docker.ready()
    with pytest.raises(HostError, match=r"is not ready after 0 s: see journalctl"):
        docker.wait(0.0)


def test_a_link_to_somebody_elses_socket_is_not_followed(daemon: Path, tmp_path: Path) -> None:
    """The link is the job's; root would remove another runner's containers for it."""
    link = tmp_path / "link.sock"
    link.symlink_to(daemon)
    other = [range(os.getuid() + 1, os.getuid() + 2), range(100_000, 165_536)]
    docker = Docker(link, other)
    assert not docker.ready()
    with pytest.raises(HostError, match=f"the socket is that of user {os.getuid()}"):
        docker.remove_work(keep_images=True)


def test_who_may_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A container's process of the runner's rootless daemon may have one of its subordinate ids."""
    subuid = tmp_path / "subuid"
    subuid.write_text("root:100000:65536\n")
    monkeypatch.setattr(processes, "SUBUID", subuid)
    instance = Instance(name="a", user="root", directory="/x")
    assert docker.rootless(instance).owners == [range(1), range(100_000, 165_536)]
    assert docker.rootful().owners == [range(1)]


@contextlib.contextmanager
def answering(path: Path, pieces: Iterable[bytes], pause: float = 0.0) -> Iterator[None]:
    """A daemon that answers each request with these bytes, whatever was asked."""
    done = threading.Event()

    class Raw(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(65536)
            with contextlib.suppress(OSError):
                for piece in pieces:
                    self.request.sendall(piece)
                    if done.wait(pause):
                        return

    class Server(socketserver.ThreadingUnixStreamServer):
        daemon_threads = True

    with Server(str(path), Raw) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield
        done.set()
        server.shutdown()
        thread.join()


def body(text: bytes) -> list[bytes]:
    return [b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(text) + text]


@pytest.mark.parametrize(
    "text",
    [
        b"[1]", b'{"a": 1}', b"[" * 100_000, b"null", b"OK", b"", b"7", b'[{"Id": 1}]', b'[{"id": "x"}]',
        b'[{"Id": "../../x"}]', b'[{"Id": "a b\\r\\n"}]', b'[{"Id": "\\ud800"}]', b"\xff\xfe\xfd",
    ],
)  # fmt: skip
def test_an_answer_of_another_form_is_an_error_of_the_host(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "docker.sock"
    with answering(path, body(text)), pytest.raises(HostError):
        Docker(path, OWN).signal_all(signal.SIGINT)


@pytest.mark.parametrize("text", [b'"x"', b"[1]", b'{"Volumes": {"a": 1}}', b'{"Volumes": [{"Name": "/"}]}'])
def test_volumes_of_another_form_are_an_error_too(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "docker.sock"
    with answering(path, body(text)), pytest.raises(HostError):
        Docker(path, OWN).volumes(soon())


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 9999 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n",
    ],
)
def test_an_answer_that_is_no_http_is_an_error_of_the_host(tmp_path: Path, head: bytes) -> None:
    path = tmp_path / "docker.sock"
    with answering(path, [head]), pytest.raises(HostError):
        Docker(path, OWN).containers(soon())


@pytest.mark.parametrize(
    ("first", "more"),
    [
        (b"", b"H"),
        (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", b" "),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    ],
    ids=["status", "headers", "continue", "body", "chunks"],
)
def test_a_daemon_that_trickles_is_given_up_as_a_whole(tmp_path: Path, first: bytes, more: bytes) -> None:
    path = tmp_path / "docker.sock"
    pieces = itertools.chain([first], itertools.repeat(more, 300))
    started = time.monotonic()
    with answering(path, pieces, pause=0.02), pytest.raises(HostError, match=r"no whole answer|timed out"):
        Docker(path, OWN).signal_all(signal.SIGINT, seconds=0.3)
    assert time.monotonic() - started < 3


def test_many_containers_share_one_deadline(tmp_path: Path) -> None:
    """A job can name thousands of them, each of which would be waited for."""
    path = tmp_path / "docker.sock"
    text = json.dumps([{"Id": f"c{number}"} for number in range(10_000)]).encode()
    started = time.monotonic()
    with answering(path, body(text)), pytest.raises(HostError):
        Docker(path, OWN).signal_all(signal.SIGINT, seconds=0.3)
    assert time.monotonic() - started < 3


@pytest.mark.parametrize(
    "head",
    [b"Transfer-Encoding: chunked\r\n\r\n-1\r\n", b"Content-Length: 999999999\r\n\r\n", b"\r\n"],
    ids=["negative chunk", "length", "until closed"],
)
def test_an_answer_without_end_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: bytes) -> None:
    monkeypatch.setattr(docker, "MAX_ANSWER", 1024 * 1024)
    path = tmp_path / "docker.sock"
    pieces = itertools.chain([b"HTTP/1.1 200 OK\r\n" + head], itertools.repeat(b" " * 65536, 64))
    with answering(path, pieces), pytest.raises(HostError, match=r"more than 1048576 bytes|not JSON"):
        Docker(path, OWN).containers(soon())
