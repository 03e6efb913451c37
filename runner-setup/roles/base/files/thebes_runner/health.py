"""What is going on with each runner of the host, as values: for `health.yml` and for Prometheus."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable
from pathlib import Path

from thebes_runner import docker, notes, processes, settings, system, watchdog
from thebes_runner.errors import SettingsError
from thebes_runner.settings import Instance, Runner

PHASES = (
    "cleaning", "registering", "idle", "job", "ended", "waiting", "drained", "stopped", "unknown",
)  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Health:
    """One instance. Sizes in MiB, times in seconds."""

    instance: str
    phase: str = "unknown"
    phase_seconds: float = 0.0
    runner_name: str = ""
    job_seconds: float = 0.0
    jobs: int = 0
    failures: int = 0
    registrations_lost: int = 0
    watchdog_ends: int = 0
    docker: bool = False
    memory_mib: float = 0.0
    disk_free_mib: float = 0.0
    version: str = ""
    outdated_days: float = 0.0
    last_error: str = ""


def docker_ready(runner: Runner, instance: Instance) -> bool:
    return runner.docker_mode == "none" or docker.daemon(runner, instance).ready()


def watchdog_ends(instance: Instance) -> int:
    log = instance.log_dir / "watchdog.log"
    return len(log.read_text(encoding="utf-8").splitlines()) if log.exists() else 0


def examine(runner: Runner, instance: Instance) -> Health:
    """One that is not made yet, or not quite removed, keeps nobody from asking after the others."""
    try:
        return examined(runner, instance)
    except (SettingsError, OSError) as error:
        return Health(instance=instance.name, last_error=str(error))


def examined(runner: Runner, instance: Instance) -> Health:
    state = notes.read(instance)
    job = watchdog.read_job(instance)
    outdated = system.read_state(settings.STATE_DIR / "version.json").get("outdated_since")
    active = system.unit_active(instance.supervisor_unit)
    phase = str(state.get("phase", "unknown"))
    if not active and phase not in ("drained", "stopped"):
        phase = "unknown"  # the supervisor died without a word
    now = time.time()
    return Health(
        instance=instance.name,
        phase=phase,
        phase_seconds=max(0.0, now - float(state.get("since", now))),
        runner_name=str(state.get("runner_name") or ""),
        job_seconds=processes.since_boot() - job.started if job else 0.0,
        jobs=int(state.get("jobs", 0)),
        failures=int(state.get("failures", 0)),
        registrations_lost=int(state.get("registrations_lost", 0)),
        watchdog_ends=watchdog_ends(instance),
        docker=docker_ready(runner, instance),
        memory_mib=watchdog.memory_used(instance, processes.every()),
        disk_free_mib=system.disk_free_mib(Path(instance.directory)),
        version=str(state.get("version") or runner.version),
        outdated_days=(now - float(outdated)) / 86_400 if outdated else 0.0,
        last_error=str(state.get("last_error", "")) if phase == "waiting" else "",
    )


def prometheus(values: Iterable[Health]) -> str:
    """The text format of Prometheus; every metric with its type and a line of help."""
    values = list(values)
    lines: list[str] = []

    def metric(name: str, kind: str, text: str, samples: Iterable[tuple[str, float]]) -> None:
        lines.extend((f"# HELP thebes_runner_{name} {text}", f"# TYPE thebes_runner_{name} {kind}"))
        lines.extend(f"thebes_runner_{name}{{{labels}}} {value:.10g}" for labels, value in samples)

    def each(field: str) -> list[tuple[str, float]]:
        return [(f'instance_name="{h.instance}"', float(getattr(h, field))) for h in values]

    metric("phase", "gauge", "1 for the phase that the runner is in.", [
        (f'instance_name="{h.instance}",phase="{phase}"', float(h.phase == phase))
        for h in values for phase in PHASES
    ])  # fmt: skip
    metric("phase_seconds", "gauge", "Time in this phase.", each("phase_seconds"))
    metric("job_running", "gauge", "1 while a job runs.", [
        (f'instance_name="{h.instance}"', float(h.phase == "job")) for h in values
    ])  # fmt: skip
    metric("job_age_seconds", "gauge", "Age of the running job, 0 without one.", each("job_seconds"))
    metric("jobs_total", "counter", "Jobs that ran.", each("jobs"))
    metric(
        "failures_total",
        "counter",
        "Times that it could not be cleaned, register or listen.",
        each("failures"),
    )
    metric(
        "registrations_lost_total",
        "counter",
        "Registrations that vanished at GitHub.",
        each("registrations_lost"),
    )
    metric("watchdog_actions_total", "counter", "What the watchdog did to jobs.", each("watchdog_ends"))
    metric("docker_up", "gauge", "1 when the runner's Docker daemon answers.", each("docker"))
    metric("memory_mebibytes", "gauge", "Resident memory of all processes of the runner.", each("memory_mib"))
    metric("disk_free_mebibytes", "gauge", "Free disk where the runner works.", each("disk_free_mib"))
    metric("version_info", "gauge", "The release that the runner runs.", [
        (f'instance_name="{h.instance}",version="{h.version}"', 1.0) for h in values
    ])  # fmt: skip
    metric(
        "outdated_days",
        "gauge",
        "Days since the next release came out; GitHub stops at 30.",
        each("outdated_days"),
    )
    return "\n".join(lines) + "\n"
