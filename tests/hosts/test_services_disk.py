"""A disk that is full, for real: a small file system in memory below the server. Needs root, to mount it."""

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.project import Project

PROJECT = {
    "pyproject.toml": """
    [tool.thebes.services.postgres]
    sources = ["embedded"]
    [tool.thebes.gates.database]
    services = ["postgres"]
    """,
    "tests/database/test_a.py": """
    import os
    import psycopg
    import pytest
    def test_inserts():
        with open(os.environ["TMPDIR"] + "/ballast", "wb", buffering=0) as file, pytest.raises(OSError):
            while file.write(bytes(1 << 16)):
                pass
        with psycopg.connect(os.environ["THEBES_POSTGRES_URL"], autocommit=True) as connection:
            connection.execute("CREATE TABLE t AS SELECT repeat('x', 2000) FROM generate_series(1, 50000)")
    """,
}


@pytest.fixture
def disk() -> Iterator[Callable[[int], Path]]:
    """Mounts a file system of so many megabytes; in the end nothing of a server may be left on it."""
    if os.getuid() != 0:
        pytest.fail("needs root, to mount a file system", pytrace=False)
    mounted: list[Path] = []

    def mount(size: int) -> Path:
        folder = Path(tempfile.mkdtemp(prefix="thebes-disk-"))
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}m,mode=711", "tmpfs", str(folder)], check=True)
        mounted.append(folder)
        return folder

    yield mount
    left = [path for folder in mounted for base in folder.glob("thebes-services-*") for path in base.iterdir()]
    for folder in mounted:
        subprocess.run(["umount", str(folder)], check=True)
        folder.rmdir()
    assert left == []


def test_a_disk_that_gets_full_makes_the_gate_invalid(project: Project, disk: Callable[[int], Path]) -> None:
    project.write(PROJECT)
    done = project.run("--shards", "1", env={"TMPDIR": str(disk(400))})
    assert done.exit == 3, done.stdout + done.stderr
    (text,) = project.reasons()["service-full"]
    assert ": postgres: " in text
    assert "No space left on device" in text
    assert list(project.outcomes().values()) == ["failed"]


@pytest.mark.parametrize("size", [1, 30], ids=lambda size: f"{size} MB")
def test_a_disk_that_is_too_small_is_told_in_the_servers_words(
    project: Project, disk: Callable[[int], Path], size: int
) -> None:
    project.write(PROJECT)
    done = project.run("--shards", "1", env={"TMPDIR": str(disk(size))})
    assert done.exit == 3, done.stdout + done.stderr
    (text,) = project.reasons()["service-failed"]
    assert "No space left on device" in text
