"""Bring an instance back to the state in which it was provisioned.

Everything that the instance's user owns is removed and made anew, so nothing that a job wrote
(start-up files, user services, tool caches, images) is there for the next one.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from pathlib import Path

from thebes_runner import docker, processes, system
from thebes_runner.errors import HostError
from thebes_runner.settings import Instance, Runner
from thebes_runner.system import LOG

# World-writable places in which a job could leave files although /tmp and /var/tmp are its own.
SHARED_DIRECTORIES = ("/tmp", "/var/tmp", "/dev/shm", "/dev/mqueue", "/run/lock", "/var/crash")
CRONTABS = (Path("/var/spool/cron/crontabs"), Path("/var/spool/cron/atjobs"))
PERSISTENT_FILES = frozenset({".runner", ".credentials", ".credentials_rsaparams"})
DIAGNOSTIC_NAME = re.compile(r"^[A-Za-z0-9_.-]{1,120}\.log$")


def reset(settings: Runner, instance: Instance) -> None:
    """Stop, kill, remove, recreate. Raises HostError when something survives."""
    system.run("systemctl", "stop", instance.job_unit, timeout=60)
    keep_docker = settings.docker_mode == "rootless" and settings.docker_keep_images
    if settings.docker_mode == "rootful":
        docker.rootful().remove_work(settings.docker_keep_images)
    elif keep_docker and docker.rootless(instance).ready():
        docker.rootless(instance).remove_work(keep_images=True)
    # Ends the rootless daemon, its containers and whatever the job started as a user service.
    system.run("systemctl", "stop", instance.user_unit, timeout=120)
    ranges = processes.owner_ranges(instance.uid, instance.user)
    if killed := processes.kill_all(ranges):
        LOG.info("%s: ended %d processes that the job left behind", instance.name, killed)
    keep_diagnostics(instance, settings.diagnostics_max_mib)
    wipe(instance, keep_docker=keep_docker, keep_registration=not settings.ephemeral)
    sweep(instance, ranges)
    install(settings, instance)


def start_user_services(settings: Runner, instance: Instance) -> None:
    """Start the instance's user manager and, in rootless mode, wait for its Docker daemon."""
    if settings.docker_mode == "rootless":
        system.run("systemctl", "start", instance.user_unit)
        docker.rootless(instance).wait(settings.docker_start_seconds)
    elif settings.docker_mode == "rootful":
        docker.rootful().wait(settings.docker_start_seconds)


def delete(*paths: Path) -> None:
    """rm, not shutil: a job can nest folders deeper than Python's recursion limit."""
    present = [str(path) for path in paths if os.path.lexists(path)]
    if present:
        system.run("rm", "-rf", "--one-file-system", "--", *present, timeout=1800)


def wipe(instance: Instance, keep_docker: bool, keep_registration: bool) -> None:
    base = Path(instance.directory)
    keep = {"runner", "docker"} if keep_docker else {"runner"}
    delete(*(entry for entry in base.iterdir() if entry.name not in keep))
    if instance.runner_dir.exists():
        # Root's entries are the installed release; the folder is sticky, so they can't be replaced.
        delete(
            *(
                entry
                for entry in instance.runner_dir.iterdir()
                if entry.lstat().st_uid != 0 and not (keep_registration and entry.name in PERSISTENT_FILES)
            )
        )


def sweep(instance: Instance, ranges: list[range]) -> None:
    """Remove the user's files in places that all users of the host share."""
    for directory in map(Path, SHARED_DIRECTORIES):
        if directory.is_dir():
            delete(
                *(
                    entry
                    for entry in directory.iterdir()
                    if any(entry.lstat().st_uid in uids for uids in ranges)
                )
            )
    for spool in CRONTABS:
        if spool.is_dir():
            delete(*(e for e in spool.iterdir() if e.lstat().st_uid == instance.uid))


def make_directory(path: Path, mode: int, uid: int, gid: int) -> None:
    path.mkdir(exist_ok=True)
    os.chown(path, uid, gid)
    os.chmod(path, mode)


def install(settings: Runner, instance: Instance) -> None:
    """Directories with their owners, and the release hard-linked from the shared copy."""
    base, uid = Path(instance.directory), instance.uid
    gid = os.stat(base).st_gid
    for name in ("home", "docker", "tools"):
        make_directory(base / name, 0o700, uid, gid)
    for name in ("tmp", "vartmp"):
        make_directory(base / name, 0o1777, 0, 0)
    make_directory(instance.runner_dir, 0o1770, 0, gid)
    stamp = instance.runner_dir / ".thebes-release"
    release = Path(settings.install_dir)
    if not (release / "bin").is_dir():
        raise HostError(f"{release} holds no runner release: run site.yml again")
    if stamp.exists() and stamp.read_text() == release.name:
        return
    delete(*(e for e in instance.runner_dir.iterdir() if e.name not in PERSISTENT_FILES))
    # Hard links cost no disk; a runner on a file system of its own gets a copy.
    same = os.stat(release).st_dev == os.stat(instance.runner_dir).st_dev
    how = ("--archive", "--link") if same else ("--archive",)
    system.run("cp", *how, f"{release}/.", str(instance.runner_dir), timeout=600)
    make_directory(instance.runner_dir, 0o1770, 0, gid)
    stamp.write_text(release.name)


def keep_diagnostics(instance: Instance, max_mib: int) -> None:
    """Copy `_diag/*.log` to the host's logs before the folder is wiped.

    The folder belongs to the job: only regular files with plain names are read, links are not
    followed, and the sum is limited.
    """
    source = instance.runner_dir / "_diag"
    if source.is_symlink() or not source.is_dir():
        return
    room = max_mib * 1024 * 1024
    target = instance.log_dir / time.strftime("diag-%Y%m%dT%H%M%S", time.gmtime())
    for entry in sorted(source.iterdir()):
        if not DIAGNOSTIC_NAME.match(entry.name):
            continue
        try:
            descriptor = os.open(entry, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            continue
        with os.fdopen(descriptor, "rb") as log:
            size = os.fstat(log.fileno()).st_size
            if not entry.is_file() or size > room:
                continue
            room -= size
            target.mkdir(parents=True, exist_ok=True, mode=0o750)
            with open(target / entry.name, "wb") as copy:
                shutil.copyfileobj(log, copy)
