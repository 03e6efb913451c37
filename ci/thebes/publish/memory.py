"""What the page shows of the memory of tests, where it was measured, and of what else they left behind."""

import sqlite3
from typing import Any

from .columns import Column
from .text import one_line, plain

MOST = 100  # tests or files in a list
KEPT = 1 << 20  # bytes: less growth than that is no news for a test, or for a file
STEP = 1 << 16  # bytes: a test that grows by less did not grow
STEADY = 5  # tests of a file, of which so many must have grown before it is called steady


def memory(db: sqlite3.Connection) -> dict[str, Any]:
    """`peaks` and `kept`: row of the test, bytes. `steady`: file, suite, growth over it in bytes, tests that grew,
    tests. `leaks`: row of the test, what it left. `measured`: how many tests there are figures of."""
    return {
        "measured": db.execute("SELECT count(peak) FROM test").fetchone()[0],
        "peaks": _ranked(db, "peak", 1),
        "kept": _ranked(db, "growth", KEPT),
        "steady": _steady(db),
        "leaks": _leaks(db),
    }


def _ranked(db: sqlite3.Connection, column: str, least: int) -> Column:
    """Rows count from 0 in the order of run.db's, which count from 1: it is written once, and nothing deleted."""
    sql = f"SELECT rowid - 1, {column} FROM test WHERE {column} >= ? ORDER BY {column} DESC, rowid LIMIT ?"  # noqa: S608
    return [list(row) for row in db.execute(sql, (least, MOST))]


def _steady(db: sqlite3.Connection) -> Column:
    """Files most of whose tests left the process larger than they had found it."""
    rows = db.execute(
        "SELECT file, suite, sum(growth) AS grown, sum(growth >= :step) AS growing, count(growth) AS measured FROM test"
        " WHERE growth IS NOT NULL GROUP BY suite, file"
        " HAVING measured >= :steady AND growing * 2 > measured AND grown >= :kept ORDER BY grown DESC LIMIT :most",
        {"step": STEP, "steady": STEADY, "kept": KEPT, "most": MOST},
    )
    return [[plain(file), suite, grown, growing, measured] for file, suite, grown, growing, measured in rows]


def _leaks(db: sqlite3.Connection) -> Column:
    """In the order of the tests, those of the attempts that decide."""
    rows = db.execute(
        "SELECT test.rowid - 1, leak.text FROM leak"
        " CROSS JOIN task ON task.id = leak.task AND task.attempt = leak.task_attempt"
        " CROSS JOIN test ON test.suite = leak.suite AND test.id = leak.id AND test.task = leak.task"
        " ORDER BY test.rowid, leak.rowid LIMIT ?",
        (MOST * 10,),
    )
    return [[row, one_line(text)] for row, text in rows]
