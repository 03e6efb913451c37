"""The history's tables."""

from typing import Any

import sqlalchemy as sa

METADATA = sa.MetaData()
meta = sa.Table("meta", METADATA, sa.Column("key", sa.String, primary_key=True), sa.Column("value", sa.String))
run = sa.Table(
    "run",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("commit_id", sa.String, nullable=False),
    sa.Column("branch", sa.String, nullable=False),
    sa.Column("machine", sa.String, nullable=False),
    sa.Column("verdict", sa.String, nullable=False),
)
name = sa.Table(  # node ids and file keys, stored once
    "name",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("text", sa.String, nullable=False, unique=True),
)


def _of_run(table: str, *columns: sa.Column[Any]) -> sa.Table:
    """A table whose rows belong to a run and go with it."""
    of: sa.Column[Any] = sa.Column("run", sa.ForeignKey("run.id", ondelete="CASCADE"), nullable=False, index=True)
    return sa.Table(table, METADATA, of, *columns)


def _project() -> sa.Column[Any]:
    return sa.Column("project", sa.String, nullable=False)


def _name() -> sa.Column[Any]:
    """Indexed, or each name that goes would have the database look through whole tables."""
    return sa.Column("name", sa.ForeignKey("name.id"), nullable=False, index=True)


test = _of_run(
    "test",
    _project(),
    sa.Column("suite", sa.String, nullable=False),
    _name(),
    sa.Column("outcome", sa.String, nullable=False),
    sa.Column("own", sa.Float, nullable=False),  # seconds, without what it set up for others
    sa.Column("fixtures", sa.Float, nullable=False),  # seconds, setting up fixtures that serve others, too
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("flaky", sa.Boolean, nullable=False),
)
file = _of_run(
    "file",
    _project(),
    sa.Column("suite", sa.String, nullable=False),
    _name(),
    sa.Column("seconds", sa.Float, nullable=False),  # import and collection, the longest of its shards
    sa.Column("fixtures", sa.Float, nullable=False),  # cheap fixtures that its tests share, the longest of its shards
)
start = _of_run(  # how long a shard took beside its tests and imports
    "start",
    _project(),
    sa.Column("seconds", sa.Float, nullable=False),
)
job = _of_run(  # how long jobs took before they came to their task
    "job",
    sa.Column("seconds", sa.Float, nullable=False),
)
worker = _of_run(  # the most memory that a process used that runs tests
    "worker",
    _project(),
    sa.Column("memory", sa.BigInteger, nullable=False),
)
grouped = _of_run(  # tests that want to share a shard
    "grouped",
    _project(),
    _name(),
    sa.Column("group", sa.String, nullable=False),
)
left_out = _of_run(  # tests that this run knew of and that it was not to run, or that did not come to an end
    "left_out",
    _project(),
    _name(),
)
red = _of_run(  # tests that failed, and files that could not be collected
    "red",
    _project(),
    _name(),
)
unstable = _of_run(  # files whose tests differed between processes
    "unstable",
    _project(),
    _name(),
)
measured = _of_run(  # by which core of coverage.py's a suite was measured
    "measured",
    sa.Column("suite", sa.String, nullable=False),
    sa.Column("core", sa.String, nullable=False),
    sa.Column("cores", sa.String, nullable=False),  # those that would do, in coverage.py's order; empty: only this one
)
shared = _of_run(  # costly fixtures that serve several tests
    "shared",
    _project(),
    sa.Column("fixture", sa.String, nullable=False),
    sa.Column("seconds", sa.Float, nullable=False),
    sa.Column("users", sa.String, nullable=False),  # JSON: file -> tests without it; null: all of the file
)
OF_RUN = (test, file, start, job, worker, grouped, left_out, red, unstable, measured, shared)
NAMING = tuple(table for table in OF_RUN if "name" in table.c)
OF_NAMES = tuple(index for table in NAMING for index in table.indexes if "name" in index.columns)
