"""The history's tables, what goes in after a run, and what the planner gets out."""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from thebes.errors import InputError
from thebes.model import Value

from . import tables
from .cores import chosen_cores
from .facts import Facts, facts_of

KEPT_RUNS = 50
FORMAT = 1


class Stamp(Value, frozen=True, kw_only=True):
    """What a run is known by."""

    at: float
    commit: str
    branch: str
    machine: str
    verdict: str


class PastRun(NamedTuple):
    """One past run of one project. `tests`: own seconds by node id; `files`: import, fixtures by file key; `start`:
    what a shard took beside these, None where workers shared the work or nothing is known; `job_start`: what its job
    took before, None where nobody said; `groups`: by node id, what a test wants to share a shard with; `worker_memory`:
    the most bytes that a process used that runs tests; `left_out`: tests that it knew of and that it was not to run, or
    that did not come to an end; `red`: tests that failed, and keys of files that could not be collected; `shared`:
    costly fixtures, their seconds and their users, see `thebes.plan.Shared`."""

    stamp: Stamp
    tests: dict[str, float]
    files: dict[str, tuple[float, float]]
    start: float | None = None
    job_start: float | None = None
    groups: Mapping[str, str] = {}
    worker_memory: int = 0
    left_out: frozenset[str] = frozenset()
    red: frozenset[str] = frozenset()
    shared: Mapping[str, tuple[float, Mapping[str, tuple[str, ...] | None]]] = {}


class History:
    """An open history. `url` is a path or a database URL; a file is made when needed."""

    def __init__(self, url: str) -> None:
        self.url = url
        with self._named_errors():
            if "://" not in url:
                Path(url).parent.mkdir(parents=True, exist_ok=True)
                url = f"sqlite:///{url}"
            self._engine = sa.create_engine(url)
            try:
                self._prepare()
            except BaseException:
                self._engine.dispose()
                raise

    def _prepare(self) -> None:
        if self._engine.dialect.name == "sqlite":
            sa.event.listen(self._engine, "connect", lambda raw, _: raw.execute("PRAGMA foreign_keys = ON"))
        tables.METADATA.create_all(self._engine)
        self._check_format()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._engine.dispose()

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        """What goes wrong inside becomes an InputError that names the history."""
        try:
            yield
        except (SQLAlchemyError, ModuleNotFoundError, OSError, ValueError) as error:  # the last: a port like "x"
            text = str(getattr(error, "orig", None) or error).partition("\n")[0]
            raise InputError(f"history {self._shown()}: {text}") from None

    def _shown(self) -> str:
        """The URL without its password."""
        if "://" not in self.url:
            return self.url
        try:
            return sa.make_url(self.url).render_as_string()
        except (ArgumentError, ValueError):
            return self.url.partition("://")[0] + "://…"

    def _check_format(self) -> None:
        with self._engine.begin() as db:
            found = db.scalar(sa.select(tables.meta.c.value).where(tables.meta.c.key == "format"))
            if found is None:
                db.execute(tables.meta.insert(), {"key": "format", "value": str(FORMAT)})
            elif found != str(FORMAT):
                raise InputError(f"history {self._shown()}: format {found}, this version reads format {FORMAT}")

    def feed(self, run: sqlite3.Connection, stamp: Stamp, *, partial: bool = False) -> None:
        """Add what run.db says, in seconds of a machine of speed 1. Of tests that did not come to an end nothing is
        known about durations. `partial`: only a part of the tests was asked for, so that those which were deselected
        go on to be known."""
        self.add(stamp, facts_of(run, partial=partial))

    def add_durations(self, durations: Mapping[str, float], stamp: Stamp, project: str = ".") -> None:
        """Add one number for each test, as pytest-split keeps it."""
        self.add(
            stamp, Facts([(project, "", test, "passed", value, 0.0, 1, False) for test, value in durations.items()])
        )

    def add(self, stamp: Stamp, facts: Facts) -> None:
        """Add a run; the oldest ones go."""
        with self._named_errors(), self._engine.begin() as db:
            values = {
                "at": stamp.at,
                "commit_id": stamp.commit,
                "branch": stamp.branch,
                "machine": stamp.machine,
                "verdict": stamp.verdict,
            }
            run = db.execute(tables.run.insert().returning(tables.run.c.id), values).scalar_one()
            named = [row[2] for row in (*facts.tests, *facts.files)] + [row[1] for row in (*facts.left_out, *facts.red)]
            names = self._names(db, map(str, named))
            of_test = ("project", "suite", "name", "outcome", "own", "fixtures", "attempts", "flaky")
            groups = [row for row in facts.groups if row[1] in names]  # of tests that came to an end
            for table, columns, rows in (
                (tables.test, of_test, facts.tests),
                (tables.file, ("project", "suite", "name", "seconds", "fixtures"), facts.files),
                (tables.grouped, ("project", "name", "group"), groups),
                (tables.left_out, ("project", "name"), facts.left_out),
                (tables.red, ("project", "name"), facts.red),
                (tables.start, ("project", "seconds"), facts.starts),
                (tables.job, ("seconds",), facts.jobs),
                (tables.worker, ("project", "memory"), facts.workers),
                (tables.measured, ("suite", "core", "cores"), facts.cores),
                (tables.shared, ("project", "fixture", "seconds", "users"), facts.shared),
            ):
                _insert(db, table, run, columns, names, rows)
            old = sa.select(tables.run.c.id).order_by(tables.run.c.at.desc(), tables.run.c.id.desc()).offset(KEPT_RUNS)
            for (gone,) in db.execute(old.limit(1000)).fetchall():
                for table in tables.OF_RUN:
                    db.execute(table.delete().where(table.c.run == gone))
                db.execute(tables.run.delete().where(tables.run.c.id == gone))

    def _names(self, db: sa.Connection, texts: Iterable[str]) -> dict[str, int]:
        wanted = set(texts)
        known = {
            text: number
            for number, text in db.execute(sa.select(tables.name.c.id, tables.name.c.text))
            if text in wanted
        }
        if missing := sorted(wanted - known.keys()):
            db.execute(tables.name.insert(), [{"text": text} for text in missing])
            rows = db.execute(sa.select(tables.name.c.id, tables.name.c.text))
            known |= {text: number for number, text in rows if text in wanted}
        return known

    def runs(self, project: str, limit: int = 20) -> list[PastRun]:
        """The newest `limit` runs that say something about `project`, oldest first."""
        with self._named_errors(), self._engine.connect() as db:
            told = sa.select(tables.test.c.run).where(tables.test.c.project == project)
            newest = (
                sa.select(tables.run)
                .where(tables.run.c.id.in_(told))
                .order_by(tables.run.c.at.desc(), tables.run.c.id.desc())
            )
            return [self._past_run(db, row, project) for row in reversed(db.execute(newest.limit(limit)).fetchall())]

    def _past_run(self, db: sa.Connection, run: sa.Row[Any], project: str) -> PastRun:
        tests = sa.select(tables.name.c.text, sa.func.max(tables.test.c.own).label("own")).join(
            tables.name, tables.test.c.name == tables.name.c.id
        )
        mine = tests.where(tables.test.c.run == run.id, tables.test.c.project == project).group_by(tables.name.c.text)
        files = sa.select(
            tables.name.c.text, sa.func.max(tables.file.c.seconds), sa.func.max(tables.file.c.fixtures)
        ).join(tables.name, tables.file.c.name == tables.name.c.id)
        own_files = files.where(tables.file.c.run == run.id, tables.file.c.project == project).group_by(
            tables.name.c.text
        )
        took = db.scalars(
            sa.select(tables.start.c.seconds).where(tables.start.c.run == run.id, tables.start.c.project == project)
        )
        starts = sorted(took)
        jobs = sorted(db.scalars(sa.select(tables.job.c.seconds).where(tables.job.c.run == run.id)))
        groups = sa.select(tables.name.c.text, tables.grouped.c.group).join(
            tables.name, tables.grouped.c.name == tables.name.c.id
        )
        own_groups = groups.where(tables.grouped.c.run == run.id, tables.grouped.c.project == project)
        most = sa.select(sa.func.max(tables.worker.c.memory))
        shared = sa.select(tables.shared.c.fixture, tables.shared.c.seconds, tables.shared.c.users).where(
            tables.shared.c.run == run.id, tables.shared.c.project == project
        )
        stamp = Stamp(at=run.at, commit=run.commit_id, branch=run.branch, machine=run.machine, verdict=run.verdict)
        return PastRun(
            stamp,
            {row.text: row.own for row in db.execute(mine)},
            {text: (seconds, fixtures) for text, seconds, fixtures in db.execute(own_files)},
            starts[len(starts) // 2] if starts and starts[0] >= 0 else None,
            jobs[len(jobs) // 2] if jobs else None,
            {row[0]: row[1] for row in db.execute(own_groups)},
            db.scalar(most.where(tables.worker.c.run == run.id, tables.worker.c.project == project)) or 0,
            _names_in(db, tables.left_out, run.id, project),
            _names_in(db, tables.red, run.id, project),
            {name: (seconds, json.loads(users)) for name, seconds, users in db.execute(shared)},
        )

    def cores(self, project: str) -> dict[str, str]:
        """By suite, the core of coverage.py's that is to measure it next."""
        with self._named_errors(), self._engine.connect() as db:
            return chosen_cores(db, project)

    def stamps(self) -> list[Stamp]:
        """All runs, newest first."""
        columns = (
            tables.run.c.at,
            tables.run.c.commit_id,
            tables.run.c.branch,
            tables.run.c.machine,
            tables.run.c.verdict,
        )
        with self._named_errors(), self._engine.connect() as db:
            rows = db.execute(sa.select(*columns).order_by(tables.run.c.at.desc(), tables.run.c.id.desc())).fetchall()
        return [
            Stamp(at=at, commit=commit, branch=branch, machine=machine, verdict=verdict)
            for at, commit, branch, machine, verdict in rows
        ]


def _names_in(db: sa.Connection, table: sa.Table, run: int, project: str) -> frozenset[str]:
    names = sa.select(tables.name.c.text).join(table, table.c.name == tables.name.c.id)
    return frozenset(db.scalars(names.where(table.c.run == run, table.c.project == project)))


def _insert(
    db: sa.Connection,
    table: sa.Table,
    run: int,
    columns: Sequence[str],
    names: Mapping[str, int],
    rows: Sequence[tuple[object, ...]],
) -> None:
    values = [{"run": run, **dict(zip(columns, row, strict=True))} for row in rows]
    for value in values:
        if "name" in value:
            value["name"] = names[str(value["name"])]
        if "flaky" in value:
            value["flaky"] = bool(value["flaky"])
    if values:
        db.execute(table.insert(), values)
