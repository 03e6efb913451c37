from __future__ import annotations

import pytest
from thebes_runner.processes import Process
from thebes_runner.settings import Watchdog
from thebes_runner.watchdog import Action, Job, decide, next_job

LIMITS = Watchdog(interval=1, job_limit=100, upload_grace=20, memory_min_mib=1, disk_min_mib=1)


def worker(pid: int, started: float) -> Process:
    return Process(pid=pid, parent=1, uid=1000, name="Runner.Worker", started=started, rss_mib=1)


@pytest.mark.parametrize(
    ("job", "now", "action"),
    [
        (Job(worker=1, started=50), 149.9, Action.NONE),
        (Job(worker=1, started=50), 150.0, Action.INTERRUPT),
        (Job(worker=1, started=50, interrupted=150), 169.9, Action.NONE),
        (Job(worker=1, started=50, interrupted=150), 170.0, Action.KILL),
    ],
)
def test_the_stages_of_a_job_over_the_limit(job: Job, now: float, action: Action) -> None:
    assert decide(job, now, LIMITS) is action


def test_no_worker_is_no_job() -> None:
    assert next_job(None, None, ephemeral=True) is None


def test_a_job_starts_with_its_worker_not_with_its_discovery() -> None:
    assert next_job(None, worker(7, 12.0), ephemeral=True) == Job(worker=7, started=12.0)


@pytest.mark.parametrize("seen", [None, worker(99, 500.0)], ids=["hidden", "impostor"])
def test_an_ephemeral_job_cannot_make_itself_younger(seen: Process | None) -> None:
    job = Job(worker=7, started=12.0)
    assert next_job(job, seen, ephemeral=True) == job


def test_a_persistent_listener_has_one_job_after_another() -> None:
    job = Job(worker=7, started=12.0, interrupted=112.0)
    assert next_job(job, worker(7, 12.0), ephemeral=False) == job
    assert next_job(job, None, ephemeral=False) is None
    assert next_job(job, worker(8, 500.0), ephemeral=False) == Job(worker=8, started=500.0)
