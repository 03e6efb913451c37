"""Thin wrappers of the commands that the host programs call, and of small files."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from thebes_runner.errors import HostError

SHOWN_LENGTH = 300  # of a command in an error's line
LOG = logging.getLogger("thebes-runner")


def run(*command: str, timeout: float = 120.0) -> str:
    """Standard output of a command that must succeed."""
    shown = " ".join(command)
    shown = shown if len(shown) <= SHOWN_LENGTH else f"{shown[:SHOWN_LENGTH]}…"
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False, errors="replace")
    except subprocess.TimeoutExpired:
        raise HostError(f"{shown} did not end within {timeout:.0f} s") from None
    except OSError as error:  # no such program, no memory for it, too many arguments
        raise HostError(f"{shown} could not be started: {error}") from None
    if done.returncode != 0:
        text = (done.stderr or done.stdout).strip().splitlines()
        raise HostError(f"{shown} ended with {done.returncode}: {text[-1] if text else 'no output'}")
    return done.stdout


def unit_properties(unit: str, *names: str) -> dict[str, str]:
    text = run("systemctl", "show", unit, *(f"--property={name}" for name in names))
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def unit_active(unit: str) -> bool:
    return unit_started(unit) is not None


def unit_started(unit: str) -> float | None:
    """Seconds from boot to the start of an active unit's main process; None when it is not active."""
    shown = unit_properties(unit, "ActiveState", "ExecMainStartTimestampMonotonic")
    if shown["ActiveState"] not in ("active", "activating", "reloading", "deactivating"):
        return None
    return int(shown.get("ExecMainStartTimestampMonotonic") or 0) / 1e6


def main_pid(unit: str) -> int:
    return int(unit_properties(unit, "MainPID").get("MainPID", "0"))


def write_atomic(path: Path, text: str, mode: int = 0o600) -> None:
    """Replace `path` in one step: a reader sees the old text or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            os.fchmod(file.fileno(), mode)
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):  # a signal may come right after the last step
            os.unlink(name)
        raise


def read_state(path: Path) -> dict[str, Any]:
    """A state file's object; empty when there is none or when a crash left it unreadable."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def disk_free_mib(path: str | Path) -> float:
    stat = os.statvfs(path)
    return stat.f_bavail * stat.f_frsize / 1024 / 1024


def disk_used(path: str | Path, inodes: bool = False, timeout: float = 20.0) -> float:
    """MiB, or number of files, of a folder; infinite when a job's folder can't be counted in this time."""
    what = "--inodes" if inodes else "--block-size=1"
    command = ("du", "--summarize", "--one-file-system", what, str(path))
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=timeout, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        LOG.warning("%s can't be measured and counts as the largest: %s", path, error)
        return math.inf
    # Not by its exit code: files of a running job vanish under its hands.
    number = done.stdout.split()[:1]
    if not number:
        return 0.0
    return int(number[0]) / (1 if inodes else 1024 * 1024)
