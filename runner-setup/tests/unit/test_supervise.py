"""The supervisor against full disks, odd files and a GitHub that does not answer; removal for good."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Command, GitHubs, deregister, make_busy
from fake_github import FakeGitHub, Fault
from thebes_runner import cli, docker, firewall, maintain, settings, system
from thebes_runner.errors import GitHubError, HostError, SettingsError
from thebes_runner.github import Registration
from thebes_runner.registered import terms
from thebes_runner.settings import Instance
from thebes_runner.supervise import (
    ENDINGS,
    SILENT_CHECKS,
    Reloaded,
    Stopped,
    Supervisor,
    raise_reloaded,
    raise_stopped,
)


def test_a_full_disk_does_not_keep_the_cleaning_that_makes_room(
    make: Callable[..., Supervisor], wiped: list[str], calls: Callable[[], list[str]]
) -> None:
    supervisor = make()
    settings.STATE_DIR.touch()  # no folder can be made there
    supervisor.prepare()
    assert wiped == ["a"]
    settings.STATE_DIR.unlink()
    supervisor.note("cleaning")  # nothing is new but that it can be written
    assert json.loads(supervisor.instance.state_file.read_text())["phase"] == "cleaning"


def test_a_full_disk_does_not_make_the_live_registration_another(
    make: Callable[..., Supervisor], fake: FakeGitHub, calls: Callable[[], list[str]], instance: Instance
) -> None:
    """The supervisor starts anew, and what is on disk is of the last runner. A job has just come to this one."""
    make().note("ended", runner_id=4711, runner_name="h-a-4711")
    busy = make_busy(fake)
    settings.STATE_DIR.rename(settings.STATE_DIR.with_name("full"))
    settings.STATE_DIR.touch()
    make().note("idle", runner_id=busy, runner_name="h-a-1")
    settings.STATE_DIR.unlink()
    settings.STATE_DIR.with_name("full").rename(settings.STATE_DIR)
    supervisor = make()
    assert maintain.own_ids(supervisor.settings) == {busy}  # nor does the reaper take it for another's
    supervisor.stop_idle_listener()
    assert (calls(), busy in fake.runners) == ([], True)


def test_a_registration_that_is_not_known_ends_no_listener(
    make: Callable[..., Supervisor], fake: FakeGitHub, calls: Callable[[], list[str]], instance: Instance
) -> None:
    """What is on disk may be an old one's."""
    make().note("idle", runner_id=4711, runner_name="h-a-4711")
    instance.live_state_file.write_text("{")
    supervisor = make()
    supervisor.stop_idle_listener()
    supervisor.check_registration()
    assert (calls(), fake.requests) == ([], [])


def test_nothing_is_registered_that_cannot_be_noted(make: Callable[..., Supervisor], fake: FakeGitHub) -> None:
    settings.RUN_DIR.touch()  # no folder can be made there
    with pytest.raises(OSError, match=r"run"):
        make(name_prefix="h-").register()
    assert fake.runners == {}


def test_a_registration_whose_answer_was_lost_is_found_by_its_name(
    make: Callable[..., Supervisor], fake: FakeGitHub, wiped: list[str], monkeypatch: pytest.MonkeyPatch,
    calls: Callable[[], list[str]],
) -> None:  # fmt: skip
    supervisor = make(name_prefix="h-")
    mint = supervisor.client.mint

    def lost(*arguments: Any) -> None:
        mint(*arguments)
        raise GitHubError("got no answer")

    monkeypatch.setattr(supervisor.client, "mint", lost)
    with pytest.raises(GitHubError):
        supervisor.register()
    assert len(fake.runners) == 1
    make().prepare()
    assert fake.runners == {}


PUBLIC = {"organization": {"group_public": True}, "repository": {"private": False}}


@pytest.mark.parametrize("ephemeral", [True, False], ids=["ephemeral", "persistent"])
@pytest.mark.parametrize(("scope", "target"), [("organization", "acme"), ("repository", "acme/product")])
def test_nothing_is_registered_where_the_public_can_run_code(
    make: Callable[..., Supervisor], fake: FakeGitHub, github_settings: GitHubs, app_key: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], scope: str, target: str, ephemeral: bool,
) -> None:  # fmt: skip
    """Unless told otherwise; a controller neither."""
    fake.control("/_control/set", PUBLIC[scope])
    refusal = "anyone could run code here. Close it, or set runner_allow_public"
    for allowed in (False, True):
        hub = github_settings(scope=scope, target=target, allow_public=allowed)
        given = json.dumps({"github": dataclasses.asdict(hub), "secret": app_key.read_text()})
        monkeypatch.setattr("sys.stdin", io.StringIO(given))
        monkeypatch.setattr("sys.argv", ["thebes-runner", "mint", "a", "--prefix=h-", "--labels=local"])
        with contextlib.nullcontext() if allowed else pytest.raises(SettingsError, match=refusal):
            make(github=hub, ephemeral=ephemeral).register()
        assert (cli.main() == 0) is allowed
        assert bool(fake.runners) is allowed
        assert (refusal in capsys.readouterr().err) is not allowed


@pytest.fixture
def handlers() -> Iterator[None]:
    """The signal handlers of this process, which a supervisor takes for its own."""
    before = {number: signal.getsignal(number) for number in ENDINGS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers", "calls")
def test_an_error_of_the_system_is_waited_out(
    make: Callable[..., Supervisor], wiped: list[str], instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a crash: systemd would start it anew each second, and nobody would see why."""
    supervisor = make(backoff_seconds=3600.0, backoff_max_seconds=3600.0)

    def cycle() -> None:
        instance.drain_file.parent.mkdir(parents=True)
        instance.drain_file.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(supervisor, "cycle", cycle)
    supervisor.run()
    state = json.loads(instance.state_file.read_text())
    assert state["phase"] == "drained"
    assert "No space left" in state["last_error"]
    assert wiped == ["a"]


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize(("number", "ending"), [(signal.SIGTERM, Stopped), (signal.SIGHUP, Reloaded)])
def test_a_signal_is_heeded_whatever_it_interrupts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, ending: type[BaseException]
) -> None:
    """In a question to Docker, whose every failure is caught; and right after a file's last step."""

    def interrupt(*_: object) -> None:
        signal.raise_signal(number)

    def replace(before: str, after: Path) -> None:
        Path(before).rename(after)
        interrupt()

    signal.signal(signal.SIGTERM, raise_stopped)
    signal.signal(signal.SIGHUP, raise_reloaded)
    monkeypatch.setattr(docker.UnixConnection, "connect", interrupt)
    with pytest.raises(ending):
        docker.Docker(tmp_path / "socket", []).ready()
    monkeypatch.setattr(os, "replace", replace)
    signal.signal(signal.SIGTERM, raise_stopped)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDINGS)
    with pytest.raises(ending):
        system.write_atomic(tmp_path / "file", "text")
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDINGS)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.usefixtures("handlers", "calls")
@pytest.mark.parametrize(("phase", "noted"), [("idle", "cleaning"), ("job", "job")])
def test_a_new_program_takes_no_old_proxy_and_no_idle_listener(
    make: Callable[..., Supervisor], monkeypatch: pytest.MonkeyPatch, phase: str, noted: str
) -> None:
    taken: list[dict[str, str]] = []
    supervisor = make()
    supervisor.note(phase)
    monkeypatch.setenv("https_proxy", "http://old.test:1")
    monkeypatch.setenv("LANG", "C.UTF-8")
    monkeypatch.setattr(os, "execve", lambda _program, _arguments, environment: taken.append(environment))
    monkeypatch.setattr(supervisor, "cycle", lambda: signal.raise_signal(signal.SIGHUP))
    supervisor.run()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDINGS)
    assert taken[0]["LANG"] == "C.UTF-8"
    assert "https_proxy" not in taken[0]
    assert json.loads(supervisor.instance.state_file.read_text())["phase"] == noted


def test_a_lasting_registration_that_does_not_work_is_made_anew(
    make: Callable[..., Supervisor], fake: FakeGitHub, instance: Instance, monkeypatch: pytest.MonkeyPatch,
    command: Command,
) -> None:  # fmt: skip
    """A job may delete or break what the listener signs in with."""
    command("systemctl", '[ "$1" != show ] || printf "Result=exit-code\\nExecMainStatus=1\\n"')
    runner = fake.add("orgs/acme", "h-a", [], 1, False)
    supervisor = make(ephemeral=False, name_prefix="h-")
    supervisor.note("idle", runner_id=runner.id, runner_name="h-a", terms=terms(supervisor.settings))
    (instance.runner_dir / ".runner").touch()
    for name in ("prepare", "listen"):
        monkeypatch.setattr(supervisor, name, lambda: None)
    supervisor.failures = 10  # of Docker or GitHub: they are no reason
    for there in (True, True, False):
        with pytest.raises(HostError, match=r"exit 1"):
            supervisor.cycle()
        assert (runner.id in fake.runners, (instance.runner_dir / ".runner").exists()) == (there, there)


def test_a_listener_that_is_being_ended_is_not_idle(
    make: Callable[..., Supervisor], instance: Instance, command: Command, tmp_path: Path
) -> None:
    """A controller that looks meanwhile would hand no new configuration over."""
    command("systemctl", f"cp {instance.live_state_file} {tmp_path}/seen")
    supervisor = make()
    supervisor.note("idle")
    supervisor.stop_listener()
    assert json.loads((tmp_path / "seen").read_text())["phase"] == "cleaning"


def test_a_table_that_vanished_is_loaded_again(
    make: Callable[..., Supervisor], wiped: list[str], calls: Callable[[], list[str]], tmp_path: Path
) -> None:
    make().prepare()
    assert calls() == ["nft list table inet thebes_runner", "nft -f -"]
    assert "169.254.0.0/16 counter reject" in (tmp_path / "calls.nft").read_text()


def test_a_table_that_is_there_costs_one_call(
    make: Callable[..., Supervisor], calls: Callable[[], list[str]], command: Command, tmp_path: Path
) -> None:
    command("nft", f'echo "$@" >>{tmp_path}/calls')
    firewall.ensure(make().settings)
    firewall.ensure(make(blocked_addresses=()).settings)  # nothing is to be blocked
    assert calls() == ["list table inet thebes_runner"]


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
def test_a_flush_while_a_listener_runs_is_noticed(
    make: Callable[..., Supervisor], calls: Callable[[], list[str]], command: Command, fake: FakeGitHub,
    busy: bool,
) -> None:  # fmt: skip
    """Without the rules no listener waits for a job; one that has just got its job, as GitHub says, goes on."""
    supervisor = make()
    supervisor.check_firewall(busy=False)
    assert calls() == ["nft list table inet thebes_runner", "nft -f -"]
    command("nft", "echo Operation not permitted >&2; exit 1")
    runner_id = make_busy(fake) if busy else fake.add("orgs/acme", "h-a-1", [], 1, True).id
    supervisor.note("idle", runner_id=runner_id, runner_name="h-a-1")
    supervisor.check_firewall(busy=True)
    with contextlib.nullcontext() if busy else pytest.raises(HostError, match=r"not permitted"):
        supervisor.check_firewall(busy=False)
    assert calls()[2:] == ([] if busy else ["systemctl stop thebes-job@a.service"])


@pytest.mark.parametrize("text", ["echo Operation not permitted >&2; exit 1", None], ids=["refused", "no nft"])
def test_no_job_runs_without_the_table(
    make: Callable[..., Supervisor], wiped: list[str], command: Command, text: str | None,
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:  # fmt: skip
    if text is None:
        monkeypatch.setenv("PATH", str(tmp_path / "none"))
    else:
        command("nft", text)
    with pytest.raises(HostError, match=r"nft refuses the rules|can't be loaded"):
        make().prepare()
    assert wiped == ["a"]


def test_folders_in_the_place_of_files_are_cleaned_between_jobs(
    make: Callable[..., Supervisor], instance: Instance
) -> None:
    for name in ("clean-request", "_work", ".runner", ".credentials"):
        (instance.runner_dir / name / "deep").mkdir(parents=True)
    supervisor = make(ephemeral=False)
    supervisor.clean_between_jobs()
    assert sorted(p.name for p in instance.runner_dir.iterdir()) == [".credentials", ".runner"]
    supervisor.registered.forget()
    assert list(instance.runner_dir.iterdir()) == []


def test_what_cannot_be_cleaned_gets_no_next_job(
    make: Callable[..., Supervisor], instance: Instance, calls: Callable[[], list[str]], command: Command
) -> None:
    (instance.runner_dir / "clean-request").touch()
    (instance.runner_dir / "_work").mkdir()
    command("rm", "exit 1")
    supervisor = make(ephemeral=False)
    supervisor.clean_between_jobs()
    assert calls() == ["systemctl stop thebes-job@a.service"]
    assert supervisor.stopping


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
def test_a_listener_that_github_does_not_hear_is_ended(
    make: Callable[..., Supervisor], calls: Callable[[], list[str]], fake: FakeGitHub, busy: bool,
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    """After several checks in a row, and not while GitHub still counts on its job."""
    supervisor = make()
    runner = fake.add("orgs/acme", "h-a-1", [], 1, True)
    supervisor.note("idle", runner_id=runner.id, runner_name=runner.name)
    for seen in (0.0, time.time(), *[0.0] * (SILENT_CHECKS - 1)):
        runner.last_seen = seen
        supervisor.check_registration()
    assert (calls(), supervisor.stopping) == ([], False)
    if busy:
        fake.faults = [Fault(rf"/actions/runners/{runner.id}", status=422)]
        offline = Registration(id=runner.id, name=runner.name, status="offline", busy=True)
        monkeypatch.setattr(supervisor.client, "find", lambda _: offline)
    supervisor.check_registration()
    assert calls() == ([] if busy else ["systemctl stop thebes-job@a.service"])
    assert (runner.id in fake.runners) is busy
    assert ("ended it" in caplog.text) is not busy


def test_a_lost_registration_is_noticed_and_an_unanswered_question_ends_nothing(
    make: Callable[..., Supervisor], calls: Callable[[], list[str]], fake: FakeGitHub
) -> None:
    supervisor = make()
    supervisor.note("idle", runner_id=7, runner_name="h-a-7")
    fake.faults = [Fault(r"/actions/runners/\d+", status=500)]
    supervisor.check_registration()
    assert calls() == []
    supervisor.check_registration()
    assert calls() == ["systemctl stop thebes-job@a.service"]
    assert (supervisor.state["registrations_lost"], supervisor.state["runner_id"]) == (1, None)


def test_a_limit_of_requests_is_waited_out_by_the_checks(
    make: Callable[..., Supervisor], calls: Callable[[], list[str]], fake: FakeGitHub
) -> None:
    supervisor = make(registration_check_seconds=60)
    supervisor.note("idle", runner_id=7, runner_name="h-a-7")
    supervisor.schedule_check()
    assert 59 < supervisor.next_check - time.monotonic() < 67
    fake.faults = [Fault(r"/actions/runners/\d+", status=429, headers={"Retry-After": "900"})]
    supervisor.check_registration()
    assert 899 < supervisor.next_check - time.monotonic() < 991
    assert calls() == []


def test_a_listener_that_github_would_not_let_go_is_asked_about_again_when_it_wants_to_be_asked(
    make: Callable[..., Supervisor], calls: Callable[[], list[str]], fake: FakeGitHub
) -> None:
    supervisor = make()
    supervisor.note("idle", runner_id=7, runner_name="h-a-7")
    fake.faults = [Fault(r"/actions/runners/\d+", status=429, headers={"Retry-After": "900"})]
    assert not supervisor.stop_idle_listener()
    assert 890 < supervisor.ask_again - time.monotonic() <= 900
    assert calls() == []


def test_jobs_are_counted_once_each_also_those_of_a_lasting_listener(
    make: Callable[..., Supervisor], command: Command
) -> None:
    command("systemctl", 'printf "Result=success\\nExecMainStatus=0\\n"')
    supervisor = make(ephemeral=False)
    file = supervisor.instance.job_file
    file.parent.mkdir(parents=True)
    for worker, started in ((7, 1.0), (7, 1.0), (8, 2.0), (7, 3.0)):
        file.write_text(json.dumps({"worker": worker, "started": started, "interrupted": None}))
        supervisor.count_job()
    assert supervisor.state["jobs"] == 3
    supervisor.note("job")
    adopted = make(ephemeral=False)
    assert adopted.finish()[1]
    assert adopted.state["jobs"] == 3
    # One that was refused: the worker has ended, and the watchdog removed its file, before the listener ended.
    adopted.listen()
    file.write_text(json.dumps({"worker": 9, "started": 4.0, "interrupted": None}))
    adopted.count_job()
    file.unlink()
    assert adopted.finish()[1]
    adopted.listen()
    assert not adopted.finish()[1]
    assert adopted.state["jobs"] == 4


@pytest.mark.parametrize("logged", [False, True])
def test_a_listener_that_ends_well_without_a_job_has_lost_its_registration(
    make: Callable[..., Supervisor], monkeypatch: pytest.MonkeyPatch, command: Command, instance: Instance, logged: bool
) -> None:
    """GitHub's does so. A job that ended before the watchdog saw it has left the log of its worker."""
    command("systemctl", '[ "$1" != show ] || printf "Result=success\\nExecMainStatus=0\\n"')
    supervisor = make()
    for name in ("prepare", "register", "listen"):
        monkeypatch.setattr(supervisor, name, lambda: None)
    supervisor.note("idle", runner_id=7, runner_name="h-a-7")
    if logged:
        (instance.runner_dir / "_diag").mkdir()
        (instance.runner_dir / "_diag/Worker_20261129-101500-utc.log").touch()
    with contextlib.nullcontext() if logged else pytest.raises(HostError, match=r"without a job"):
        supervisor.cycle()
    assert [supervisor.state.get(key, 0) for key in ("jobs", "registrations_lost")] == ([1, 0] if logged else [0, 1])


def test_a_host_without_credentials_waits_with_its_docker_for_a_configuration(
    make: Callable[..., Supervisor], monkeypatch: pytest.MonkeyPatch, github_settings: GitHubs, instance: Instance
) -> None:
    supervisor = make(github=github_settings(auth="none"))
    pauses: list[str] = []

    def pause(_: float) -> None:
        pauses.append(json.loads(instance.state_file.read_text())["last_error"])
        if len(pauses) == 3:
            supervisor.instance.prepared_file.touch()

    monkeypatch.setattr(time, "sleep", pause)
    monkeypatch.setattr(supervisor, "prepare", lambda: None)
    supervisor.cycle()  # nothing is registered or started: the checks before a job come again
    assert pauses == ["no one-time configuration: run site.yml from the controller"] * 3
    assert not supervisor.await_configuration()
    instance.prepared_file.unlink()
    instance.drain_file.touch()
    supervisor.cycle()
    assert len(pauses) == 3


def test_a_key_that_cannot_be_read_ends_nothing(
    make: Callable[..., Supervisor], calls: Callable[[], list[str]], github_settings: GitHubs,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    supervisor = make(github=github_settings(auth="token", token_file="/nowhere"))  # noqa: S106  (a path)
    supervisor.note("idle", runner_id=7, runner_name="h-a-7")
    supervisor.check_registration()
    assert not supervisor.stop_idle_listener()
    assert calls() == []
    assert caplog.text.count("No such file or directory: '/nowhere'") == 2


def test_what_a_controller_did_not_print_is_refused_and_put_away(
    make: Callable[..., Supervisor], instance: Instance
) -> None:
    instance.prepared_file.parent.mkdir(parents=True)
    instance.prepared_file.write_text('{"runner_id": 1}')
    with pytest.raises(HostError, match=r"run site.yml from the controller"):
        make().register()
    assert not instance.prepared_file.exists()


DEAD = ["h-a-00000000", "h-a-11111111", "h-a-22222222", "h-a-b-33333333", "h-b-44444444"]


def test_removal_deletes_the_registration(
    remove: Callable[..., int], fake: FakeGitHub, capsys: pytest.CaptureFixture[str]
) -> None:
    runner = fake.add("orgs/acme", "h-a-1", [], 1, True)
    assert remove(runner.id) == 0
    assert fake.runners == {}
    assert capsys.readouterr().out == ""


def test_removal_deletes_what_lost_jobs_left(remove: Callable[..., int], fake: FakeGitHub) -> None:
    """A registration that GitHub kept, as it took its job for running; neither other runners' nor one that is there."""
    names = {name: fake.add("orgs/acme", name, [], 1, True) for name in DEAD}
    names["h-a-22222222"].last_seen = time.time()
    assert remove(names["h-a-00000000"].id) == 0
    assert sorted(runner.name for runner in fake.runners.values()) == DEAD[2:]


def test_removal_ends_though_dead_registrations_can_not_be_listed(
    remove: Callable[..., int], fake: FakeGitHub, caplog: pytest.LogCaptureFixture
) -> None:
    runner = fake.add("orgs/acme", "h-a-1", [], 1, True)
    fake.faults = [Fault(r"/actions/runners$", status=500)]
    assert remove(runner.id) == 0
    assert "can't look for dead registrations: GET" in caplog.text


def test_removal_names_the_registration_that_is_left_and_can_be_repeated(
    remove: Callable[..., int], fake: FakeGitHub, wiped: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    runner = fake.add("orgs/acme", "h-a-1", [], 1, True)
    fake.faults = [Fault(r"/actions/runners/\d+", status=500)]
    assert remove(runner.id) == 1
    assert wiped == ["a"]  # all the same
    said = capsys.readouterr().err.splitlines()[-1]
    assert f"thebes-runner remove: the registration h-a-{runner.id} (id {runner.id}) is left at acme" in said
    assert "answered 500" in said
    assert "delete it there under Settings, Actions, Runners" in said
    assert cli.main() == 0
    assert fake.runners == {}


def test_removal_of_a_runner_that_github_thinks_busy_says_so(
    remove: Callable[..., int], fake: FakeGitHub, capsys: pytest.CaptureFixture[str]
) -> None:
    assert remove(make_busy(fake)) == 1
    assert "GitHub says that a job runs on it" in capsys.readouterr().err


@pytest.mark.parametrize("dead", [{"key_file": "/nowhere"}, {"token_file": "/nowhere"}, {"installation_id": "8"}, {}])
def test_removal_with_dead_credentials_names_what_is_left_and_goes_on(
    remove: Callable[..., int], github_settings: GitHubs, wiped: list[str], dead: dict[str, str], fake: FakeGitHub,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """It would fail for ever: nobody could remove such a host."""
    fake.pats.clear()
    runner = fake.add("orgs/acme", "h-a-1", [], 1, True)
    auth = "app" if {"key_file", "installation_id"} & dead.keys() else "token"
    for _ in range(2):
        assert remove(runner.id, github=github_settings(auth=auth, **dead)) == cli.LEFT
        assert f"(id {runner.id}) is left at acme" in capsys.readouterr().err
    assert wiped == ["a", "a"]


def test_a_host_without_credentials_tells_its_controller_what_to_deregister(
    remove: Callable[..., int], make: Callable[..., Supervisor], github_settings: GitHubs,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Also after the supervisor's own stop, and for a configuration that was never used."""
    none = github_settings(auth="none")
    prepared = settings.STATE_DIR / "a" / "prepared.json"
    prepared.parent.mkdir(parents=True)
    prepared.write_text('{"runner_id": 8, "name": "h-a-8", "jit_config": "secret"}')
    make(github=none).retire("stopped")
    assert remove(7, github=none) == 0
    assert cli.main() == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert told == [{"runner_id": 7, "name": "h-a-7"}, {"runner_id": 8, "name": "h-a-8"}] * 2


def test_the_id_outlives_a_stop_without_credentials(
    make: Callable[..., Supervisor], github_settings: GitHubs, wiped: list[str], calls: Callable[[], list[str]]
) -> None:  # fmt: skip
    supervisor = make(github=github_settings(auth="none"))
    supervisor.note("idle", runner_id=7, runner_name="h-a-7")
    supervisor.retire("stopped")
    assert make().known_registrations() == [{"runner_id": 7, "name": "h-a-7"}]


def test_a_persistent_runner_that_never_registered_has_nothing_to_leave(
    remove: Callable[..., int], make: Callable[..., Supervisor], fake: FakeGitHub
) -> None:
    fake.faults = [Fault("/actions/runners", status=500)]
    supervisor = make(ephemeral=False)
    supervisor.instance.drain_file.parent.mkdir(parents=True)
    supervisor.instance.drain_file.touch()
    assert supervisor.end("drained") is None


def test_a_controller_deregisters_by_id(fake: FakeGitHub, github_settings: GitHubs, app_key: Path) -> None:
    runner = fake.add("orgs/acme", "h-a-1", [], 1, True)
    hub = github_settings()
    for _ in range(2):  # the second time it is gone already
        done = deregister(hub, app_key, runner.id)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert fake.runners == {}


def test_a_controller_believes_a_host_neither_server_nor_number(
    fake: FakeGitHub, github_settings: GitHubs, app_key: Path
) -> None:
    """Root of one host may be a job's (rootful Docker)."""
    other = fake.add("orgs/acme", "other-a-1", [], 1, True)
    elsewhere = deregister(github_settings(url="https://github.test"), app_key, 1, url=fake.public_url)
    assert elsewhere.returncode == cli.LEFT
    assert f"h is left at {fake.public_url}: delete it there" in elsewhere.stderr
    assert fake.requests == []
    done = deregister(github_settings(), app_key, other.id)
    assert done.returncode == cli.LEFT
    assert "other-a-1 is left, as it does not begin with h-: delete it there" in done.stderr
    assert list(fake.runners) == [other.id]


def test_a_busy_runner_is_not_deregistered(fake: FakeGitHub, github_settings: GitHubs, app_key: Path) -> None:
    busy = make_busy(fake)
    done = deregister(github_settings(), app_key, busy)
    assert done.returncode == 1
    assert done.stderr == (f"thebes-runner deregister: runner {busy} stays: GitHub says that a job runs on it\n")
    assert busy in fake.runners
