"""Processes as /proc shows them. Times are seconds since boot (CLOCK_BOOTTIME)."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import time
from collections.abc import Callable, Container, Iterable, Iterator
from pathlib import Path

from thebes_runner.errors import HostError

TICKS = os.sysconf("SC_CLK_TCK")
PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / 1024 / 1024
SUBUID = Path("/etc/subuid")
LISTENER = "Runner.Listener"
WORKER = "Runner.Worker"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Process:
    pid: int
    parent: int
    uid: int
    name: str
    started: float
    rss_mib: float


def since_boot() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def boot_id() -> str:
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def parse_stat(text: str) -> tuple[str, int, float, float]:
    """Name, parent, start and resident MiB. The name may itself contain spaces and brackets."""
    name = text[text.index("(") + 1 : text.rindex(")")]
    fields = text[text.rindex(")") + 2 :].split()
    return name, int(fields[1]), int(fields[19]) / TICKS, int(fields[21]) * PAGE_MIB


def has_ended(text: str) -> bool:
    """Whether this is a zombie. One whose first thread has ended looks like one, but its others still run."""
    fields = text[text.rindex(")") + 2 :].split()
    return fields[0] == "Z" and int(fields[17]) <= 1


def read(pid: int) -> Process | None:
    """The process, or None when it has ended. Zombies have ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        uid = os.stat(f"/proc/{pid}").st_uid
        for line in Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines():
            # The owner of /proc/PID is root for undumpable processes, so ask status.
            if line.startswith("Uid:"):
                uid = int(line.split()[1])
                break
    except (FileNotFoundError, ProcessLookupError):
        return None
    if has_ended(text):
        return None
    name, parent, started, rss = parse_stat(text)
    return Process(pid=pid, parent=parent, uid=uid, name=name, started=started, rss_mib=rss)


def every() -> list[Process]:
    pids = [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]
    return [process for pid in pids if (process := read(pid)) is not None]


def workers(uids: Container[int]) -> set[int]:
    """Numbers of these users' processes that have a worker's name. Reads far less than `every`."""
    found = set()
    with os.scandir("/proc") as entries:
        for entry in entries:
            with contextlib.suppress(OSError, ValueError):  # it ended; not a process
                number = int(entry.name)
                if entry.stat().st_uid in uids and Path(entry.path, "comm").read_text() == f"{WORKER}\n":
                    found.add(number)
    return found


def ancestor(pid: int, name: str) -> Process | None:
    """The nearest of this name among the parents of `pid`."""
    process = read(pid)
    while process is not None:
        process = read(process.parent) if process.parent else None
        if process is not None and process.name == name:
            return process
    return None


def uid_ranges(uid: int, user: str, subuid: str) -> list[range]:
    """All user ids that belong to `user`: its own and its containers' (from /etc/subuid)."""
    ranges = [range(uid, uid + 1)]
    for line in subuid.splitlines():
        owner, _, rest = line.partition(":")
        if owner in (user, str(uid)):
            first, _, count = rest.partition(":")
            ranges.append(range(int(first), int(first) + int(count)))
    return ranges


def owner_ranges(uid: int, user: str) -> list[range]:
    return uid_ranges(uid, user, SUBUID.read_text() if SUBUID.exists() else "")


def owned_by(ranges: list[range], processes: Iterable[Process]) -> list[Process]:
    return [p for p in processes if any(p.uid in uids for uids in ranges)]


def descendants(pid: int, processes: Iterable[Process]) -> list[Process]:
    """Children of `pid` and theirs, without `pid` itself."""
    children: dict[int, list[Process]] = {}
    for process in processes:
        children.setdefault(process.parent, []).append(process)
    found: list[Process] = []
    todo = [pid]
    while todo:
        for child in children.get(todo.pop(), []):
            found.append(child)
            todo.append(child.pid)
    return found


def oldest_worker(processes: Iterable[Process]) -> Process | None:
    """The process that runs the job: the oldest of that name, so a later impostor changes nothing."""
    workers = [p for p in processes if p.name == WORKER]
    return min(workers, key=lambda p: p.started, default=None)


@contextlib.contextmanager
def handle(pid: int) -> Iterator[int | None]:
    """A pidfd, or None when the process has ended already."""
    try:
        descriptor = os.pidfd_open(pid) if pid else None
    except ProcessLookupError:
        descriptor = None
    try:
        yield descriptor
    finally:
        if descriptor is not None:
            os.close(descriptor)


def send(processes: Iterable[Process], number: signal.Signals) -> None:
    """To these processes, and to none that has got the number of one of them in the meantime."""
    for process in processes:
        with handle(process.pid) as descriptor:
            if descriptor is None:
                continue
            # The handle stays with one process; only now it is certain that it is the one that was seen.
            now = read(process.pid)
            if now is None or (now.uid, now.started) != (process.uid, process.started):
                continue
            with contextlib.suppress(ProcessLookupError):  # it ended by itself
                signal.pidfd_send_signal(descriptor, number)


def kill_all(ranges: list[range], patience: float = 10.0, pause: Callable[[float], None] = time.sleep) -> int:
    """SIGKILL everything that these users run until nothing is left; the number of processes hit.

    Repeats, because a process may fork while the list is read.
    """
    hit: set[int] = set()
    deadline = time.monotonic() + patience
    while left := owned_by(ranges, every()):
        hit.update(p.pid for p in left)
        send(left, signal.SIGKILL)
        if time.monotonic() > deadline:
            names = ", ".join(f"{p.name} ({p.pid})" for p in left[:5])
            raise HostError(f"{len(left)} processes survive SIGKILL: {names}; the host needs a restart")
        pause(0.05)
    return len(hit)


def memory_available_mib(meminfo: str) -> float:
    for line in meminfo.splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) / 1024
    raise HostError("/proc/meminfo has no line MemAvailable")
