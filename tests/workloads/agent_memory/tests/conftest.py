"""The stores that the suites run on. Servers come from Thebes; nothing here is skipped for the lack of one."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import alembic.command
import alembic.config
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis.database import DirectoryBasedExampleDatabase

from agent_memory import open_store
from agent_memory.redis_store import RedisStore
from agent_memory.schema import metadata
from agent_memory.sql import SqlStore

pytest_plugins = ["thebes.fixtures"]

ROOT = Path(__file__).parents[1]
KEPT = DirectoryBasedExampleDatabase(ROOT / ".hypothesis" / "examples")
# In a gate the same examples every time; at night others (HYPOTHESIS_PROFILE=night); failures are kept.
QUIET = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
settings.register_profile("gate", max_examples=50, derandomize=True, deadline=None, suppress_health_check=QUIET)
settings.register_profile("night", max_examples=2000, deadline=None, database=KEPT, suppress_health_check=QUIET)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "gate"))


class Clock:
    """A time that moves when a test says so."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def migrate() -> Callable[[str], None]:
    def run(url: str) -> None:
        config = alembic.config.Config(str(ROOT / "alembic.ini"))
        config.set_main_option("sqlalchemy.url", url.replace("postgresql:", "postgresql+psycopg:").replace("%", "%%"))
        alembic.command.upgrade(config, "head")

    return run


@pytest.fixture(scope="session")
def postgres_engine(db_url: str) -> Iterator[sa.Engine]:
    engine = sa.create_engine(db_url.replace("postgresql:", "postgresql+psycopg:"), pool_size=20)
    yield engine
    engine.dispose()


@pytest.fixture
def postgres_store(postgres_engine: sa.Engine) -> Iterator[SqlStore]:
    """On this worker's database; emptied after the test, for a store commits."""
    yield SqlStore(postgres_engine)
    with postgres_engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM memory"))  # TRUNCATE makes 20 files anew


@pytest.fixture
def redis_store(redis_client: object, redis_url: str) -> Iterator[RedisStore]:
    """On this worker's logical database, which `redis_client` empties."""
    store = open_store(redis_url, pool=20)
    assert isinstance(store, RedisStore)
    yield store
    store.close()


@pytest.fixture
def sqlite_store(memory_engine: sa.Engine) -> SqlStore:
    store = SqlStore(memory_engine)
    metadata.create_all(memory_engine)
    return store
