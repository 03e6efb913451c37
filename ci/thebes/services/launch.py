"""Starts a server under its guard and waits until it answers, within a limit. Nothing is left if that fails."""

import contextlib
import errno
import json
import os
import queue
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from thebes.model import Value

from .model import ServiceError

GUARD = Path(__file__).with_name("guard.py")
HOST = "127.0.0.1"
PAUSE = 0.05  # seconds between two questions whether it is ready, unless an event comes first
TOLD_EVERY = 5.0  # seconds between two lines of progress
END_LIMIT = 90.0  # seconds that a guard may take to end its server and clean up
TAIL = 4000
LINE = 64 * 1024
NO_SPACE = os.strerror(errno.ENOSPC).lower().encode()  # as every program says it; servers run with LC_ALL=C


class Instructions(Value, frozen=True, kw_only=True):
    """What a guard is told; see guard.py. `user` and `group` are ids, null for our own. `data`: a folder in memory."""

    folder: str
    log: str
    prepare: tuple[tuple[str, ...], ...] = ()
    server: tuple[str, ...]
    stop: int
    user: int | None = None
    group: int | None = None
    environment: dict[str, str]
    cleanup: tuple[tuple[str, ...], ...] = ()
    data: str | None = None
    detached: bool = False


def free_port() -> int:
    """A port that was free a moment ago; a server that finds it taken is started again with another."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def new_password() -> str:
    return secrets.token_urlsafe(24)


class Guarded:
    """A server under its guard. `events` has what the guard says; `stop` ends both and waits for it."""

    def __init__(self, instructions: Instructions) -> None:
        self.folder = Path(instructions.folder)
        self.log = Path(instructions.log)
        self.ended: str | None = None
        self._events: queue.SimpleQueue[dict[str, object]] = queue.SimpleQueue()
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(GUARD)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C in our terminal is ours to handle
        )
        assert self._process.stdin is not None  # noqa: S101  (for the type checker)
        self._process.stdin.write(msgspec.json.encode(instructions) + b"\n")
        self._process.stdin.flush()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self._process.stdout is not None  # noqa: S101  (for the type checker)
        with self._process.stdout as told:
            for line in told:
                self._events.put(json.loads(line))
        self._events.put({"event": "ended", "code": None})

    def wait_event(self, seconds: float) -> None:
        """Take notice of what the guard says, for at most so long."""
        try:
            event = self._events.get(timeout=seconds)
        except queue.Empty:
            return
        if event["event"] == "ended" and self.ended is None:
            self.ended = f"{event.get('command', 'its guard')} ended with {_how(event['code'])}"

    def has_ended(self) -> bool:
        while not self._events.empty():
            self.wait_event(0)
        return self.ended is not None

    def stop(self) -> None:
        """Ends the server and removes what it made. Idempotent."""
        assert self._process.stdin is not None  # noqa: S101  (for the type checker)
        self._process.stdin.close()
        try:
            self._process.wait(END_LIMIT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def release(self) -> None:
        """Leave a detached guard to itself."""
        self._process.returncode = 0  # or the interpreter would warn of a child that is still there

    def no_space(self) -> str:
        """The last line of the server's own log that says that a disk is full; empty: none does.

        initdb and PostgreSQL go on with other lines after it. A statement that a server repeats is its client's text.
        """
        found = b""
        with contextlib.suppress(OSError), self.log.open("rb") as file:
            for line in iter(lambda: file.readline(LINE), b""):
                if NO_SPACE in line.lower() and b"STATEMENT:" not in line:
                    found = line
        return found.decode("utf-8", "replace").strip()

    def last_words(self) -> str:
        """The end of the server's own log."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, self.log.stat().st_size - TAIL))
                return file.read().decode("utf-8", "replace").strip()
        except OSError:
            return ""


def _how(code: object) -> str:
    if not isinstance(code, int):
        return "no word"
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def wait_until(
    guarded: Guarded,
    probe: Callable[[], str | None],
    limit: float,
    what: str,
    tell: Callable[[str], None],
    stopped: Callable[[], bool],
) -> str:
    """What `probe` answers once it is not None. ServiceError, with the end of the server's log: it ended, the limit
    is over, or `stopped` says that nobody waits any more."""
    began = told = time.monotonic()
    while not guarded.has_ended():
        if (answer := probe()) is not None:
            return answer
        now = time.monotonic()
        if stopped():
            raise ServiceError("service-failed", f"{what}: stopped while it was starting")
        if now - began > limit:
            raise _failed(guarded, f"{what}: not ready after {limit:g} s")
        if now - told > TOLD_EVERY:
            told = now
            tell(f"{what}: not ready yet, {now - began:.0f} s of {limit:g} s")
        guarded.wait_event(PAUSE)
    raise _failed(guarded, f"{what}: {guarded.ended}")


def _failed(guarded: Guarded, text: str) -> ServiceError:
    words = guarded.last_words()
    last = guarded.no_space() or words.rpartition("\n")[2]
    return ServiceError("service-failed", f"{text}; its log ends with: {last}" if last else f"{text}; no log", words)


def plain_environment(environment: Mapping[str, str], keep: Sequence[str] = ()) -> dict[str, str]:
    """What a server gets of our environment: nothing secret, nothing that configures it by accident."""
    names = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", *keep)
    return {name: environment[name] for name in names if name in environment} | {"LC_ALL": "C"}
