"""PostgreSQL (JSONB, partitioned by namespace), and SQLite for development."""

import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, TimeoutError

from .model import (
    Conflict,
    Memory,
    PoolExhausted,
    Stats,
    StoreError,
    StoreFull,
    StoreUnavailable,
    checked,
    positive,
)
from .schema import memory

BATCH = 1000
COLUMNS = tuple(column.name for column in memory.c)
DISK_FULL = "53100"  # https://www.postgresql.org/docs/current/errcodes-appendix.html
ESCAPES = str.maketrans({"%": r"\%", "_": r"\_", "\\": r"\\", "*": "%", "?": "_"})


class SqlStore:
    """A store on an SQLAlchemy engine. `now` is the clock by which memories expire."""

    def __init__(self, engine: sa.Engine, now: Callable[[], float] = time.time) -> None:
        self.engine = engine
        self._now = now
        self._insert = postgresql.insert if engine.dialect.name == "postgresql" else sqlite.insert
        if engine.dialect.name == "sqlite":
            sa.event.listen(engine, "connect", _case_sensitive)

    @contextmanager
    def _work(self) -> Iterator[sa.Connection]:
        """A transaction, whose errors are ours."""
        try:
            with self.engine.begin() as connection:
                yield connection
        except TimeoutError as error:
            raise PoolExhausted(str(error).partition("\n")[0]) from None
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) == DISK_FULL:
                raise StoreFull(str(error.orig).partition("\n")[0]) from None
            if error.connection_invalidated or isinstance(error, sa.exc.OperationalError):
                raise StoreUnavailable(str(error.orig).partition("\n")[0]) from None
            raise StoreError(str(error.orig).partition("\n")[0]) from None

    def _alive(self) -> sa.ColumnElement[bool]:
        return sa.or_(memory.c.expires.is_(None), memory.c.expires > self._now())

    def _at(self, namespace: str, key: str) -> sa.ColumnElement[bool]:
        return sa.and_(memory.c.namespace == namespace, memory.c.key == key)

    def put(
        self, namespace: str, key: str, value: Any, *, ttl: float | None = None, if_version: int | None = None
    ) -> Memory:
        checked(namespace, key)
        positive(ttl)
        now = self._now()
        row = _row(namespace, key, value, now, ttl)
        with self._work() as work:
            work.execute(sa.delete(memory).where(self._at(namespace, key), ~self._alive()))
            if if_version:
                statement: Any = (
                    sa.update(memory)
                    .where(self._at(namespace, key), memory.c.version == if_version)
                    .values(value=value, expires=row["expires"], version=if_version + 1)
                )
            elif if_version == 0:
                statement = self._insert(memory).values(row).on_conflict_do_nothing()
            else:
                statement = self._upsert([row])
            found = work.execute(statement.returning(*memory.c)).one_or_none()
        if found is None:
            raise Conflict(f"{namespace}/{key}: not at version {if_version}")
        return _memory(found)

    def _upsert(self, rows: Sequence[dict[str, Any]]) -> Any:
        statement = self._insert(memory).values(rows)
        return statement.on_conflict_do_update(
            index_elements=["namespace", "key"],
            set_={
                "value": statement.excluded.value,
                "expires": statement.excluded.expires,
                "version": memory.c.version + 1,
            },
        )

    def put_many(self, namespace: str, values: Mapping[str, Any], *, ttl: float | None = None) -> int:
        positive(ttl)
        now = self._now()
        rows = []
        for key, value in sorted(values.items()):  # sorted: two writers of the same keys don't lock each other out
            checked(namespace, key)
            rows.append(_row(namespace, key, value, now, ttl))
        with self._work() as work:
            for start in range(0, len(rows), BATCH):
                work.execute(self._upsert(rows[start : start + BATCH]))
        return len(rows)

    def get(self, namespace: str, key: str) -> Memory | None:
        return self.get_many(namespace, [key]).get(key)

    def get_many(self, namespace: str, keys: Sequence[str]) -> dict[str, Memory]:
        for key in keys:
            checked(namespace, key)
        query = sa.select(memory).where(memory.c.namespace == namespace, memory.c.key.in_(keys), self._alive())
        with self._work() as work:
            return {row.key: _memory(row) for row in work.execute(query)}

    def delete(self, namespace: str, key: str) -> bool:
        checked(namespace, key)
        with self._work() as work:
            gone = work.execute(
                sa.delete(memory).where(self._at(namespace, key), self._alive()).returning(memory.c.key)
            )
            return gone.first() is not None

    def touch(self, namespace: str, key: str, ttl: float | None) -> bool:
        checked(namespace, key)
        positive(ttl)
        expires = None if ttl is None else self._now() + ttl
        statement = sa.update(memory).where(self._at(namespace, key), self._alive()).values(expires=expires)
        with self._work() as work:
            return work.execute(statement.returning(memory.c.key)).first() is not None

    def find(self, namespace: str, pattern: str = "*", *, limit: int = 1000) -> list[Memory]:
        checked(namespace)
        query = (
            sa.select(memory)
            .where(memory.c.namespace == namespace, self._alive())
            .where(memory.c.key.like(pattern.translate(ESCAPES), escape="\\"))
            .order_by(sa.collate(memory.c.key, "C" if self.engine.dialect.name == "postgresql" else "BINARY"))
            .limit(limit)
        )
        with self._work() as work:
            return [_memory(row) for row in work.execute(query)]

    def namespaces(self) -> list[str]:
        return sorted(self.stats().by_namespace)

    def stats(self) -> Stats:
        query = sa.select(memory.c.namespace, sa.func.count()).where(self._alive()).group_by(memory.c.namespace)
        with self._work() as work:
            return Stats(by_namespace={name: count for name, count in work.execute(query)})

    def partitions(self) -> dict[str, int]:
        """Rows by partition; PostgreSQL only."""
        where: sa.ColumnElement[str] = sa.literal_column("tableoid::regclass::text")
        with self._work() as work:
            counted = work.execute(sa.select(where, sa.func.count()).select_from(memory).group_by(where))
            return {name: count for name, count in counted}

    def containing(self, namespace: str, part: Mapping[str, Any]) -> list[Memory]:
        """Memories whose JSON value contains `part`; PostgreSQL only."""
        query = sa.select(memory).where(
            memory.c.namespace == namespace,
            self._alive(),
            sa.type_coerce(memory.c.value, postgresql.JSONB).contains(part),
        )
        with self._work() as work:
            return [_memory(row) for row in work.execute(query.order_by(memory.c.key))]

    def clear(self, namespace: str) -> int:
        checked(namespace)
        return self._deleted(memory.c.namespace == namespace)

    def purge(self) -> int:
        return self._deleted(~self._alive())

    def _deleted(self, which: sa.ColumnElement[bool]) -> int:
        with self._work() as work:
            return len(work.execute(sa.delete(memory).where(which).returning(memory.c.key)).all())

    def restore(self, memories: Iterable[Memory]) -> int:
        rows = [{name: getattr(one, name) for name in COLUMNS} for one in memories]
        with self._work() as work:
            for row in rows:
                work.execute(sa.delete(memory).where(self._at(row["namespace"], row["key"])))
            if rows:
                work.execute(sa.insert(memory), rows)
        return len(rows)

    def close(self) -> None:
        self.engine.dispose()


def _row(namespace: str, key: str, value: Any, now: float, ttl: float | None) -> dict[str, Any]:
    return {
        "namespace": namespace,
        "key": key,
        "id": uuid.uuid4(),
        "value": value,
        "version": 1,
        "created": now,
        "expires": None if ttl is None else now + ttl,
    }


def _memory(row: Any) -> Memory:
    return Memory(
        id=row.id,
        namespace=row.namespace,
        key=row.key,
        value=row.value,
        version=row.version,
        created=row.created,
        expires=row.expires,
    )


def _case_sensitive(connection: Any, _record: object) -> None:
    """LIKE as everywhere else."""
    connection.execute("PRAGMA case_sensitive_like = ON")
