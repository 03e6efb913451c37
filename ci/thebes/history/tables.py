"""The history's tables."""

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
test = sa.Table(
    "test",
    METADATA,
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
file = sa.Table(
    "file",
    METADATA,
    sa.Column("run", sa.ForeignKey("run.id", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("project", sa.String, nullable=False),
    sa.Column("suite", sa.String, nullable=False),
    sa.Column("name", sa.ForeignKey("name.id"), nullable=False),
    sa.Column("seconds", sa.Float, nullable=False),  # import and collection, the longest of its shards
    sa.Column("fixtures", sa.Float, nullable=False),  # module and session fixtures, all its tests together
)
start = sa.Table(  # how long a shard took beside its tests and imports
    "start",
    METADATA,
    sa.Column("run", sa.ForeignKey("run.id", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("project", sa.String, nullable=False),
    sa.Column("seconds", sa.Float, nullable=False),
)
job = sa.Table(  # how long jobs took before they came to their task
    "job",
    METADATA,
    sa.Column("run", sa.ForeignKey("run.id", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("seconds", sa.Float, nullable=False),
)
worker = sa.Table(  # the most memory that a process used that runs tests
    "worker",
    METADATA,
    sa.Column("run", sa.ForeignKey("run.id", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("project", sa.String, nullable=False),
    sa.Column("memory", sa.BigInteger, nullable=False),
)
grouped = sa.Table(  # tests that want to share a shard
    "grouped",
    METADATA,
    sa.Column("run", sa.ForeignKey("run.id", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("project", sa.String, nullable=False),
    sa.Column("name", sa.ForeignKey("name.id"), nullable=False),
    sa.Column("group", sa.String, nullable=False),
)
left_out = sa.Table(  # tests that this run knew of and that it was not to run, or that did not come to an end
    "left_out",
    METADATA,
    sa.Column("run", sa.ForeignKey("run.id", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("project", sa.String, nullable=False),
    sa.Column("name", sa.ForeignKey("name.id"), nullable=False),
)
red = sa.Table(  # tests that failed, and files that could not be collected
    "red",
    METADATA,
    sa.Column("run", sa.ForeignKey("run.id", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("project", sa.String, nullable=False),
    sa.Column("name", sa.ForeignKey("name.id"), nullable=False),
)
OF_RUN = (test, file, start, job, worker, grouped, left_out, red)
