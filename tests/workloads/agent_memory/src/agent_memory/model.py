"""What a memory is, and what every back end does with it."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

NAMESPACE = re.compile(r"[A-Za-z0-9_.-]{1,100}")
KEY_LIMIT = 512


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    """A JSON value under a key in a namespace. `version` counts writes from 1; times are seconds since the epoch."""

    id: UUID
    namespace: str
    key: str
    value: Any
    version: int
    created: float
    expires: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Stats:
    """Live memories by namespace."""

    by_namespace: Mapping[str, int]

    @property
    def memories(self) -> int:
        return sum(self.by_namespace.values())


class StoreError(Exception):
    """Base of all errors of a store."""


class Conflict(StoreError):
    """The memory has another version than the writer thought."""


class StoreUnavailable(StoreError):
    """The server does not answer, or refuses us."""


class PoolExhausted(StoreUnavailable):
    """Every connection is in use, and none came back in time."""


class StoreFull(StoreError):
    """The server has no room."""


class Store(Protocol):
    """A back end. `ttl` is in seconds; patterns know `*` and `?`."""

    def put(
        self, namespace: str, key: str, value: Any, *, ttl: float | None = None, if_version: int | None = None
    ) -> Memory:
        """Write. With `if_version` (0: must not exist yet) only over that version, else Conflict."""

    def put_many(self, namespace: str, values: Mapping[str, Any], *, ttl: float | None = None) -> int: ...
    def get(self, namespace: str, key: str) -> Memory | None: ...
    def get_many(self, namespace: str, keys: Sequence[str]) -> dict[str, Memory]: ...
    def delete(self, namespace: str, key: str) -> bool: ...
    def touch(self, namespace: str, key: str, ttl: float | None) -> bool:
        """Give a memory a new time to live; None: for ever."""

    def find(self, namespace: str, pattern: str = "*", *, limit: int = 1000) -> list[Memory]:
        """By key, sorted."""

    def namespaces(self) -> list[str]: ...
    def stats(self) -> Stats: ...
    def clear(self, namespace: str) -> int: ...
    def purge(self) -> int:
        """Remove what has expired, where the server does not do it itself; returns how many."""

    def restore(self, memories: Iterable[Memory]) -> int:
        """Write memories as they were, with id, version and times."""

    def close(self) -> None: ...


def checked(namespace: str, key: str = "k") -> None:
    """ValueError where a name can't be one in every back end."""
    if not NAMESPACE.fullmatch(namespace):
        raise ValueError(f"namespace {namespace!r}: expected 1 to 100 letters, digits, _ . or -")
    if not 0 < len(key) <= KEY_LIMIT or any(ord(c) < 32 or 0xD800 <= ord(c) <= 0xDFFF for c in key):
        raise ValueError(f"key {key[:40]!r}: expected 1 to {KEY_LIMIT} characters without control characters")


def positive(ttl: float | None) -> None:
    if ttl is not None and not 0 < ttl < 1e10:
        raise ValueError(f"ttl {ttl!r}: expected seconds above 0")
