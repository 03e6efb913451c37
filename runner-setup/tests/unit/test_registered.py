"""Settings that change behind a registration: another place, other labels, another release."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Command, GitHubs, deregister, make_busy
from fake_github import FakeGitHub, Fault
from thebes_runner import cli, health, registered, supervise
from thebes_runner.errors import GitHubError, HostError, RunnerKitError, SettingsError
from thebes_runner.registered import terms
from thebes_runner.settings import Instance
from thebes_runner.supervise import PATIENT_FAILURES, Outcome, Supervisor

Make = Callable[..., Supervisor]
Calls = Callable[[], list[str]]
STOP = "systemctl stop thebes-job@a.service"


@pytest.fixture
def before(make: Make, github_settings: GitHubs, fake: FakeGitHub) -> Callable[..., int]:
    """A runner that was registered with these settings; its id."""

    def register(busy: bool = False, **changes: Any) -> int:
        supervisor = make(name_prefix="h-", **changes)
        hub = supervisor.settings.github
        scope = {"organization": "orgs", "repository": "repos"}[hub.scope]
        runner_id = make_busy(fake) if busy else fake.add("orgs/acme", "h-a-1", [], 1, True).id
        runner = fake.runners[runner_id]
        runner.scope, runner.name = f"{scope}/{hub.target}", "h-a"
        supervisor.note_registration(runner_id=runner_id, runner_name="h-a", terms=terms(supervisor.settings))
        return runner_id

    return register


def elsewhere(github_settings: GitHubs, **changes: object) -> dict[str, Any]:
    hub = github_settings(scope="repository", target="acme/product", installation_id="7", **changes)
    return {"github": hub, "name_prefix": "h-"}


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (SettingsError("no key"), True),
        (GitHubError("not here", 404), True),
        (GitHubError("not allowed", 403), True),
        (GitHubError("too many requests", 403, 60.0), False),
        (GitHubError("down", 500), False),
        (GitHubError("no answer"), False),
    ],
    ids=str,
)
def test_credentials_that_will_never_do_are_told_from_what_passes(error: RunnerKitError, expected: bool) -> None:
    assert registered.refused(error) is expected


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
def test_a_registration_is_ended_where_it_was_made(
    make: Make,
    before: Callable[..., int],
    calls: Calls,
    fake: FakeGitHub,
    github_settings: GitHubs,
    busy: bool,
) -> None:
    """site.yml has another target. There, the old id is not known, and a job that has just come would be lost."""
    runner = before(busy)
    supervisor = make(**elsewhere(github_settings))
    supervisor.check_registration()
    assert (calls(), supervisor.state["runner_id"]) == ([], runner)
    assert supervisor.stop_idle_listener() is not busy
    assert calls() == ([] if busy else [STOP])
    assert (runner in fake.runners) is busy
    assert "GET /orgs/acme/actions/runners" in fake.requests


@pytest.mark.parametrize("auth", ["app", "token"])
def test_a_registration_that_the_credentials_do_not_reach_is_named_and_left(
    make: Make, before: Callable[..., int], calls: Calls, wiped: list[str], fake: FakeGitHub,
    github_settings: GitHubs, auth: str, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    runner = before(github=github_settings(target="sold", auth=auth))
    if auth == "token":
        fake.faults = [Fault("/orgs/sold/", status=404, count=9)]
    make(**elsewhere(github_settings, auth=auth)).prepare()
    assert f"the registration h-a (id {runner}) is left at sold: " in caplog.text
    assert caplog.messages[0].endswith("delete it there under Settings, Actions, Runners")
    assert runner in fake.runners
    make(**elsewhere(github_settings, auth=auth)).prepare()  # no word about it any more
    assert caplog.text.count("is left at") == 1


def test_a_github_that_is_down_is_asked_again(
    make: Make, before: Callable[..., int], wiped: list[str], fake: FakeGitHub, github_settings: GitHubs
) -> None:
    runner = before()
    fake.faults = [Fault("/orgs/acme/", status=500)]
    supervisor = make(**elsewhere(github_settings))
    with pytest.raises(GitHubError, match="500"):
        supervisor.prepare()
    assert supervisor.state["runner_id"] == runner


def test_a_place_that_is_no_more_is_given_up_in_the_end(
    make: Make, before: Callable[..., int], wiped: list[str], calls: Calls, github_settings: GitHubs,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    runner = before(github=github_settings(url="http://127.0.0.1:9"))
    supervisor = make()
    with pytest.raises(GitHubError, match="got no answer"):
        supervisor.prepare()
    supervisor.failures = PATIENT_FAILURES
    supervisor.prepare()
    assert f"(id {runner}) is left at acme: " in caplog.text
    assert not supervisor.registered.known


@pytest.mark.parametrize("gone", [True, False])
def test_a_persistent_listener_that_ends_at_once_has_its_registration_looked_for(
    make: Make, fake: FakeGitHub, calls: Calls, instance: Instance, monkeypatch: pytest.MonkeyPatch,
    gone: bool,
) -> None:  # fmt: skip
    """Where it is gone the real one ends before anybody could have asked GitHub."""
    supervisor = make(ephemeral=False)
    number = 999 if gone else fake.add("orgs/acme", "h-a", [], 1, False).id
    supervisor.note("idle", runner_id=number, runner_name="h-a")
    (instance.runner_dir / ".runner").touch()
    for step in ("prepare", "register", "listen"):
        monkeypatch.setattr(supervisor, step, lambda: None)
    monkeypatch.setattr(supervisor, "finish", lambda: (Outcome(result="exit-code", code=1), False))
    with pytest.raises(HostError, match="listener exit 1"):
        supervisor.cycle()
    assert (instance.runner_dir / ".runner").exists() is not gone


def test_an_unreachable_place_does_not_keep_an_idle_listener_but_a_worker_does(
    make: Make, before: Callable[..., int], calls: Calls, github_settings: GitHubs, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    before(github=github_settings(target="sold"))
    supervisor = make(**elsewhere(github_settings))
    monkeypatch.setattr(supervisor, "worker_runs", lambda: True)
    assert not supervisor.stop_idle_listener()
    monkeypatch.setattr(supervisor, "worker_runs", lambda: False)
    assert supervisor.stop_idle_listener()
    assert calls() == [STOP]


def test_removal_names_what_is_left_elsewhere_once(
    remove: Callable[..., int], before: Callable[..., int], github_settings: GitHubs,
    capsys: pytest.CaptureFixture[str], fake: FakeGitHub,
) -> None:  # fmt: skip
    old = before(github=github_settings(target="sold"))
    assert remove(old, **elsewhere(github_settings)) == cli.LEFT
    assert f"(id {old}) is left at sold: " in capsys.readouterr().err
    assert cli.main() == 0  # whoever has deleted it by hand can go on


def test_a_controller_learns_where_to_deregister(
    make: Make, fake: FakeGitHub, github_settings: GitHubs, app_key: Path
) -> None:
    runner = fake.add("orgs/acme", "h-a-1", [], 1, True)
    supervisor = make(github=github_settings(auth="none"))
    made = {"runner_id": runner.id, "name": "h-a-1", "url": fake.public_url, "scope": "organization"}
    supervisor.instance.prepared_file.parent.mkdir(parents=True)
    supervisor.instance.prepared_file.write_text(json.dumps({**made, "target": "acme", "jit_config": "x"}))
    supervisor.register()
    moved = make(github=github_settings(auth="none", scope="repository", target="acme/product"))
    assert moved.known_registrations() == [{**made, "target": "acme"}]
    hub = github_settings(scope="repository", target="acme/product")
    assert deregister(hub, app_key, runner.id).returncode == 0
    assert runner.id in fake.runners  # not there
    done = deregister(hub, app_key, runner.id, scope="organization", target="acme")
    assert (done.returncode, done.stderr, fake.runners) == (0, "", {})


# --- persistent runners ----------------------------------------------------------------------


@pytest.fixture
def lasting(instance: Instance) -> Instance:
    for name in (".runner", ".credentials"):
        (instance.runner_dir / name).touch()
    return instance


def configured(instance: Instance) -> bool:
    return (instance.runner_dir / ".runner").exists()


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
def test_a_persistent_runner_takes_an_update_when_it_is_idle(
    make: Make, before: Callable[..., int], calls: Calls, fake: FakeGitHub, lasting: Instance, busy: bool
) -> None:
    """A new release, or another environment: it listens anew, on the registration that it has."""
    runner = before(busy, ephemeral=False)
    supervisor = make(ephemeral=False, name_prefix="h-")
    assert supervisor.stop_idle_listener() is not busy
    assert calls() == ([] if busy else [STOP])
    assert runner in fake.runners
    assert configured(lasting)


@pytest.mark.parametrize(
    "change", [{"labels": ("new",)}, {"group": "Default"}, {"scope": "repository", "target": "acme/product"}],
    ids=["labels", "group", "target"],
)  # fmt: skip
def test_a_persistent_runner_is_registered_anew_with_other_terms(
    make: Make, before: Callable[..., int], calls: Calls, fake: FakeGitHub, lasting: Instance,
    github_settings: GitHubs, change: dict[str, Any],
) -> None:  # fmt: skip
    runner = before(ephemeral=False)
    labels = {key: change.pop(key) for key in list(change) if key == "labels"}
    hub = github_settings(installation_id="7", **change)
    supervisor = make(ephemeral=False, name_prefix="h-", github=hub, **labels)
    assert supervisor.stop_idle_listener()
    assert runner not in fake.runners
    assert not configured(lasting)
    supervisor.register()
    assert "ACTIONS_RUNNER_INPUT_TOKEN=" in (lasting.run_dir / "listener.env").read_text()
    assert not supervisor.registered.outdated


def test_a_change_while_no_listener_ran_is_noticed_as_well(
    make: Make,
    before: Callable[..., int],
    wiped: list[str],
    fake: FakeGitHub,
    lasting: Instance,
    calls: Calls,
) -> None:
    runner = before(ephemeral=False)
    make(ephemeral=False, name_prefix="h-").prepare()
    assert (runner in fake.runners, configured(lasting)) == (True, True)
    make(ephemeral=False, name_prefix="h-", labels=("new",)).prepare()
    assert (runner in fake.runners, configured(lasting)) == (False, False)


def test_a_registration_of_an_older_kit_gets_the_terms_of_today(make: Make, lasting: Instance) -> None:
    make().note("idle", runner_name="h-a")
    make(ephemeral=False, name_prefix="h-").register()
    assert make(ephemeral=False, name_prefix="h-", labels=("new",)).registered.outdated


def test_a_persistent_listener_that_was_adopted_with_a_job_is_renewed_after_it(
    make: Make, before: Callable[..., int], fake: FakeGitHub, lasting: Instance, command: Command,
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:  # fmt: skip
    runner = before(ephemeral=False, busy=True)
    supervisor = make(ephemeral=False, name_prefix="h-", blocked_addresses=())
    monkeypatch.setattr(supervise, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(supervise, "ASK_AGAIN_SECONDS", 0.05)
    lasting.job_file.touch()
    looks: list[int] = []

    def job_started() -> bool:
        looks.append(len(looks))
        if len(looks) == 5:
            lasting.job_file.unlink()
        if len(looks) == 10:  # GitHub knows a moment later
            fake.runners[runner].job = ""
        return lasting.job_file.exists()

    monkeypatch.setattr(supervisor, "job_started", job_started)
    with subprocess.Popen(["sleep", "60"]) as listener:
        command(
            "systemctl",
            f'[ "$1" != stop ] || {{ echo >{tmp_path}/stopped; kill {listener.pid}; }};'
            f"printf 'ActiveState=active\\nMainPID={listener.pid}\\nResult=success\\nExecMainStatus=0\\n'",
        )
        supervisor.adopt()
    assert (tmp_path / "stopped").exists()
    assert len(looks) >= 10
    assert runner in fake.runners


def test_health_tells_the_release_that_runs(make: Make, command: Command, instance: Instance) -> None:
    command("systemctl", "echo ActiveState=inactive")
    supervisor = make(version="2.1.0", registration_check_seconds=60)
    supervisor.listen()
    supervisor.note("idle")
    newer = make(version="2.2.0").settings
    assert health.examine(newer, instance).version == "2.1.0"
