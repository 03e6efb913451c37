from __future__ import annotations

import os
from pathlib import Path

from thebes_runner import maintain
from thebes_runner.github import Registration
from thebes_runner.maintain import LogFile, dead, expired
from thebes_runner.settings import Maintenance


def registration(number: int, status: str = "offline", busy: bool = False) -> Registration:
    return Registration(id=number, name=f"h-{number}", status=status, busy=busy)


def test_only_what_was_offline_twice_is_reaped() -> None:
    listed = [registration(1), registration(2), registration(3, "online"), registration(4, busy=True)]
    reap, waiting = dead(listed, {"1": 100.0, "3": 100.0}, own=set(), now=200.0, patience=50.0)
    assert [r.id for r in reap] == [1]
    assert waiting == {"2": 200.0}  # 3 came back and is forgotten


def test_a_first_sighting_is_remembered_until_patience_ends() -> None:
    reap, waiting = dead([registration(1)], {"1": 190.0}, own=set(), now=200.0, patience=50.0)
    assert (reap, waiting) == ([], {"1": 190.0})


def test_own_registrations_are_never_reaped() -> None:
    reap, waiting = dead([registration(1)], {"1": 0.0}, own={1}, now=200.0, patience=50.0)
    assert (reap, waiting) == ([], {})


def log(name: str, age: float, size: int) -> LogFile:
    return LogFile(path=Path(name), modified=1000 - age, size=size)


def test_old_logs_go_and_then_the_oldest_until_the_sum_fits() -> None:
    files = [log("old", 500, 1), log("a", 1, 40), log("b", 2, 40), log("c", 3, 40), log("d", 4, 10)]
    gone = expired(files, now=1000, max_age=100, max_bytes=100)
    assert {f.path.name for f in gone} == {"old", "c"}


def test_pruning_removes_empty_diagnostic_folders(tmp_path: Path) -> None:
    old = tmp_path / "a" / "diag-20200101T000000"
    old.mkdir(parents=True)
    (old / "Worker_1.log").write_text("x")
    os.utime(old / "Worker_1.log", (0, 0))
    (tmp_path / "a" / "watchdog.log").write_text("recent")
    limits = Maintenance(
        reap_prefix="", reap_after_seconds=0, log_max_age_days=1, log_max_mib=10,
        image_max_age_hours=1, disk_min_mib=1,
    )  # fmt: skip
    assert maintain.prune_logs(tmp_path, limits) == 1
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["a", "watchdog.log"]
