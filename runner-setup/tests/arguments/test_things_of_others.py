"""What preflight says to a Docker of others, which would be stopped or emptied, and to their node exporter."""

from __future__ import annotations

import http.server
import json
import re
import socket
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml
from test_arguments import GOOD, ROOT, Told, ask

DISTRIBUTIONS = ["docker.socket", "docker.service", "containerd.service"]
ENABLED = dict.fromkeys(DISTRIBUTIONS, "enabled")
MASKED = dict.fromkeys(DISTRIBUTIONS, "masked")
STOPPED = (
    "has docker.socket, docker.service, containerd.service, not brought by this kit, which rootless mode would stop"
)
DELETED = "and docker_mode rootful deletes all that there are after each job"
EXPORTER = "prometheus-node-exporter"
# docker_mode, what is on the machine, and what it is told.
MACHINES: list[tuple[str, str, dict[str, Any], str]] = [
    ("bare", "rootless", {}, ""),
    ("others", "rootless", {"units": ENABLED}, STOPPED),
    ("others-stopped", "rootless", {"units": dict.fromkeys(DISTRIBUTIONS, "disabled")}, STOPPED),
    ("others-no-docker", "none", {"units": ENABLED, "packages": ["docker-ce"]}, ""),
    ("containerd", "rootless", {"units": {"containerd.service": "enabled"}}, "has containerd.service, not brought"),
    ("second-run", "rootless", {"units": MASKED, "installed": ["docker.io", "containerd"]}, ""),
    ("second-run-of-before", "rootless", {"units": MASKED}, ""),
    ("interrupted", "rootless", {"units": ENABLED, "installed": ["runc", "docker.io", "containerd"]}, ""),
    ("was-rootful", "rootless", {"units": ENABLED, "ours": True}, ""),
    ("dockers-own", "rootless", {"packages": ["docker-ce", "containerd.io"]},
     "has containerd.io, docker-ce, which docker.io would replace"),
    ("dockers-own-rootful", "rootful", {"packages": ["docker-ce"]}, "has docker-ce, which docker.io would replace"),
    ("exporter", "rootless", {"packages": [EXPORTER]}, f"exporter already has {EXPORTER}, not brought by this kit"),
    ("exporter-of-the-kit", "none", {"packages": [EXPORTER], "installed": [EXPORTER]}, ""),
    ("exporter-as-it-is", "none", {"packages": [EXPORTER], "observability": False}, ""),
    ("bare-rootful", "rootful", {}, ""),
    ("empty", "rootful", {"units": ENABLED, "folders": ["containers"], "answers": ([], None)}, ""),
    ("volume", "rootful", {"units": ENABLED, "folders": ["volumes/shop_db"]},
     "containers or volumes (shop_db), " + DELETED),
    ("container", "rootful", {"units": ENABLED, "folders": ["containers/0a1b"]},
     "containers or volumes (0a1b), " + DELETED),
    ("elsewhere", "rootful", {"answers": ([{"Id": "2c3d"}], [{"Name": "db"}])},
     "containers or volumes (2c3d, db), " + DELETED),
    ("gone", "rootful", {"units": ENABLED, "stale": True}, ""),
    ("rootful-second-run", "rootful",
     {"ours": True, "folders": ["volumes/of_a_job"], "answers": ([{"Id": "4e5f"}], None)}, ""),
]  # fmt: skip


class Docker(http.server.BaseHTTPRequestHandler):
    """What a root daemon answers."""

    answers: ClassVar[dict[str, object]] = {}

    def do_GET(self) -> None:
        text = json.dumps(self.answers[self.path]).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """A client of a Unix socket has no address."""


def serve(path: Path, containers: object, volumes: object) -> socketserver.BaseServer:
    answers = {"/containers/json?all=1": containers, "/volumes": {"Volumes": volumes}}
    handler = type("Handler", (Docker,), {"answers": answers})
    server = socketserver.ThreadingUnixStreamServer(str(path), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def make(place: Path, there: dict[str, Any]) -> socketserver.BaseServer | None:
    """A machine's files below a folder, and its root daemon."""
    unit = place / "etc/systemd/system/docker.service.d/thebes.conf"
    unit.parent.mkdir(parents=True)
    (place / "var/run").mkdir(parents=True)
    (place / "units").write_text("".join(f"{u} {s} enabled\n" for u, s in there.get("units", {}).items()))
    (place / "packages").write_text("".join(f"hi  {p}\n" for p in there.get("packages", [])) + "rc  docker-ce-cli\n")
    if "installed" in there:
        (place / "etc/thebes-runner-packages").write_text(f"curl\n{' '.join(there['installed'])}\n")
    if "ours" in there:
        unit.touch()
    for name in there.get("folders", []):
        (place / "var/lib/docker" / name).mkdir(parents=True)
        (place / "var/lib/docker/volumes/metadata.db").parent.mkdir(exist_ok=True)
        (place / "var/lib/docker/volumes/metadata.db").touch()
    path = place / "var/run/docker.sock"
    if "stale" in there:
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(path))
    return serve(path, *there["answers"]) if "answers" in there else None


def tasks_below(file: str) -> Any:
    """A role's tasks, with their absolute paths below each machine's folder."""
    text = json.dumps(yaml.safe_load((ROOT / file).read_text()))
    return json.loads(re.sub(r"(?<![\w.}])/(etc|var)/", r"{{ place }}/\1/", text))


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """All machines in one run, each a folder of this one with stand-ins of the commands that ask it."""
    folder = tmp_path_factory.mktemp("docker")
    (folder / "bin").mkdir()
    for name, file in (("systemctl", "units"), ("dpkg-query", "packages")):
        (folder / "bin" / name).write_text(f'#!/bin/sh\ncat "$PLACE/{file}"\n')
        (folder / "bin" / name).chmod(0o755)
    servers = [make(folder / name, there) for name, _, there, _ in MACHINES]
    of_any_mode, tasks = (tasks_below(f"roles/preflight/tasks/{name}.yml") for name in ("packages", "docker"))
    of_mode = {"block": tasks, "when": "docker_mode != 'none'"}
    play = [{"hosts": "all", "connection": "local", "gather_facts": False, "any_errors_fatal": False,
             "environment": {"PLACE": "{{ place }}"}, "tasks": [*of_any_mode, of_mode]}]  # fmt: skip
    hosts = {
        name: {**GOOD, "docker_mode": mode, "place": str(folder / name),
               "observability_node_exporter": there.get("observability", True)}
        for name, mode, there, _ in MACHINES
    }  # fmt: skip
    yield ask(folder, yaml.safe_dump(play, sort_keys=False), hosts, path=f"{folder}/bin:")
    for server in filter(None, servers):
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("name", [m[0] for m in MACHINES])
def test_what_is_of_others_is_refused(told: Told, name: str) -> None:
    expected = next(m[3] for m in MACHINES if m[0] == name)
    answer = told[0].get(name, "nothing")
    assert (expected in answer) if expected else (answer == "nothing"), answer
