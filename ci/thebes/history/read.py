"""What the planner gets out of the history."""

import json
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any, NamedTuple, Self

import sqlalchemy as sa

from thebes.model import Value
from thebes.plugin.thebes_plugin.split import file_key

from . import tables

# Newer runs of all of a file, after which an older one tells nothing about its tests: no estimate looks further back.
ENOUGH = 3


class Stamp(Value, frozen=True, kw_only=True):
    """What a run is known by."""

    at: float
    commit: str
    branch: str
    machine: str
    verdict: str


class PastRun(NamedTuple):
    """One past run of one project. `tests`: own seconds by node id, or nothing if newer runs have them all; `files`:
    import, fixtures by file key; `start`: what a shard took beside these, None where workers shared the work or nothing
    is known; `job_start`: what its job took before, None where nobody said; `groups`: by node id, what a test wants to
    share a shard with; `worker_memory`: the most bytes that a process used that runs tests; `left_out`: tests that it
    knew of and that it was not to run, or that did not come to an end; `red`: tests that failed, and keys of files that
    could not be collected; `shared`: costly fixtures, their seconds and their users, see `thebes.plan.Shared`;
    `unstable`: files whose tests differed between processes."""

    stamp: Stamp
    tests: Mapping[str, float]
    files: Mapping[str, tuple[float, float]]
    start: float | None = None
    job_start: float | None = None
    groups: Mapping[str, str] = {}
    worker_memory: int = 0
    left_out: frozenset[str] = frozenset()
    red: frozenset[str] = frozenset()
    shared: Mapping[str, tuple[float, Mapping[str, tuple[str, ...] | None]]] = {}
    unstable: frozenset[str] = frozenset()

    def moved(self, renamed: Mapping[str, str]) -> Self:
        """The same, with the names that files have now; `renamed` has them by the names they had."""
        if not renamed:
            return self

        def now(name: str) -> str:
            file, colons, test = name.partition("::")
            return renamed.get(file, file) + colons + test

        return self._replace(
            tests={now(test): seconds for test, seconds in self.tests.items()},
            files={now(file): took for file, took in self.files.items()},
            groups={now(test): group for test, group in self.groups.items()},
            left_out=frozenset(map(now, self.left_out)),
            red=frozenset(map(now, self.red)),
            shared={
                name: (seconds, {now(file): tests for file, tests in users.items()})
                for name, (seconds, users) in self.shared.items()
            },
            unstable=frozenset(map(now, self.unstable)),
        )


class Reader:
    """Reads the runs of a project through an open connection. Each name is read once and serves all of them."""

    def __init__(self, db: sa.Connection, project: str) -> None:
        self._db = db
        self._project = project
        self._whole: dict[str, int] = {}  # by file, the runs so far that had all of it

    @cached_property
    def _names(self) -> dict[int, str]:
        return dict(self._db.execute(sa.select(tables.name.c.id, tables.name.c.text)).all())

    @cached_property
    def _missed(self) -> frozenset[str]:
        """Tests that a run left out and another one timed: there older runs know more. Most are always left out."""
        test, left_out = tables.test.c, tables.left_out.c
        both = sa.exists().where(test.name == left_out.name, test.project == left_out.project)
        found = sa.select(left_out.name).distinct().where(left_out.project == self._project, both)
        return frozenset(self._names[name] for name in self._db.scalars(found))

    def runs(self, limit: int) -> list[PastRun]:
        """The newest `limit` runs that say something about the project, oldest first."""
        told = sa.exists().where(tables.test.c.run == tables.run.c.id, tables.test.c.project == self._project)
        newest_first = (
            sa.select(tables.run).where(told).order_by(tables.run.c.at.desc(), tables.run.c.id.desc()).limit(limit)
        )
        return [self._run(row) for row in self._db.execute(newest_first).fetchall()][::-1]

    def _run(self, run: sa.Row[Any]) -> PastRun:
        stamp = Stamp(at=run.at, commit=run.commit_id, branch=run.branch, machine=run.machine, verdict=run.verdict)
        files = self._files(run.id)
        left_out = self._named(tables.left_out, run.id)
        red = self._named(tables.red, run.id)
        starts = sorted(seconds for (seconds,) in self._rows(run.id, tables.start.c.seconds))
        jobs = sorted(self._db.scalars(sa.select(tables.job.c.seconds).where(tables.job.c.run == run.id)))
        shared = self._rows(run.id, tables.shared.c.fixture, tables.shared.c.seconds, tables.shared.c.users)
        return PastRun(
            stamp,
            self._tests(run.id, files, left_out, red),
            files,
            starts[len(starts) // 2] if starts and starts[0] >= 0 else None,
            jobs[len(jobs) // 2] if jobs else None,
            {self._names[name]: to for name, to in self._rows(run.id, tables.grouped.c.name, tables.grouped.c.group)},
            max((memory for (memory,) in self._rows(run.id, tables.worker.c.memory)), default=0),
            left_out,
            red,
            {name: (seconds, json.loads(users)) for name, seconds, users in shared},
            self._named(tables.unstable, run.id),
        )

    def _tests(self, run: int, files: Iterable[str], left_out: frozenset[str], red: frozenset[str]) -> dict[str, float]:
        """Nothing where newer runs had all of the files often enough: reading the tests is what takes time and memory.
        A file that could not be collected (`red` has its key) tells nothing of its tests.
        Of durations that were imported, only the tests themselves tell the files."""
        if files and all(self._whole.get(file, 0) >= ENOUGH for file in files):
            return {}
        names = self._names
        found: dict[str, float] = {}
        for name, own in self._rows(run, tables.test.c.name, tables.test.c.own):
            test = names[name]
            if own > found.get(test, -1.0):  # of several suites the longest
                found[test] = own
        parts = {file_key(test) for test in left_out & self._missed} if left_out else set()
        for file in files or {file_key(test) for test in found}:
            self._whole[file] = self._whole.get(file, 0) + (file not in parts and file not in red)
        return found

    def _files(self, run: int) -> dict[str, tuple[float, float]]:
        names, columns = self._names, tables.file.c
        found: dict[str, tuple[float, float]] = {}
        for name, seconds, fixtures in self._rows(run, columns.name, columns.seconds, columns.fixtures):
            file = names[name]
            before = found.get(file, (0.0, 0.0))
            found[file] = (max(seconds, before[0]), max(fixtures, before[1]))
        return found

    def _named(self, table: sa.Table, run: int) -> frozenset[str]:
        return frozenset(self._names[name] for (name,) in self._rows(run, table.c.name))

    def _rows(self, run: int, *columns: sa.Column[Any]) -> Iterable[tuple[Any, ...]]:
        table = columns[0].table
        of_run = sa.select(*columns).where(table.c.run == run, table.c.project == self._project)
        return self._db.execute(of_run)
