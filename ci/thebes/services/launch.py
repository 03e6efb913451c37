"""Starts a server under its guard and waits until it answers, within a limit. Nothing is left if that fails."""

import contextlib
import errno
import json
import os
import pwd
import queue
import re
import secrets
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from thebes.errors import InputError
from thebes.model import Value

from .guard import INSTRUCTIONS, LOCK, clean_up
from .model import ServiceError

GUARD = Path(__file__).with_name("guard.py")
HOST = "127.0.0.1"
PAUSE = 0.05  # seconds between two questions whether it is ready, unless an event comes first
TOLD_EVERY = 5.0  # seconds between two lines of progress
END_LIMIT = 90.0  # seconds that a guard may take to end its server and clean up
UNPRIVILEGED = ("postgres", "nobody")
UNGUARDED = 600.0  # seconds after which a folder that never had a guard won't get one
MEMORY = Path("/dev/shm")  # noqa: S108  (a folder of ours in it, as in the temporary folder)
ROOM = 2 << 30  # bytes that must be free there
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


def base_folder(top: Path | None = None) -> Path:
    """Where services have their folders: ours alone to write. InputError: somebody else made it."""
    folder = (top or Path(tempfile.gettempdir())) / f"thebes-services-{os.getuid()}"
    mode = 0o711 if os.getuid() == 0 else 0o700  # a server of another user must come through
    folder.mkdir(mode=mode, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise InputError(f"{folder}: is not a folder that only user {os.getuid()} can write; remove it")
    return folder


def new_folder(prefix: str) -> Path:
    folder = Path(tempfile.mkdtemp(prefix=f"{prefix}-", dir=base_folder()))
    folder.chmod(0o711 if os.getuid() == 0 else 0o700)
    return folder


def data_folder(folder: Path) -> Path:
    """Where the server of `folder` keeps its data: in memory, if there is room and TMPDIR does not say where else.

    PostgreSQL copies a database as three hundred small files, which costs a tenth of the time there.
    """
    if "TMPDIR" in os.environ or not _has_room(MEMORY):
        return folder
    own = base_folder(MEMORY) / folder.name
    own.mkdir(mode=folder.stat().st_mode & 0o777)
    return own


def _has_room(top: Path) -> bool:
    """Is it there, ours to write, and large enough, with as much memory left when it is full?"""
    try:
        told = re.search(r"^MemAvailable:\s*(\d+) kB", Path("/proc/meminfo").read_text("ascii"), re.MULTILINE)
        room = shutil.disk_usage(top).free
    except OSError:
        return False
    available = int(told[1]) << 10 if told else 0
    return room >= ROOM and available >= 2 * ROOM and os.access(top, os.W_OK | os.X_OK)


def sweep() -> int:
    """Clean up after guards that were killed: their folders are there, and nobody holds the lock. Returns how many."""
    swept = 0
    for folder in base_folder().iterdir():
        told = folder / INSTRUCTIONS
        if is_held(folder):
            continue
        if told.is_file() and told.lstat().st_uid == os.getuid():
            clean_up(json.loads(told.read_bytes()))
            swept += 1
        elif time.time() - folder.lstat().st_mtime > UNGUARDED:
            shutil.rmtree(folder, ignore_errors=True)
    _sweep_memory()
    return swept


def _sweep_memory() -> None:
    """Data whose server never came to have a guard."""
    base = MEMORY / f"thebes-services-{os.getuid()}"
    if not base.is_dir():
        return
    guarded = {folder.name for folder in base_folder().iterdir()}
    for folder in base_folder(MEMORY).iterdir():
        if folder.name not in guarded and time.time() - folder.lstat().st_mtime > UNGUARDED:
            shutil.rmtree(folder, ignore_errors=True)


def is_held(folder: Path) -> bool:
    """Is there a guard that looks after this folder?"""
    import fcntl  # noqa: PLC0415

    try:
        with (folder / LOCK).open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


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


class Owner(Value, frozen=True, kw_only=True):
    """Whom a server runs as; null: as ourselves."""

    user: int | None = None
    group: int | None = None


def owner() -> Owner:
    """PostgreSQL refuses to run as root, and no server needs to: root's run as `postgres` or `nobody`."""
    if os.getuid() != 0:
        return Owner()
    for name in UNPRIVILEGED:
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return Owner(user=found.pw_uid, group=found.pw_gid)
    return Owner(user=65534, group=65534)


def give(folder: Path, who: Owner) -> None:
    """Make a folder, and what is in it, somebody's."""
    if who.user is None or who.group is None:
        return
    for path in (folder, *folder.rglob("*")):
        os.chown(path, who.user, who.group, follow_symlinks=False)


def reachable(binary: str, who: Owner, folder: Path) -> str:
    """`binary`, or a copy of its installation where its user can't come to it (wheels below /root)."""
    path = Path(binary).resolve()
    if who.user is None or all(_open_to_all(one) for one in (path, *path.parents)):
        return str(path)
    top = path.parent.parent  # bin, and lib and share beside it
    copy = folder / "installation"
    names = [name for name in ("bin", "lib", "share") if (top / name).is_dir()]
    for name in names:
        shutil.copytree(top / name, copy / name, symlinks=True)
    for one in (copy, *copy.rglob("*")):
        if not one.is_symlink():
            one.chmod(one.stat().st_mode | (0o055 if one.is_dir() or one.stat().st_mode & 0o100 else 0o044))
    return str(copy / "bin" / path.name)


def _open_to_all(path: Path) -> bool:
    return bool(path.stat().st_mode & 0o001)


def plain_environment(environment: Mapping[str, str], keep: Sequence[str] = ()) -> dict[str, str]:
    """What a server gets of our environment: nothing secret, nothing that configures it by accident."""
    names = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", *keep)
    return {name: environment[name] for name in names if name in environment} | {"LC_ALL": "C"}
