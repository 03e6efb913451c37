"""Ends jobs that run too long, or that eat the host's last memory or disk.

The age of a job is the age of its `Runner.Worker`, read from /proc by root: idle time does not
count, and a job can't make itself younger. Once seen, a job counts until its listener has ended,
so hiding the worker changes nothing; and the job-started hook lets no step run before. What is known
of a job is in the file job.json of the instance, so a restart of the watchdog forgets no job.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import enum
import functools
import json
import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from thebes_runner import docker, noted, notes, processes, system
from thebes_runner.errors import HostError, RunnerKitError, SettingsError
from thebes_runner.processes import Process
from thebes_runner.settings import Instance, Runner, Watchdog
from thebes_runner.system import LOG

NOTICE_SECONDS = 0.25  # how soon a new job is noted, whose hook waits for it
NOTICE_SHARE = 20  # of the time at most, however many processes there are
COOL_DOWN_SECONDS = 600.0  # for a supervisor that never comes to an end of its cleaning
INODES_MIN = 20_000
SLICES = Path("/sys/fs/cgroup/user.slice")


class Action(enum.Enum):
    NONE = "none"
    INTERRUPT = "interrupt"
    KILL = "kill"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """A job as the watchdog knows it; seconds since boot."""

    worker: int
    started: float
    interrupted: float | None = None


def next_job(job: Job | None, worker: Process | None, ephemeral: bool) -> Job | None:
    """The job that runs now.

    An ephemeral listener has one job in its life: the first seen worker stays. A persistent one
    has a new job when there is a new worker.
    """
    if ephemeral and job is not None:
        return job
    if worker is None:
        return None
    if job is not None and job.worker == worker.pid:
        return job
    return Job(worker=worker.pid, started=worker.started)


Seen = TypeVar("Seen", Job, Process)


def since(listening: float, seen: Seen | None) -> Seen | None:
    """What is of this listener. A worker that ended while we looked, or the job that we then noted after the
    supervisor had removed it, would else be taken for a job of the next one."""
    return seen if seen is not None and seen.started >= listening else None


def decide(job: Job, now: float, limits: Watchdog) -> Action:
    """What to do about a running job's age."""
    if job.interrupted is not None:
        return Action.KILL if now - job.interrupted >= limits.upload_grace else Action.NONE
    return Action.INTERRUPT if now - job.started >= limits.job_limit else Action.NONE


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shortage:
    """What the host has too little of, and whose jobs could give it back."""

    reason: str  # memory, disk or inodes
    text: str
    jobs: tuple[Instance, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ended:
    """The job that a guard ended last, and when (time.time, as in the supervisor's state)."""

    instance: Instance
    at: float


def gave_back(state: Mapping[str, Any], ended: float) -> bool:
    """Whether the supervisor has cleaned up after a job that was ended then: it noted the listener's end, or
    came to a later phase, since."""
    phase = state.get("phase")
    if phase in ("ended", "cleaning"):
        return False
    later = phase in ("registering", "waiting", "drained", "stopped") and float(state.get("since", 0)) > ended
    return later or float(state.get("ended", 0)) > ended


def choose(
    jobs: Iterable[Instance],
    measure: Callable[[Instance], float],
    last: Ended | None,
    state: Mapping[str, Any],
    now: float,
) -> tuple[Instance, float] | None:
    """The job to end, and what it uses: the one that uses most. None as long as the one ended last, whose
    supervisor has this state, can still give something back: all others would be ended until it has."""
    if last is not None and not gave_back(state, last.at) and abs(now - last.at) < COOL_DOWN_SECONDS:
        return None  # and nothing is measured, which can take long
    return max(((job, measure(job)) for job in jobs), key=lambda pair: pair[1], default=None)


def scarce(room: os.statvfs_result, disk_min_mib: float) -> tuple[str, str] | None:
    """Which of a file system's goods runs out, space or inodes, and the words for it."""
    free = room.f_bavail * room.f_frsize / 1024 / 1024
    if free < disk_min_mib:
        return "disk", f"{free:.0f} MiB disk left, limit {disk_min_mib} MiB"
    # A file system without a fixed number of inodes says that it has none at all. Guard off: limit 0.
    limit = min(INODES_MIN, room.f_files // 50) if disk_min_mib > 0 else 0
    if room.f_favail < limit:
        return "inodes", f"{room.f_favail} inodes left, limit {limit}"
    return None


class Watch:
    """One look at all instances; `look` is called for ever."""

    def __init__(self, settings: Runner, limits: Watchdog) -> None:
        self.settings = settings
        self.limits = limits
        self.ended: Ended | None = None  # in memory only: at worst a restart ends one job more
        self.seen: set[int] = set()  # workers that the last look has seen

    def workers(self) -> set[int]:
        """Those that could be a new job's."""
        uids = set()
        for instance in self.settings.instances:
            with contextlib.suppress(SettingsError):  # `look` says so
                if not (self.settings.ephemeral and instance.job_file.exists()):
                    uids.add(instance.uid)
        return processes.workers(uids)

    def rest(self, until: float) -> None:
        """Until then (time.monotonic), or until there is a worker that the last look did not see."""
        cost = 0.0
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(left, max(NOTICE_SECONDS, cost * NOTICE_SHARE)))
            started = time.monotonic()
            if self.workers() - self.seen:
                return
            cost = time.monotonic() - started

    def look(self) -> None:
        self.seen = self.workers()
        everything = processes.every()
        jobs: list[Instance] = []
        for instance in self.settings.instances:
            # Any failure, also one that nobody thought of, is this instance's alone: a job that finds a way
            # to break its own watch must not end the watch over the others.
            try:
                own = processes.owned_by([range(instance.uid, instance.uid + 1)], everything)
                job = self.running(instance, own)
                if job is not None:
                    jobs.append(instance)  # before it is dealt with: it uses the host even if that fails
                    self.enforce(instance, job, own)
            except Exception as error:
                log_failure(instance.name, error)
        try:
            self.guard_host(jobs, everything)
        except Exception as error:  # the next look has another chance, and the time limits go on
            log_failure("guard", error)

    def running(self, instance: Instance, own: Sequence[Process]) -> Job | None:
        """The job that runs now; new ones are noted."""
        worker = processes.oldest_worker(own)
        before = read_job(instance)
        if worker is None and before is None:
            return None
        listening = system.unit_started(instance.job_unit)
        if listening is None:
            return None  # the supervisor cleans up and removes the file
        job = next_job(since(listening, before), since(listening, worker), self.settings.ephemeral)
        if job is None:
            instance.job_file.unlink(missing_ok=True)
        elif job != before:
            write_job(instance, job)
        if job is not None:
            tell(instance, job)
        return job

    def enforce(self, instance: Instance, job: Job, own: Sequence[Process]) -> None:
        """The limit of a job's age."""
        now = processes.since_boot()
        action = decide(job, now, self.limits)
        if action is Action.INTERRUPT:
            # Noted first: whatever happens at the interruption, the kill comes in its time.
            write_job(instance, dataclasses.replace(job, interrupted=now))
            self.interrupt(instance, job, now - job.started, own)
        elif action is Action.KILL:
            limit, grace = self.limits.job_limit, self.limits.upload_grace
            self.kill(
                instance,
                "job-limit",
                f"job still runs {grace:.0f} s after it was interrupted at {limit:.0f} s",
            )

    def interrupt(self, instance: Instance, job: Job, age: float, own: Sequence[Process]) -> None:
        """SIGINT to the step's processes; the worker lives on, so that uploads can run."""
        steps = processes.descendants(job.worker, own)
        processes.send(steps, signal.SIGINT)
        containers = 0
        if self.settings.docker_mode != "none":
            try:
                containers = docker.daemon(self.settings, instance).signal_all(signal.SIGINT)
            except HostError as error:  # a job may have broken its own daemon; the rest goes on
                LOG.warning("%s: containers not interrupted: %s", instance.name, error)
        report(
            instance,
            "interrupt",
            f"job is {age:.0f} s old, limit {self.limits.job_limit:.0f} s: "
            f"{len(steps)} processes and {containers} containers interrupted, "
            f"{self.limits.upload_grace:.0f} s left for uploads",
        )

    def kill(self, instance: Instance, reason: str, text: str) -> None:
        """SIGKILL to the whole unit; the supervisor then removes containers and strays."""
        # First, and the report afterwards: its file may be on the disk that this job filled.
        system.run("systemctl", "kill", "--kill-who=all", "--signal=SIGKILL", instance.job_unit)
        report(instance, reason, text)

    def guard_host(self, jobs: Sequence[Instance], everything: Sequence[Process]) -> None:
        short = self.shortage(jobs)
        if short is None:
            return
        state = notes.read(self.ended.instance) if self.ended else {}
        now = time.time()
        measure = functools.partial(usage, short.reason, everything)
        found = choose(short.jobs, measure, self.ended, state, now)
        if found is None:
            return
        largest, used = found
        unit = "files" if short.reason == "inodes" else "MiB"
        self.kill(largest, short.reason, f"host has {short.text}; this job uses the most, {used:.0f} {unit}")
        self.ended = Ended(instance=largest, at=now)

    def shortage(self, jobs: Sequence[Instance]) -> Shortage | None:
        if not jobs:
            return None
        with open("/proc/meminfo", encoding="ascii") as file:
            free = processes.memory_available_mib(file.read())
        limit = self.limits.memory_min_mib
        if free < limit:
            text = f"{free:.0f} MiB memory left, limit {limit} MiB"
            return Shortage(reason="memory", text=text, jobs=tuple(jobs))
        # Each runner may have a file system of its own.
        devices = collections.defaultdict(list)
        for instance in jobs:
            devices[os.stat(instance.directory).st_dev].append(instance)
        for there in devices.values():
            directory = there[0].directory
            if found := scarce(os.statvfs(directory), self.limits.disk_min_mib):
                reason, text = found
                return Shortage(reason=reason, text=f"{text} at {directory}", jobs=tuple(there))
        return None


def usage(reason: str, everything: Sequence[Process], instance: Instance) -> float:
    if reason == "memory":
        return memory_used(instance, everything)
    return system.disk_used(instance.directory, inodes=reason == "inodes")


def log_failure(who: str, error: Exception) -> None:
    """One line for what was expected, the place in the program for what was not."""
    LOG.error("%s: watchdog: %s", who, error, exc_info=not isinstance(error, RunnerKitError))


def memory_used(instance: Instance, everything: Sequence[Process]) -> float:
    """MiB of its processes; and, where the kernel counts them, of files in memory that none of them maps."""
    ranges = processes.owner_ranges(instance.uid, instance.user)
    resident = sum(p.rss_mib for p in processes.owned_by(ranges, everything))
    try:
        counted = (SLICES / f"user-{instance.uid}.slice" / "memory.stat").read_text(encoding="ascii")
    except OSError:  # cgroup v1
        return resident
    values = dict(line.split(maxsplit=1) for line in counted.splitlines())
    return max(resident, (int(values["anon"]) + int(values["shmem"])) / 1024 / 1024)


def read_job(instance: Instance) -> Job | None:
    """The known job, unless it was noted before the host's last start."""
    value = system.read_state(instance.job_file)
    if value.pop("boot", None) != processes.boot_id():
        return None
    return Job(**value)


def write_job(instance: Instance, job: Job) -> None:
    value = {**dataclasses.asdict(job), "boot": processes.boot_id()}
    system.write_atomic(instance.job_file, json.dumps(value))


def tell(instance: Instance, job: Job) -> None:
    """The job, whose hook waits for it."""
    word = noted.word(job.worker, job.started)
    if noted.read(instance.noted_file) == word:
        return
    try:
        system.write_atomic(instance.noted_file, word, mode=0o644)
    except OSError as error:  # tried again at the next look
        LOG.warning("%s: the job can't be told that it is noted: %s", instance.name, error)


def report(instance: Instance, reason: str, text: str) -> None:
    """Say why, in the journal and in the instance's own log (one JSON object a line)."""
    LOG.warning("%s: watchdog (%s): %s", instance.name, reason, text)
    line = {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "reason": reason, "text": text}
    try:
        instance.log_dir.mkdir(parents=True, exist_ok=True)
        with open(instance.log_dir / "watchdog.log", "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
    except OSError as error:  # a full disk; the journal has it
        LOG.warning("%s: not in the runner's log: %s", instance.name, error)


def run(settings: Runner, limits: Watchdog) -> None:
    watch = Watch(settings, limits)
    while True:
        started = time.monotonic()
        watch.look()
        watch.rest(started + limits.interval)
