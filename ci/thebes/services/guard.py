"""Runs one server and ends it, whatever happens to the process that asked for it. A program of its own.

Standard input: one line of JSON (`Instructions` in launch.py), then nothing until the end of file, which comes when
the parent closes it or dies, of `kill -9` too. Standard output: one line of JSON for each event. Imports the standard
library only, so that it starts in a few milliseconds.

Where this process itself is killed, Linux ends its server (PR_SET_PDEATHSIG); the folder that it leaves is swept by
the next start, which sees that nobody holds its lock.
"""

import contextlib
import ctypes
import fcntl
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, BinaryIO

GRACE = 5.0  # seconds between asking and killing
CLEAN_UP_LIMIT = 60.0  # seconds for one command that cleans up
PR_SET_PDEATHSIG = 1  # linux/prctl.h
LOCK = "lock"
INSTRUCTIONS = "guard.json"


class Wish:
    """Whether we are to stop: by a signal, or because standard input came to its end. Ends of children wake it too."""

    def __init__(self, *, watch_input: bool) -> None:
        self.stop = False
        self._wake, wake = socket.socketpair()
        self._wake.settimeout(0)
        wake.settimeout(0)
        self._keep = wake
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._signalled)
        self._watched: list[Any] = [self._wake, 0] if watch_input else [self._wake]

    def _signalled(self, *_: object) -> None:
        self.stop = True

    def until(self, child: "subprocess.Popen[bytes]", seconds: float | None, *, even_if_stopping: bool = False) -> bool:
        """Wait for the end of `child`, for a wish to stop, or so long. True: the child has ended."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while child.poll() is None:
            left = None if deadline is None else deadline - time.monotonic()
            if (self.stop and not even_if_stopping) or (left is not None and left <= 0):
                return False
            ready, _, _ = select.select(self._watched, [], [], left)
            if self._wake in ready:
                with contextlib.suppress(BlockingIOError):
                    self._wake.recv(4096)
            if 0 in ready and not os.read(0, 4096):
                self.stop = True
                self._watched.remove(0)
        return True


def main() -> None:
    instructions = json.loads(_first_line())
    folder = Path(instructions["folder"])
    with (folder / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with os.fdopen(os.open(folder / INSTRUCTIONS, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump({**instructions, "guard": os.getpid()}, file)
        wish = Wish(watch_input=not instructions["detached"])
        try:
            with Path(instructions["log"]).open("ab", buffering=0) as log:
                _serve(instructions, log, wish)
        finally:
            clean_up(instructions)


def _first_line() -> bytes:
    """Without reading ahead: what follows is watched."""
    line = b""
    while not line.endswith(b"\n"):
        more = os.read(0, 1 << 16)
        if not more:
            sys.exit("guard: no instructions")
        line += more
    return line


def _say(**event: object) -> None:
    with contextlib.suppress(OSError):  # nobody listens any more
        os.write(1, json.dumps(event).encode() + b"\n")


def _serve(instructions: dict[str, Any], log: BinaryIO, wish: Wish) -> None:
    """The commands that prepare, one after the other, then the server, until it ends or is asked to."""
    for command in instructions["prepare"]:
        code = _run(instructions, command, log, wish, signal.SIGKILL)
        if code or wish.stop:
            _say(event="ended", code=code, command=command[0])
            return
    _say(event="starting")
    code = _run(instructions, instructions["server"], log, wish, instructions["stop"])
    _say(event="ended", code=code, command=instructions["server"][0])


def _run(instructions: dict[str, Any], command: list[str], log: BinaryIO, wish: Wish, ending: int) -> int:
    """Exit code, or minus the signal, or 127 where it can't be started. Nothing of its process group is left."""
    user = instructions["user"]
    try:
        child = subprocess.Popen(
            command,
            cwd=instructions["folder"],
            env=instructions["environment"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=lambda: _die_with_parent(ending),  # noqa: PLW1509  (this process has one thread)
            user=user,
            group=instructions["group"],
            extra_groups=None if user is None else [],
        )
    except OSError as error:
        log.write(f"{command[0]}: {error.strerror}\n".encode())
        return 127
    try:
        if not wish.until(child, None):
            child.send_signal(ending)
            wish.until(child, GRACE, even_if_stopping=True)
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    return child.returncode


def _die_with_parent(number: int) -> None:
    """After the change of user, which would take it back."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)


def clean_up(instructions: dict[str, Any]) -> None:
    """Take away what was made: what the commands remove, and the folder. The log's last part goes to its keeper."""
    for command in instructions["cleanup"]:
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(
                command,
                env=instructions["environment"],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=CLEAN_UP_LIMIT,
                check=False,
            )
    for folder in filter(None, (instructions.get("data"), instructions["folder"])):
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
