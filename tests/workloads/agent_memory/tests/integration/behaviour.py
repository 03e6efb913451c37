"""What every back end must do: 26 tests, run on PostgreSQL and on Redis by the classes that inherit them."""

import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from agent_memory import Conflict, Memory, Store
from agent_memory.agents import change

NESTED = {"plan": {"steps": [1, 2.5, None, {"ü": ["日本", "🙂"]}], "done": False}, "empty": [[], {}], "big": 2**53}


class Behaviour:
    """Subclasses give the fixtures `store` and `lapse` (let a memory expire)."""

    def test_what_is_put_is_got(self, store: Store) -> None:
        written = store.put("a", "k", NESTED)
        assert store.get("a", "k") == written
        assert written.value == NESTED

    def test_ids_are_uuids(self, store: Store) -> None:
        assert isinstance(store.put("a", "k", 1).id, uuid.UUID)

    @pytest.mark.parametrize("value", [None, True, 0, -1.5, "", "x" * 100_000, [], {}], ids=str)
    def test_every_json_value(self, store: Store, value: Any) -> None:
        store.put("a", "k", value)
        found = store.get("a", "k")
        assert found is not None
        assert found.value == value

    def test_nothing_is_none(self, store: Store) -> None:
        assert store.get("a", "k") is None

    def test_a_second_write_keeps_the_id_and_counts(self, store: Store) -> None:
        first = store.put("a", "k", 1)
        second = store.put("a", "k", 2)
        assert (second.id, second.created, second.version) == (first.id, first.created, 2)

    def test_delete_once(self, store: Store) -> None:
        store.put("a", "k", 1)
        assert store.delete("a", "k")
        assert not store.delete("a", "k")
        assert store.get("a", "k") is None

    def test_namespaces_are_apart(self, store: Store) -> None:
        store.put("a", "k", 1)
        store.put("b", "k", 2)
        assert store.namespaces() == ["a", "b"]
        assert store.clear("a") == 1
        assert store.get("b", "k") is not None

    def test_a_namespace_is_no_prefix_of_another(self, store: Store) -> None:
        store.put("a", "k", 1)
        store.put("a.b", "k", 1)
        assert len(store.find("a")) == 1
        assert store.clear("a") == 1
        assert store.namespaces() == ["a.b"]

    @pytest.mark.parametrize(
        ("pattern", "expected"),
        [
            ("*", ["note:1", "note:10", "note:2", "todo:1"]),
            ("note:*", ["note:1", "note:10", "note:2"]),
            ("note:?", ["note:1", "note:2"]),
            ("*1", ["note:1", "todo:1"]),
            ("none*", []),
        ],
    )
    def test_patterns(self, store: Store, pattern: str, expected: list[str]) -> None:
        store.put_many("a", dict.fromkeys(["todo:1", "note:2", "note:10", "note:1"], 1))
        assert [memory.key for memory in store.find("a", pattern)] == expected

    @pytest.mark.parametrize("key", ["100%", "a_b", "[x]", "a\\b", "a:b:c", "ключ", "^x", "'quoted\""])
    def test_keys_with_meaning_elsewhere(self, store: Store, key: str) -> None:
        store.put_many("a", {key: 1, "zzz": 2, "aXb": 3})
        assert [memory.key for memory in store.find("a", key)] == [key]

    def test_case_matters(self, store: Store) -> None:
        store.put_many("a", {"Key": 1, "key": 2})
        assert [memory.value for memory in store.find("a", "k*")] == [2]

    def test_find_is_sorted_and_limited(self, store: Store) -> None:
        store.put_many("a", {f"{n:03}": n for n in reversed(range(50))})
        assert [memory.value for memory in store.find("a", limit=10)] == list(range(10))

    def test_many_at_once(self, store: Store) -> None:
        assert store.put_many("a", {f"k{n}": n for n in range(2500)}) == 2500
        assert store.stats().by_namespace == {"a": 2500}
        found = store.get_many("a", [f"k{n}" for n in range(0, 2500, 100)] + ["none"])
        assert {key: memory.value for key, memory in found.items()} == {f"k{n}": n for n in range(0, 2500, 100)}

    def test_a_memory_with_a_time_to_live(self, store: Store) -> None:
        memory = store.put("a", "k", 1, ttl=60)
        assert memory.expires == pytest.approx(time.time() + 60, abs=15)
        assert store.put("a", "k", 1).expires is None

    def test_an_expired_memory_is_gone(self, store: Store, lapse: Callable[[str, str], None]) -> None:
        store.put("a", "k", 1, ttl=60)
        lapse("a", "k")
        assert store.get("a", "k") is None
        assert store.find("a") == []
        assert not store.delete("a", "k")
        assert store.stats().memories == 0

    def test_after_expiry_a_key_is_free(self, store: Store, lapse: Callable[[str, str], None]) -> None:
        old = store.put("a", "k", 1, ttl=60)
        lapse("a", "k")
        new = store.put("a", "k", 2, if_version=0)
        assert (new.version, new.id == old.id) == (1, False)

    def test_touch_prolongs_and_makes_lasting(self, store: Store) -> None:
        store.put("a", "k", 1, ttl=60)
        assert store.touch("a", "k", 6000)
        found = store.get("a", "k")
        assert found is not None
        assert found.expires == pytest.approx(time.time() + 6000, abs=30)
        assert store.touch("a", "k", None)
        lasting = store.get("a", "k")
        assert lasting is not None
        assert lasting.expires is None
        assert not store.touch("a", "none", 60)

    def test_versions_decide(self, store: Store) -> None:
        first = store.put("a", "k", 1, if_version=0)
        assert store.put("a", "k", 2, if_version=first.version).version == 2
        with pytest.raises(Conflict):
            store.put("a", "k", 3, if_version=first.version)
        with pytest.raises(Conflict):
            store.put("a", "k", 3, if_version=0)
        with pytest.raises(Conflict):
            store.put("a", "none", 3, if_version=7)

    def test_fifty_writers_lose_nothing(self, store: Store) -> None:
        with ThreadPoolExecutor(10) as pool:
            list(pool.map(lambda _: change(store, "a", "n", lambda old: (old or 0) + 1), range(50)))
        found = store.get("a", "n")
        assert found is not None
        assert (found.value, found.version) == (50, 50)

    def test_one_of_many_is_first(self, store: Store) -> None:
        barrier = threading.Barrier(8)

        def write(who: int) -> bool:
            barrier.wait(30)
            try:
                store.put("a", "leader", who, if_version=0)
            except Conflict:
                return False
            return True

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(write, range(8))) == 1

    def test_readers_see_whole_values(self, store: Store) -> None:
        store.put("a", "k", [0] * 200)
        with ThreadPoolExecutor(4) as pool:
            writes = [pool.submit(store.put, "a", "k", [n] * 200) for n in range(40)]
            reads = [pool.submit(store.get, "a", "k") for _ in range(40)]
            seen = [found.result() for found in reads]
            for write in writes:
                write.result()
        assert all(memory is not None and len(set(memory.value)) == 1 for memory in seen)

    def test_restore_keeps_everything(self, store: Store) -> None:
        given = [
            Memory(id=uuid.uuid4(), namespace="a", key=f"k{n}", value=n, version=n + 1, created=1.5, expires=None)
            for n in range(5)
        ]
        assert store.restore(given) == 5
        assert store.find("a") == given

    def test_stats_count_the_living(self, store: Store, lapse: Callable[[str, str], None]) -> None:
        store.put_many("a", {"1": 1, "2": 2}, ttl=60)
        store.put_many("b", {"1": 1})
        lapse("a", "1")
        assert store.stats().by_namespace == {"a": 1, "b": 1}
        assert store.stats().memories == 2

    def test_a_tests_store_begins_empty(self, store: Store) -> None:
        assert store.namespaces() == []

    def test_clear_of_nothing(self, store: Store) -> None:
        assert store.clear("a") == 0
        assert store.restore([]) == 0
