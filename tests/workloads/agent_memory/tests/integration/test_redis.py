"""Redis: the common behaviour, and what only it can do."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest
from behaviour import Behaviour
from redis import Redis

from agent_memory import PoolExhausted, Store, StoreError, StoreUnavailable, open_store
from agent_memory.redis_store import PREFIX, RedisStore


@pytest.fixture
def store(redis_store: RedisStore) -> Store:
    return redis_store


@pytest.fixture
def lapse(redis_client: "Redis") -> Callable[[str, str], None]:
    def run(namespace: str, key: str) -> None:
        redis_client.pexpireat(f"{PREFIX}:{namespace}:{key}", 1)

    return run


@pytest.fixture
def small(redis_url: str, redis_client: "Redis") -> Iterator[RedisStore]:
    store = open_store(redis_url, pool=1, wait=0.1)
    assert isinstance(store, RedisStore)
    yield store
    store.close()


class TestBehaviour(Behaviour):
    pass


def test_the_server_itself_expires(redis_store: RedisStore, redis_client: "Redis") -> None:
    redis_store.put("a", "k", 1, ttl=60)
    assert 0 < redis_client.pttl(f"{PREFIX}:a:k") <= 60_000


def test_a_lasting_memory_has_no_expiry(redis_store: RedisStore, redis_client: "Redis") -> None:
    redis_store.put("a", "k", 1, ttl=60)
    redis_store.put("a", "k", 1)
    assert redis_client.ttl(f"{PREFIX}:a:k") == -1


def test_bulk_writes_have_their_time_to_live(redis_store: RedisStore, redis_client: "Redis") -> None:
    redis_store.put_many("a", {str(n): n for n in range(600)}, ttl=60)
    assert all(0 < redis_client.ttl(name) <= 60 for name in redis_client.scan_iter("*"))


def test_the_shortest_time_to_live_is_a_millisecond(redis_store: RedisStore) -> None:
    redis_store.put("a", "k", 1)
    assert redis_store.touch("a", "k", 0.0001)


def test_scan_finds_all_of_many(redis_store: RedisStore) -> None:
    redis_store.put_many("a", {f"k{n:05}": n for n in range(3000)})
    assert len(redis_store.find("a", limit=5000)) == 3000
    assert len(redis_store.find("a", "k000*")) == 100


def test_keys_of_others_are_not_ours(redis_store: RedisStore, redis_client: "Redis") -> None:
    redis_client.set("cache:x", "1")
    redis_store.put("a", "k", 1)
    assert redis_store.stats().by_namespace == {"a": 1}
    redis_store.clear("a")
    assert redis_client.get("cache:x") == "1"


def test_a_key_of_another_type_is_an_error(redis_store: RedisStore, redis_client: "Redis") -> None:
    redis_client.set(f"{PREFIX}:a:k", "text")
    with pytest.raises(StoreError, match="WRONGTYPE"):
        redis_store.get("a", "k")


def test_a_pool_that_is_exhausted_says_so(small: RedisStore) -> None:
    held = small.client.connection_pool.get_connection()
    with pytest.raises(PoolExhausted):
        small.get("a", "k")
    small.client.connection_pool.release(held)
    assert small.get("a", "k") is None, "and recovers"


def test_fifty_operations_share_a_small_pool(redis_url: str, redis_client: "Redis") -> None:
    store = open_store(redis_url, pool=4, wait=60)
    with ThreadPoolExecutor(50) as pool:
        list(pool.map(lambda n: store.put("a", str(n), n), range(50)))
    assert store.stats().memories == 50
    store.close()


def test_a_killed_connection_is_replaced(small: RedisStore, redis_client: "Redis") -> None:
    number = small.client.client_id()
    redis_client.client_kill_filter(_id=str(number))
    assert small.get("a", "k") is None
    assert small.client.client_id() != number


def test_a_wrong_password_is_an_error_without_the_password(redis_url: str) -> None:
    store = open_store(redis_url.replace(urlsplit(redis_url).password or "", "wrong-one"), pool=1)
    with pytest.raises(StoreUnavailable) as error:
        store.get("a", "k")
    assert "wrong-one" not in str(error.value)
    store.close()


def test_data_outlives_the_connections(redis_url: str, redis_store: RedisStore) -> None:
    redis_store.put("a", "k", 1)
    redis_store.client.connection_pool.disconnect()
    other = open_store(redis_url, pool=1)
    assert other.get("a", "k") is not None
    other.close()


def test_a_script_that_the_server_forgot_is_loaded_again(redis_store: RedisStore, redis_client: "Redis") -> None:
    redis_store.put("a", "k", 1)
    redis_client.script_flush()
    assert redis_store.put("a", "k", 2).version == 2


def test_the_server_is_the_one_that_the_gate_named() -> None:
    assert urlsplit(os.environ["THEBES_REDIS_URL"]).scheme == "redis"
