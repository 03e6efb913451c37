"""The kernel itself ends a worker: needs root and a cgroup hierarchy (1 or 2) where a group with a memory limit can be
made. `make test-memory`; where that can't be, it fails and says what is missing."""

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.project import Project
from thebes.run.machine import CGROUP

LIMIT = 300 << 20
SUITE = {
    "tests/test_a.py": "kept = []\ndef test_eats():\n    while True: kept.append(bytearray(4 << 20))\n",
    "tests/test_b.py": "def test_one(): pass\ndef test_two(): pass\n",
}
INSIDE = 'echo $$ > "$0" && exec "$@"'


@pytest.fixture
def group() -> Iterator[Path]:
    """A cgroup of our own that may use LIMIT, swap included; removed at the end, when all in it are gone."""
    first = CGROUP / "memory" if (CGROUP / "memory" / "memory.limit_in_bytes").exists() else CGROUP
    group = first / f"thebes-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.fail(f"a real out-of-memory kill can't be tested here: {group} can't be made: {error.strerror}")
    try:
        names = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.max")
        files = [group / name for name in names if (group / name).exists()]
        if not files:
            pytest.fail(f"a real out-of-memory kill can't be tested here: {group} has no memory controller")
        for file in files:
            file.write_text(str(LIMIT), "ascii")
        if (swap := group / "memory.swap.max").exists():
            swap.write_text("0", "ascii")
        yield group
    finally:
        group.rmdir()


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_kill_by_the_kernel_is_told_as_one(project: Project, group: Path, workers: str) -> None:
    project.write(SUITE)
    command = [sys.executable, "-m", "thebes", "run", "--out", str(project.out), "--shards", "1", "--workers", workers]
    done = project.command("sh", "-c", INSIDE, str(group / "cgroup.procs"), *command, "--", "-p", "no:randomly")
    assert done.exit == 1, done.stdout + done.stderr
    assert project.outcomes() == {
        "tests/test_a.py::test_eats": "crashed",
        "tests/test_b.py::test_one": "passed",
        "tests/test_b.py::test_two": "passed",
    }
    ((message,),) = project.query("SELECT message FROM phase WHERE decides")
    assert message == "signal 9 (SIGKILL): the kernel killed it because memory had run out"


def test_workers_fit_into_the_group(project: Project, group: Path) -> None:
    project.write({"tests/test_b.py": SUITE["tests/test_b.py"]})
    command = [sys.executable, "-m", "thebes", "run", "--out", str(project.out), "--shards", "1", "--workers", "auto"]
    done = project.command("sh", "-c", INSIDE, str(group / "cgroup.procs"), *command)
    assert done.exit == 0, done.stdout + done.stderr
    told = re.search(r"thebes: 1 worker: \d+ processors, (\d+) MiB of memory for 1 of 512 MiB each", done.stderr)
    assert told, done.stderr
    assert int(told[1]) < LIMIT >> 20
