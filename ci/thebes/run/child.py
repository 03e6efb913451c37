"""A child process in a group of its own: waited for, interrupted when asked, never left behind."""

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from thebes.model import Value

# A cancelled job of GitHub Actions: SIGINT, 7.5 s, SIGTERM, 2.5 s, kill. We are gone before that.
GRACE = {signal.SIGINT: 5.0, signal.SIGTERM: 1.5}
TICK = 0.2


class End(Value, frozen=True, kw_only=True):
    """How a child ended. `exit` is its code, or 128 + the signal that ended it; `stopped` says why we ended it."""

    exit: int
    signal: int | None
    stopped: str | None
    seconds: float


class Stop:
    """A request to stop, made by a signal handler or another thread; every child waited for hears of it."""

    def __init__(self) -> None:
        self._listeners: list[queue.SimpleQueue[tuple[str, int]]] = []
        self._lock = threading.RLock()
        self.reason: str | None = None
        self.signal = signal.SIGINT

    def request(self, reason: str, number: signal.Signals = signal.SIGINT) -> None:
        with self._lock:
            self.reason = self.reason or reason
            self.signal = number
            for listener in self._listeners:
                listener.put(("stop", number))

    def listen(self, listener: "queue.SimpleQueue[tuple[str, int]]") -> None:
        with self._lock:
            self._listeners.append(listener)
            if self.reason:
                listener.put(("stop", self.signal))

    def forget(self, listener: "queue.SimpleQueue[tuple[str, int]]") -> None:
        with self._lock:
            self._listeners.remove(listener)


class Observer(Protocol):
    """Hears of the child, always from the thread that called `run_child`. `every`: seconds between ticks."""

    every: float

    def started(self, pid: int) -> None: ...
    def ticked(self) -> None: ...
    def expiring(self) -> float:
        """The time limit was reached: returns the seconds to wait before the child is ended."""

    def ended(self) -> None: ...


class Ticker:
    """An observer that only passes the ticks on."""

    every = TICK

    def __init__(self, tick: Callable[[], None]) -> None:
        self.ticked = self.ended = tick

    def started(self, pid: int) -> None:
        pass

    def expiring(self) -> float:
        return 0.0


def run_child(
    command: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    log: Path,
    limit: float,
    stop: Stop,
    observer: Observer,
    *,
    foreground: bool = False,
) -> End:
    """Run `command`, its output going to `log`, for at most `limit` seconds. OSError: it could not be started.

    `foreground`: it reads from our terminal and writes to our standard error, as a debugger wants.

    The observer hears ticks a few times a second. When this returns, nothing of the child's
    process group is alive.
    """
    events: queue.SimpleQueue[tuple[str, int]] = queue.SimpleQueue()
    began = time.monotonic()
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=None if foreground else subprocess.DEVNULL,
            stdout=sys.stderr if foreground else output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    threading.Thread(target=lambda: events.put(("end", process.wait())), daemon=True).start()
    stop.listen(events)
    try:
        observer.started(process.pid)
        code, stopped = _wait(process.pid, events, began + limit, stop, observer)
    finally:
        stop.forget(events)
        _signal_group(process.pid, signal.SIGKILL)
    observer.ended()
    return End(
        exit=code if code >= 0 else 128 - code,
        signal=-code if code < 0 else None,
        stopped=stopped,
        seconds=time.monotonic() - began,
    )


def _wait(
    group: int,
    events: "queue.SimpleQueue[tuple[str, int]]",
    deadline: float,
    stop: Stop,
    observer: Observer,
) -> tuple[int, str | None]:
    """Exit code as Popen gives it, and why the child was stopped."""
    stopped = None
    escalate = [signal.SIGINT, signal.SIGTERM, signal.SIGKILL]
    while True:
        now = time.monotonic()
        if now >= deadline and escalate:
            if stopped is None and (wait := observer.expiring()):
                stopped, deadline = "time limit", now + wait
                continue
            stopped = stopped or "time limit"
            step = escalate.pop(0)
            _signal_group(group, step)
            deadline = now + GRACE.get(step, TICK)
        try:
            what, value = events.get(timeout=max(0.0, min(observer.every, deadline - now)) or observer.every)
        except queue.Empty:
            observer.ticked()
            continue
        if what == "end":
            return value, stopped
        stopped = stopped or stop.reason
        if value == signal.SIGTERM and signal.SIGINT in escalate:
            escalate.remove(signal.SIGINT)  # the polite request has had its time, or was never meant
        deadline = min(deadline, now)


def _signal_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
