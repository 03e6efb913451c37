"""Every migration up, down and up again, with rows in the tables."""

from pathlib import Path
from uuid import UUID

import pytest
import sqlalchemy as sa
from thebes.fixtures.databases import with_driver
from thebes.fixtures.migrations import check_migrations

from agent_memory.schema import PARTITIONS, metadata

INI = str(Path(__file__).parents[2] / "alembic.ini")


def test_on_sqlite(tmp_path: Path) -> None:
    assert check_migrations(INI, f"sqlite:///{tmp_path / 'db'}", metadata) == ["0001", "0002"]


def test_on_postgres(postgres_url: str, db_url: str) -> None:
    name = db_url.rpartition("/")[2] + "_migrations"
    server = sa.create_engine(with_driver(postgres_url), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with server.connect() as connection:
        connection.execute(sa.text(f'CREATE DATABASE "{name}"'))
        try:
            url = with_driver(f"{postgres_url.rpartition('/')[0]}/{name}")
            assert check_migrations(INI, url, metadata) == ["0001", "0002"]
        finally:
            connection.execute(sa.text(f'DROP DATABASE "{name}" WITH (FORCE)'))


def test_partitions_share_the_table(db_connection: sa.Connection) -> None:
    found = db_connection.execute(sa.text("SELECT count(*) FROM pg_class WHERE relispartition AND relkind = 'r'"))
    assert found.scalar_one() == PARTITIONS


@pytest.mark.parametrize("column", ["namespace", "key", "id", "version", "created"])
def test_what_must_be_there_must_be_there(db_connection: sa.Connection, column: str) -> None:
    row = {"namespace": "a", "key": "k", "id": UUID(int=1), "version": 1, "created": 1.0, column: None}
    with pytest.raises(sa.exc.IntegrityError):
        db_connection.execute(sa.insert(metadata.tables["memory"]), row)
