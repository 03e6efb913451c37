"""Processes of other programs, as far as a shard's parent must know them."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path


def descendants(pid: int) -> list[int]:
    """The living children of `pid`, their children, and so on."""
    if sys.platform == "linux":
        return list(_from_proc(pid))
    return _from_ps(pid)


def _from_proc(pid: int) -> Iterator[int]:
    try:
        lists = [path.read_text("ascii") for path in Path(f"/proc/{pid}/task").glob("*/children")]
    except OSError:  # it is gone
        return
    for child in (int(number) for text in lists for number in text.split()):
        yield child
        yield from _from_proc(child)


def _from_ps(pid: int) -> list[int]:
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=False).stdout
    parents = {int(line.split()[0]): int(line.split()[1]) for line in listed.splitlines() if len(line.split()) == 2}
    found = [pid]
    for parent in found:
        found += [child for child, above in parents.items() if above == parent and child not in found]
    return found[1:]


def send(pid: int, number: int) -> None:
    """Send a signal to a process, if it is still there."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def kill_tree(pid: int) -> None:
    """End a process and all that it started. It is stopped first, so that nothing escapes while we look."""
    send(pid, signal.SIGSTOP)
    started = descendants(pid)
    send(pid, signal.SIGKILL)
    for child in started:
        send(child, signal.SIGKILL)
