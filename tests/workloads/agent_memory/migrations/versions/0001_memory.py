"""The table, partitioned where the database can."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "memory",
        sa.Column("namespace", sa.String(100), primary_key=True),
        sa.Column("key", sa.String(512), primary_key=True),
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("value", sa.JSON().with_variant(JSONB, "postgresql")),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        postgresql_partition_by="HASH (namespace)",
    )
    op.create_index("memory_id", "memory", ["id"])
    if op.get_bind().dialect.name == "postgresql":
        for part in range(4):
            op.execute(f"CREATE TABLE memory_{part} PARTITION OF memory FOR VALUES WITH (MODULUS 4, REMAINDER {part})")


def downgrade() -> None:
    op.drop_table("memory")
