"""Where the time of a run goes, from run.db, as lines for a terminal."""

import sqlite3
from collections.abc import Iterator
from typing import NamedTuple

from .text import terminal_line

LONGEST = 5
BAR = 24
MEANING = {
    "start": "pytest and plug-ins; between tests",
    "import": "importing and collecting test files",
    "set-up": "fixtures, for one test or for several",
    "call": "the tests themselves",
    "teardown": "fixtures again",
    "idle": "workers without a test left",
}

# All attempts of tests count; the parts of a shard are multiplied by its processes, which all import its files.
_TASKS = """
SELECT k.id, a.seconds, (SELECT total(f.seconds) FROM file f WHERE f.task = k.id)
FROM task k JOIN task_attempt a ON a.task = k.id AND a.attempt = k.attempt WHERE k.kind = 'pytest'
"""
_WORKERS = """
SELECT worker, sum(setup), sum(call), sum(teardown), max(at + setup + call + teardown) FROM (
  SELECT worker, setup, call, teardown, at FROM test WHERE task = ?1 AND at > 0
  UNION ALL SELECT worker, setup, call, teardown, at FROM attempt WHERE task = ?1
) GROUP BY worker
"""
# Up to the last time that somebody looked, because processes are looked at once a second.
_BUSY = """
SELECT total(cpu), total(at - began) FROM (
  SELECT max(s.cpu) AS cpu, max(s.at) AS at, a.began AS began FROM sample s JOIN task k ON k.id = s.task
  JOIN task_attempt a ON a.task = k.id AND a.attempt = k.attempt GROUP BY s.task, s.worker
)
"""
_TESTS = "SELECT id, max(setup + call + teardown) AS took FROM test GROUP BY id ORDER BY took DESC, id LIMIT ?"
_FILES = "SELECT file, max(seconds) AS took FROM file GROUP BY file ORDER BY took DESC, file LIMIT ?"


class Times(NamedTuple):
    """Seconds of all processes that run tests together: `parts` by name add up to `total`. `busy`: the share of it in
    which they had a processor."""

    parts: dict[str, float]
    total: float
    busy: float


def times(db: sqlite3.Connection) -> Times:
    parts = dict.fromkeys(MEANING, 0.0)
    total = 0.0
    for task, seconds, imported in db.execute(_TASKS).fetchall():
        workers = db.execute(_WORKERS, (task,)).fetchall()
        processes = max(1, len(workers))
        last = max((ended for *_, ended in workers), default=0.0)
        mine = {
            "import": imported * processes,
            "set-up": sum(worker[1] for worker in workers),
            "call": sum(worker[2] for worker in workers),
            "teardown": sum(worker[3] for worker in workers),
            "idle": sum(last - worker[4] for worker in workers),
        }
        whole = max((seconds or 0.0) * processes, sum(mine.values()))
        mine["start"] = whole - sum(mine.values())
        total += whole
        for name, took in mine.items():
            parts[name] += took
    cpu, looked = db.execute(_BUSY).fetchone()
    return Times(parts, total, cpu / looked if looked else 0.0)


def time_lines(db: sqlite3.Connection, width: int) -> Iterator[str]:
    """The parts with a bar each, then the tests and files that take the longest."""
    found = times(db)
    yield "Where the time goes (seconds of all processes that run tests)"
    for name, took in found.parts.items():
        share = took / found.total if found.total else 0.0
        bar = "█" * round(share * BAR)
        line = f"{name:<8} {took:8.2f} s {share:4.0%}  {bar:<{BAR}}  {MEANING[name]}"
        yield f"  {line}"[:width].rstrip()
    if found.busy:
        yield f"  {'total':<8} {found.total:8.2f} s, on a processor for {min(1.0, found.busy):.0%} of it, else waiting"
    for title, query in (("Longest tests", _TESTS), ("Longest imports", _FILES)):
        rows = db.execute(query, (LONGEST,)).fetchall()
        if rows:
            yield title
        for name, took in rows:
            yield f"  {took:17.2f} s  {terminal_line(name, width - 23)}"
