"""Times the playbooks, runs the faults, reads the idle memory, and prints one Markdown table."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from conftest import GitHub, Host, play, wait_ready

HERE = Path(__file__).parent


def timed(name: str) -> float:
    start = time.monotonic()
    play(name)
    return time.monotonic() - start


def main() -> int:
    host, github = Host(), GitHub()
    rows: dict[str, str] = {}
    play("remove.yml")  # the packages stay in apt's cache, so downloads are excluded
    rows["provision a bare machine with two runners (packages and release already downloaded)"] = (
        f"{timed('site.yml'):.0f} s"
    )
    start = time.monotonic()
    for instance in ("a", "b"):
        wait_ready(github, instance)
    rows["end of the playbook to both runners online"] = f"{time.monotonic() - start:.1f} s"
    rows["second run, nothing changed"] = f"{timed('site.yml'):.0f} s"
    idle = host.health("a")["memory_mib"]
    rows["idle memory of a runner: rootless Docker and user manager, without GitHub's listener"] = (
        f"{idle - listener(host):.0f} MiB"
    )
    supervisor = host.run(
        "grep VmRSS /proc/$(systemctl show thebes-runner@a -p MainPID --value)/status"
    ).split()[1]
    rows["idle memory of a supervisor"] = f"{int(supervisor) / 1024:.0f} MiB"
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-x",
            str(HERE / "test_1_jobs.py"),
            str(HERE / "test_2_faults.py"),
        ],
        check=False,
    )
    if done.returncode:
        return done.returncode
    rows.update(
        {
            k: f"{v:.1f} s"
            for k, v in json.loads((HERE.parents[1] / ".cache" / "figures.json").read_text()).items()
        }
    )
    print("| what | measured |\n|---|---|")
    for name, value in rows.items():
        print(f"| {name} | {value} |")
    return 0


def listener(host: Host) -> float:
    """Resident MiB of the stand-in of GitHub's listener, which says nothing about the real one."""
    text = host.run("grep VmRSS /proc/$(systemctl show thebes-job@a -p MainPID --value)/status")
    return int(text.split()[1]) / 1024


if __name__ == "__main__":
    sys.exit(main())
