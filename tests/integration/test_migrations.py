"""`check_migrations` on PostgreSQL and SQLite: right migrations pass, each kind of mistake is named."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest
import sqlalchemy as sa
from alembic.config import Config

from thebes.fixtures.databases import with_driver
from thebes.fixtures.migrations import MigrationError, check_migrations
from thebes.services import Service, Source, served

ENV = """
from alembic import context
from sqlalchemy import create_engine, NullPool
engine = create_engine(context.config.get_main_option("sqlalchemy.url"), poolclass=NullPool)
with engine.connect() as connection:
    context.configure(connection=connection, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()
"""
FIRST = """
def upgrade():
    op.create_table("agent", sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String(50)))
    op.create_table(
        "memory",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("agent", sa.Integer, sa.ForeignKey("agent.id"), nullable=False),
        sa.Column("value", sa.JSON, nullable=False),
    )
def downgrade():
    op.drop_table("memory")
    op.drop_table("agent")
"""
SECOND = """
def upgrade():
    with op.batch_alter_table("agent") as table:
        table.add_column(sa.Column("kind", sa.String(20), nullable=False, server_default="worker"))
        table.create_index("agent_kind", ["kind"])
def downgrade():
    with op.batch_alter_table("agent") as table:
        table.drop_index("agent_kind")
        table.drop_column("kind")
"""
INDEX = ('table.create_index("agent_kind", ["kind"])', 'table.drop_index("agent_kind")')
# The second migration with a mistake, and what is said about it.
WRONG = {
    "no default": (
        SECOND.replace(', server_default="worker"', ""),
        "upgrade of 0002 fails: ",
    ),
    "no way down": (
        SECOND.partition("def downgrade")[0] + "def downgrade(): raise NotImplementedError('no')",
        "downgrade of 0002 fails: NotImplementedError: no",
    ),
    "forgotten index": (
        SECOND.replace(INDEX[0], "pass").replace(INDEX[1], "pass"),
        "a migration is missing for: add_index",
    ),
    "column left": (
        SECOND.replace('table.drop_column("kind")', "pass"),
        "downgrade of 0002 does not give the schema that was there before: agent.columns",
    ),
}


def models() -> sa.MetaData:
    metadata = sa.MetaData()
    sa.Table(
        "agent",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(50)),
        sa.Column("kind", sa.String(20), nullable=False, server_default="worker"),
        sa.Index("agent_kind", "kind"),
    )
    sa.Table(
        "memory",
        metadata,
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("agent", sa.Integer, sa.ForeignKey("agent.id"), nullable=False),
        sa.Column("value", sa.JSON, nullable=False),
    )
    return metadata


def alembic(folder: Path, *versions: str) -> Config:
    (folder / "versions").mkdir(parents=True)
    (folder / "env.py").write_text(dedent(ENV))
    for number, text in enumerate(versions, 1):
        down = f'"{number - 1:04}"' if number > 1 else None
        head = f'import sqlalchemy as sa\nfrom alembic import op\nrevision = "{number:04}"\ndown_revision = {down}\n'
        (folder / "versions" / f"{number:04}.py").write_text(head + text)
    config = Config()
    config.set_main_option("script_location", str(folder))
    return config


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    folder = Path(tempfile.mkdtemp(prefix="thebes-test-"))
    service = Service(name="postgres", kind="postgres", sources=(Source.EMBEDDED,))
    with served({"postgres": ""}, {"postgres": service}, folder, folder, os.environ, "test", lambda _: None) as up:
        yield up.servers["postgres"].url
    shutil.rmtree(folder)


@pytest.fixture(params=["postgres", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'db.sqlite'}"
    server: str = request.getfixturevalue("server")
    engine = sa.create_engine(with_driver(server), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text("DROP DATABASE IF EXISTS migrations WITH (FORCE)"))
        connection.execute(sa.text("CREATE DATABASE migrations"))
    engine.dispose()
    return with_driver(server.rpartition("/")[0] + "/migrations")


def test_right_migrations_pass(url: str, tmp_path: Path) -> None:
    assert check_migrations(alembic(tmp_path / "m", FIRST, SECOND), url, models()) == ["0001", "0002"]


@pytest.mark.parametrize("mistake", WRONG)
def test_a_mistake_is_named_with_its_revision(url: str, tmp_path: Path, mistake: str) -> None:
    second, expected = WRONG[mistake]
    with pytest.raises(MigrationError) as error:
        check_migrations(alembic(tmp_path / "m", FIRST, second), url, models())
    assert expected in str(error.value)


def test_two_heads_are_no_newest_schema(tmp_path: Path) -> None:
    config = alembic(tmp_path / "m", FIRST, SECOND)
    other = (tmp_path / "m/versions/0002.py").read_text().replace('revision = "0002"', 'revision = "000b"', 1)
    (tmp_path / "m/versions/000b.py").write_text(other)
    with pytest.raises(MigrationError, match="2 heads"):
        check_migrations(config, f"sqlite:///{tmp_path / 'db'}", models())
