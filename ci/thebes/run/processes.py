"""Processes of other programs, as far as a shard's parent must know them."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import NamedTuple

PAGE, TICKS = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")


def descendants(pid: int) -> list[int]:
    """The living children of `pid`, their children, and so on."""
    if sys.platform == "linux":
        return list(_from_proc(pid))
    return _from_ps(pid)


def _from_proc(pid: int) -> Iterator[int]:
    threads = f"/proc/{pid}/task"
    try:
        lists = [_content(f"{threads}/{thread}/children") for thread in os.listdir(threads)]  # noqa: PTH208  (faster)
    except OSError:  # it is gone
        return
    for child in (int(number) for text in lists for number in text.split()):
        yield child
        yield from _from_proc(child)


def _content(path: str) -> bytes:
    """Of a file in /proc, many times a second."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, 1 << 16)
    finally:
        os.close(descriptor)


def _from_ps(pid: int) -> list[int]:
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=False).stdout
    parents = {int(line.split()[0]): int(line.split()[1]) for line in listed.splitlines() if len(line.split()) == 2}
    found = [pid]
    for parent in found:
        found += [child for child, above in parents.items() if above == parent and child not in found]
    return found[1:]


class Usage(NamedTuple):
    """Resident memory in bytes, processor time so far in seconds."""

    memory: int
    cpu: float


def usage(pid: int) -> Usage | None:
    """What one process uses; None: it is gone."""
    if sys.platform != "linux":
        return _usage_from_ps(pid)
    try:
        fields = _content(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    except OSError:
        return None
    if not (pages := int(fields[21])):  # it is dead, and waited for by nobody yet
        return None
    return Usage(pages * PAGE, (int(fields[11]) + int(fields[12])) / TICKS)  # proc_pid_stat(5)


def _usage_from_ps(pid: int) -> Usage | None:
    command = ["ps", "-o", "rss=,time=", "-p", str(pid)]
    fields = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
    if len(fields) != 2:
        return None
    minutes, _, rest = fields[1].partition(":")
    return Usage(int(fields[0]) * 1024, int(minutes) * 60 + float(rest))


def tree_memory(pid: int) -> int:
    """Resident memory of a process and of all that it started. What they share counts for each."""
    found = (usage(number) for number in (pid, *descendants(pid)))
    return sum(one.memory for one in found if one)


def send(pid: int, number: int) -> None:
    """Send a signal to a process, if it is still there."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def send_to_main_thread(pid: int, number: int) -> None:
    """Send a signal to the thread of a process that runs Python's own handlers, if it is still there.

    Sent to the process, it may be taken by any thread, and then wakes no main thread that waits.
    """
    import ctypes  # noqa: PLC0415  (takes time, and is seldom needed)

    try:
        tgkill = ctypes.CDLL(None).tgkill  # glibc from 2.30 on
    except AttributeError:
        send(pid, number)
    else:
        tgkill(pid, pid, number)  # Linux: the main thread has the number of the process


def kill_tree(pid: int) -> None:
    """End a process and all that it started. It is stopped first, so that nothing escapes while we look."""
    send(pid, signal.SIGSTOP)
    started = descendants(pid)
    send(pid, signal.SIGKILL)
    for child in started:
        send(child, signal.SIGKILL)
