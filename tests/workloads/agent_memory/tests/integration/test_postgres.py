"""PostgreSQL: the common behaviour, and what only it can do."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest
import sqlalchemy as sa
from behaviour import NESTED, Behaviour

from agent_memory import PoolExhausted, Store, StoreFull, StoreUnavailable, open_store
from agent_memory.sql import SqlStore

DISK_FULL = """
CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$;
CREATE TRIGGER full_disk BEFORE INSERT ON memory FOR EACH ROW EXECUTE FUNCTION full_disk();
"""


@pytest.fixture
def store(postgres_store: SqlStore) -> Store:
    return postgres_store


@pytest.fixture
def lapse(postgres_engine: sa.Engine) -> Callable[[str, str], None]:
    def run(namespace: str, key: str) -> None:
        with postgres_engine.begin() as connection:
            connection.execute(
                sa.text("UPDATE memory SET expires = 1 WHERE namespace = :n AND key = :k"), {"n": namespace, "k": key}
            )

    return run


class TestBehaviour(Behaviour):
    pass


@pytest.fixture
def small(db_url: str, postgres_store: SqlStore) -> Iterator[SqlStore]:
    """With one connection, for which nobody waits long."""
    store = open_store(db_url, pool=1, wait=0.1)
    assert isinstance(store, SqlStore)
    yield store
    store.close()


def test_namespaces_are_spread_over_partitions(postgres_store: SqlStore) -> None:
    for n in range(64):
        postgres_store.put(f"agent-{n}", "k", n)
    counts = postgres_store.partitions()
    assert sum(counts.values()) == 64
    assert set(counts) == {f"memory_{part}" for part in range(4)}


def test_a_namespace_lies_in_one_partition(postgres_store: SqlStore) -> None:
    postgres_store.put_many("a", {str(n): n for n in range(100)})
    assert list(postgres_store.partitions().values()) == [100]


def test_json_is_searched_by_the_server(postgres_store: SqlStore) -> None:
    postgres_store.put("a", "1", {"kind": "fact", "tags": ["x", "y"]})
    postgres_store.put("a", "2", {"kind": "plan", "tags": ["y"]})
    assert [memory.key for memory in postgres_store.containing("a", {"kind": "fact"})] == ["1"]
    assert [memory.key for memory in postgres_store.containing("a", {"tags": ["y"]})] == ["1", "2"]


def test_values_are_jsonb(postgres_store: SqlStore, postgres_engine: sa.Engine) -> None:
    postgres_store.put("a", "k", NESTED)
    with postgres_engine.connect() as connection:
        kind = connection.execute(sa.text("SELECT jsonb_typeof(value -> 'plan' -> 'steps') FROM memory")).scalar_one()
    assert kind == "array"


def test_purge_removes_the_expired_for_good(
    postgres_store: SqlStore, postgres_engine: sa.Engine, lapse: Callable[[str, str], None]
) -> None:
    postgres_store.put_many("a", {"1": 1, "2": 2, "3": 3}, ttl=60)
    lapse("a", "1")
    lapse("a", "2")
    assert postgres_store.purge() == 2
    with postgres_engine.connect() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM memory")).scalar_one() == 1


def test_data_outlives_the_connections(db_url: str, postgres_store: SqlStore) -> None:
    postgres_store.put("a", "k", 1)
    other = open_store(db_url, pool=1)
    assert other.get("a", "k") is not None
    other.close()
    again = open_store(db_url, pool=1)
    assert again.get("a", "k") is not None
    again.close()


def test_a_pool_that_is_exhausted_says_so(small: SqlStore) -> None:
    with small.engine.connect() as held:
        assert held.execute(sa.text("SELECT 1")).scalar_one() == 1
        with pytest.raises(PoolExhausted):
            small.get("a", "k")
    assert small.get("a", "k") is None, "and recovers"


def test_fifty_operations_share_a_small_pool(db_url: str, postgres_store: SqlStore) -> None:
    store = open_store(db_url, pool=4, wait=60)
    with ThreadPoolExecutor(50) as pool:
        list(pool.map(lambda n: store.put("a", str(n), n), range(50)))
    assert store.stats().memories == 50
    store.close()


def test_a_killed_connection_is_an_error_and_then_replaced(small: SqlStore, postgres_engine: sa.Engine) -> None:
    with small.engine.connect() as connection:
        pid = connection.execute(sa.text("SELECT pg_backend_pid()")).scalar_one()
    with postgres_engine.connect() as admin:
        admin.execute(sa.text("SELECT pg_terminate_backend(:pid, 10000)"), {"pid": pid})
    with pytest.raises(StoreUnavailable):
        small.get("a", "k")
    assert small.get("a", "k") is None


def test_a_wrong_password_is_an_error_without_the_password(db_url: str) -> None:
    parts = urlsplit(db_url)
    store = open_store(db_url.replace(parts.password or "", "wrong-one"), pool=1)
    with pytest.raises(StoreUnavailable, match="password authentication failed") as error:
        store.get("a", "k")
    assert "wrong-one" not in str(error.value)
    store.close()


def test_a_full_disk_is_an_error_of_its_own(fresh_db_url: str) -> None:
    """The server's own error for it, raised by a trigger."""
    store = open_store(fresh_db_url, pool=1)
    assert isinstance(store, SqlStore)
    store.put("a", "k", 1)
    with store.engine.begin() as connection:
        connection.exec_driver_sql(DISK_FULL)
    with pytest.raises(StoreFull, match="could not extend file"):
        store.put("a", "other", 1)
    assert store.get("a", "k") is not None
    store.close()


def test_writers_of_the_same_keys_do_not_deadlock(postgres_store: SqlStore) -> None:
    keys = [str(n) for n in range(200)]
    with ThreadPoolExecutor(4) as pool:
        orders = [keys, keys[::-1], keys[100:] + keys[:100], keys[::2] + keys[1::2]]
        list(pool.map(lambda order: postgres_store.put_many("a", dict.fromkeys(order, 1)), orders * 5))
    assert {memory.version for memory in postgres_store.find("a")} == {20}


def test_the_server_is_the_one_that_the_gate_named() -> None:
    assert urlsplit(os.environ["THEBES_POSTGRES_URL"]).scheme == "postgresql"
