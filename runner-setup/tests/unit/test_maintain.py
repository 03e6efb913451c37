from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_github import FakeGitHub
from thebes_runner import docker, github, maintain, system
from thebes_runner import settings as state
from thebes_runner.errors import HostError
from thebes_runner.github import Registration
from thebes_runner.maintain import LogFile, dead, expired
from thebes_runner.settings import GitHub, Instance, Maintenance, Runner

LIMITS = Maintenance(
    reap_prefix="", reap_after_seconds=0, log_max_age_days=1, log_max_mib=10, image_max_age_hours=24, disk_min_mib=1
)  # fmt: skip


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
    assert maintain.prune_logs(tmp_path, LIMITS) == 1
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["a", "watchdog.log"]


def test_a_log_that_vanishes_meanwhile_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").touch()
    os.utime(tmp_path / "here", (0, 0))
    monkeypatch.setattr(os, "walk", lambda *_, **__: [(str(tmp_path), [], ["gone", "here"])])
    assert maintain.prune_logs(tmp_path, LIMITS) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def upkeep(
    runner: Callable[..., Runner], github_settings: Callable[..., GitHub], tmp_path: Path
) -> Callable[..., Runner]:
    def make(**changes: object) -> Runner:
        instances = [Instance(name=name, user="root", directory=str(tmp_path / name)) for name in ("a", "b")]
        for number, instance in enumerate(instances):
            instance.runner_dir.mkdir(parents=True)
            (instance.runner_dir / ".thebes-release").write_text(f"2.{number}.0")
        for name in ("2.0.0", "2.1.0", "2.2.0", "1.9.0", "unpacking"):
            (tmp_path / "releases" / name / "bin").mkdir(parents=True)
        values = {"github": github_settings(installation_id="7"), "version": "2.336.0"}
        install_dir = str(tmp_path / "releases" / "2.2.0")
        return runner(*instances, install_dir=install_dir, **{**values, **changes})

    return make


def test_releases_that_no_runner_uses_are_removed(
    upkeep: Callable[..., Runner], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One has not been cleaned since the update, and goes on with its own. A new one may be about to be used."""
    settings = upkeep()
    every = sorted(p.name for p in (tmp_path / "releases").iterdir())
    maintain.remove_old_releases(settings)
    assert sorted(p.name for p in (tmp_path / "releases").iterdir()) == every
    monkeypatch.setattr(maintain, "RELEASE_SECONDS", -1.0)
    maintain.remove_old_releases(settings)
    assert sorted(p.name for p in (tmp_path / "releases").iterdir()) == ["2.0.0", "2.1.0", "2.2.0"]


@pytest.mark.parametrize(
    ("name", "prefix", "expected"),
    [
        ("ci-a-0123abcd", "ci-", True),
        ("ci-a", "ci-", True),  # a persistent one
        ("ci-gpu-a-0123abcd", "ci-", False),  # of the host ci-gpu
        ("ci-a-b-0123abcd", "ci-", False),  # of the host ci-a
        ("ci-laptop", "ci-", False),
        ("ci-gpu-a-0123abcd", "ci-g", True),  # a prefix that was asked for
        ("cd-a-0123abcd", "ci-g", False),
    ],
)
def test_only_own_registrations_are_reaped(
    upkeep: Callable[..., Runner], name: str, prefix: str, expected: bool
) -> None:
    assert maintain.to_reap(name, upkeep(name_prefix="ci-"), prefix) is expected


@pytest.mark.parametrize(
    ("newest", "published", "days"),
    [
        ("2.336.0", "2020-01-01T00:00:00Z", None),
        ("2.99.0", "2020-01-01T00:00:00Z", None),  # a server of an enterprise offers what it knows
        ("2.1000.0", "2020-01-01T00:00:00Z", (time.time() - 1577836800) / 86400),
        ("2.1000.0", "", 0.0),  # and does not tell since when
    ],
)
def test_the_age_of_a_version_counts_from_the_next_ones_release(
    upkeep: Callable[..., Runner], fake: FakeGitHub, newest: str, published: str, days: float | None
) -> None:
    fake.newest = newest
    fake.published = {newest: published} if published else {}
    settings = upkeep()
    state.STATE_DIR.mkdir()
    client = github.Client(settings.github)
    since = maintain.check_version(settings, client)["outdated_since"]
    if days is None:
        assert since is None
    else:
        assert isinstance(since, float)
        assert (time.time() - since) / 86400 == pytest.approx(days, abs=0.1)
        fake.newest, fake.published = "2.1001.0", {"2.1001.0": "2025-01-01T00:00:00Z"}
        assert maintain.check_version(settings, client)["outdated_since"] == since  # it began with the first


@pytest.mark.parametrize(("room", "hours"), [(1000.0, 24), (0.5, 0)], ids=["room", "low"])
def test_images_go_by_age_and_all_when_the_disk_is_low(
    upkeep: Callable[..., Runner], monkeypatch: pytest.MonkeyPatch, room: float, hours: int
) -> None:
    asked: list[object] = []

    class Daemon:
        def ready(self) -> bool:
            return True

        def prune_images(self, older_than_hours: int) -> None:
            asked.append(older_than_hours)

    monkeypatch.setattr(docker, "daemon", lambda *_: Daemon())
    monkeypatch.setattr(system, "disk_free_mib", lambda _: room)
    settings = upkeep(docker_mode="rootless")
    maintain.prune_images(settings, settings.instances[0], LIMITS)
    assert asked == [hours]


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), HostError("x"), ZeroDivisionError()], ids=repr
)
def test_one_parts_failure_does_not_stop_the_others(
    upkeep: Callable[..., Runner], monkeypatch: pytest.MonkeyPatch, fake: FakeGitHub, error: Exception,
    caplog: pytest.LogCaptureFixture, tmp_path: Path,
) -> None:  # fmt: skip
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(maintain, "prune_logs", fail)
    monkeypatch.setattr(maintain, "reap", fail)
    settings = upkeep()
    monkeypatch.setattr(maintain, "RELEASE_SECONDS", -1.0)
    assert not maintain.run(settings, LIMITS)
    assert not (tmp_path / "releases" / "1.9.0").exists()
    assert "GET /orgs/acme/actions/runners/downloads" in fake.requests
    assert "upkeep of logs: " in caplog.text
    assert ("Traceback" in caplog.text) is isinstance(error, ZeroDivisionError)


def test_a_token_that_is_gone_does_not_stop_the_rest(
    upkeep: Callable[..., Runner], github_settings: Callable[..., GitHub], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(maintain, "RELEASE_SECONDS", -1.0)
    settings = upkeep(github=github_settings(auth="token", token_file="/nowhere"))  # noqa: S106  (a path)
    assert not maintain.run(settings, LIMITS)
    assert not (tmp_path / "releases" / "1.9.0").exists()
