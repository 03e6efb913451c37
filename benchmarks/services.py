"""What a database test costs beside the test itself, by ways to give it a clean database; what stores can do.

Runs in the environment of the reference consumer (`make .venv-agent-memory/ready`), against one embedded PostgreSQL
and one embedded Redis. The ways take turns, so that all see the same machine.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from thebes.services import Service, Source, served

REPOSITORY = Path(__file__).parents[1]
PYTHON = REPOSITORY / ".venv-agent-memory" / "bin" / "python"
TESTS = 60
ROUNDS = 3
TABLES = 12

CONFTEST = f"""
import json, os
import pytest
import sqlalchemy as sa
from pytest_postgresql import factories
from urllib.parse import urlsplit

pytest_plugins = ["thebes.fixtures"]
metadata = sa.MetaData()
for number in range({TABLES}):
    columns = sa.Column("id", sa.Integer, primary_key=True), sa.Column("x", sa.Text, index=True)
    sa.Table(f"t{{number}}", metadata, *columns)
server = urlsplit(os.environ["THEBES_POSTGRES_URL"])

def create(url):
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"), poolclass=sa.NullPool)
    metadata.create_all(engine)
    engine.dispose()

def load(**given):
    create(f"postgresql://{{given['user']}}:{{given['password']}}@{{given['host']}}:{{given['port']}}/{{given['dbname']}}")

peer_server = factories.postgresql_noproc(
    host=server.hostname, port=server.port, user=server.username, password=server.password, load=[load]
)
peer = factories.postgresql("peer_server")

@pytest.fixture(scope="session")
def migrate():
    return create

@pytest.fixture
def schema(db_engine):
    metadata.drop_all(db_engine)
    metadata.create_all(db_engine)
    return db_engine

took = {{}}
def pytest_runtest_logreport(report):
    if report.when != "call":
        took.setdefault(report.nodeid, 0.0)
        took[report.nodeid] += report.duration
def pytest_sessionfinish():
    with open("took.json", "w") as file:
        json.dump(list(took.values()), file)
"""
TEST = """
import pytest
@pytest.mark.parametrize("i", range({tests}))
def test_it(i{fixture}): {use}
"""
WAYS = {
    "nothing (the test itself)": ("", "pass"),
    "db_session (rolled back)": (", db_session", "db_session.connection()"),
    "fresh_db_url (a clone for each test)": (", fresh_db_url", "pass"),
    "pytest-postgresql's client (a clone for each test)": (", peer", "pass"),
    "schema dropped and created for each test": (", schema", "pass"),
}


def measure(folder: Path, environment: dict[str, str], fixture: str, use: str) -> tuple[float, float]:
    """Median of set-up and teardown in the middle of the session, and the first test's, in seconds."""
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_it.py").write_text(TEST.format(tests=TESTS, fixture=fixture, use=use))
    command = [str(PYTHON), "-m", "pytest", "-q", "-p", "no:randomly", "-p", "no:cacheprovider"]
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    took = json.loads((folder / "took.json").read_text())
    return statistics.median(took[1:-1]), took[0] + took[-1]


def costs(folder: Path, environment: dict[str, str]) -> None:
    rounds = [{way: measure(folder, environment, *how) for way, how in WAYS.items()} for _ in range(ROUNDS)]
    print(f"{'a clean database for a test':52} {'each test':>12} {'once a worker':>14}   (median of {ROUNDS} rounds)")
    for way in WAYS:
        each, once = (statistics.median(one[way][i] for one in rounds) for i in (0, 1))
        print(f"{way:52} {each * 1000:9.2f} ms {once * 1000:11.1f} ms")


def throughput(environment: dict[str, str]) -> None:
    out = Path(environment["OUT"]) / "benchmarks.json"
    consumer = REPOSITORY / "tests" / "workloads" / "agent_memory"
    command = [str(PYTHON), "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/performance"]
    subprocess.run(
        [*command, f"--benchmark-json={out}"], cwd=consumer, env=environment, check=True, capture_output=True
    )
    print(f"\n{'agent memory, operations per second':52} {'measured':>12}")
    for one in json.loads(out.read_text())["benchmarks"]:
        rate = one["extra_info"]["operations"] / one["stats"]["median"]
        print(f"{one['name']:52} {rate:12,.0f}")
    print(
        "the source's targets: PostgreSQL 10 writes/s, 50 reads/s, a search 1 s; Redis 50 writes/s, 100 reads/s, 0.5 s"
    )


def main() -> None:
    if not PYTHON.exists():
        sys.exit("no .venv-agent-memory; make .venv-agent-memory/ready makes it")
    folder = Path(tempfile.mkdtemp(prefix="thebes-bench-"))
    services = {name: Service(name=name, kind=name, sources=(Source.EMBEDDED,)) for name in ("postgres", "redis")}
    wanted = {"postgres": "", "redis": ""}
    with served(wanted, services, folder, folder, os.environ, "bench", print) as up:
        environment = {**os.environ, **up.environment, "OUT": str(folder)}
        costs(folder, environment)
        throughput(environment)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
