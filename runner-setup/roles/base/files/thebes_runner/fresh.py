"""Whether what runs has taken up what is installed.

A play that fails half-way has changed files and told nobody, and the next one finds them unchanged. So it is
noted what was taken up last: a digest of all programs, settings and units that are read at a start.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from thebes_runner import settings, system

ROOT = Path("/")
READ_AT_START = (
    "usr/local/sbin/thebes-runner",
    "usr/local/lib/thebes-runner/thebes_runner.zip",
    "usr/local/lib/thebes-runner/docker/*",
    "etc/thebes-runner/runner.json",
    "etc/thebes-runner/watchdog.json",
    "etc/thebes-runner/docker.json",
    "etc/thebes-runner/environment",
    "etc/systemd/system/thebes-*.*",
    "etc/systemd/system/*.d/thebes.conf",
    "etc/systemd/user/thebes-docker.service",
)
# Each is reloaded if it can be, and else begins anew. What does not run is not started.
UNITS = (
    "thebes-firewall.service",
    "thebes-watchdog.service",
    "thebes-runner@*.service",
    "thebes-maintenance.timer",
    "thebes-metrics.timer",
)


def digest() -> str:
    sums = hashlib.sha256()
    for file in sorted(file for pattern in READ_AT_START for file in ROOT.glob(pattern) if file.is_file()):
        content = file.read_bytes()
        sums.update(f"{file} {len(content)}\n".encode() + content)
    return sums.hexdigest()


def refresh(if_changed: bool) -> bool:
    """Let everything take up what is new; no running job is ended. Whether there was something to do."""
    noted = settings.STATE_DIR / "refreshed.json"
    now = digest()
    if if_changed and system.read_state(noted).get("digest") == now:
        return False
    system.run("systemctl", "daemon-reload")
    listed = system.run("systemctl", "list-units", "--plain", "--no-legend", "--state=active", *UNITS)
    active = {line.split()[0] for line in listed.splitlines()}
    # In this order: the watchdog must know a runner before that begins to take jobs.
    for unit in sorted(active, key=lambda name: [Path(name).match(pattern) for pattern in UNITS].index(True)):
        system.run("systemctl", "reload-or-restart", unit)
    system.write_atomic(noted, json.dumps({"digest": now}))
    return True
