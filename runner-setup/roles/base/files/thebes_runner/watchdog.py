"""Ends jobs that run too long, or that eat the host's last memory or disk.

The age of a job is the age of its `Runner.Worker`, read from /proc by root: idle time does not
count, and a job can't make itself younger. Once seen, a job counts until its listener has ended,
so hiding the worker changes nothing. All state is the file job.json of the instance, so a restart
of the watchdog forgets nothing.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import signal
import time
from collections.abc import Sequence
from typing import Any

from thebes_runner import docker, processes, system
from thebes_runner.errors import HostError, RunnerKitError
from thebes_runner.processes import Process
from thebes_runner.settings import Instance, Runner, Watchdog
from thebes_runner.system import LOG


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


def decide(job: Job, now: float, limits: Watchdog) -> Action:
    """What to do about a running job's age."""
    if job.interrupted is not None:
        return Action.KILL if now - job.interrupted >= limits.upload_grace else Action.NONE
    return Action.INTERRUPT if now - job.started >= limits.job_limit else Action.NONE


def boot_id() -> str:
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


class Watch:
    """One look at all instances; `look` is called for ever."""

    def __init__(self, settings: Runner, limits: Watchdog) -> None:
        self.settings = settings
        self.limits = limits

    def look(self) -> None:
        everything = processes.every()
        jobs: list[Instance] = []
        for instance in self.settings.instances:
            try:
                if self.look_at(instance, everything):
                    jobs.append(instance)
            except RunnerKitError as error:
                LOG.error("%s: watchdog: %s", instance.name, error)
        self.guard_host(jobs, everything)

    def look_at(self, instance: Instance, everything: Sequence[Process]) -> bool:
        """Whether a job runs (after what had to be done about it)."""
        own = processes.owned_by([range(instance.uid, instance.uid + 1)], everything)
        worker = processes.oldest_worker(own)
        before = read_job(instance)
        if worker is None and before is None:
            return False
        if not system.unit_active(instance.job_unit):
            return False  # the supervisor cleans up and removes the file
        job = next_job(before, worker, self.settings.ephemeral)
        if job is None:
            job_file(instance).unlink(missing_ok=True)
            return False
        now = processes.since_boot()
        action = decide(job, now, self.limits)
        if action is Action.INTERRUPT:
            self.interrupt(instance, job, now - job.started, own)
            job = dataclasses.replace(job, interrupted=now)
        if job != before:
            write_job(instance, job)
        if action is Action.KILL:
            limit, grace = self.limits.job_limit, self.limits.upload_grace
            self.kill(
                instance,
                "job-limit",
                f"job still runs {grace:.0f} s after it was interrupted at {limit:.0f} s",
            )
        return True

    def interrupt(self, instance: Instance, job: Job, age: float, own: Sequence[Process]) -> None:
        """SIGINT to the step's processes; the worker lives on, so that uploads can run."""
        steps = processes.descendants(job.worker, own)
        processes.send(steps, signal.SIGINT)
        containers = 0
        if self.settings.docker_mode == "rootless":
            try:
                containers = docker.rootless(instance).interrupt()
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
        report(instance, reason, text)
        system.run("systemctl", "kill", "--kill-who=all", "--signal=SIGKILL", instance.job_unit)

    def guard_host(self, jobs: Sequence[Instance], everything: Sequence[Process]) -> None:
        if not jobs:
            return
        with open("/proc/meminfo", encoding="ascii") as file:
            free = processes.memory_available_mib(file.read())
        if free < self.limits.memory_min_mib:
            largest = max(jobs, key=lambda i: memory_used(i, everything))
            used = memory_used(largest, everything)
            self.kill(
                largest,
                "memory",
                f"host has {free:.0f} MiB memory left, limit {self.limits.memory_min_mib} MiB; "
                f"this job uses the most, {used:.0f} MiB",
            )
            return
        free = system.disk_free_mib(jobs[0].directory)
        if free < self.limits.disk_min_mib:
            sizes = {instance.name: system.disk_used_mib(instance.directory) for instance in jobs}
            largest = max(jobs, key=lambda i: sizes[i.name])
            self.kill(
                largest,
                "disk",
                f"host has {free:.0f} MiB disk left, limit {self.limits.disk_min_mib} MiB; "
                f"this job uses the most, {sizes[largest.name]:.0f} MiB",
            )


def memory_used(instance: Instance, everything: Sequence[Process]) -> float:
    ranges = processes.owner_ranges(instance.uid, instance.user)
    return sum(p.rss_mib for p in processes.owned_by(ranges, everything))


def job_file(instance: Instance) -> Any:
    return instance.run_dir / "job.json"


def read_job(instance: Instance) -> Job | None:
    """The known job, unless it was noted before the host's last start."""
    value = system.read_state(job_file(instance))
    if value.pop("boot", None) != boot_id():
        return None
    return Job(**value)


def write_job(instance: Instance, job: Job) -> None:
    value = {**dataclasses.asdict(job), "boot": boot_id()}
    system.write_atomic(job_file(instance), json.dumps(value))


def report(instance: Instance, reason: str, text: str) -> None:
    """Say why, in the journal and in the instance's own log (one JSON object a line)."""
    LOG.warning("%s: watchdog (%s): %s", instance.name, reason, text)
    instance.log_dir.mkdir(parents=True, exist_ok=True)
    line = {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "reason": reason, "text": text}
    with open(instance.log_dir / "watchdog.log", "a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def run(settings: Runner, limits: Watchdog) -> None:
    watch = Watch(settings, limits)
    while True:
        started = time.monotonic()
        watch.look()
        time.sleep(max(0.0, limits.interval - (time.monotonic() - started)))
