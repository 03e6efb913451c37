"""Docker Compose, or Podman's: asks it, describes our services to it, refuses what has no health check."""

import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from thebes.errors import InputError

from .kinds import Kind
from .launch import HOST, plain_environment
from .model import Service, ServiceError

ASK_LIMIT = 20.0  # seconds for a question to the engine; one that hangs is broken
CONFIG_LIMIT = 60.0
ENGINES = ("docker", "podman")
# What the clients read: contexts, remote engines, rootless sockets, proxies for pulling.
CLIENT = ("HOME", "DOCKER_HOST", "DOCKER_CONFIG", "DOCKER_CONTEXT", "XDG_RUNTIME_DIR", "CONTAINER_HOST")


class Inner(NamedTuple):
    """A service within a compose file: its name there, the port inside of the container, the file."""

    service: str
    port: int
    file: Path


def engine(environment: Mapping[str, str]) -> str | list[str]:
    """The compose command of an engine that answers; a list. A text says why there is none."""
    reasons = []
    for name in ENGINES:
        client = shutil.which(name, path=environment.get("PATH"))
        if client is None:
            reasons.append(f"no {name}")
            continue
        for question in ([client, "version"], [client, "compose", "version"]):
            if problem := _problem(question, environment):
                reasons.append(f"{name} is there and does not work ({problem})")
                break
        else:
            return [client, "compose"]
    return ", ".join(reasons)


def _problem(command: Sequence[str], environment: Mapping[str, str]) -> str:
    """Why a command does not work, in its own last words; empty if it does."""
    try:
        done = _ask(command, plain_environment(environment, CLIENT), ASK_LIMIT)
    except subprocess.TimeoutExpired:
        return f"no answer in {ASK_LIMIT:g} s"
    except OSError as error:
        return error.strerror or "can't be run"
    if not done.returncode:
        return ""
    words = (done.stderr or done.stdout).strip().splitlines()
    return words[-1][:200] if words else f"exit code {done.returncode}"


def _ask(command: Sequence[str], environment: Mapping[str, str], limit: float) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=limit,
    )


def client_environment(ours: Mapping[str, str], name: str, asked: str) -> dict[str, str]:
    """For compose: what its client reads, and the version for `image: neo4j:${NEO4J_VERSION:-5}`."""
    version = {f"{name.upper().replace('-', '_')}_VERSION": asked} if asked else {}
    return plain_environment(ours, CLIENT) | version


def of_kind(kind: Kind, image: str, password: str, folder: Path) -> Inner:
    """A compose file for a shipped kind: a free port of this machine only, limits, a health check."""
    described = {
        **kind.container(password),
        "image": image,
        "ports": [f"{HOST}::{kind.container_port}"],
        "pids_limit": 500,
    }
    file = folder / "compose.json"
    file.touch(mode=0o600)
    file.write_text(json.dumps({"services": {kind.image: described}}), "utf-8")
    return Inner(kind.image, kind.container_port, file)


def of_file(service: Service, root: Path, command: Sequence[str], environment: Mapping[str, str]) -> Inner:
    """The service of a project's own compose file. InputError: it is not there, or has no health check."""
    file = root / (service.compose or "")
    name = service.service or service.name
    where = f"tool.thebes.services.{service.name}.compose: {service.compose}"
    done = _ask([*command, "-f", str(file), "config", "--format", "json"], environment, CONFIG_LIMIT)
    if done.returncode:
        raise InputError(f"{where}: {done.stderr.strip().rpartition(chr(10))[2][:300]}")
    described = json.loads(done.stdout).get("services", {})
    refuse_unhealthy(described, name, where)
    return Inner(name, service.port, file)


def refuse_unhealthy(described: Mapping[str, Any], name: str, where: str) -> None:
    """InputError where `name` is no service of the compose file, or nobody could tell when it is ready."""
    if name not in described:
        raise InputError(f"{where}: no service {name!r}; there are {', '.join(sorted(described)) or 'none'}")
    check = described[name].get("healthcheck")
    if not check or check.get("disable") or check.get("test") in (["NONE"], None):
        raise InputError(f"{where}: service {name!r} has no healthcheck, so nobody can tell when it is ready; add one")


class Up(NamedTuple):
    """A compose project of ours. `project` is its unique name."""

    engine: list[str]
    project: str
    inner: Inner
    environment: dict[str, str]

    def command(self, *words: str) -> tuple[str, ...]:
        return (*self.engine, "-p", self.project, "-f", str(self.inner.file), *words)

    def ask(self, *words: str) -> str:
        """What compose answers; empty if it does not."""
        try:
            done = _ask(self.command(*words), self.environment, ASK_LIMIT)
        except subprocess.TimeoutExpired:
            return ""
        return done.stdout if not done.returncode else ""

    def state(self) -> dict[str, Any]:
        """Of the service's container, as compose lists it."""
        for line in self.ask("ps", "--all", "--format", "json", self.inner.service).splitlines():
            found = json.loads(line)
            one = found[0] if isinstance(found, list) and found else found
            if isinstance(one, dict):
                return one
        return {}

    def healthy(self) -> str | None:
        return "healthy" if self.state().get("Health") == "healthy" else None

    def image(self) -> str:
        return str(self.state().get("Image", ""))

    def address(self) -> tuple[str, int]:
        """Where this machine reaches the port. ServiceError: it is not published."""
        answer = self.ask("port", self.inner.service, str(self.inner.port)).strip()
        host, _, port = answer.rpartition(":")
        if not port.isdigit():
            raise ServiceError(
                "service-failed",
                f"{self.inner.service}: container port {self.inner.port} is not published; add it to ports",
            )
        return {"0.0.0.0": HOST, "": HOST, "[::]": "::1"}.get(host, host), int(port)  # noqa: S104
