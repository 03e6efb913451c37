"""How many workers: from files of the kernel as real machines have them, and from what past runs say."""

from pathlib import Path

import pytest

from thebes.plugin.thebes_plugin.aftermath import how_it_died, phase_of, place_of, without_pytest
from thebes.run.machine import available_memory, choose_workers, processors

GIB = 1 << 30
MEMINFO = "MemTotal:       16384000 kB\nMemAvailable:   8388608 kB\n"
VERSION_2 = {
    "/proc/meminfo": MEMINFO,
    "/proc/self/cgroup": "0::/ci.slice/job.scope",
    "/sys/fs/cgroup/ci.slice/job.scope/memory.max": "max",
    "/sys/fs/cgroup/ci.slice/memory.max": str(3 * GIB),
    "/sys/fs/cgroup/ci.slice/memory.current": str(2 * GIB),
    "/sys/fs/cgroup/ci.slice/memory.stat": f"anon 5\ninactive_file {GIB}\n",
    "/sys/fs/cgroup/ci.slice/cpu.max": "50000 100000",
}
VERSION_1 = {
    "/proc/meminfo": MEMINFO,
    "/proc/self/cgroup": "5:cpu,cpuacct:/docker/ab\n4:memory:/docker/ab",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
    "/sys/fs/cgroup/memory/memory.usage_in_bytes": str(9 * GIB),
    "/sys/fs/cgroup/memory/docker/ab/memory.limit_in_bytes": str(2 * GIB),
    "/sys/fs/cgroup/memory/docker/ab/memory.usage_in_bytes": str(GIB),
    "/sys/fs/cgroup/cpu/docker/ab/cpu.cfs_quota_us": "100000",
    "/sys/fs/cgroup/cpu/docker/ab/cpu.cfs_period_us": "100000",
}


@pytest.mark.parametrize(
    ("files", "memory", "most"),
    [({}, None, 10_000), ({"/proc/meminfo": MEMINFO}, 8 * GIB, 10_000), (VERSION_2, 2 * GIB, 1), (VERSION_1, GIB, 1)],
)
def test_limits_of_machine_and_cgroups(files: dict[str, str], memory: int | None, most: int) -> None:
    def read(path: Path) -> str:
        return files.get(str(path), "").strip()

    assert available_memory(read) == memory
    assert 1 <= processors(read) <= most


@pytest.mark.parametrize(
    ("cores", "available", "used", "limit", "number", "why"),
    [
        (8, 4 * GIB, GIB // 2, None, 6, "8 processors, 4.00 GiB of memory for 6 of 512 MiB each in past runs"),
        (4, 4 * GIB, 0, GIB, 4, "4 processors, 4.00 GiB of memory for 4 of 1.00 GiB each at most"),
        (4, GIB // 4, 0, None, 1, "for 1 of 512 MiB each, as nothing is known yet"),
        (4, None, GIB, None, 4, "4 processors, memory unknown"),
    ],
)
def test_workers_follow_from_processors_memory_and_past_runs(
    cores: int, available: int | None, used: int, limit: int | None, number: int, why: str
) -> None:
    chosen = choose_workers(cores, available, used, limit)
    assert chosen.number == number
    assert why in chosen.why


def test_how_a_process_died_in_words() -> None:
    assert how_it_died(0, 0) == "the process ended with exit code 0"
    assert how_it_died(-11, 0) == "signal 11 (SIGSEGV)"
    assert how_it_died(-64, 0).startswith("signal 64")
    assert "memory had run out" in how_it_died(-9, -1)
    assert "memory had run out" not in how_it_died(-15, -1)


STACKS = """Thread 0x00007f (most recent call first):
  File "/usr/lib/python3.11/threading.py", line 324 in wait
  File "/w/tests/conftest.py", line 7 in server
  File "/v/site-packages/_pytest/fixtures.py", line 917 in call_fixture_func
  File "/v/site-packages/pluggy/_callers.py", line 121 in _multicall
  File "/v/site-packages/_pytest/runner.py", line 160 in pytest_runtest_setup
  File "/v/site-packages/pluggy/_hooks.py", line 512 in __call__"""


def test_what_stacks_tell() -> None:
    assert phase_of(STACKS) == "setup"
    assert phase_of("") == "call"
    assert place_of(STACKS) == ("/w/tests/conftest.py", 7)
    assert place_of("") == ("", 0)
    assert without_pytest(STACKS).splitlines()[2:] == [
        '  File "/w/tests/conftest.py", line 7 in server',
        "  … 4 frames of pytest",
    ]
