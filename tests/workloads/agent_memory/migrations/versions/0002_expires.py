"""Memories that are forgotten after a time."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("memory", sa.Column("expires", sa.Double))
    op.create_index("memory_expires", "memory", ["expires"])


def downgrade() -> None:
    op.drop_index("memory_expires", "memory")
    op.drop_column("memory", "expires")
