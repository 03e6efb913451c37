"""The history's tables, what goes in after a run, and what the planner gets out."""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from thebes.errors import InputError
from thebes.model import Value

KEPT_RUNS = 50
FORMAT = 1

_tables = sa.MetaData()
_meta = sa.Table("meta", _tables, sa.Column("key", sa.String, primary_key=True), sa.Column("value", sa.String))
_run = sa.Table(
    "run",
    _tables,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("commit_id", sa.String, nullable=False),
    sa.Column("branch", sa.String, nullable=False),
    sa.Column("machine", sa.String, nullable=False),
    sa.Column("verdict", sa.String, nullable=False),
)
_name = sa.Table(  # node ids and file keys, stored once
    "name",
    _tables,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("text", sa.String, nullable=False, unique=True),
)
_test = sa.Table(
    "test",
    _tables,
    sa.Column("run", sa.ForeignKey("run.id", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("project", sa.String, nullable=False),
    sa.Column("suite", sa.String, nullable=False),
    sa.Column("name", sa.ForeignKey("name.id"), nullable=False),
    sa.Column("outcome", sa.String, nullable=False),
    sa.Column("own", sa.Float, nullable=False),  # seconds, without what it set up for others
    sa.Column("fixtures", sa.Float, nullable=False),  # seconds, setting up fixtures that serve others, too
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("flaky", sa.Boolean, nullable=False),
)
_file = sa.Table(
    "file",
    _tables,
    sa.Column("run", sa.ForeignKey("run.id", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("project", sa.String, nullable=False),
    sa.Column("suite", sa.String, nullable=False),
    sa.Column("name", sa.ForeignKey("name.id"), nullable=False),
    sa.Column("seconds", sa.Float, nullable=False),  # import and collection, the longest of its shards
    sa.Column("fixtures", sa.Float, nullable=False),  # module and session fixtures, all its tests together
)
_start = sa.Table(  # how long a shard took beside its tests and imports
    "start",
    _tables,
    sa.Column("run", sa.ForeignKey("run.id", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("project", sa.String, nullable=False),
    sa.Column("seconds", sa.Float, nullable=False),
)
_job = sa.Table(  # how long jobs took before they came to their task
    "job",
    _tables,
    sa.Column("run", sa.ForeignKey("run.id", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("seconds", sa.Float, nullable=False),
)
_worker = sa.Table(  # the most memory that a process used that runs tests
    "worker",
    _tables,
    sa.Column("run", sa.ForeignKey("run.id", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("project", sa.String, nullable=False),
    sa.Column("memory", sa.BigInteger, nullable=False),
)
_group = sa.Table(  # tests that want to share a shard
    "grouped",
    _tables,
    sa.Column("run", sa.ForeignKey("run.id", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("project", sa.String, nullable=False),
    sa.Column("name", sa.ForeignKey("name.id"), nullable=False),
    sa.Column("group", sa.String, nullable=False),
)
_left = sa.Table(  # tests that this run knew of and that it was not to run, or that did not come to an end
    "left_out",
    _tables,
    sa.Column("run", sa.ForeignKey("run.id", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("project", sa.String, nullable=False),
    sa.Column("name", sa.ForeignKey("name.id"), nullable=False),
)
_red = sa.Table(  # tests that failed, and files that could not be collected
    "red",
    _tables,
    sa.Column("run", sa.ForeignKey("run.id", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("project", sa.String, nullable=False),
    sa.Column("name", sa.ForeignKey("name.id"), nullable=False),
)
_OF_RUN = (_test, _file, _start, _job, _worker, _group, _left, _red)

_TESTS = """
SELECT s.project, t.suite, t.id, t.outcome, k.speed * max(0, setup + call + teardown - fixtures), k.speed * fixtures,
  attempts, flaky
FROM test t JOIN suite s ON s.id = t.suite JOIN task k ON k.id = t.task
WHERE outcome NOT IN ('missing', 'cancelled', 'interrupted', 'crashed') AND k.kind NOT IN ('check', 'results')
"""
_FILES = """
SELECT s.project, f.suite, f.file, max(k.speed * f.seconds), coalesce((
  SELECT sum(o.speed * fixtures) FROM test t JOIN task o ON o.id = t.task WHERE t.suite = f.suite AND t.file = f.file
), 0)
FROM file f JOIN suite s ON s.id = f.suite JOIN task k ON k.id = f.task
WHERE f.outcome != 'missing' GROUP BY 1, 2, 3
"""
_STARTS = """
SELECT s.project, k.speed * (
  a.seconds - (SELECT total(setup + call + teardown) FROM test WHERE task = k.id)
  - (SELECT total(seconds) FROM file WHERE task = k.id)
)
FROM task k JOIN suite s ON s.id = k.suite JOIN task_attempt a ON a.task = k.id AND a.attempt = k.attempt
WHERE k.kind = 'pytest' AND a.exit IN (0, 1) AND a.stopped IS NULL
  AND NOT EXISTS (SELECT 1 FROM test WHERE task = k.id AND outcome = 'crashed')  -- then pytest started several times
"""
_WORKERS = """
SELECT s.project, max(m.memory) FROM sample m JOIN task k ON k.id = m.task JOIN suite s ON s.id = k.suite GROUP BY 1
"""
_GROUPS = "SELECT s.project, g.id, g.name FROM grouped g JOIN suite s ON s.id = g.suite GROUP BY 1, 2"
_UNENDED = """
SELECT DISTINCT s.project, t.id FROM test t JOIN suite s ON s.id = t.suite
WHERE outcome IN ('missing', 'cancelled', 'interrupted', 'crashed')
"""
_DESELECTED = "SELECT DISTINCT s.project, d.id FROM deselected d JOIN suite s ON s.id = d.suite"
_RED = """
SELECT s.project, t.id FROM test t JOIN suite s ON s.id = t.suite WHERE outcome IN ('failed', 'error', 'crashed')
UNION SELECT s.project, f.file FROM file f JOIN suite s ON s.id = f.suite WHERE f.outcome = 'failed'
"""


class Facts(NamedTuple):
    """What a run says, as rows: tests and files with the columns of their tables, shards' starts by project, jobs'
    starts, tests' groups by project, memory of workers by project, tests that were left out and tests or files that
    failed by project."""

    tests: Sequence[tuple[object, ...]]
    files: Sequence[tuple[object, ...]] = ()
    starts: Sequence[tuple[str, float]] = ()
    jobs: Sequence[float] = ()
    groups: Sequence[tuple[object, ...]] = ()
    workers: Sequence[tuple[str, int]] = ()
    left_out: Sequence[tuple[object, ...]] = ()
    red: Sequence[tuple[object, ...]] = ()


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
    that did not come to an end; `red`: tests that failed, and keys of files that could not be collected."""

    stamp: Stamp
    tests: dict[str, float]
    files: dict[str, tuple[float, float]]
    start: float | None = None
    job_start: float | None = None
    groups: Mapping[str, str] = {}
    worker_memory: int = 0
    left_out: frozenset[str] = frozenset()
    red: frozenset[str] = frozenset()


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
        _tables.create_all(self._engine)
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
            found = db.scalar(sa.select(_meta.c.value).where(_meta.c.key == "format"))
            if found is None:
                db.execute(_meta.insert(), {"key": "format", "value": str(FORMAT)})
            elif found != str(FORMAT):
                raise InputError(f"history {self._shown()}: format {found}, this version reads format {FORMAT}")

    def feed(self, run: sqlite3.Connection, stamp: Stamp, *, partial: bool = False) -> None:
        """Add what run.db says, in seconds of a machine of speed 1. Of tests that did not come to an end nothing is
        known about durations. `partial`: only a part of the tests was asked for, so that those which were deselected
        go on to be known."""
        tests, files, starts = (run.execute(query).fetchall() for query in (_TESTS, _FILES, _STARTS))
        jobs = [seconds for (seconds,) in run.execute("SELECT waited FROM task_attempt WHERE waited > 0")]
        groups = run.execute(_GROUPS).fetchall()
        self._add(
            stamp,
            Facts(
                [tuple(row) for row in tests],
                [tuple(row) for row in files],
                [(project, seconds) for project, seconds in starts],
                jobs,
                [tuple(row) for row in groups],
                [(project, memory) for project, memory in run.execute(_WORKERS)],
                [
                    tuple(row)
                    for query in (_UNENDED, *((_DESELECTED,) if partial else ()))
                    for row in run.execute(query)
                ],
                [tuple(row) for row in run.execute(_RED)],
            ),
        )

    def add_durations(self, durations: Mapping[str, float], stamp: Stamp, project: str = ".") -> None:
        """Add one number for each test, as pytest-split keeps it."""
        self._add(
            stamp, Facts([(project, "", test, "passed", value, 0.0, 1, False) for test, value in durations.items()])
        )

    def _add(self, stamp: Stamp, facts: Facts) -> None:
        with self._named_errors(), self._engine.begin() as db:
            values = {
                "at": stamp.at,
                "commit_id": stamp.commit,
                "branch": stamp.branch,
                "machine": stamp.machine,
                "verdict": stamp.verdict,
            }
            run = db.execute(_run.insert().returning(_run.c.id), values).scalar_one()
            named = [row[2] for row in (*facts.tests, *facts.files)] + [row[1] for row in (*facts.left_out, *facts.red)]
            names = self._names(db, map(str, named))
            columns = ("project", "suite", "name", "outcome", "own", "fixtures", "attempts", "flaky")
            _insert(db, _test, run, columns, names, facts.tests)
            _insert(db, _file, run, ("project", "suite", "name", "seconds", "fixtures"), names, facts.files)
            groups = [row for row in facts.groups if row[1] in names]  # of tests that came to an end
            _insert(db, _group, run, ("project", "name", "group"), names, groups)
            _insert(db, _left, run, ("project", "name"), names, facts.left_out)
            _insert(db, _red, run, ("project", "name"), names, facts.red)
            for table, rows in (
                (_start, [{"run": run, "project": project, "seconds": took} for project, took in facts.starts]),
                (_job, [{"run": run, "seconds": took} for took in facts.jobs]),
                (_worker, [{"run": run, "project": project, "memory": most} for project, most in facts.workers]),
            ):
                if rows:
                    db.execute(table.insert(), rows)
            old = sa.select(_run.c.id).order_by(_run.c.at.desc(), _run.c.id.desc()).offset(KEPT_RUNS)
            for (gone,) in db.execute(old.limit(1000)).fetchall():
                for table in _OF_RUN:
                    db.execute(table.delete().where(table.c.run == gone))
                db.execute(_run.delete().where(_run.c.id == gone))

    def _names(self, db: sa.Connection, texts: Iterable[str]) -> dict[str, int]:
        wanted = set(texts)
        known = {text: number for number, text in db.execute(sa.select(_name.c.id, _name.c.text)) if text in wanted}
        if missing := sorted(wanted - known.keys()):
            db.execute(_name.insert(), [{"text": text} for text in missing])
            rows = db.execute(sa.select(_name.c.id, _name.c.text))
            known |= {text: number for number, text in rows if text in wanted}
        return known

    def runs(self, project: str, limit: int = 20) -> list[PastRun]:
        """The newest `limit` runs that say something about `project`, oldest first."""
        with self._named_errors(), self._engine.connect() as db:
            told = sa.select(_test.c.run).where(_test.c.project == project)
            newest = sa.select(_run).where(_run.c.id.in_(told)).order_by(_run.c.at.desc(), _run.c.id.desc())
            return [self._past_run(db, row, project) for row in reversed(db.execute(newest.limit(limit)).fetchall())]

    def _past_run(self, db: sa.Connection, run: sa.Row[Any], project: str) -> PastRun:
        tests = sa.select(_name.c.text, sa.func.max(_test.c.own).label("own")).join(_name, _test.c.name == _name.c.id)
        mine = tests.where(_test.c.run == run.id, _test.c.project == project).group_by(_name.c.text)
        files = sa.select(_name.c.text, sa.func.max(_file.c.seconds), sa.func.max(_file.c.fixtures)).join(
            _name, _file.c.name == _name.c.id
        )
        own_files = files.where(_file.c.run == run.id, _file.c.project == project).group_by(_name.c.text)
        took = db.scalars(sa.select(_start.c.seconds).where(_start.c.run == run.id, _start.c.project == project))
        starts = sorted(took)
        jobs = sorted(db.scalars(sa.select(_job.c.seconds).where(_job.c.run == run.id)))
        groups = sa.select(_name.c.text, _group.c.group).join(_name, _group.c.name == _name.c.id)
        own_groups = groups.where(_group.c.run == run.id, _group.c.project == project)
        most = sa.select(sa.func.max(_worker.c.memory))
        stamp = Stamp(at=run.at, commit=run.commit_id, branch=run.branch, machine=run.machine, verdict=run.verdict)
        return PastRun(
            stamp,
            {row.text: row.own for row in db.execute(mine)},
            {text: (seconds, fixtures) for text, seconds, fixtures in db.execute(own_files)},
            starts[len(starts) // 2] if starts and starts[0] >= 0 else None,
            jobs[len(jobs) // 2] if jobs else None,
            {row[0]: row[1] for row in db.execute(own_groups)},
            db.scalar(most.where(_worker.c.run == run.id, _worker.c.project == project)) or 0,
            _names_in(db, _left, run.id, project),
            _names_in(db, _red, run.id, project),
        )

    def stamps(self) -> list[Stamp]:
        """All runs, newest first."""
        columns = (_run.c.at, _run.c.commit_id, _run.c.branch, _run.c.machine, _run.c.verdict)
        with self._named_errors(), self._engine.connect() as db:
            rows = db.execute(sa.select(*columns).order_by(_run.c.at.desc(), _run.c.id.desc())).fetchall()
        return [
            Stamp(at=at, commit=commit, branch=branch, machine=machine, verdict=verdict)
            for at, commit, branch, machine, verdict in rows
        ]


def _names_in(db: sa.Connection, table: sa.Table, run: int, project: str) -> frozenset[str]:
    names = sa.select(_name.c.text).join(table, table.c.name == _name.c.id)
    return frozenset(db.scalars(names.where(table.c.run == run, table.c.project == project)))


def _insert(
    db: sa.Connection,
    table: sa.Table,
    run: int,
    columns: Sequence[str],
    names: Mapping[str, int],
    rows: Sequence[tuple[object, ...]],
) -> None:
    if rows:
        place = columns.index("name")
        values = [{"run": run, **dict(zip(columns, row, strict=True)), "name": names[str(row[place])]} for row in rows]
        for value in values:
            if "flaky" in value:
                value["flaky"] = bool(value["flaky"])
        db.execute(table.insert(), values)
