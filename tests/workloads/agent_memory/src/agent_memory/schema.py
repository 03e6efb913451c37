"""The tables."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

metadata = sa.MetaData()
memory = sa.Table(
    "memory",
    metadata,
    sa.Column("namespace", sa.String(100), primary_key=True),
    sa.Column("key", sa.String(512), primary_key=True),
    sa.Column("id", sa.Uuid, nullable=False),
    sa.Column("value", sa.JSON().with_variant(JSONB, "postgresql")),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("created", sa.Double, nullable=False),
    sa.Column("expires", sa.Double),
    sa.Index("memory_id", "id"),
    sa.Index("memory_expires", "expires"),
    postgresql_partition_by="HASH (namespace)",
)
PARTITIONS = 4
