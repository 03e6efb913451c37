"""Settings, firewall rules, metrics and small files."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Command, Runners
from fake_github import FakeGitHub
from thebes_runner import firewall, fresh, health, notes, processes, reset, settings, supervise, system
from thebes_runner.errors import HostError, SettingsError
from thebes_runner.settings import GitHub

WATCHDOG = {"interval": 5, "job_limit": 1, "upload_grace": 1, "memory_min_mib": 1, "disk_min_mib": 1}


def write(path: Path, value: object) -> Path:
    path.write_text(json.dumps(value))
    return path


def test_settings_are_strict(tmp_path: Path) -> None:
    file = tmp_path / "watchdog.json"
    assert settings.watchdog(write(file, WATCHDOG)).interval == 5
    with pytest.raises(SettingsError, match=r"unknown key 'job_limits'"):
        settings.watchdog(write(file, {**WATCHDOG, "job_limits": 2}))
    with pytest.raises(SettingsError, match=r"lacks the key 'interval'"):
        settings.watchdog(write(file, {k: v for k, v in WATCHDOG.items() if k != "interval"}))
    with pytest.raises(SettingsError, match=r"expected an object"):
        settings.watchdog(write(file, []))
    file.write_text("{")
    with pytest.raises(SettingsError, match=r"can't be read"):
        settings.watchdog(file)
    with pytest.raises(SettingsError, match=r"run site.yml"):
        settings.watchdog(tmp_path / "none.json")


def test_commands_by_hand_use_the_proxy_of_the_units(tmp_path: Path) -> None:
    """`thebes-runner online` behind a proxy that is not there says so, instead of going around it."""
    instance = {"name": "a", "user": "nobody", "directory": str(tmp_path)}
    values = {field.name: "" for field in dataclasses.fields(settings.Runner)}
    hub = {
        "scope": "repository",
        "auth": "token",
        "url": "https://github.test",
        "token_file": str(tmp_path / "token"),
    }
    github = {field.name: "" for field in dataclasses.fields(settings.GitHub)} | hub
    write(tmp_path / "runner.json", {**values, "github": github, "instances": [instance]})
    (tmp_path / "token").write_text("x")
    (tmp_path / "environment").write_text("# Ansible managed\nhttps_proxy=http://127.0.0.1:1\n")
    program = Path(settings.__file__).parents[1] / "thebes-runner"
    done = subprocess.run(
        [program, "online"], capture_output=True, text=True, check=False,
        env={"PATH": os.environ["PATH"], "THEBES_RUNNER_CONFIG": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 1
    assert "Connection refused" in done.stderr  # github.test itself has no address


def test_a_controller_asks_for_runners_by_name(
    fake: FakeGitHub, github_settings: Callable[..., GitHub], app_key: Path
) -> None:
    """A host without credentials can't ask whether GitHub sees its runners."""
    seen = fake.add("orgs/acme", "h-a-1", [], 1, True)
    seen.last_seen = time.time()
    program = Path(settings.__file__).parents[1] / "thebes-runner"
    done = subprocess.run(
        [program, "online", "h-a-1", "h-b-2"], capture_output=True, text=True, check=False,
        input=json.dumps({"github": dataclasses.asdict(github_settings()), "secret": app_key.read_text()}),
    )  # fmt: skip
    assert done.stdout == "h-a-1: online\nh-b-2: not registered\n"
    assert done.returncode == 1


def test_a_user_that_is_missing_is_named() -> None:
    instance = settings.Instance(name="a", user="no-such-user", directory="/x")
    with pytest.raises(SettingsError, match=r"no-such-user of runner a does not exist"):
        _ = instance.uid


def test_the_firewall_covers_users_containers_and_both_families() -> None:
    script = firewall.ruleset([range(999, 1000), range(100000, 165536)], ["169.254.169.254", "fd00:ec2::254"])
    assert "meta skuid { 999, 100000-165535 } ip daddr 169.254.169.254/32 counter reject" in script
    assert "ip6 daddr fd00:ec2::254/128 counter reject" in script
    if shutil.which("nft"):  # its own parser is the better judge
        done = subprocess.run(
            ["nft", "--check", "--file", "-"], input=script, text=True, capture_output=True, check=False
        )
        assert "syntax error" not in done.stderr


def test_a_runner_whose_user_is_not_made_yet_does_not_keep_the_firewall_from_the_others(runner: Runners) -> None:
    instances = [settings.Instance(name=user, user=user, directory="/x") for user in ("no-such-user", "nobody")]
    script = firewall.rules(runner(*instances, blocked_addresses=("192.0.2.1",)))
    assert f"meta skuid {{ {instances[1].uid} }} ip daddr 192.0.2.1/32" in script


def test_what_runs_is_refreshed_once_for_each_change(
    runner: Runners, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command
) -> None:
    """And again when it failed: a play that ended half-way must not leave old rules or programs at work."""
    runner()
    monkeypatch.setattr(fresh, "ROOT", tmp_path)
    unit = tmp_path / "etc/systemd/system/thebes-job@a.service.d/thebes.conf"
    unit.parent.mkdir(parents=True)
    log = tmp_path / "log"
    command(
        "systemctl",
        f"""case "$1" in
      list-units) echo "$5" | sed 's/[*]/a/; s/$/ loaded active running x/' ;;
      *) echo "$@" >>{log}; test ! -e {tmp_path}/broken ;;
    esac""",
    )

    def taken_up() -> list[str]:
        lines = log.read_text().splitlines()
        log.unlink()
        assert lines.pop(0) == "daemon-reload"
        return [line.removeprefix("reload-or-restart ") for line in lines]

    everything = ["thebes-firewall.service", "thebes-watchdog.service", "thebes-runner@a.service"]
    everything += ["thebes-maintenance.timer", "thebes-metrics.timer"]
    for text, expected in (("", everything), ("new", ["thebes-runner@a.service"])):
        unit.write_text(text)
        (tmp_path / "broken").touch()
        with pytest.raises(HostError):
            fresh.refresh(if_changed=True)
        (tmp_path / "broken").unlink()
        log.unlink()
        assert fresh.refresh(if_changed=True)
        assert taken_up() == expected
        for pattern in fresh.READ:
            fresh.begun(pattern)
        assert not fresh.refresh(if_changed=True)
    # A play that changes something ends half-way, a runner starts by itself, and the next play changes it back.
    unit.write_text("middle")
    fresh.begun(fresh.RUNNER)
    unit.write_text("new")
    assert fresh.refresh(if_changed=True)
    assert taken_up() == everything
    assert fresh.refresh(if_changed=False)
    assert taken_up() == everything
    monkeypatch.setattr(processes, "boot_id", lambda: "another")
    assert fresh.refresh(if_changed=True)
    assert taken_up() == everything


def test_blocked_networks_may_be_given_by_any_of_their_addresses() -> None:
    script = firewall.ruleset([range(999, 1000)], ["169.254.169.254/16", "fd00:ec2::254/64"])
    assert "ip daddr 169.254.0.0/16 counter reject" in script
    assert "ip6 daddr fd00:ec2::/64 counter reject" in script
    with pytest.raises(SettingsError, match=r"has '169.254/16', expected addresses or networks"):
        firewall.ruleset([], ["169.254/16"])


def example(**changes: object) -> health.Health:
    values: dict[str, object] = {
        "instance": "a", "phase": "job", "phase_seconds": 3.0, "runner_name": "h-a-1", "job_seconds": 12.5,
        "jobs": 4, "failures": 1, "registrations_lost": 0, "watchdog_ends": 0, "docker": True,
        "memory_mib": 100.0, "disk_free_mib": 5000.0, "version": "2.336.0", "outdated_days": 0.0,
        "last_error": "",
    }  # fmt: skip
    return health.Health(**{**values, **changes})  # type: ignore[arg-type]


def test_a_runner_without_its_user_does_not_hide_the_others(
    runner: Runners, instance: settings.Instance, command: Command
) -> None:
    """As in a site.yml that ended half-way; and one whose supervisor is dead says nothing of its own."""
    command("systemctl", "echo ActiveState=inactive")
    missing = settings.Instance(name="b", user="no-such-user", directory="/nowhere")
    half_made = settings.Instance(name="c", user=instance.user, directory="/nowhere")
    host = runner(missing, instance, half_made)
    notes.write(instance, {"phase": "idle"})
    found = [health.examine(host, one) for one in host.instances]
    assert [(h.instance, h.phase) for h in found] == [("b", "unknown"), ("a", "unknown"), ("c", "unknown")]
    assert "user no-such-user of runner b does not exist" in found[0].last_error
    assert "no-such-user" not in health.prometheus(found)


def test_metrics_have_help_type_and_one_phase() -> None:
    text = health.prometheus([example(), example(instance="b", phase="idle")])
    lines = text.splitlines()
    names = {line.split()[2] for line in lines if line.startswith("# TYPE")}
    assert len(names) == 13
    assert 'thebes_runner_job_running{instance_name="a"} 1' in lines
    assert 'thebes_runner_job_running{instance_name="b"} 0' in lines
    assert sum(line.endswith(" 1") for line in lines if line.startswith("thebes_runner_phase{")) == 2
    for line in lines:
        if not line.startswith("#"):
            assert line.partition("{")[0] in names
            float(line.rpartition(" ")[2])


def test_every_phase_that_is_noted_is_a_metric() -> None:
    source = Path(supervise.__file__).read_text()
    noted = {part.split('"')[1] for part in source.split("self.note(")[1:] if part.startswith('"')}
    assert noted <= set(health.PHASES)
    assert noted >= {"cleaning", "registering", "waiting", "ended"}


def test_a_file_is_replaced_whole_and_private(tmp_path: Path) -> None:
    file = tmp_path / "folder" / "state.json"
    system.write_atomic(file, "{}")
    system.write_atomic(file, '{"a": 1}')
    assert system.read_state(file) == {"a": 1}
    assert file.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in file.parent.iterdir()] == ["state.json"]


@pytest.mark.parametrize("text", ["", "{", "[1]"])
def test_a_broken_state_file_is_an_empty_state(tmp_path: Path, text: str) -> None:
    file = tmp_path / "state.json"
    file.write_text(text)
    assert system.read_state(file) == {}


def test_a_failing_command_says_which(tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"ended with 2: .*cannot access"):
        system.run("ls", str(tmp_path / "none"))
    with pytest.raises(HostError, match=r"sleep 5 did not end within 0 s"):
        system.run("sleep", "5", timeout=0.1)


def test_deleting_follows_no_links_and_takes_any_depth(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "keep").touch()
    victim = tmp_path / "victim"
    deep = victim / "/".join(["d"] * 1500)
    subprocess.run(["mkdir", "-p", deep], check=True)
    (victim / "link").symlink_to(outside)
    reset.delete([victim, tmp_path / "never-there"])
    assert not victim.exists()
    assert (outside / "keep").exists()


def test_diagnostics_are_kept_without_following_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "LOG_DIR", tmp_path / "log")
    instance = settings.Instance(name="a", user="root", directory=str(tmp_path / "a"))
    diag = instance.runner_dir / "_diag"
    diag.mkdir(parents=True)
    (diag / "Worker_1.log").write_text("hello")
    (diag / "Worker_2.log").symlink_to("/etc/shadow")
    (diag / "odd name;.log").write_text("x")
    reset.keep_diagnostics(instance, max_mib=1)
    kept = {p.name: p.read_text() for p in (tmp_path / "log").rglob("*.log")}
    assert kept == {"Worker_1.log": "hello"}


def test_runner_names_are_never_used_twice() -> None:
    names = {supervise.runner_name("host-", "a") for _ in range(100)}
    assert len(names) == 100
    assert all(name.startswith("host-a-") for name in names)


def test_an_outcome_says_what_the_exit_code_means() -> None:
    assert supervise.Outcome(result="success", code=0).ok
    assert "no longer accepted" in str(supervise.Outcome(result="exit-code", code=7))
    assert str(supervise.Outcome(result="signal", code=9)) == "listener signal (9)"
