"""The watchdog's word to the job-started hook that it knows the job, whose clock runs from then on.

Without it a job could end its own worker before the watchdog has seen that there was one.
"""

from __future__ import annotations

import json
import os
import stat
import time
from pathlib import Path

from thebes_runner import processes

ROOT = 0
POLL_SECONDS = 0.05


def word(worker: int, started: float) -> str:
    """Good for one worker: its number alone may come again, in another job or after a restart."""
    return json.dumps({"worker": worker, "started": started, "boot": processes.boot_id()})


def read(file: Path) -> str:
    """Empty when there is none, or none of root's."""
    try:
        found = os.lstat(file)
        return file.read_text() if stat.S_ISREG(found.st_mode) and found.st_uid == ROOT else ""
    except (OSError, ValueError):
        return ""


def wait(file: Path, expected: str, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while read(file) != expected:
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True
