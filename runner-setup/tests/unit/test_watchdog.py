from __future__ import annotations

import dataclasses
import json
import os
import pwd
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Command
from thebes_runner import docker, noted, processes, settings, watchdog
from thebes_runner.processes import Process
from thebes_runner.settings import Instance, Runner, Watchdog
from thebes_runner.watchdog import Action, Ended, Job, Watch, choose, decide, next_job, scarce

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


def two(folder: Path) -> tuple[Instance, Instance]:
    user = pwd.getpwuid(os.getuid()).pw_name
    a, b = (Instance(name=name, user=user, directory=str(folder)) for name in ("a", "b"))
    return a, b


@pytest.fixture
def pair(tmp_path: Path, runner: Callable[..., Runner], command: Command) -> Runner:
    """Two runners, each with a job whose unit is active until it is killed."""
    made = runner(*two(tmp_path), docker_mode="rootless")
    job = Job(worker=2**22 - 1, started=processes.since_boot() - 50)
    for instance in made.instances:
        watchdog.write_job(instance, job)
    command(
        "systemctl",
        f"""cd {tmp_path}
        for unit; do :; done
        case $1 in
          kill) echo $unit >>killed ;;
          show) grep -qx "$2" killed 2>/dev/null && echo ActiveState=inactive || echo ActiveState=active ;;
        esac""",
    )
    return made


@pytest.mark.parametrize("age", [49.0, 51.0], ids=["of the last listener", "of this listener"])
def test_a_job_of_the_last_listener_is_none_of_this_one(pair: Runner, command: Command, age: float) -> None:
    """It can be noted just after the supervisor had removed it. The job of `pair` is 50 s old."""
    microseconds = round((time.monotonic() - age) * 1e6)
    command("systemctl", f"echo ActiveState=active; echo ExecMainStartTimestampMonotonic={microseconds}")
    (instance, _) = pair.instances
    found = Watch(pair, LIMITS).running(instance, [worker(7, processes.since_boot() - 50.0)])
    assert (found is not None) == (age > 50)
    assert (watchdog.read_job(instance) is not None) == (age > 50)


def test_a_job_is_told_that_it_is_noted_again_if_that_failed(
    pair: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its limit holds all the same."""
    monkeypatch.setattr(noted, "ROOT", os.getuid())
    (a, _) = (dataclasses.replace(i, directory=str(tmp_path / "none")) for i in pair.instances)
    (tmp_path / "none").touch()  # no file can be made there
    watch = Watch(dataclasses.replace(pair, instances=(a,)), LIMITS)
    job = watch.running(a, [])
    assert job is not None
    (tmp_path / "none").unlink()
    watch.running(a, [])
    assert noted.read(a.noted_file) == noted.word(job.worker, job.started)
    assert a.noted_file.stat().st_mode & 0o777 == 0o644


def test_the_rest_ends_with_a_worker_that_was_not_seen(
    tmp_path: Path, runner: Callable[..., Runner], monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch(runner(*two(tmp_path)), LIMITS)
    found = [{1}, {1}, {1, 2}]
    monkeypatch.setattr(processes, "workers", lambda _: found.pop(0))
    watch.seen = {1}
    started = time.monotonic()
    watch.rest(started + 60)
    assert found == []
    assert time.monotonic() - started < 10


def test_many_processes_do_not_keep_the_watchdog_busy(
    tmp_path: Path, runner: Callable[..., Runner], monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch(runner(*two(tmp_path)), LIMITS)
    looks: list[float] = []

    def slowly() -> set[int]:
        time.sleep(0.05)
        looks.append(time.monotonic())
        return set()

    monkeypatch.setattr(watch, "workers", slowly)
    watch.rest(time.monotonic() + 1.0)
    assert len(looks) <= 2  # 0.25 s, then 20 times 0.05 s


def test_only_runners_that_may_get_a_job_are_looked_at(
    tmp_path: Path, runner: Callable[..., Runner], monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = two(tmp_path)
    asked: list[object] = []

    def ask(uids: set[int]) -> set[int]:
        asked.append(uids)
        return set()

    monkeypatch.setattr(processes, "workers", ask)
    gone = Instance(name="gone", user="no-such-user", directory="/none")
    watchdog.write_job(a, Job(worker=1, started=1.0))
    Watch(runner(a, gone), LIMITS).workers()
    Watch(runner(a, b), LIMITS).workers()
    Watch(runner(a, ephemeral=False), LIMITS).workers()
    assert asked == [set(), {os.getuid()}, {os.getuid()}]


def killed(tmp_path: Path) -> list[str]:
    file = tmp_path / "killed"
    return file.read_text().split() if file.exists() else []


def test_a_jobs_daemon_does_not_keep_the_watch_from_anybody(
    pair: Runner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Even a failure that nobody thought of: the interruption is noted by then, so the kill will come."""
    noted = []

    def broken(instance: Instance) -> docker.Docker:
        job = watchdog.read_job(instance)
        noted.append((instance.name, job is not None and job.interrupted is not None))
        raise TypeError("string indices must be integers")

    monkeypatch.setattr(docker, "rootless", broken)
    watch = Watch(pair, dataclasses.replace(LIMITS, job_limit=10, upload_grace=0, memory_min_mib=0))
    watch.look()
    assert noted == [("a", True), ("b", True)]
    watch.look()
    assert killed(tmp_path) == ["thebes-job@a.service", "thebes-job@b.service"]


def test_a_broken_runner_does_not_keep_the_guard_from_its_work(
    pair: Runner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The one whose limit can't be enforced is guarded, too."""
    watch = Watch(pair, dataclasses.replace(LIMITS, memory_min_mib=10**9))
    gone = Instance(name="gone", user="no-such-user", directory="/none")
    watch.settings = dataclasses.replace(pair, instances=(gone, pair.instances[0]))
    monkeypatch.setattr(watch, "enforce", lambda *_: 1 / 0)
    watch.look()
    assert killed(tmp_path) == ["thebes-job@a.service"]


def test_a_full_disk_keeps_no_job_alive(pair: Runner, tmp_path: Path) -> None:
    settings.LOG_DIR.touch()  # the report can't be written
    watch = Watch(pair, dataclasses.replace(LIMITS, job_limit=1000, memory_min_mib=0, disk_min_mib=10**9))
    watch.look()
    assert len(killed(tmp_path)) == 1
    assert watch.ended is not None


def test_the_guard_waits_until_the_ended_job_has_given_back(pair: Runner, tmp_path: Path) -> None:
    watch = Watch(pair, dataclasses.replace(LIMITS, job_limit=1000, memory_min_mib=10**9))
    for _ in range(3):
        watch.look()
    first = killed(tmp_path)
    assert len(first) == 1
    assert watch.ended is not None
    state = watch.ended.instance.state_dir / "state.json"
    state.parent.mkdir(parents=True)
    for phase in ("ended", "cleaning"):
        state.write_text(json.dumps({"phase": phase, "since": time.time() + 1, "ended": time.time() + 1}))
        watch.look()
    assert killed(tmp_path) == first
    state.write_text(json.dumps({"phase": "registering", "since": time.time() + 1}))
    watch.look()
    assert sorted(killed(tmp_path)) == ["thebes-job@a.service", "thebes-job@b.service"]


@pytest.mark.parametrize(
    ("state", "now", "waits"),
    [
        ({}, 1005.0, True),
        ({"phase": "job", "since": 900.0, "ended": 800.0}, 1005.0, True),
        ({"phase": "job", "since": 1000.1, "ended": 800.0}, 1005.0, True),  # noted late
        ({"phase": "ended", "since": 1001.0, "ended": 1001.0}, 1005.0, True),
        ({"phase": "cleaning", "since": 1002.0, "ended": 1001.0}, 1599.0, True),
        ({"phase": "cleaning", "since": 1002.0, "ended": 1001.0}, 1600.0, False),
        ({"phase": "registering", "since": 1003.0}, 1005.0, False),
        ({"phase": "job", "since": 1004.0, "ended": 1001.0}, 1005.0, False),  # the next one already
        ({"phase": "waiting", "since": 1003.0}, 1005.0, False),
    ],
)
def test_of_two_jobs_the_larger_is_ended_and_then_none_for_a_while(
    tmp_path: Path, state: dict[str, object], now: float, waits: bool
) -> None:
    a, b = two(tmp_path)
    measured = []

    def measure(instance: Instance) -> float:
        measured.append(instance.name)
        return {"a": 3.0, "b": 5.0}[instance.name]

    assert choose([a, b], measure, None, {}, now) == (b, 5.0)
    measured.clear()
    last = Ended(instance=b, at=1000.0)
    assert choose([a], measure, last, state, now) == (None if waits else (a, 3.0))
    assert measured == ([] if waits else ["a"])


def test_memory_is_that_of_processes_and_of_files_that_nobody_maps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, _ = two(tmp_path)
    own = [Process(pid=1, parent=0, uid=a.uid, name="x", started=0.0, rss_mib=7.0)]
    monkeypatch.setattr(watchdog, "SLICES", tmp_path)
    assert watchdog.memory_used(a, own) == 7.0
    (tmp_path / f"user-{a.uid}.slice").mkdir()
    (tmp_path / f"user-{a.uid}.slice/memory.stat").write_text("anon 1048576\nfile 99999999\nshmem 9437184\n")
    assert watchdog.memory_used(a, own) == 10.0


def room(free_mib: int, files: int, files_free: int) -> os.statvfs_result:
    blocks = free_mib * 256
    return os.statvfs_result((4096, 4096, 10**7, blocks, blocks, files, files_free, files_free, 0, 255))


@pytest.mark.parametrize(
    ("state", "limit", "found"),
    [
        (room(100, 10**6, 10**5), 100, None),
        (room(99, 10**6, 10**5), 100, ("disk", "99 MiB disk left, limit 100 MiB")),
        (room(100, 10**6, 19_999), 100, ("inodes", "19999 inodes left, limit 20000")),
        (room(100, 10_000, 200), 100, None),  # a small file system
        (room(100, 10_000, 199), 100, ("inodes", "199 inodes left, limit 200")),
        (room(100, 0, 0), 100, None),  # btrfs makes them as they are needed
        (room(0, 10**6, 0), 0, None),  # the guard is off
    ],
)
def test_space_and_inodes_run_out(state: os.statvfs_result, limit: int, found: tuple[str, str] | None) -> None:
    assert scarce(state, limit) == found


def test_each_runner_is_asked_for_its_own_file_system(tmp_path: Path, runner: Callable[..., Runner]) -> None:
    a, b = two(tmp_path)
    b = dataclasses.replace(b, directory="/proc")  # which has no room
    watch = Watch(runner(a, b), dataclasses.replace(LIMITS, memory_min_mib=0))
    short = watch.shortage([a, b])
    assert short is not None
    assert (short.reason, short.jobs) == ("disk", (b,))
    assert short.text == "0 MiB disk left, limit 1 MiB at /proc"
    assert watch.shortage([a]) is None
