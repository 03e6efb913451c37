"""Bring an instance back to the state in which it was provisioned.

Everything that the instance's user owns is removed and made anew, so nothing that a job wrote
(start-up files, user services, tool caches, images) is there for the next one.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
import signal
import stat
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from thebes_runner import docker, processes, system
from thebes_runner.errors import HostError
from thebes_runner.settings import Instance, Runner
from thebes_runner.system import LOG

# World-writable places in which a job could leave files although /tmp and /var/tmp are its own.
SHARED_DIRECTORIES = ("/tmp", "/var/tmp", "/dev/shm", "/dev/mqueue", "/run/lock", "/var/crash")
CRONTABS = (Path("/var/spool/cron/crontabs"), Path("/var/spool/cron/atjobs"))
LINGER = Path("/var/lib/systemd/linger")  # nothing of the kit makes these files, but a user may for itself
SYSV = Path("/proc/sysvipc")
SYSV_KINDS = {
    "shm": ("shmid", "--shmem-id"),
    "sem": ("semid", "--semaphore-id"),
    "msg": ("msqid", "--queue-id"),
}
KEYS = Path("/proc/keys")
KEYRINGS = ("@u", "@us")  # the user's, and that of its sessions
CLEAR_PERSISTENT = 'if ring=$(keyctl get_persistent @s "$1" 2>/dev/null); then keyctl clear "$ring"; fi'
ROOT_DAEMON = "docker.service"
ROOT_DAEMON_READS = (
    Path("/etc/systemd/system/docker.service.d/thebes.conf"),
    Path("/etc/thebes-runner/docker.json"),
    Path("/etc/thebes-runner/environment"),
    Path("/etc/ssl/certs/ca-certificates.crt"),
)
PERSISTENT_FILES = frozenset({".runner", ".credentials", ".credentials_rsaparams"})
# The kernel allows 2 MiB of arguments, and less where the stack is limited.
ARGUMENT_BYTES = 64 * 1024
CHUNK_BYTES = 1024 * 1024
ROUNDS = 3
MAX_DIAGNOSTICS = 200  # a job can write any number of empty ones
MAX_LOOKED = 10_000  # and of others among them
DIAGNOSTIC_NAME = re.compile(r"^[A-Za-z0-9_.-]{1,120}\.log$")


def reset(settings: Runner, instance: Instance) -> None:
    """Stop, kill, remove, recreate. Raises HostError when something survives."""
    system.run("systemctl", "stop", instance.job_unit, timeout=60)
    keep_docker = clean_docker(settings, instance)
    forget_schedules(instance)  # first, so that cron starts nothing behind our back
    # Ends the rootless daemon, its containers and whatever the job started as a user service.
    stop_user_services(instance)
    ranges = processes.owner_ranges(instance.uid, instance.user)
    if killed := processes.kill_all(ranges):
        LOG.info("%s: ended %d processes that the job left behind", instance.name, killed)
    try:
        keep_diagnostics(instance, settings.diagnostics_max_mib)
    except OSError as error:  # the host's logs may be on the disk that the job filled
        LOG.warning("%s: diagnostics not kept: %s", instance.name, error)
    clear(instance, ranges, keep_docker=keep_docker, keep_registration=not settings.ephemeral)
    install(settings, instance)


def between_jobs(settings: Runner, instance: Instance) -> None:
    """Persistent mode: what can be removed while the listener, and a daemon that it needs, live on."""
    if settings.docker_mode != "none":
        docker.daemon(settings, instance).remove_work(settings.docker_keep_images)
    delete([instance.runner_dir / "_work"])


def clean_docker(settings: Runner, instance: Instance) -> bool:
    """Remove what the job made in Docker; whether the rootless daemon's data (its images) are to stay."""
    if settings.docker_mode == "rootful":
        docker.rootful().remove_work(settings.docker_keep_images)
    if settings.docker_mode != "rootless":
        return False
    daemon = docker.rootless(instance)
    if not settings.docker_keep_images:
        # All of it goes. A daemon that is stopped waits ten seconds for containers that ignore SIGTERM.
        with contextlib.suppress(HostError):
            daemon.signal_all(signal.SIGKILL)
        return False
    if daemon.ready():
        try:
            daemon.remove_work(keep_images=True)
        except HostError as error:  # it is the job's, and may be broken on purpose
            LOG.warning("%s: Docker's images are deleted too: %s", instance.name, error)
            return False
    return True


def clear(instance: Instance, ranges: list[range], keep_docker: bool, keep_registration: bool) -> None:
    """Delete all that the user has, again when something was started meanwhile (by cron, say): it may
    have written behind the deletion."""
    for _ in range(ROUNDS):
        wipe(instance, keep_docker=keep_docker, keep_registration=keep_registration)
        sweep(instance, ranges)
        if not processes.kill_all(ranges):
            return
    raise HostError(f"something starts processes of {instance.user} all the time: see ps -u {instance.user}")


def stop_user_services(instance: Instance) -> None:
    """With the folder where units can be put as well: since 257 systemd deletes it ten seconds later only."""
    for unit in (instance.user_unit, instance.runtime_unit):
        system.run("systemctl", "stop", unit, timeout=120)


def newest(files: Iterable[Path]) -> float:
    """When the last of them was written; not what a clock of then says that is ahead of ours."""
    now = time.time()
    times = [file.stat().st_mtime for file in files if file.exists()]
    return max((at for at in times if at <= now), default=0.0)


def renew_root_daemon() -> None:
    """Between jobs, as a restart ends all containers: with what has changed of its settings since it began."""
    started = system.unit_started(ROOT_DAEMON)
    began = 0.0 if started is None else time.time() - time.monotonic() + started
    if began < newest(ROOT_DAEMON_READS):
        LOG.info("%s begins anew, with what has changed", ROOT_DAEMON)
        system.run("systemctl", "daemon-reload")
        system.run("systemctl", "restart", ROOT_DAEMON, timeout=120)


def start_user_services(settings: Runner, instance: Instance) -> None:
    """Start the instance's user manager and, in rootless mode, wait for its Docker daemon."""
    if settings.docker_mode == "rootless":
        system.run("systemctl", "start", instance.user_unit)
    if settings.docker_mode == "none":
        return
    if settings.docker_mode == "rootful":
        renew_root_daemon()
    daemon = docker.daemon(settings, instance)
    try:
        daemon.wait(settings.docker_start_seconds)
        if settings.docker_keep_images:  # what a job left whose daemon had ended before it could be cleaned
            daemon.remove_work(keep_images=True)
    except HostError:
        if settings.docker_mode == "rootless" and settings.docker_keep_images:
            # A job may have broken what was kept: the next attempt begins without it.
            stop_user_services(instance)
            delete([Path(instance.directory, "docker")])
        raise


def chunks(arguments: Iterable[str], limit: int = ARGUMENT_BYTES) -> Iterator[list[str]]:
    """Lists of arguments that a command takes: a job can make more names than one call may have."""
    chunk: list[str] = []
    size = 0
    for argument in arguments:
        length = len(os.fsencode(argument)) + 1
        if chunk and size + length > limit:
            yield chunk
            chunk, size = [], 0
        chunk.append(argument)
        size += length
    if chunk:
        yield chunk


def delete(paths: Iterable[Path]) -> None:
    """rm, not shutil: a job can nest folders deeper than Python's recursion limit. Takes any number of paths,
    as they come."""
    for chunk in chunks(str(path) for path in paths if os.path.lexists(path)):
        system.run("rm", "-rf", "--one-file-system", "--", *chunk, timeout=1800)


def entries(directory: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """What is in a folder (not what links point to), while others may remove theirs. One after the other: a
    job can make millions, which must not all be in root's memory."""
    try:
        scan = os.scandir(directory)
    except (FileNotFoundError, NotADirectoryError):
        return
    with scan:
        for entry in scan:
            try:
                found = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            yield Path(entry.path), found


def wipe(instance: Instance, keep_docker: bool, keep_registration: bool) -> None:
    base = Path(instance.directory)
    keep = {"runner", "docker"} if keep_docker else {"runner"}
    delete(entry for entry, _ in entries(base) if entry.name not in keep)

    def stays(entry: Path, found: os.stat_result) -> bool:
        # A job can put a folder or a link in the place of a registration's file.
        kept = keep_registration and entry.name in PERSISTENT_FILES and stat.S_ISREG(found.st_mode)
        # Root's entries are the installed release; the folder is sticky, so they can't be replaced.
        return found.st_uid == 0 or kept

    delete(entry for entry, found in entries(instance.runner_dir) if not stays(entry, found))


def forget_schedules(instance: Instance) -> None:
    """Whatever would start processes of the user later: cron, at, a user manager at boot."""
    for spool in CRONTABS:
        delete(entry for entry, found in entries(spool) if found.st_uid == instance.uid)
    delete([LINGER / instance.user])


def sweep(instance: Instance, ranges: list[range]) -> None:
    """Remove the user's files in places that all users of the host share."""
    forget_schedules(instance)
    delete(entry for entry, _ in entries(instance.runtime_dir))
    clear_keyrings(instance)
    for directory in map(Path, SHARED_DIRECTORIES):
        delete(e for e, found in entries(directory) if any(found.st_uid in uids for uids in ranges))
    remove_ipc(ranges)


def ipc_arguments(kind: str, table: str, ranges: list[range]) -> list[str]:
    """Options of ipcrm for what these users own or made, of a table of /proc/sysvipc."""
    column, option = SYSV_KINDS[kind]
    heads, *lines = [line.split() for line in table.splitlines()]
    rows = [dict(zip(heads, line, strict=False)) for line in lines]
    return [
        f"{option}={row[column]}"
        for row in rows
        if any(int(row[owner]) in uids for uids in ranges for owner in ("uid", "cuid"))
    ]


def all_ipc(ranges: list[range]) -> list[str]:
    tables = {kind: SYSV / kind for kind in SYSV_KINDS if (SYSV / kind).exists()}
    return [a for kind, file in tables.items() for a in ipc_arguments(kind, file.read_text(), ranges)]


def remove_ipc(ranges: list[range]) -> None:
    """System V shared memory, semaphores and queues. A job has a namespace of its own for them, its user
    services have not, and systemd's RemoveIPC= acts at a log-out, which these users never have."""
    try:
        for chunk in chunks(all_ipc(ranges)):
            system.run("ipcrm", *chunk)
    except HostError:
        if all_ipc(ranges):  # else somebody else was faster
            raise


def clear_keyrings(instance: Instance) -> None:
    """The kernel keeps a user's keys when all its processes have ended, some of them for days."""
    if not KEYS.exists():
        return  # a kernel without keyrings
    try:
        system.run("keyctl", "session", "-", "true")
    except HostError:
        if shutil.which("keyctl") is None:
            raise
        return  # a container in which nobody may ask for keys, so that jobs have none either
    # Root may link this one to its own session; it makes room, should the user have used up what it may have.
    system.run("keyctl", "session", "-", "sh", "-c", CLEAR_PERSISTENT, "sh", str(instance.uid))
    group = os.stat(instance.directory).st_gid
    user = ("setpriv", f"--reuid={instance.uid}", f"--regid={group}", "--clear-groups", "--no-new-privs")
    for keyring in KEYRINGS:
        system.run(*user, "keyctl", "clear", keyring)


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
    delete(e for e, _ in entries(instance.runner_dir) if e.name not in PERSISTENT_FILES)
    # Hard links cost no disk; a runner on a file system of its own gets a copy.
    same = os.stat(release).st_dev == os.stat(instance.runner_dir).st_dev
    how = ("--archive", "--link") if same else ("--archive",)
    system.run("cp", *how, f"{release}/.", str(instance.runner_dir), timeout=600)
    make_directory(instance.runner_dir, 0o1770, 0, gid)
    stamp.write_text(release.name)


def keep_diagnostics(instance: Instance, max_mib: int) -> None:
    """Copy `_diag/*.log` to the host's logs before the folder is wiped.

    The folder belongs to the job: only regular files with plain names are read, links are not
    followed, and the sum and the number are limited.
    """
    source = instance.runner_dir / "_diag"
    if source.is_symlink() or not source.is_dir():
        return
    room, files = max_mib * 1024 * 1024, MAX_DIAGNOSTICS
    target = instance.log_dir / time.strftime("diag-%Y%m%dT%H%M%S", time.gmtime())
    with os.scandir(source) as scan:
        names = [entry.name for entry in itertools.islice(scan, MAX_LOOKED)]
    for name in sorted(filter(DIAGNOSTIC_NAME.match, names)):
        if files == 0:
            break
        try:
            descriptor = os.open(source / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            continue
        with os.fdopen(descriptor, "rb") as log:
            found = os.fstat(log.fileno())
            if not stat.S_ISREG(found.st_mode) or (found.st_size and not room):
                continue
            # What went wrong stands at the end.
            log.seek(max(0, found.st_size - room))
            files -= 1
            target.mkdir(parents=True, exist_ok=True, mode=0o750)
            with open(target / name, "wb") as copy:
                while chunk := log.read(min(room, CHUNK_BYTES)):
                    copy.write(chunk)
                    room -= len(chunk)
