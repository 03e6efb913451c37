"""An open history: what goes in after a run."""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from thebes.errors import InputError

from . import tables
from .cores import chosen_cores
from .facts import Facts, facts_of
from .read import PastRun, Reader, Stamp

KEPT_RUNS = 50
FORMAT = 1
_FORMAT = sa.select(tables.meta.c.value).where(tables.meta.c.key == "format")


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
        with self._engine.begin() as db:  # a history of an earlier version has none of these
            for index in tables.OF_NAMES:
                index.create(db, checkfirst=True)
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
            found = db.scalar(_FORMAT)
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
        """Add a run; the oldest ones go. Whoever adds another meanwhile waits: both would write the same new names, or
        one forget what the other is about to use."""
        with self._named_errors(), self._engine.begin() as db:
            db.execute(_FORMAT.with_for_update())  # SQLite lets only one write in any case
            values = {
                "at": stamp.at,
                "commit_id": stamp.commit,
                "branch": stamp.branch,
                "machine": stamp.machine,
                "verdict": stamp.verdict,
            }
            run = db.execute(tables.run.insert().returning(tables.run.c.id), values).scalar_one()
            named = [row[2] for row in (*facts.tests, *facts.files)]
            named += [row[1] for row in (*facts.left_out, *facts.red, *facts.unstable)]
            names = _names(db, map(str, named))
            of_test = ("project", "suite", "name", "outcome", "own", "fixtures", "attempts", "flaky")
            groups = [row for row in facts.groups if row[1] in names]  # of tests that came to an end
            for table, columns, rows in (
                (tables.test, of_test, facts.tests),
                (tables.file, ("project", "suite", "name", "seconds", "fixtures"), facts.files),
                (tables.grouped, ("project", "name", "group"), groups),
                (tables.left_out, ("project", "name"), facts.left_out),
                (tables.red, ("project", "name"), facts.red),
                (tables.unstable, ("project", "name"), facts.unstable),
                (tables.start, ("project", "seconds"), facts.starts),
                (tables.job, ("seconds",), facts.jobs),
                (tables.worker, ("project", "memory"), facts.workers),
                (tables.measured, ("suite", "core", "cores"), facts.cores),
                (tables.shared, ("project", "fixture", "seconds", "users"), facts.shared),
            ):
                _insert(db, table, run, columns, names, rows)
            _forget(db)

    def runs(self, project: str, limit: int = KEPT_RUNS) -> list[PastRun]:
        """The newest `limit` runs that say something about `project`, oldest first."""
        with self._named_errors(), self._engine.connect() as db:
            return Reader(db, project).runs(limit)

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


def _names(db: sa.Connection, texts: Iterable[str]) -> dict[str, int]:
    """The numbers of these names; those that are new get one."""
    wanted = set(texts)
    number, text = tables.name.c.id, tables.name.c.text
    known = {name: its for name, its in db.execute(sa.select(text, number)) if name in wanted}
    if missing := [{"text": name} for name in sorted(wanted - known.keys())]:
        known |= dict(db.execute(tables.name.insert().returning(text, number), missing).all())
    return known


def _forget(db: sa.Connection) -> None:
    """Delete the oldest runs, and names that nothing refers to any more."""
    old = sa.select(tables.run.c.id).order_by(tables.run.c.at.desc(), tables.run.c.id.desc()).offset(KEPT_RUNS)
    gone = db.scalars(old.limit(1000)).all()
    if not gone:
        return
    for table in tables.OF_RUN:
        db.execute(table.delete().where(table.c.run.in_(gone)))
    db.execute(tables.run.delete().where(tables.run.c.id.in_(gone)))
    unused = (~sa.exists().where(table.c.name == tables.name.c.id) for table in tables.NAMING)
    db.execute(tables.name.delete().where(*unused))


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
