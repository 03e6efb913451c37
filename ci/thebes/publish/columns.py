"""All tests as columns for the page: a few bytes for each, however many there are."""

import sqlite3
from collections.abc import Sequence
from typing import Any

from .places import inside
from .text import one_line, plain

Column = list[Any]


def _ticks(column: str) -> str:
    """SQL of a duration in tenths of a millisecond; from 0.1 s on whole milliseconds, for more is only noise."""
    fine, coarse = f"CAST({column} * 1e4 + 0.5 AS INT)", f"CAST({column} * 1e3 + 0.5 AS INT) * 10"
    return f"CASE WHEN {column} < 0.1 THEN {fine} ELSE {coarse} END"


_TESTS = f"""
    SELECT suite, id, file, task, outcome, {_ticks("setup")}, {_ticks("call")}, {_ticks("teardown")},
      {_ticks("fixtures")}, worker, attempts, flaky FROM test ORDER BY rowid"""  # noqa: S608
_SKIPS = """
    SELECT suite, id, outcome, substr(message, 1, 300), path, line FROM phase
    WHERE decides AND outcome IN ('skipped', 'xfailed') AND subtest IS NULL ORDER BY rowid"""


class Names(dict[str, int]):
    """Numbers names in the order in which they come."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __missing__(self, name: str) -> int:
        self[name] = len(self.names)
        self.names.append(plain(name))
        return self[name]


class Runs:
    """Run-length: value, count, value, count …"""

    def __init__(self) -> None:
        self.made: Column = []
        self._last: int | None = None

    def add(self, value: int) -> None:
        if value == self._last:
            self.made[-1] += 1
        else:
            self.made += (value, 1)
            self._last = value


class Tests:
    """The tests, read once and row by row. `columns` go into the page; `place` finds a test in them."""

    def __init__(self, db: sqlite3.Connection, suites: Sequence[tuple[Any, ...]]) -> None:
        self._roots = {suite[0]: suite[5] for suite in suites}
        self._places: dict[tuple[str, str], int] = {}
        self._file_rows: list[list[Any]] = []
        self.files: dict[tuple[str, str], int] = {}
        sql = "SELECT suite, file, sum(seconds) FROM file GROUP BY 1, 2 ORDER BY 2, 1"
        for suite, file, seconds in db.execute(sql):
            self._file(suite, file, round(seconds, 4))
        self.columns = self._read(db)

    def _file(self, suite: str, file: str, seconds: float = 0.0) -> int:
        """Path in the repository and seconds of import of every file of every suite."""
        self.files[suite, file] = number = len(self._file_rows)
        self._file_rows.append([plain(inside(self._roots[suite], file)), seconds])
        return number

    def place(self, suite: str, test: str) -> int:
        """The row of a test that did not simply pass; -1 if there is none (a file that failed as a whole)."""
        return self._places.get((suite, test), -1)

    def _read(self, db: sqlite3.Connection) -> dict[str, Column]:
        cursor = db.cursor()
        cursor.row_factory = None
        tasks, outcomes, workers = Names(), Names(), Names()
        file_of, task_of, outcome_of, worker_of = Runs(), Runs(), Runs(), Runs()
        plain_columns: dict[str, Column] = {name: [] for name in ("name", "setup", "call", "teardown")}
        add_name, add_setup, add_call, add_teardown = (column.append for column in plain_columns.values())
        fixtures: Column = []
        again: Column = []
        for number, row in enumerate(cursor.execute(_TESTS)):
            suite, test, file, task, outcome, setup, call, teardown, shared, worker, attempts, flaky = row
            known = self.files.get((suite, file))
            file_of.add(self._file(suite, file) if known is None else known)
            task_of.add(tasks[task])
            outcome_of.add(outcomes[outcome])
            worker_of.add(workers[worker])
            add_name(_name(test, file))
            add_setup(setup)
            add_call(call)
            add_teardown(teardown)
            if outcome != "passed" or attempts > 1 or flaky:
                self._places[suite, test] = number
                if attempts > 1 or flaky:
                    again.append([number, attempts, flaky])
            if shared:
                fixtures.append([number, shared])
        runs = {"file": file_of.made, "task": task_of.made, "outcome": outcome_of.made, "worker": worker_of.made}
        names = {"taskNames": tasks.names, "outcomes": outcomes.names, "workerNames": workers.names}
        return {**plain_columns, **runs, **names, "files": self._file_rows, "fixtures": fixtures, "again": again}

    def skips(self, db: sqlite3.Connection) -> Column:
        """Reason, place, and rows of the tests: skipped and expected failures by why; a file has the row -1."""
        groups: dict[tuple[str, str, str], Column] = {}
        for suite, test, outcome, message, path, line in db.execute(_SKIPS):
            file = test.partition("::")[0]
            place = f"{file if path.endswith(file) else path}:{line}" if path else ""
            groups.setdefault((outcome, message, place), []).append(self.place(suite, test))
        for suite, file, text in db.execute("SELECT suite, file, text FROM file WHERE outcome = 'skipped'"):
            where = inside(self._roots[suite], file)
            groups.setdefault(("file", text[:300], where), []).append(-1)
        return [[kind, one_line(why), one_line(place), places] for (kind, why, place), places in groups.items()]


def _name(test: str, file: str) -> str:
    name = test[len(file) + 2 :] if test.startswith(file) else test
    return name if name.isascii() and name.isprintable() else plain(name)
