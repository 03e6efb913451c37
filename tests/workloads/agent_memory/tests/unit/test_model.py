"""The interface on SQLite in memory: no server needed."""

import json
from typing import Any
from uuid import UUID

import pytest
from conftest import Clock
from hypothesis import given
from hypothesis import strategies as st

from agent_memory import Conflict, StoreError, move, open_store
from agent_memory.agents import QTable, Session, WorkQueue
from agent_memory.model import checked
from agent_memory.redis_store import _memory
from agent_memory.sql import ESCAPES, SqlStore

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)
keys = st.text(st.characters(min_codepoint=32, exclude_categories=["Cs"]), min_size=1, max_size=30)


@given(keys, values)
def test_what_is_put_is_got(sqlite_store: SqlStore, key: str, value: Any) -> None:
    sqlite_store.clear("a")
    written = sqlite_store.put("a", key, value)
    assert sqlite_store.get("a", key) == written
    assert written.value == value
    assert isinstance(written.id, UUID)


@given(st.lists(keys, unique=True, max_size=8), keys)
def test_a_pattern_without_wildcards_finds_its_key_alone(sqlite_store: SqlStore, names: list[str], name: str) -> None:
    sqlite_store.clear("a")
    sqlite_store.put_many("a", dict.fromkeys([*names, name], 1))
    if "*" not in name and "?" not in name:
        assert [memory.key for memory in sqlite_store.find("a", name)] == [name]


def test_expired_memories_are_gone_before_they_are_purged(sqlite_store: SqlStore, clock: Clock) -> None:
    store = SqlStore(sqlite_store.engine, now=clock)
    store.put("a", "short", 1, ttl=10)
    store.put("a", "long", 1, ttl=100)
    clock.now += 11
    assert store.get("a", "short") is None
    assert [memory.key for memory in store.find("a")] == ["long"]
    assert store.stats().memories == 1
    assert (store.purge(), store.purge()) == (1, 0)


def test_a_new_memory_after_an_expired_one_is_a_new_one(sqlite_store: SqlStore, clock: Clock) -> None:
    store = SqlStore(sqlite_store.engine, now=clock)
    old = store.put("a", "k", 1, ttl=10)
    clock.now += 11
    new = store.put("a", "k", 2, if_version=0)
    assert new.version == 1
    assert new.id != old.id


def test_versions_decide_who_wrote_first(sqlite_store: SqlStore) -> None:
    first = sqlite_store.put("a", "k", 1, if_version=0)
    sqlite_store.put("a", "k", 2, if_version=first.version)
    with pytest.raises(Conflict, match="a/k: not at version 1"):
        sqlite_store.put("a", "k", 3, if_version=first.version)
    with pytest.raises(Conflict):
        sqlite_store.put("a", "k", 3, if_version=0)


@pytest.mark.parametrize("namespace", ["", "a b", "a:b", "ä", "x" * 101, "a/b", "a\n"])
def test_names_that_no_back_end_could_take_are_refused(namespace: str) -> None:
    with pytest.raises(ValueError, match="namespace"):
        checked(namespace)


@pytest.mark.parametrize("key", ["", "a\0b", "a\nb", "x" * 513, "\ud800"])
def test_keys_that_no_back_end_could_take_are_refused(key: str) -> None:
    with pytest.raises(ValueError, match="key"):
        checked("a", key)


@pytest.mark.parametrize("ttl", [0, -1, float("nan"), float("inf")])
def test_a_time_to_live_is_above_zero(sqlite_store: SqlStore, ttl: float) -> None:
    with pytest.raises(ValueError, match="ttl"):
        sqlite_store.put("a", "k", 1, ttl=ttl)


def test_wildcards_of_others_mean_nothing() -> None:
    assert r"100%_\*?".translate(ESCAPES) == r"100\%\_\\%_"


def test_queue_gives_each_job_once_and_again_after_its_lease(sqlite_store: SqlStore, clock: Clock) -> None:
    queue = WorkQueue(sqlite_store, "q", now=clock)
    queue.push("one")
    first = queue.claim(lease=10)
    assert first is not None
    assert queue.claim() is None
    clock.now += 11
    second = queue.claim()
    assert second is not None
    assert (second.payload, second.attempt) == ("one", 2)
    with pytest.raises(Conflict, match="no longer yours"):
        queue.finish(first)
    queue.finish(second)
    assert len(queue) == 0


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=30))
def test_q_values_stay_within_the_rewards(sqlite_store: SqlStore, rewards: list[float]) -> None:
    sqlite_store.clear("q.a")
    table = QTable(sqlite_store, "a", alpha=0.5, gamma=0.0)
    for reward in rewards:
        value = table.learn("s", "go", reward)
    assert min([*rewards, 0.0]) <= value <= max([*rewards, 0.0])


def test_the_best_action_does_not_depend_on_the_order_of_learning(sqlite_store: SqlStore) -> None:
    table = QTable(sqlite_store, "a")
    assert table.best("s") is None
    table.learn("s", "b", 1.0)
    table.learn("s", "a", 1.0)
    assert table.best("s") == "b"


def test_sessions_merge_and_end(sqlite_store: SqlStore) -> None:
    session = Session(sqlite_store, "x")
    session.update(a=1)
    assert session.update(b=2) == {"a": 1, "b": 2} == session.load()
    assert session.end()
    assert session.load() == {}


def test_a_move_that_loses_something_is_an_error(sqlite_store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    sqlite_store.put("a", "k", 1)
    other = open_store("sqlite://")
    monkeypatch.setattr(other, "restore", lambda memories: 0)
    monkeypatch.setattr(other, "get_many", lambda namespace, keys: {})
    with pytest.raises(StoreError, match="a: 1 memories did not arrive, the first is 'k'"):
        move(sqlite_store, other)
    other.close()


def test_only_known_back_ends_are_opened() -> None:
    with pytest.raises(ValueError, match="mysql: not a back end"):
        open_store("mysql://a")


def test_what_redis_answers_becomes_a_memory() -> None:
    fields = {
        b"id": b"00000000-0000-0000-0000-000000000001",
        b"value": json.dumps([1]),
        b"version": b"3",
        b"created": b"1.5",
    }
    found = _memory("n", "k", fields, None)
    assert (found.id, found.value, found.version, found.created) == (UUID(int=1), [1], 3, 1.5)
