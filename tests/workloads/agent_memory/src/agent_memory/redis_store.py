"""Redis: a hash for each memory, with the server's own expiry; writes are scripts, so that they are atomic."""

import json
import re
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import redis
from redis.exceptions import AuthenticationError, ConnectionError, OutOfMemoryError, RedisError, TimeoutError

from .model import Conflict, Memory, PoolExhausted, Stats, StoreError, StoreFull, StoreUnavailable, checked, positive

PREFIX = "memory"
BATCH = 500
# KEYS: the memory. ARGV: value, id, created, milliseconds to live (0: for ever), version to write over (-1: any).
PUT = """
local version = tonumber(redis.call('HGET', KEYS[1], 'version') or '0')
local wanted = tonumber(ARGV[5])
if wanted >= 0 and wanted ~= version then return false end
redis.call('HSET', KEYS[1], 'value', ARGV[1], 'version', version + 1)
redis.call('HSETNX', KEYS[1], 'id', ARGV[2])
redis.call('HSETNX', KEYS[1], 'created', ARGV[3])
if tonumber(ARGV[4]) > 0 then redis.call('PEXPIRE', KEYS[1], ARGV[4]) else redis.call('PERSIST', KEYS[1]) end
return version + 1
"""


class RedisStore:
    """A store on one logical database."""

    def __init__(self, client: "redis.Redis") -> None:
        self.client = client
        self._put = client.register_script(PUT)

    @contextmanager
    def _work(self) -> Iterator["redis.Redis"]:
        """The client, whose errors are ours."""
        try:
            yield self.client
        except OutOfMemoryError as error:
            raise StoreFull(str(error)) from None
        except (AuthenticationError, ConnectionError, TimeoutError) as error:
            kind = PoolExhausted if "No connection available" in str(error) else StoreUnavailable
            raise kind(str(error)) from None
        except RedisError as error:
            raise StoreError(str(error)) from None

    def put(
        self, namespace: str, key: str, value: Any, *, ttl: float | None = None, if_version: int | None = None
    ) -> Memory:
        name = _name(namespace, key)
        positive(ttl)
        with self._work():
            done = self._put(keys=[name], args=_arguments(value, ttl, if_version))
        if done is None:
            raise Conflict(f"{namespace}/{key}: not at version {if_version}")
        found = self.get(namespace, key)
        if found is None:
            raise StoreError(f"{namespace}/{key}: expired while it was written")
        return found

    def put_many(self, namespace: str, values: Mapping[str, Any], *, ttl: float | None = None) -> int:
        positive(ttl)
        items = list(values.items())
        with self._work() as client:
            for start in range(0, len(items), BATCH):
                with client.pipeline(transaction=False) as pipe:
                    for key, value in items[start : start + BATCH]:
                        self._put(keys=[_name(namespace, key)], args=_arguments(value, ttl, None), client=pipe)
                    pipe.execute()
        return len(items)

    def get(self, namespace: str, key: str) -> Memory | None:
        return self.get_many(namespace, [key]).get(key)

    def get_many(self, namespace: str, keys: Sequence[str]) -> dict[str, Memory]:
        names = [_name(namespace, key) for key in keys]
        found: dict[str, Memory] = {}
        with self._work() as client:
            for start in range(0, len(names), BATCH):
                with client.pipeline(transaction=True) as pipe:
                    for name in names[start : start + BATCH]:
                        pipe.hgetall(name)
                        pipe.pttl(name)
                    answers = pipe.execute()
                now = time.time()
                for key, fields, left in zip(keys[start:], answers[::2], answers[1::2], strict=False):
                    if fields:
                        found[key] = _memory(namespace, key, fields, None if left < 0 else now + left / 1000)
        return found

    def delete(self, namespace: str, key: str) -> bool:
        with self._work() as client:
            return bool(client.unlink(_name(namespace, key)))

    def touch(self, namespace: str, key: str, ttl: float | None) -> bool:
        positive(ttl)
        name = _name(namespace, key)
        with self._work() as client:
            if ttl is not None:
                return bool(client.pexpire(name, max(1, round(ttl * 1000))))
            client.persist(name)
            return bool(client.exists(name))

    def find(self, namespace: str, pattern: str = "*", *, limit: int = 1000) -> list[Memory]:
        keys = sorted(self._keys(namespace, pattern))[:limit]
        found = self.get_many(namespace, keys) if keys else {}
        return [found[key] for key in keys if key in found]

    def _keys(self, namespace: str, pattern: str) -> set[str]:
        checked(namespace)
        match = f"{PREFIX}:{namespace}:" + re.sub(r"([\[\]\\^])", r"\\\1", pattern)
        with self._work() as client:
            return {_text(name).split(":", 2)[2] for name in client.scan_iter(match=match, count=BATCH)}

    def namespaces(self) -> list[str]:
        return sorted(self.stats().by_namespace)

    def stats(self) -> Stats:
        counted: dict[str, int] = {}
        with self._work() as client:
            for name in set(client.scan_iter(match=f"{PREFIX}:*", count=BATCH)):
                namespace = _text(name).split(":", 2)[1]
                counted[namespace] = counted.get(namespace, 0) + 1
        return Stats(by_namespace=counted)

    def clear(self, namespace: str) -> int:
        names = [_name(namespace, key) for key in self._keys(namespace, "*")]
        with self._work() as client:
            return sum(int(client.unlink(*names[i : i + BATCH])) for i in range(0, len(names), BATCH))

    def purge(self) -> int:
        """Nothing to do: the server removes what has expired."""
        return 0

    def restore(self, memories: Iterable[Memory]) -> int:
        given = list(memories)
        with self._work() as client, client.pipeline(transaction=True) as pipe:
            for one in given:
                name = _name(one.namespace, one.key)
                pipe.delete(name)
                pipe.hset(
                    name,
                    mapping={
                        "value": json.dumps(one.value),
                        "id": str(one.id),
                        "created": repr(one.created),
                        "version": str(one.version),
                    },
                )
                if one.expires is not None:
                    pipe.pexpireat(name, round(one.expires * 1000))
            pipe.execute()
        return len(given)

    def close(self) -> None:
        self.client.close()
        self.client.connection_pool.disconnect()


def _name(namespace: str, key: str) -> str:
    checked(namespace, key)
    return f"{PREFIX}:{namespace}:{key}"


def _arguments(value: Any, ttl: float | None, if_version: int | None) -> list[str]:
    milliseconds = 0 if ttl is None else max(1, round(ttl * 1000))
    version = -1 if if_version is None else if_version
    return [json.dumps(value), str(uuid.uuid4()), repr(time.time()), str(milliseconds), str(version)]


def _memory(namespace: str, key: str, fields: Mapping[Any, Any], expires: float | None) -> Memory:
    told = {_text(name): _text(value) for name, value in fields.items()}
    return Memory(
        id=uuid.UUID(told["id"]),
        namespace=namespace,
        key=key,
        value=json.loads(told["value"]),
        version=int(told["version"]),
        created=float(told["created"]),
        expires=expires,
    )


def _text(raw: Any) -> str:
    return raw.decode() if isinstance(raw, bytes) else str(raw)
