"""Whether what runs has taken up what is installed.

A play that fails half-way has changed files and told nobody, and the next one finds them unchanged. So it is
noted what each unit has taken up: a digest of all that it reads at its start. One that starts by itself meanwhile
strikes that out (`begun`), as the next play may change everything back.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from thebes_runner import processes, settings, system

ROOT = Path("/")
UNITS = "etc/systemd/system/"
PROGRAM = (
    "usr/local/sbin/thebes-runner",
    "usr/local/lib/thebes-runner/thebes_runner.zip",
    "etc/thebes-runner/environment",
    "etc/thebes-runner/runner.json",
    "etc/ssl/certs/ca-certificates.crt",  # read once by what has begun, Docker among them
)
# In the order in which they take it up: the watchdog must know a runner before that begins to take jobs.
FIREWALL, WATCHDOG, RUNNER = "thebes-firewall.service", "thebes-watchdog.service", "thebes-runner@*.service"
READ = {
    # The second's name has the number of a runner's user, for whom the rules are.
    FIREWALL: (*PROGRAM, UNITS + "user@*.service.d/thebes.conf", UNITS + "thebes-firewall.service"),
    WATCHDOG: (*PROGRAM, "etc/thebes-runner/watchdog.json", UNITS + "thebes-watchdog.service"),
    RUNNER: (
        *PROGRAM,
        UNITS + "thebes-runner@.service",
        UNITS + "thebes-job@.service",
        UNITS + "thebes-job@*.service.d/thebes.conf",
        UNITS + "user@*.service.d/thebes.conf",
        UNITS + "user-*.slice.d/thebes.conf",
        UNITS + "docker.service.d/thebes.conf",  # the supervisor restarts it, when no job runs
        "etc/systemd/user/thebes-docker.service",
        "etc/thebes-runner/docker.json",
        "usr/local/lib/thebes-runner/docker/*",
    ),
    "thebes-maintenance.timer": (UNITS + "thebes-maintenance.*",),
    "thebes-metrics.timer": (UNITS + "thebes-metrics.*",),
}


def digest(patterns: Iterable[str]) -> str:
    sums = hashlib.sha256()
    for file in sorted(file for pattern in patterns for file in ROOT.glob(pattern) if file.is_file()):
        content = file.read_bytes()
        sums.update(f"{file} {len(content)}\n".encode() + content)
    return sums.hexdigest()


def note() -> Path:
    """The digests; `pending` are those patterns whose units may not have begun anew yet."""
    return settings.STATE_DIR / "refreshed.json"


def refresh(if_changed: bool) -> bool:
    """Let everything take up what is new; no running job is ended. Whether there was something to do."""
    noted = system.read_state(note()) if if_changed else {}
    if noted.get("boot") != processes.boot_id():
        noted = {}  # all began anew since, with what was there then
    now = {pattern: digest(files) for pattern, files in READ.items()}
    pending = noted.get("pending", [])
    changed = [pattern for pattern, value in now.items() if noted.get(pattern) != value or pattern in pending]
    if not changed:
        return False
    now["boot"] = processes.boot_id()
    system.write_atomic(note(), json.dumps({**now, "pending": changed}))
    system.run("systemctl", "daemon-reload")
    for pattern in changed:
        listed = system.run("systemctl", "list-units", "--plain", "--no-legend", "--state=active", pattern)
        for line in listed.splitlines():  # what does not run is not started
            system.run("systemctl", "reload-or-restart", line.split()[0])
    system.write_atomic(note(), json.dumps(now))
    return True


def begun(pattern: str) -> None:
    """A unit starts. With what is not noted: nothing that is noted is to be relied upon."""
    if system.read_state(note()).get(pattern) != digest(READ[pattern]):
        note().unlink(missing_ok=True)
