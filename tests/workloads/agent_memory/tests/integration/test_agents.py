"""Agents, end to end: they coordinate, queue, keep sessions and Q-values, move between stores, survive errors."""

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest
from fastapi.testclient import TestClient

from agent_memory import Store, StoreUnavailable, move, open_store
from agent_memory.agents import QTable, Session, WorkQueue
from agent_memory.api import create_app
from agent_memory.redis_store import RedisStore
from agent_memory.sql import SqlStore


@pytest.fixture(params=["postgres", "redis"])
def store(request: pytest.FixtureRequest) -> Store:
    found: Store = request.getfixturevalue(f"{request.param}_store")
    return found


@pytest.fixture
def api(store: Store) -> Iterator[TestClient]:
    with TestClient(create_app(store, "t"), headers={"Authorization": "Bearer t"}) as client:
        yield client


def test_workers_share_a_queue_and_each_job_is_done_once(store: Store) -> None:
    queue = WorkQueue(store, "work")
    for n in range(40):
        queue.push(n)
    done: Counter[int] = Counter()
    lock = threading.Lock()

    def work(_: int) -> None:
        while job := queue.claim():
            with lock:
                done[job.payload] += 1
            queue.finish(job)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert done == Counter(range(40))
    assert len(queue) == 0


def test_jobs_come_in_the_order_in_which_they_were_pushed(store: Store) -> None:
    queue = WorkQueue(store, "work")
    for text in ("a", "b", "c"):
        queue.push(text)
    jobs = [queue.claim() for _ in range(4)]
    assert [job.payload if job else None for job in jobs] == ["a", "b", "c", None]


def test_the_job_of_a_worker_that_died_is_given_to_another(store: Store) -> None:
    now = [1000.0]
    queue = WorkQueue(store, "work", now=lambda: now[0])
    queue.push("precious")
    lost = queue.claim(lease=30)
    assert lost is not None
    assert queue.claim() is None
    now[0] += 31
    again = queue.claim()
    assert again is not None
    assert (again.payload, again.attempt) == ("precious", 2)


def test_a_session_goes_on_in_another_process(store: Store) -> None:
    Session(store, "user-1").update(name="Ann", turns=1)
    Session(store, "user-1").update(turns=2)
    assert Session(store, "user-1").load() == {"name": "Ann", "turns": 2}
    assert Session(store, "user-2").load() == {}


def test_a_session_that_is_used_stays(store: Store) -> None:
    session = Session(store, "s", ttl=100)
    session.update(a=1)
    before = store.get("session", "s")
    session.ttl = 1000
    session.load()
    after = store.get("session", "s")
    assert before is not None
    assert after is not None
    assert (after.expires or 0) > (before.expires or 0) + 500


def test_agents_learn_the_same_table_together(store: Store) -> None:
    table = QTable(store, "team", alpha=1.0, gamma=0.0)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: table.learn("start", f"action-{n}", float(n)), range(20)))
    assert table.values("start") == {f"action-{n}": float(n) for n in range(20)}
    assert table.best("start") == "action-19"


def test_a_reward_travels_back(store: Store) -> None:
    table = QTable(store, "walker", alpha=0.5, gamma=0.9)
    for _ in range(40):
        table.learn("middle", "right", 1.0)
        table.learn("start", "right", 0.0, following="middle")
    assert table.values("start")["right"] == pytest.approx(0.9, abs=0.01)


def test_one_agent_leads(store: Store) -> None:
    def candidate(n: int) -> str:
        return str(Session(store, "leader").update(**{f"vote-{n}": n}))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(candidate, range(12)))
    assert Session(store, "leader").load() == {f"vote-{n}": n for n in range(12)}


def test_an_agent_asks_remembers_and_recalls_by_likeness(store: Store, fake_ai: Any) -> None:
    with httpx2.Client(base_url=fake_ai.url, trust_env=False) as ai:
        for text in ("the red apple is ripe", "taxes are due in May"):
            data = ai.post("/embeddings", json={"model": "e", "input": text}).json()["data"]
            store.put("notes", text, data[0]["embedding"])
        asked = ai.post("/embeddings", json={"model": "e", "input": "a green apple"}).json()["data"][0]["embedding"]
    best = max(store.find("notes"), key=lambda note: sum(a * b for a, b in zip(note.value, asked, strict=True)))
    assert best.key == "the red apple is ripe"


def test_an_agent_survives_errors_of_the_model(store: Store, fake_ai: Any) -> None:
    fake_ai.fail(429, retry_after=0)
    fake_ai.fail(500)
    fake_ai.script("Paris")
    queue = WorkQueue(store, "questions")
    queue.push("capital of France?")
    with httpx2.Client(base_url=fake_ai.url, trust_env=False) as ai:
        while job := queue.claim(lease=-1):
            body = {"model": "m", "messages": [{"role": "user", "content": job.payload}]}
            answer = ai.post("/chat/completions", json=body)
            if answer.is_success:
                store.put("answers", job.payload, answer.json()["choices"][0]["message"]["content"])
                queue.finish(job)
    found = store.get("answers", "capital of France?")
    assert found is not None
    assert found.value == "Paris"
    assert len(fake_ai.requests) == 3


def test_the_api_serves_an_agent(api: TestClient) -> None:
    assert api.put("/memories/a/k", json={"value": {"x": 1}, "ttl": 60}).json()["version"] == 1
    assert api.put("/memories/a/k", json={"value": 2, "if_version": 9}).status_code == 409
    assert api.get("/memories/a/k").json()["value"] == {"x": 1}
    assert [found["key"] for found in api.get("/memories/a", params={"pattern": "k*"}).json()] == ["k"]
    assert api.get("/stats").json() == {"a": 1}
    assert api.delete("/memories/a/k").status_code == 204
    assert api.get("/memories/a/k").status_code == 404


def test_many_clients_of_the_api(api: TestClient) -> None:
    with ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(lambda n: api.put(f"/memories/a/{n}", json={"value": n}).status_code, range(40)))
    assert set(codes) == {200}
    assert api.get("/stats").json() == {"a": 40}


@pytest.mark.parametrize("direction", ["to redis", "to postgres"])
def test_everything_moves_between_stores(postgres_store: SqlStore, redis_store: RedisStore, direction: str) -> None:
    source, target = (postgres_store, redis_store) if direction == "to redis" else (redis_store, postgres_store)
    WorkQueue(source, "work").push({"x": 1})
    Session(source, "s").update(a=1)
    QTable(source, "agent").learn("s", "go", 1.0)
    source.put_many("notes", {f"n{n}": n for n in range(300)}, ttl=600)
    sent = {one.key: one for one in source.find("notes")}
    assert move(source, target) == 303
    arrived = {one.key: one for one in target.find("notes")}
    assert {key: (one.id, one.value, one.version) for key, one in arrived.items()} == {
        key: (one.id, one.value, one.version) for key, one in sent.items()
    }
    assert all(one.expires and abs(one.expires - (sent[key].expires or 0)) < 5 for key, one in arrived.items())
    assert Session(target, "s").load() == {"a": 1}
    job = WorkQueue(target, "work").claim()
    assert job is not None
    assert job.payload == {"x": 1}
    assert QTable(target, "agent").best("s") == "go"


def test_development_on_sqlite_moves_to_production(sqlite_store: SqlStore, postgres_store: SqlStore) -> None:
    written = sqlite_store.put("a", "k", {"x": [1]})
    move(sqlite_store, postgres_store)
    assert postgres_store.get("a", "k") == written


def test_a_move_again_changes_nothing(postgres_store: SqlStore, redis_store: RedisStore) -> None:
    postgres_store.put_many("a", {str(n): n for n in range(20)})
    assert move(postgres_store, redis_store) == move(postgres_store, redis_store) == 20
    assert redis_store.find("a") == postgres_store.find("a")


def test_a_store_that_is_not_there_is_an_error_at_once(network_guard: Any) -> None:
    network_guard.allow("127.0.0.1", 1)
    for url in ("redis://127.0.0.1:1/0", "postgresql://a:b@127.0.0.1:1/c"):
        store = open_store(url, pool=1, wait=0.1)
        with pytest.raises(StoreUnavailable):
            store.get("a", "k")
        store.close()
