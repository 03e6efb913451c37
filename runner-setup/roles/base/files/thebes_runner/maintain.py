"""Upkeep that a timer starts: dead registrations, old logs and images, the runner's version."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import re
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from thebes_runner import docker, github, notes, reset, settings, system
from thebes_runner.errors import RunnerKitError
from thebes_runner.github import Registration
from thebes_runner.settings import Instance, Maintenance, Runner
from thebes_runner.system import LOG

DAY = 86_400.0
RELEASE_SECONDS = 3_600.0


def dead(
    registrations: Iterable[Registration],
    seen: Mapping[str, float],
    own: set[int],
    now: float,
    patience: float,
) -> tuple[list[Registration], dict[str, float]]:
    """Registrations to delete, and since when each other offline one has been seen offline.

    GitHub doesn't tell since when a runner is offline, so it must be seen offline twice, at least
    `patience` seconds apart; a host that restarts comes back in between.
    """
    reap: list[Registration] = []
    waiting: dict[str, float] = {}
    for registration in registrations:
        if registration.status != "offline" or registration.busy or registration.id in own:
            continue
        key = str(registration.id)
        if key in seen and now - seen[key] >= patience:
            reap.append(registration)
        else:
            waiting[key] = seen.get(key, now)
    return reap, waiting


def to_reap(name: str, runner: Runner, prefix: str) -> bool:
    """Whether a runner's name is one that this host gives; with another prefix than the host's, any that begins so.

    The names of the hosts `ci` and `ci-gpu` begin with `ci-`, both.
    """
    if prefix != runner.name_prefix:
        return name.startswith(prefix)
    return any(given_by(instance, name, prefix) for instance in runner.instances)


def given_by(instance: Instance, name: str, prefix: str) -> bool:
    """Whether this runner was registered under that name, now or before."""
    return re.fullmatch(rf"{re.escape(prefix + instance.name)}(-[0-9a-f]{{8}})?", name) is not None


def own_ids(runner: Runner) -> set[int]:
    states = (notes.read(i) for i in runner.instances)
    return {int(state["runner_id"]) for state in states if state.get("runner_id") is not None}


def reap(runner: Runner, limits: Maintenance, client: github.Client) -> int:
    """Delete registrations of our prefix whose machines are gone; how many."""
    memory = settings.STATE_DIR / "offline.json"
    # Listed before `own_ids` is read: a runner registered in between is not in the list.
    listed = [r for r in client.registrations(limits.reap_prefix) if to_reap(r.name, runner, limits.reap_prefix)]
    seen = {key: float(value) for key, value in system.read_state(memory).items()}
    doomed, waiting = dead(listed, seen, own_ids(runner), time.time(), limits.reap_after_seconds)
    for registration in doomed:
        if client.delete(registration.id):
            LOG.info("deleted the dead registration %s", registration.name)
    system.write_atomic(memory, json.dumps(waiting))
    return len(doomed)


def reap_for_good(runner: Runner, instance: Instance) -> None:
    """At removal: what is offline of this runner, once its own is deleted. GitHub keeps one whose job was lost for a
    while, and upkeep waits longer than the machine is there."""
    client = github.Client(runner.github)
    for registration in list(client.registrations(runner.name_prefix)):  # deleting moves what is on later pages
        gone = registration.status == "offline" and not registration.busy
        if gone and given_by(instance, registration.name, runner.name_prefix) and client.delete(registration.id):
            LOG.info("deleted the dead registration %s", registration.name)


def release(version: str) -> tuple[int, ...]:
    """`2.338.0` as numbers. Servers of an enterprise may offer an older one than is installed."""
    return tuple(int(part) for part in re.findall(r"\d+", version))


def check_version(runner: Runner, client: github.Client) -> dict[str, object]:
    """Note since when there has been a newer runner; 30 days later GitHub sends no more jobs.

    A GitHub that does not tell when it came out is taken by its word from now on.
    """
    memory = settings.STATE_DIR / "version.json"
    newest = client.newest_runner_version()
    before = system.read_state(memory)
    value: dict[str, object] = {"installed": runner.version, "newest": newest, "outdated_since": None}
    if release(newest) > release(runner.version):
        same = before.get("installed") == runner.version and before.get("outdated_since")
        value["outdated_since"] = before["outdated_since"] if same else client.released(newest) or time.time()
        LOG.warning("runner %s is installed, %s is out: set runner_version", runner.version, newest)
    system.write_atomic(memory, json.dumps(value))
    return value


@dataclasses.dataclass(frozen=True, kw_only=True)
class LogFile:
    path: Path
    modified: float
    size: int


def expired(files: Iterable[LogFile], now: float, max_age: float, max_bytes: float) -> list[LogFile]:
    """Files that are too old, and the oldest of the rest until the sum fits."""
    newest_first = sorted(files, key=lambda f: f.modified, reverse=True)
    total, gone = 0, []
    for file in newest_first:
        total += file.size
        if now - file.modified > max_age or total > max_bytes:
            gone.append(file)
            total -= file.size
    return gone


def prune_logs(directory: Path, limits: Maintenance) -> int:
    files = []
    for root, _, names in os.walk(directory):
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # the supervisor or logrotate was faster
                stat = os.lstat(os.path.join(root, name))
                files.append(LogFile(path=Path(root, name), modified=stat.st_mtime, size=stat.st_size))
    old = expired(files, time.time(), limits.log_max_age_days * DAY, limits.log_max_mib * 1024 * 1024)
    for file in old:
        file.path.unlink(missing_ok=True)
    for root, _, _ in os.walk(directory, topdown=False):
        if Path(root).name.startswith("diag-") and not os.listdir(root):
            os.rmdir(root)
    return len(old)


def prune_images(runner: Runner, instance: Instance, limits: Maintenance) -> None:
    """By age; when the disk is low, everything that no container uses."""
    daemon = docker.daemon(runner, instance)
    if not daemon.ready():
        return
    low = system.disk_free_mib(instance.directory) < limits.disk_min_mib
    daemon.prune_images(0 if low else limits.image_max_age_hours)


def remove_old_releases(runner: Runner) -> None:
    """Those that no instance uses any more (its stamp names the one it does); not what site.yml is just installing."""
    used = {Path(runner.install_dir).name}
    for instance in runner.instances:
        stamp = instance.runner_dir / ".thebes-release"
        if stamp.exists():
            used.add(stamp.read_text())
    old = time.time() - RELEASE_SECONDS
    entries = reset.entries(Path(runner.install_dir).parent)
    reset.delete(entry for entry, found in entries if entry.name not in used and found.st_ctime < old)


def run(runner: Runner, limits: Maintenance) -> bool:
    """All upkeep; one part's failure doesn't stop the others. True when all went well."""
    parts: dict[str, Callable[[], object]] = {
        "logs": functools.partial(prune_logs, settings.LOG_DIR, limits),
        "releases": functools.partial(remove_old_releases, runner),
    }
    if runner.docker_mode != "none" and runner.docker_keep_images:
        for instance in runner.instances:
            parts[f"images of {instance.name}"] = functools.partial(prune_images, runner, instance, limits)
    if runner.github.auth != "none":
        client = github.Client(runner.github)
        parts["registrations"] = functools.partial(reap, runner, limits, client)
        parts["version"] = functools.partial(check_version, runner, client)
    well = True
    for name, part in parts.items():
        try:
            part()
        except Exception as error:
            # OSError: a full disk, a token that is gone.
            expected = isinstance(error, (RunnerKitError, OSError))
            LOG.error("upkeep of %s: %s", name, error, exc_info=not expected)
            well = False
    return well
