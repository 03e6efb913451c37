"""What this machine, or the container around us, lets a program use; and how many workers that is."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from thebes.plugin.thebes_plugin.record import amount

CGROUP = Path("/sys/fs/cgroup")
UNKNOWN_WORKER = 512 << 20  # bytes to count for a worker of a suite that never ran here
ROOM = 1.25  # what a worker needs, beside the most that one was seen to use
ENDLESS = 1 << 60  # cgroup v1 says "no limit" by a very large number

Read = Callable[[Path], str]


class Workers(NamedTuple):
    """How many, and why in one line."""

    number: int
    why: str


def read_text(path: Path) -> str:
    """The text of a file of the kernel's; empty where there is none."""
    try:
        return path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def processors(read: Read = read_text) -> int:
    """How many this process may use: by its affinity and by the quota of its cgroups, rounded up."""
    own = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([own, *_quotas(read)]))


def _quotas(read: Read) -> list[int]:
    quotas = []
    for folder in _folders(read):
        words = read(folder / "cpu.max").split() or [
            read(folder / "cpu.cfs_quota_us"),
            read(folder / "cpu.cfs_period_us"),
        ]
        if all(word.isdecimal() for word in words) and int(words[0]) > 0:  # "max" and -1: no quota
            quotas.append(-(-int(words[0]) // max(1, int(words[1]))))
    return quotas


def available_memory(read: Read = read_text) -> int | None:
    """Bytes that may still be taken, on this machine and in each cgroup around us. None: nobody tells."""
    found = [room for folder in _folders(read) if (room := _room(folder, read)) is not None]
    lines = read(Path("/proc/meminfo")).splitlines()
    found += [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    return min(found, default=None)


def _room(folder: Path, read: Read) -> int | None:
    """What a cgroup leaves, of version 2 or 1; files that are only cached can be given up."""
    for limit, usage, cached in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        most, used = read(folder / limit), read(folder / usage)
        if most.isdecimal() and used.isdecimal() and int(most) < ENDLESS:
            told = dict(line.split() for line in read(folder / "memory.stat").splitlines() if line.count(" ") == 1)
            return max(0, int(most) - int(used) + int(told.get(cached, 0)))
    return None


def _folders(read: Read) -> list[Path]:
    """The folders of our cgroups and of those around them (cgroups(7)); in a container, its own is the root."""
    folders = {CGROUP, CGROUP / "memory", CGROUP / "cpu"}
    for line in read(Path("/proc/self/cgroup")).splitlines():
        _, names, path = line.split(":", 2)
        for name in names.split(","):
            inside = CGROUP / name / path.lstrip("/") if name else CGROUP / path.lstrip("/")
            folders |= {folder for folder in (inside, *inside.parents) if folder.is_relative_to(CGROUP)}
    return sorted(folders)


def choose_workers(processors: int, available: int | None, used: int, limit: int | None) -> Workers:
    """One for each processor, as far as memory lasts. `used`: the most memory that a worker used in past runs, 0 where
    nothing is known; `limit`: the most that one may use."""
    if used:
        need, known = int(used * ROOM), f"{amount(used)} each in past runs"
    elif limit:
        need, known = limit, f"{amount(limit)} each at most"
    else:
        need, known = UNKNOWN_WORKER, f"{amount(UNKNOWN_WORKER)} each, as nothing is known yet"
    if available is None:
        return Workers(processors, f"{processors} processors, memory unknown")
    fitting = max(1, available // max(1, need))
    number = min(processors, fitting)
    return Workers(number, f"{processors} processors, {amount(available)} of memory for {fitting} of {known}")
