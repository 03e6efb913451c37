"""Where services keep what they need, and what is swept when nobody looks after it any more."""

import json
import os
import re
import shutil
import stat
import tempfile
import time
from pathlib import Path

from thebes.errors import InputError

from .guard import INSTRUCTIONS, LOCK, clean_up

UNGUARDED = 600.0  # seconds after which a folder that never had a guard won't get one
MEMORY = Path("/dev/shm")  # noqa: S108  (a folder of ours in it, as in the temporary folder)
ROOM = 2 << 30  # bytes that must be free there


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
