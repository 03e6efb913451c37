"""Services from Docker: needs an engine, Compose 2, and the images postgres:15, redis:7 and postgres:99 (which serves
15); `make test-docker` makes what is not there, with no registry."""

import json
import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from support.project import REPOSITORY, Project
from support.waiting import eventually

ENGINE = {name: os.environ[name] for name in ("DOCKER_HOST", "DOCKER_CONFIG") if name in os.environ}
DOCKER = """
[tool.thebes.services.postgres]
sources = ["docker"]
[tool.thebes.services.redis]
sources = ["docker"]
[tool.thebes.services.cache]
compose = "ci/compose.yaml"
port = 6379
url = "redis://{host}:{port}/0"
[tool.thebes.services.careless]
compose = "ci/compose.yaml"
port = 6379
url = "redis://{host}:{port}/0"
[tool.thebes.gates.database]
"""
COMPOSE = """
services:
  cache:
    image: redis:${CACHE_VERSION:-0}
    command: [redis-server]
    ports: ["127.0.0.1::6379"]
    healthcheck: { test: [CMD, redis-cli, ping], interval: 1s, retries: 30 }
  careless:
    image: redis:7
    command: [redis-server]
    ports: ["127.0.0.1::6379"]
"""
TEST = """
import os
from redis import Redis
def test_a():
    for name, url in os.environ.items():
        if name.startswith("THEBES_") and url.startswith("redis"):
            assert Redis.from_url(url).ping()
"""


def docker(*words: str) -> str:
    done = subprocess.run(["docker", *words], env={**os.environ, **ENGINE}, capture_output=True, text=True, check=True)
    return done.stdout


def left() -> list[str]:
    """Containers, networks and volumes of ours."""
    filters = ("--filter", "name=thebes-", "--format", "{{.Name}}")
    containers = docker("ps", "--all", "--filter", "name=thebes-", "--format", "{{.Names}}").split()
    return [*containers, *docker("network", "ls", *filters).split(), *docker("volume", "ls", *filters).split()]


@pytest.fixture
def with_services(project: Project) -> Project:
    project.write({"pyproject.toml": DOCKER, "ci/compose.yaml": COMPOSE, "tests/database/test_a.py": TEST})
    return project


def configure(project: Project, services: str) -> None:
    (project.root / "pyproject.toml").write_text(f"{DOCKER}services = {services}\n")


def test_postgres_redis_and_a_service_of_ones_own(with_services: Project) -> None:
    configure(with_services, '{ postgres = ["15"], redis = ["7"], cache = ["7"] }')
    done = with_services.run("--shards", "1", env=ENGINE, timeout=300)
    assert done.exit == 0, done.stdout + done.stderr
    used = with_services.reasons()["service-used"]
    assert any(one.endswith("cache 7 (docker: redis:7)") for one in used)
    assert any("postgres 15." in one and "(docker: postgres:15)" in one for one in used)
    assert any("redis 7." in one and "(docker: redis:7)" in one for one in used)
    assert not left()


def test_the_reference_consumer_is_green_here_too(tmp_path: Path) -> None:
    """The same suites as on a bare machine, on servers from Docker."""
    source = REPOSITORY / "tests" / "workloads" / "agent_memory"
    shutil.copytree(source, tmp_path / "c", ignore=shutil.ignore_patterns(".*", "__pycache__"))
    consumer = Project(tmp_path / "c")
    configured = (consumer.root / "pyproject.toml").read_text("utf-8")
    for wanted, here in (
        ('services = ["postgres"]', 'services = { postgres = ["15"] }'),
        ('services = ["postgres", "redis"]', 'services = { postgres = ["15"], redis = ["7"] }'),
    ):
        assert wanted in configured
        configured = configured.replace(wanted, here)
    only = "".join(f'[tool.thebes.services.{name}]\nsources = ["docker"]\n' for name in ("postgres", "redis"))
    (consumer.root / "pyproject.toml").write_text(f"{configured}\n{only}")
    consumer.commit()
    environment = ENGINE | {"VIRTUAL_ENV": str(REPOSITORY / ".venv-agent-memory")}
    gates = [word for gate in ("database", "integration", "performance") for word in ("--gate", gate)]
    done = consumer.run("--shards", "1", *gates, env=environment, timeout=900)
    assert done.exit == 0, done.stdout + done.stderr
    assert set(consumer.outcomes().values()) == {"passed"}
    used = consumer.reasons()["service-used"]
    assert len(used) == len([one for one in used if "(docker: " in one]) == 5
    assert not left()


def test_an_image_of_another_version_than_its_tag_is_invalid(with_services: Project) -> None:
    configure(with_services, '{ postgres = ["99"] }')
    done = with_services.run("--shards", "1", env=ENGINE, timeout=300)
    assert done.exit == 3
    assert "postgres:99 serves 15." in with_services.reasons()["service-failed"][0]
    assert not left()


def test_a_service_without_a_health_check_is_invalid(with_services: Project) -> None:
    configure(with_services, '["careless"]')
    done = with_services.run("--shards", "1", env=ENGINE, timeout=300)
    assert done.exit == 3
    assert "service 'careless' has no healthcheck" in with_services.reasons()["service-failed"][0]
    assert not left()


def test_an_image_that_cannot_be_had_is_told_in_dockers_words(with_services: Project) -> None:
    configure(with_services, '{ cache = ["no-such"] }')
    done = with_services.run("--shards", "1", env=ENGINE, timeout=300)
    assert done.exit == 3
    assert "its log ends with: Error response from daemon" in with_services.reasons()["service-failed"][0]


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL], ids=lambda end: end.name)
def test_no_container_outlives_thebes(with_services: Project, end: signal.Signals) -> None:
    configure(with_services, '{ cache = ["7"] }')
    waiting = """
    import json, os
    from pathlib import Path
    def test_waits():
        Path("told.tmp").write_text(os.environ["THEBES_CACHE_URL"])
        Path("told.tmp").rename("told")
        read, write = os.pipe()
        os.read(read, 1)
    """
    with_services.write({"tests/database/test_a.py": waiting})
    thebes = with_services.start("run", "--out", "out", env=ENGINE)
    told = with_services.root / "told"
    eventually(told.exists, "the test has begun")
    port = int(told.read_text().rpartition(":")[2].partition("/")[0])
    thebes.send_signal(end)
    thebes.wait(60)
    eventually(lambda: not left(), "everything is gone")
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_by_hand(with_services: Project) -> None:
    assert with_services.thebes("services", "up", "redis=7", env=ENGINE).exit == 0
    status = json.loads(with_services.thebes("services", "status", "--json", env=ENGINE).stdout)
    assert [(one["source"], one["problem"]) for one in status] == [("docker", "")]
    assert left()
    assert with_services.thebes("services", "down", env=ENGINE).exit == 0
    assert not left()
