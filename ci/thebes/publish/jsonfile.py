"""The run as JSON for scripts. Fields are only ever added; `schema` grows when one changes its meaning."""

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from thebes.model import Verdict

SCHEMA = 1
BATCH = 1000  # rows

_TABLES = {
    "tests": """
        SELECT t.id, t.suite, s.gate, t.file, t.task, t.outcome,
          round(t.setup + t.call + t.teardown, 6) AS duration, t.attempts, t.flaky
        FROM test t JOIN suite s ON s.id = t.suite ORDER BY t.suite, t.rowid""",
    "files": """
        SELECT file, suite, task, outcome, tests, seconds AS import_seconds
        FROM file ORDER BY suite, file, task""",
    "tasks": """
        SELECT t.id, t.suite, t.kind, t.shard, t.shards, t.estimate, t.attempt,
          a.exit, a.signal, a.stopped, a.began, a.seconds
        FROM task t LEFT JOIN task_attempt a ON a.task = t.id AND a.decides ORDER BY t.id""",
    "suites": "SELECT id, project, gate, python, services FROM suite ORDER BY id",
    "problems": "SELECT code, gate, suite, task, subject, text FROM problem ORDER BY rowid",
    "findings": "SELECT task, file, line, rule, severity, text FROM finding ORDER BY rowid",
    "coverage": """
        SELECT project, gate, percent, text, statements, executed, branches, taken, changed, changed_executed
        FROM coverage ORDER BY project, gate""",
    "benchmarks": """
        SELECT suite, task, id, grouped AS "group", minimum, median, mean, deviation, rounds
        FROM benchmark ORDER BY rowid""",
    "origins": "SELECT suite, number, source, plan FROM origin ORDER BY number, suite",
    "skips": "SELECT gate, reason FROM skip ORDER BY gate, reason",
}
# Columns that SQLite has in another form.
_CONVERTED: Mapping[str, Callable[[Any], object]] = {"flaky": bool, "services": msgspec.json.decode}


def as_json(db: sqlite3.Connection, verdict: Verdict) -> Iterator[bytes]:
    """One JSON object, in parts: verdict, gates, counts over all gates, and a list for each kind of thing a run has."""
    head = {
        "schema": SCHEMA,
        "plan": verdict.plan,
        "commit": verdict.commit,
        "verdict": verdict.verdict,
        "counts": counts(db),
        "gates": verdict.gates,
        "reasons": verdict.reasons,
        "notices": verdict.notices,
    }
    yield msgspec.json.encode(head)[:-1]
    for name, sql in _TABLES.items():
        yield f',"{name}":['.encode()
        between = b""
        for rows in _rows(db, sql):
            yield between + msgspec.json.encode(rows)[1:-1]
            between = b","
        yield b"]"
    yield b"}\n"


def counts(db: sqlite3.Connection) -> dict[str, int]:
    """Tests by outcome, and how many there are, over all suites."""
    found = dict(db.execute("SELECT outcome, count(*) FROM test GROUP BY outcome ORDER BY outcome").fetchall())
    flaky = db.execute("SELECT count(*) FROM test WHERE flaky").fetchone()[0]
    return {"tests": sum(found.values()), **found, "flaky": flaky}


def _rows(db: sqlite3.Connection, sql: str) -> Iterator[list[dict[str, object]]]:
    """The rows as objects, some at a time: a run may have hundreds of thousands."""
    cursor = db.cursor()
    cursor.row_factory = None
    cursor.execute(sql)
    names = [column[0] for column in cursor.description]
    while rows := cursor.fetchmany(BATCH):
        found = [dict(zip(names, row, strict=True)) for row in rows]
        for name in _CONVERTED.keys() & names:
            for one in found:
                one[name] = _CONVERTED[name](one[name])
        yield found
