"""What run.db says that the history keeps."""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from typing import NamedTuple

# What each attempt of a test cost, until the next began: making a report of a failure, an expected one too, takes many
# times as long as most tests do, and is in none of pytest's durations. Workers of xdist may wait in between.
_SPENT = """
CREATE TEMP TABLE spent AS
WITH every AS (
  SELECT suite, id, task, attempts AS number, worker, at, setup + call + teardown AS took FROM test WHERE at > 0
  UNION ALL SELECT a.suite, a.id, task, number, worker, at, setup + call + teardown
  FROM attempt a JOIN task k ON k.id = a.task WHERE a.task_attempt = k.attempt
)
SELECT suite, id, task, number, CASE worker
  WHEN '' THEN max(took, coalesce(lead(at) OVER (PARTITION BY task, worker ORDER BY at) - at, took)) ELSE took
END AS seconds FROM every
"""
_TESTS = """
SELECT s.project, t.suite, t.id, t.outcome,
  k.speed * max(0, coalesce(p.seconds, setup + call + teardown) - fixtures), k.speed * fixtures, attempts, flaky
FROM test t JOIN suite s ON s.id = t.suite JOIN task k ON k.id = t.task
LEFT JOIN spent p ON p.suite = t.suite AND p.id = t.id AND p.task = t.task AND p.number = t.attempts
WHERE outcome NOT IN ('missing', 'cancelled', 'interrupted', 'crashed') AND k.kind NOT IN ('check', 'results')
"""
_FILES = """
WITH costly AS (SELECT task, test, sum(seconds) AS seconds FROM shared GROUP BY 1, 2),
  rest AS (  -- each shard that had a part of the file set them up, so this is of one shard, like the import
    SELECT t.suite, t.file, t.task, sum(max(0, t.fixtures - coalesce(c.seconds, 0))) AS seconds
    FROM test t LEFT JOIN costly c ON c.task = t.task AND c.test = t.id GROUP BY 1, 2, 3
  )
SELECT s.project, f.suite, f.file, max(k.speed * f.seconds), max(k.speed * coalesce(r.seconds, 0))
FROM file f JOIN suite s ON s.id = f.suite JOIN task k ON k.id = f.task
LEFT JOIN rest r ON r.suite = f.suite AND r.file = f.file AND r.task = f.task
WHERE f.outcome != 'missing' GROUP BY 1, 2, 3
"""
_SHARED = """
SELECT s.project, h.fixture, avg(k.speed * h.seconds), json_group_array(json_array(h.task, json(h.users)))
FROM shared h JOIN suite s ON s.id = h.suite JOIN task k ON k.id = h.task GROUP BY 1, 2
"""
_RAN = "SELECT s.project, t.file, t.task, t.id FROM test t JOIN suite s ON s.id = t.suite"
_STARTS = """
WITH tests AS (SELECT task, sum(seconds) AS seconds FROM spent GROUP BY 1),
  files AS (SELECT task, sum(seconds) AS seconds FROM file GROUP BY 1)
SELECT s.project, k.speed * (a.seconds - coalesce(t.seconds, 0) - coalesce(f.seconds, 0))
FROM task k JOIN suite s ON s.id = k.suite JOIN task_attempt a ON a.task = k.id AND a.attempt = k.attempt
LEFT JOIN tests t ON t.task = k.id LEFT JOIN files f ON f.task = k.id
WHERE k.kind = 'pytest' AND a.exit IN (0, 1) AND a.stopped IS NULL
  AND k.id NOT IN (SELECT task FROM test WHERE outcome = 'crashed')  -- then pytest started several times
"""
_JOBS = "SELECT waited FROM task_attempt WHERE waited > 0"
_WORKERS = """
SELECT s.project, max(m.memory) FROM sample m JOIN task k ON k.id = m.task JOIN suite s ON s.id = k.suite GROUP BY 1
"""
_GROUPS = "SELECT s.project, g.id, g.name FROM grouped g JOIN suite s ON s.id = g.suite GROUP BY 1, 2"
_UNENDED = """
SELECT DISTINCT s.project, t.id FROM test t JOIN suite s ON s.id = t.suite
WHERE outcome IN ('missing', 'cancelled', 'interrupted', 'crashed')
"""
_DESELECTED = """
SELECT s.project, d.id FROM deselected d JOIN suite s ON s.id = d.suite
EXCEPT SELECT s.project, t.id FROM test t JOIN suite s ON s.id = t.suite  -- another gate may have run it
"""
_RED = """
SELECT s.project, t.id FROM test t JOIN suite s ON s.id = t.suite WHERE outcome IN ('failed', 'error', 'crashed')
UNION SELECT s.project, f.file FROM file f JOIN suite s ON s.id = f.suite WHERE f.outcome = 'failed'
"""
_UNSTABLE = """
SELECT DISTINCT s.project, p.subject FROM problem p JOIN suite s ON s.id = p.suite WHERE p.code = 'ids-unstable'
"""
_CORES = """
SELECT k.suite, json_extract(a.environment, '$.coverage_core') AS core,
  max(json_extract(a.environment, '$.coverage_cores'))
FROM task_attempt a JOIN task k ON k.id = a.task AND k.attempt = a.attempt WHERE core != ''
GROUP BY 1 HAVING count(DISTINCT core) = 1
"""


class Facts(NamedTuple):
    """What a run says, as rows: tests and files with the columns of their tables, shards' starts by project, jobs'
    starts, tests' groups by project, memory of workers by project; by project, tests that were left out, tests or files
    that failed, files whose tests differed between processes; by suite, the core of coverage.py's that measured it and
    those that it might have been; costly fixtures by project."""

    tests: Sequence[tuple[object, ...]]
    files: Sequence[tuple[object, ...]] = ()
    starts: Sequence[tuple[str, float]] = ()
    jobs: Sequence[tuple[float]] = ()
    groups: Sequence[tuple[object, ...]] = ()
    workers: Sequence[tuple[str, int]] = ()
    left_out: Sequence[tuple[object, ...]] = ()
    red: Sequence[tuple[object, ...]] = ()
    unstable: Sequence[tuple[object, ...]] = ()
    cores: Sequence[tuple[str, str, str]] = ()
    shared: Sequence[tuple[str, str, float, str]] = ()


def facts_of(run: sqlite3.Connection, *, partial: bool) -> Facts:
    """What a run.db says; durations are seconds of a machine of speed 1. `partial`: only a part of the tests was asked
    for, so that those which were deselected go on to be known."""
    run.execute("DROP TABLE IF EXISTS temp.spent")
    run.execute(_SPENT)
    unended = (_UNENDED, _DESELECTED) if partial else (_UNENDED,)
    return Facts(
        tests=run.execute(_TESTS).fetchall(),
        files=run.execute(_FILES).fetchall(),
        starts=run.execute(_STARTS).fetchall(),
        jobs=run.execute(_JOBS).fetchall(),
        groups=run.execute(_GROUPS).fetchall(),
        workers=run.execute(_WORKERS).fetchall(),
        left_out=[row for query in unended for row in run.execute(query)],
        red=run.execute(_RED).fetchall(),
        unstable=run.execute(_UNSTABLE).fetchall(),
        cores=run.execute(_CORES).fetchall(),
        shared=list(_shared(run)),
    )


def _shared(run: sqlite3.Connection) -> Iterator[tuple[str, str, float, str]]:
    """Project, name, seconds and users of each costly fixture; the users of all tasks together, as JSON."""
    rows = run.execute(_SHARED).fetchall()
    ran: dict[tuple[str, str], dict[str, set[str]]] = {}  # by project and file: tests by task
    for project, file, task, test in run.execute(_RAN) if rows else ():
        ran.setdefault((project, file), {}).setdefault(task, set()).add(test.removeprefix(file).removeprefix("::"))
    for project, fixture, seconds, told in rows:
        users: dict[str, set[str]] = {}
        for task, files in json.loads(told):
            for file, tests in files.items():
                mine = ran.get((project, file), {}).get(task, set())
                users.setdefault(file, set()).update(mine if tests is None else tests)
        every = {file: set().union(*ran.get((project, file), {}).values()) for file in users}
        plain = {file: None if tests >= every[file] else sorted(tests) for file, tests in sorted(users.items())}
        yield project, fixture, seconds, json.dumps(plain)
