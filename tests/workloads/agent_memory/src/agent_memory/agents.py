"""What agents build on a store: work queues, sessions, Q-tables. Any back end, no locks: versions decide."""

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .model import Conflict, Memory, Store

TRIES = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A piece of work that is this worker's until the lease is over."""

    key: str
    payload: Any
    attempt: int
    version: int


class WorkQueue:
    """First in, first out. A worker that dies loses its lease, and the job is given to another."""

    def __init__(self, store: Store, name: str, now: Callable[[], float] = time.time) -> None:
        self.store = store
        self.namespace = f"queue.{name}"
        self._now = now

    def push(self, payload: Any) -> str:
        key = f"{time.time_ns():020}-{uuid.uuid4().hex[:8]}"
        self.store.put(self.namespace, key, {"payload": payload, "lease": 0.0, "attempt": 0}, if_version=0)
        return key

    def claim(self, lease: float = 60.0) -> Job | None:
        """The oldest job that is nobody's, or None."""
        for memory in self.store.find(self.namespace):
            if memory.value["lease"] > self._now():
                continue
            attempt = memory.value["attempt"] + 1
            value = {**memory.value, "lease": self._now() + lease, "attempt": attempt}
            try:
                written = self.store.put(self.namespace, memory.key, value, if_version=memory.version)
            except Conflict:
                continue  # somebody was faster
            return Job(key=memory.key, payload=memory.value["payload"], attempt=attempt, version=written.version)
        return None

    def finish(self, job: Job) -> None:
        """Conflict: the lease was over, and the job is somebody else's."""
        memory = self.store.get(self.namespace, job.key)
        if memory is None or memory.version != job.version:
            raise Conflict(f"{self.namespace}/{job.key}: no longer yours")
        self.store.delete(self.namespace, job.key)

    def __len__(self) -> int:
        return self.store.stats().by_namespace.get(self.namespace, 0)


class Session:
    """What an agent knows in a conversation; forgotten `ttl` seconds after its last use."""

    def __init__(self, store: Store, name: str, ttl: float = 3600.0) -> None:
        self.store = store
        self.name = name
        self.ttl = ttl

    def load(self) -> dict[str, Any]:
        memory = self.store.get("session", self.name)
        if memory is None:
            return {}
        self.store.touch("session", self.name, self.ttl)
        return dict(memory.value)

    def update(self, **values: Any) -> dict[str, Any]:
        """Merge `values` in, also while others do."""
        return dict(change(self.store, "session", self.name, lambda old: {**(old or {}), **values}, self.ttl).value)

    def end(self) -> bool:
        return self.store.delete("session", self.name)


class QTable:
    """Q-values of an agent, learned by many at the same time."""

    def __init__(self, store: Store, agent: str, alpha: float = 0.5, gamma: float = 0.9) -> None:
        self.store = store
        self.namespace = f"q.{agent}"
        self.alpha = alpha
        self.gamma = gamma

    def values(self, state: str) -> dict[str, float]:
        memory = self.store.get(self.namespace, state)
        return {} if memory is None else dict(memory.value)

    def best(self, state: str) -> str | None:
        values = self.values(state)
        return max(values, key=lambda action: (values[action], action), default=None)

    def learn(self, state: str, action: str, reward: float, following: str | None = None) -> float:
        """Q(s, a) += α (r + γ max Q(s', ·) − Q(s, a)); Watkins 1989."""
        ahead = max(self.values(following).values(), default=0.0) if following else 0.0

        def better(old: Any) -> dict[str, float]:
            values = dict(old or {})
            known = values.get(action, 0.0)
            return {**values, action: known + self.alpha * (reward + self.gamma * ahead - known)}

        return float(change(self.store, self.namespace, state, better).value[action])


def change(store: Store, namespace: str, key: str, how: Callable[[Any], Any], ttl: float | None = None) -> Memory:
    """Read, change and write, again until nobody came in between. Conflict: after too many tries."""
    for _ in range(TRIES):
        memory = store.get(namespace, key)
        value = how(memory.value if memory else None)
        try:
            return store.put(namespace, key, value, ttl=ttl, if_version=memory.version if memory else 0)
        except Conflict:
            continue
    raise Conflict(f"{namespace}/{key}: {TRIES} tries, and somebody was always faster")
