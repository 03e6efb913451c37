"""The run as compact data for the page: columns, not rows, and long texts in blocks that the page opens as needed."""

import base64
import sqlite3
import zlib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from . import codeowners
from .places import inside
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

Column = list[Any]


class Payload(NamedTuple):
    """`run` and `failures` are the packed model, `blocks` the packed texts that it refers to by number."""

    run: str
    failures: str
    blocks: list[str]
    causes: list[Cause]


def payload(db: sqlite3.Connection, owners: str = "") -> Payload:
    """Everything the page shows. `owners`: the text of the repository's CODEOWNERS."""
    found = causes(failures(db))
    suites = db.execute(
        "SELECT s.id, s.gate, s.python, s.services, s.project, coalesce(p.rootdir, '') FROM suite s"
        " LEFT JOIN project p ON p.path = s.project ORDER BY s.id"
    ).fetchall()
    tests = _Tests(db, [tuple(suite) for suite in suites])
    model: dict[str, Any] = {
        "suites": [_suite(*suite) for suite in suites],
        "tasks": _tasks(db),
        "workers": _workers(db),
        **tests.columns(),
        "owners": _owners(owners, tests.files),
        "skips": tests.skips(db),
        "samples": _samples(db),
        "findings": _rows(db, "SELECT task, file, line, rule, severity, text FROM finding ORDER BY rowid LIMIT 5000"),
        "coverage": _rows(db, "SELECT project, gate, percent, text FROM coverage ORDER BY project, gate"),
        "causes": [[one_line(cause.exception, 80), one_line(cause.place), cause.first.noun] for cause in found],
    }
    run = _packed(model)
    texts = _Texts(max(LEAST, PAGE - RESERVE - len(run)))
    red = {
        "failures": _failures(db, found, tests, texts),
        "earlier": _earlier(db, tests, texts),
        "outputs": _outputs(db, texts),
    }
    texts.close()
    return Payload(run, _packed(red), texts.blocks, found)


def _packed(value: object) -> str:
    return base64.b64encode(zlib.compress(msgspec.json.encode(value), LEVEL)).decode()


def _rows(db: sqlite3.Connection, sql: str) -> list[list[Any]]:
    return [[plain(cell) if isinstance(cell, str) else cell for cell in row] for row in db.execute(sql)]


def _suite(name: str, gate: str, python: str, services: str, project: str, root: str) -> list[str]:
    used = ", ".join(f"{service} {version}" for service, version in msgspec.json.decode(services).items())
    return [name, gate, python, used, project, root]


def _runs(values: Iterable[Any]) -> Column:
    """Run-length: value, count, value, count …"""
    made: Column = []
    for value in values:
        if made and made[-2] == value:
            made[-1] += 1
        else:
            made += [value, 1]
    return made


def _ticks(column: str) -> str:
    """SQL of a duration in tenths of a millisecond; from 0.1 s on whole milliseconds, for more is only noise."""
    fine, coarse = f"CAST({column} * 1e4 + 0.5 AS INT)", f"CAST({column} * 1e3 + 0.5 AS INT) * 10"
    return f"CASE WHEN {column} < 0.1 THEN {fine} ELSE {coarse} END"


_TESTS = f"""
    SELECT suite, id, file, task, outcome, {_ticks("setup")}, {_ticks("call")}, {_ticks("teardown")},
      {_ticks("fixtures")}, worker, attempts, flaky FROM test ORDER BY rowid"""  # noqa: S608


class _Tests:
    """The tests as columns, and where a test stands in them."""

    def __init__(self, db: sqlite3.Connection, suites: Sequence[tuple[Any, ...]]) -> None:
        cursor = db.cursor()
        cursor.row_factory = None
        self._roots = {suite[0]: suite[5] for suite in suites}
        self._rows = cursor.execute(_TESTS).fetchall()
        self._places: dict[tuple[str, str], int] = {}
        self.files: dict[tuple[str, str], int] = {}
        self._imports = self._import_times(db)

    def _import_times(self, db: sqlite3.Connection) -> list[list[Any]]:
        """Path in the repository, seconds of import over all suites, outcomes of every file."""
        times: list[list[Any]] = []
        for suite, file, seconds in db.execute(
            "SELECT suite, file, sum(seconds) FROM file GROUP BY 1, 2 ORDER BY 2, 1"
        ):
            self.files[suite, file] = len(times)
            times.append([plain(inside(self._roots[suite], file)), round(seconds, 4)])
        for row in self._rows:
            if (row[0], row[2]) not in self.files:
                self.files[row[0], row[2]] = len(times)
                times.append([plain(inside(self._roots[row[0]], row[2])), 0])
        return times

    def place(self, suite: str, test: str) -> int:
        """The row of a test; -1 if there is none (a file that failed as a whole)."""
        if not self._places:
            self._places = {(row[0], row[1]): number for number, row in enumerate(self._rows)}
        return self._places.get((suite, test), -1)

    def columns(self) -> dict[str, Column]:
        rows = self._rows
        files = self.files
        tasks, outcomes, workers = (_Names() for _ in range(3))
        columns: dict[str, Column] = {
            "files": self._imports,
            "name": [_name(row[1], row[2]) for row in rows],
            "file": _runs(files[row[0], row[2]] for row in rows),
            "task": _runs(tasks[row[3]] for row in rows),
            "outcome": _runs(outcomes[row[4]] for row in rows),
            "setup": [row[5] for row in rows],
            "call": [row[6] for row in rows],
            "teardown": [row[7] for row in rows],
            "fixtures": [[number, row[8]] for number, row in enumerate(rows) if row[8]],
            "worker": _runs(workers[row[9]] for row in rows),
            "again": [[number, row[10], row[11]] for number, row in enumerate(rows) if row[10] > 1 or row[11]],
        }
        return {**columns, "taskNames": tasks.names, "outcomes": outcomes.names, "workerNames": workers.names}

    def skips(self, db: sqlite3.Connection) -> Column:
        """Reason, place, and rows of the tests: skipped and expected failures by why; files by -1 and name."""
        groups: dict[tuple[str, str, str], Column] = {}
        rows = db.execute(
            "SELECT suite, id, outcome, substr(message, 1, 300), path, line FROM phase"
            " WHERE decides AND outcome IN ('skipped', 'xfailed') AND subtest IS NULL ORDER BY rowid"
        )
        for suite, test, outcome, message, path, line in rows:
            file = test.partition("::")[0]
            place = f"{file if path.endswith(file) else path}:{line}" if path else ""
            groups.setdefault((outcome, message, place), []).append(self.place(suite, test))
        for suite, file, text in db.execute("SELECT suite, file, text FROM file WHERE outcome = 'skipped'"):
            where = inside(self._roots[suite], file)
            groups.setdefault(("file", text[:300], where), []).append(-1)
        return [[kind, one_line(why), one_line(place), places] for (kind, why, place), places in groups.items()]


class _Names(dict[str, int]):
    """Numbers names in the order in which they come."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __missing__(self, name: str) -> int:
        self[name] = len(self.names)
        self.names.append(plain(name))
        return self[name]


def _name(test: str, file: str) -> str:
    name = test[len(file) + 2 :] if test.startswith(file) else test
    return name if name.isascii() and name.isprintable() else plain(name)


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


def _failures(db: sqlite3.Connection, found: Sequence[Cause], tests: _Tests, texts: _Texts) -> Column:
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


def _earlier(db: sqlite3.Connection, tests: _Tests, texts: _Texts) -> Column:
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
    for task, worker, at, memory, cpu in db.execute("SELECT task, worker, at, memory, cpu FROM sample ORDER BY at"):
        series.setdefault((task, worker), []).append((at, memory, cpu))
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
    names = _Names()
    numbers = [names[codeowners.owner(rules, file)] for _, file in files]
    return [names.names, numbers]
