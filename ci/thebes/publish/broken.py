"""Tasks that did not come to a proper end, with what they printed last: often the only trace of what went wrong."""

import sqlite3
from typing import NamedTuple

CODES = (
    *("record-cut", "record-broken", "task-stopped", "not-started", "shard-refused", "check-died"),
    *("pytest-died", "pytest-interrupted", "pytest-internal-error", "pytest-usage-error", "internal-error"),
    *("exit-unexplained", "exit-after-finish"),
)


_BROKEN = f"""
    SELECT t.id, t.suite, group_concat(DISTINCT p.text), coalesce(a.output, '')
    FROM problem p JOIN task t ON t.id = p.task LEFT JOIN task_attempt a ON a.task = t.id AND a.decides
    WHERE p.code IN {CODES} GROUP BY t.id ORDER BY t.id"""  # noqa: S608


class Broken(NamedTuple):
    """A task, what the proof says about it, and the last part of what it printed."""

    task: str
    suite: str
    said: str
    output: str


def broken(db: sqlite3.Connection) -> list[Broken]:
    """In the order of the plan's ids; those that printed nothing too."""
    return [Broken(*row) for row in db.execute(_BROKEN)]
