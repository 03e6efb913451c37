"""The run as compact data for the page: columns, not rows, and long texts in blocks that the page opens as needed."""

import base64
import sqlite3
import sys
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from . import codeowners
from .broken import broken
from .columns import Column, Names, Tests
from .commands import commands
from .covered import covered
from .memory import memory
from .read import Cause, Failure, causes, details, failures, reproduce
from .text import one_line, plain, shortened

PAGE = 2_900_000  # bytes that the page should not exceed
RESERVE = 250_000  # of them, for the page itself and the list of failures
LEAST = 400_000  # bytes for texts, however many tests there are
BLOCK = 256 * 1024  # characters of text that are packed together
TEXT = 24_000
OUTPUT = 8_000
MESSAGE = 300
LEVEL = 5  # of deflate: 6 takes 1.5 times as long for 2 % less
POINTS = 120


_SUITES = """
    SELECT s.id, s.gate, s.python, s.services, s.project, coalesce(p.rootdir, '') FROM suite s
    LEFT JOIN project p ON p.path = s.project ORDER BY s.id"""
_COVERAGE = """
    SELECT project, gate, percent, text, statements, executed, branches, taken, changed, changed_executed
    FROM coverage ORDER BY project, gate"""

_WITHOUT_TESTS = (
    *(
        "tasks",
        "workers",
        "owners",
        "skips",
        "samples",
        "findings",
        "benchmarks",
        "causes",
        "fixtures",
        "again",
        "files",
    ),
    *("name", "setup", "call", "teardown", "file", "task", "outcome", "worker"),
    *("taskNames", "outcomes", "workerNames"),
)


class Payload(NamedTuple):
    """`run` and `failures` are the packed model, `blocks` the packed texts that it refers to by number."""

    run: str
    failures: str
    blocks: list[str]
    causes: list[Cause]


def payload(db: sqlite3.Connection, owners: str = "") -> Payload:
    """Everything the page shows. `owners`: the text of the repository's CODEOWNERS."""
    found = causes(failures(db))
    suites, known = db.execute(_SUITES).fetchall(), commands(db)
    tests = Tests(db, [tuple(suite) for suite in suites])
    model: dict[str, Any] = {
        "suites": [[*_suite(*suite), known[suite[0]]] for suite in suites],
        "tasks": _tasks(db),
        "workers": _workers(db),
        **tests.columns,
        "owners": _owners(owners, tests.files),
        "skips": tests.skips(db),
        "samples": _samples(db),
        "memory": memory(db),
        "findings": _rows(db, "SELECT task, file, line, rule, severity, text FROM finding ORDER BY rowid LIMIT 5000"),
        "coverage": _rows(db, _COVERAGE),
        "benchmarks": _rows(
            db,
            "SELECT suite, id, grouped, minimum, median, mean, deviation, rounds FROM benchmark"
            " ORDER BY grouped, median, rowid LIMIT 5000",
        ),
        "causes": [[one_line(cause.exception, 80), one_line(cause.place), cause.first.noun] for cause in found],
    }
    run = _packed(model)
    del model
    tests.columns = {}  # with many tests this is most of the memory
    texts = _Texts(max(LEAST, PAGE - RESERVE - len(run)))
    red = {
        "broken": _broken(db, texts),
        "failures": _failures(db, found, tests, texts),
        "earlier": _earlier(db, tests, texts),
        "outputs": _outputs(db, texts),
        **covered(db, texts.put),
    }
    texts.close()
    return Payload(run, _packed(red), texts.blocks, found)


def coverage_payload(db: sqlite3.Connection) -> Payload:
    """Coverage alone, with every line."""
    model: dict[str, Any] = {
        **{name: [] for name in _WITHOUT_TESTS},
        "suites": [_suite(*suite) for suite in db.execute(_SUITES)],
        "coverage": _rows(db, _COVERAGE),
    }
    texts = _Texts(sys.maxsize)
    red = {"broken": [], "failures": [], "earlier": [], "outputs": [], **covered(db, texts.put)}
    texts.close()
    return Payload(_packed(model), _packed(red), texts.blocks, [])


def _packed(value: object) -> str:
    return base64.b64encode(zlib.compress(msgspec.json.encode(value), LEVEL)).decode()


def _rows(db: sqlite3.Connection, sql: str) -> list[list[Any]]:
    return [[plain(cell) if isinstance(cell, str) else cell for cell in row] for row in db.execute(sql)]


def _suite(name: str, gate: str, python: str, services: str, project: str, root: str) -> list[str]:
    used = ", ".join(f"{service} {version}" for service, version in msgspec.json.decode(services).items())
    return [name, gate, python, used, project, root]


class _Texts:
    """Texts in blocks of their own, in the order of importance, as long as there is room."""

    def __init__(self, room: int) -> None:
        self.blocks: list[str] = []
        self._room = room
        self._open: list[Any] = []
        self._size = 0

    @property
    def full(self) -> bool:
        return self._room <= 0

    def put(self, value: Sequence[Any]) -> list[int] | None:
        """Block and position of `value`, or None: it no longer fits."""
        if self.full:
            return None
        self._open.append(value)
        self._size += sum(len(str(part)) for part in value)
        place = [len(self.blocks), len(self._open) - 1]
        if self._size >= BLOCK:
            self.close()
        return place

    def close(self) -> None:
        if self._open:
            self.blocks.append(_packed(self._open))
            self._room -= len(self.blocks[-1])
            self._open, self._size = [], 0


def _failures(db: sqlite3.Connection, found: Sequence[Cause], tests: Tests, texts: _Texts) -> Column:
    """Cause, row of the test, file's name, suite, message and text of every failure.

    The first failure of every cause gets room for its text first, then the second of every cause, and so on.
    """
    made: Column = []
    ranked = sorted(
        ((rank, number, one) for number, cause in enumerate(found) for rank, one in enumerate(cause.failures)),
        key=lambda entry: entry[:2],
    )
    for _, number, one in ranked:
        row = tests.place(one.suite, one.id)
        name = "" if row >= 0 else plain(one.id)
        text = None if texts.full else texts.put(_text(db, one))
        made.append([number, row, name, one.suite, one_line(one.message, MESSAGE), one_line(one.place), text])
    return made


def _text(db: sqlite3.Connection, failure: Failure) -> list[Any]:
    """Phase, traceback, captured output by heading, command."""
    known = details(db, failure)
    told = known.text or known.message
    return [
        f"{known.when} {plain(known.subtest or '')}".strip(),
        plain(shortened(told, TEXT)),
        [[plain(name), plain(shortened(text, OUTPUT))] for name, text in known.output.items()],
        plain(reproduce(db, failure)),
    ]


def _earlier(db: sqlite3.Connection, tests: Tests, texts: _Texts) -> Column:
    """Attempts that did not decide: row of the test, outcome, message, text."""
    rows = db.execute(
        "SELECT suite, id, outcome, message, phase, text, output FROM phase WHERE NOT decides"
        " AND outcome IN ('failed', 'error', 'rerun') ORDER BY rowid LIMIT 5000"
    )
    made = []
    for suite, test, outcome, message, when, text, output in rows:
        shown = [[plain(head), plain(shortened(part, OUTPUT))] for head, part in msgspec.json.decode(output).items()]
        place = texts.put([when, plain(shortened(text or message, TEXT)), shown, ""])
        made.append([tests.place(suite, test), outcome, one_line(message, MESSAGE), place])
    return made


def _broken(db: sqlite3.Connection, texts: _Texts) -> Column:
    """Tasks without a proper end: task, suite, what is said about it, text."""
    return [
        [one.task, one.suite, one_line(one.said), texts.put(["", plain(shortened(one.output, TEXT)), [], ""])]
        for one in broken(db)
    ]


def _outputs(db: sqlite3.Connection, texts: _Texts) -> Column:
    """What tasks printed that did not end well: task, text."""
    rows = db.execute(
        "SELECT task, output FROM task_attempt WHERE decides AND output != '' AND exit IS NOT 0 ORDER BY task"
    )
    return [[task, texts.put(["output", plain(shortened(output, TEXT)), [], ""])] for task, output in rows]


def _tasks(db: sqlite3.Connection) -> Column:
    """Name, suite, kind, wave, shard, of, estimate, began, seconds, exit, signal, stopped, attempt, command."""
    return _rows(
        db,
        "SELECT t.id, t.suite, t.kind, t.wave, t.shard, t.shards, round(t.estimate, 2), a.began, round(a.seconds, 2),"
        " a.exit, a.signal, a.stopped, t.attempt, t.command FROM task t"
        " LEFT JOIN task_attempt a ON a.task = t.id AND a.decides ORDER BY t.wave, t.suite, t.shard, t.id",
    )


def _workers(db: sqlite3.Connection) -> Column:
    """Task, worker, first start, last end, seconds in tests, tests."""
    return _rows(
        db,
        "SELECT task, worker, min(nullif(at, 0)), max(at + setup + call + teardown),"
        " round(sum(setup + call + teardown), 2), count(*) FROM test GROUP BY task, worker ORDER BY task, worker",
    )


def _samples(db: sqlite3.Connection) -> Column:
    """Task, worker, highest memory, processor time, and at most POINTS pairs of time and memory."""
    series: dict[tuple[str, str], list[tuple[float, int, float]]] = {}
    for task, worker, at, used, cpu in db.execute("SELECT task, worker, at, memory, cpu FROM sample ORDER BY at"):
        series.setdefault((task, worker), []).append((at, used, cpu))
    return [
        [task, plain(worker), max(p[1] for p in points), round(points[-1][2], 2), _thinned(points)]
        for (task, worker), points in sorted(series.items())
    ]


def _thinned(points: Sequence[tuple[float, int, float]]) -> Column:
    """At most POINTS pairs; of points that fall together the highest stays."""
    step = -(-len(points) // POINTS)
    groups = (points[start : start + step] for start in range(0, len(points), step))
    return [[round(group[0][0], 2), max(point[1] for point in group)] for group in groups]


def _owners(text: str, files: dict[tuple[str, str], int]) -> Column:
    """Owners, then the number of its owner for every file."""
    rules = codeowners.parse(text)
    if not rules:
        return []
    names = Names()
    numbers = [names[codeowners.owner(rules, file)] for _, file in files]
    return [names.names, numbers]
