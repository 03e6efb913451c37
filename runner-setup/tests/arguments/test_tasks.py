"""What the roles' tasks and templates do, as far as it can be seen without a machine."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
# Settings and results that may hold passwords, keys or tokens.
SECRET = re.compile(
    r"\b(base_https?_proxy|base_proxy_environment|runner_environment|runner_app_key_file|runner_token_file"
    r"|runner_minted|runner_sign_in_of_controller)\b"
)
# Those of them that are the secrets themselves, or name the file whose content a module takes.
HANDLED = re.compile(r"\b(runner_app_key_file|runner_token_file|runner_minted|runner_sign_in_of_controller)\b")


def play(folder: Path, *tasks: dict[str, Any], **settings: object) -> subprocess.CompletedProcess[str]:
    """Run tasks on this machine, as this user, with the defaults of the roles `runner` and `docker`."""
    for role in ("runner", "docker"):
        defaults = yaml.safe_load((ROOT / f"roles/{role}/defaults/main.yml").read_text())
        settings = {**defaults, **settings}
    content = [
        {
            "hosts": "localhost",
            "connection": "local",
            "gather_facts": False,
            "vars": settings,
            "tasks": list(tasks),
        }
    ]
    (folder / "play.yml").write_text(yaml.safe_dump(content, sort_keys=False))
    env = {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
    }
    command = ["ansible-playbook", "--inventory", "localhost,", str(folder / "play.yml")]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=env)


def flat(tasks: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for task in tasks:
        yield task
        for part in ("block", "rescue", "always"):
            yield from flat(task.get(part, []))


def all_tasks() -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in sorted(ROOT.glob("roles/*/tasks/*.yml")) + sorted(ROOT.glob("roles/*/handlers/*.yml")):
        for task in flat(yaml.safe_load(path.read_text()) or []):
            yield path, task


def test_what_may_hold_a_secret_is_shown_in_no_dry_run() -> None:
    """provision.sh runs with --diff, and its log is kept at GitHub."""
    hidden = []
    for path, task in all_tasks():
        if template := task.get("ansible.builtin.template"):
            loop = task.get("loop", [])
            sources = [template["src"]] if "item" not in template["src"] else loop
            names = [source["src"] if isinstance(source, dict) else source for source in sources]
            files = [path.parents[1] / "templates" / (n if n.endswith(".j2") else f"{n}.j2") for n in names]
            text = "".join(file.read_text() for file in files)
        elif copy := task.get("ansible.builtin.copy"):
            text = str(copy)
        else:
            continue
        if SECRET.search(text):
            hidden.append(task["name"])
            assert task.get("diff") is False, (path, task["name"])
        for shown in (task.get("loop"), (task.get("loop_control") or {}).get("label")):
            assert not SECRET.search(str(shown)) or task.get("no_log") is True, (path, task["name"])
    assert len(hidden) >= 5, hidden


def test_a_key_or_token_is_in_no_output() -> None:
    """Whatever a task fails with, its arguments are shown beside: those with a secret in them are not."""
    hidden = []
    for path, task in all_tasks():
        handled = [task.get(f"ansible.builtin.{module}") for module in ("command", "copy", "template", "uri")]
        if HANDLED.search(f"{handled} {task.get('loop')}"):
            hidden.append(task["name"])
            assert task.get("no_log") is True, (path, task["name"])
    assert len(hidden) >= 4, hidden


def test_a_job_may_take_six_hours_and_ten_minutes_by_default(tmp_path: Path) -> None:
    """GitHub's own limit of 360 minutes comes before."""
    defaults = yaml.safe_load((ROOT / "roles/watchdog/defaults/main.yml").read_text())
    written = {"src": str(ROOT / "roles/watchdog/templates/watchdog.json.j2"), "dest": str(tmp_path / "watchdog.json")}
    done = play(tmp_path, {"ansible.builtin.template": written}, **defaults)
    assert done.returncode == 0, done.stdout
    limits = json.loads((tmp_path / "watchdog.json").read_text())
    assert (limits["job_limit"], limits["upload_grace"]) == (370 * 60, 5 * 60)


HOSTILE = {
    "PERCENT": "100%n",
    "QUOTES": "a \"b\" 'c'",
    "BACKSLASH": "C:\\new\\",
    "LINES": "one\ntwo\r\n[Service]\nExecStart=/bin/sh",
    "PLAIN": "word",
    "NUMBER": 3,
}
# systemd.syntax(7): between double quotes, C's escapes; systemd.unit(5): %% for a percent sign.
ESCAPED = r"""
Environment="BACKSLASH=C:\\new\\"
Environment="LINES=one\ntwo\r\n[Service]\nExecStart=/bin/sh"
Environment="NUMBER=3"
Environment="PERCENT=100%%n"
Environment="PLAIN=word"
Environment="QUOTES=a \"b\" 'c'"
"""


def test_the_jobs_environment_reaches_them_as_it_is_and_sets_nothing_else(tmp_path: Path) -> None:
    done = play(
        tmp_path,
        {
            "ansible.builtin.template": {
                "src": str(ROOT / "roles/runner/templates/job.conf.j2"),
                "dest": str(tmp_path / "unit"),
            }
        },
        runner_instance="a", runner_uid=1000, runner_home="/srv/a", runner_environment=HOSTILE,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert (tmp_path / "unit").read_text().endswith(ESCAPED)


@pytest.mark.parametrize("mode", ["rootless", "rootful"])
def test_needrestart_leaves_alone_what_would_end_a_job(tmp_path: Path, mode: str) -> None:
    """Its configuration is Perl; it takes the first of these whose pattern fits."""
    template = {"src": str(ROOT / "roles/runner/templates/needrestart.conf.j2"), "dest": str(tmp_path / "conf")}
    done = play(tmp_path, {"ansible.builtin.template": template}, docker_mode=mode)
    assert done.returncode == 0, done.stdout
    program = f"""our %nrconf; do "{tmp_path}/conf" // die $@;
    for my $unit (@ARGV) {{ print "$unit\n" if grep {{ $unit =~ /$_/ }} keys %{{$nrconf{{override_rc}}}}; }}"""
    units = ["thebes-runner@a.service", "thebes-job@b-2.service", "docker.service", "thebes-watchdog.service"]
    left = subprocess.run(["perl", "-e", program, *units], check=True, capture_output=True, text=True).stdout.split()
    assert left == units[: 3 if mode == "rootful" else 2]


def below(folder: Path, file: str, *names: str) -> list[dict[str, Any]]:
    """Named tasks of a role (all without names), with their absolute paths below a folder and no owner."""
    tasks = yaml.safe_load(re.sub(r"(?<![\w.}])/(etc|var|usr|srv)/", rf"{folder}/\1/", (ROOT / file).read_text()))
    chosen = [task for task in tasks if not names or task["name"] in names]
    assert not names or len(chosen) == len(names)
    for task in flat(chosen):
        for arguments in task.values():
            if isinstance(arguments, dict):
                arguments.pop("owner", None)
                arguments.pop("group", None)
    return chosen


def stand_in(folder: Path, name: str, text: str) -> None:
    (folder / "bin").mkdir(exist_ok=True)
    (folder / "bin" / name).write_text(f"#!/bin/bash\n{text}")
    (folder / "bin" / name).chmod(0o755)


@pytest.mark.parametrize("location", ["host", "controller"])
def test_without_credentials_the_smoke_test_says_so_and_asks_nothing(tmp_path: Path, location: str) -> None:
    done = play(tmp_path, *below(tmp_path, "roles/runner/tasks/online.yml"), runner_auth_location=location)
    assert done.returncode == 0, done.stdout
    assert f"localhost: NOT CHECKED, as the {location} has no credentials" in " ".join(done.stdout.split())
    assert "Wait until each runner" not in done.stdout


@pytest.mark.parametrize("location", ["host", "controller"])
def test_with_credentials_the_smoke_test_goes_on(tmp_path: Path, location: str) -> None:
    (tmp_path / "etc/thebes-runner/secrets").mkdir(parents=True)
    key = tmp_path / "etc/thebes-runner/secrets/app.pem"
    key.touch()
    tasks = below(tmp_path, "roles/runner/tasks/online.yml")
    wait = next(i for i, task in enumerate(tasks) if task["name"].startswith("Wait until each runner"))
    given = {"runner_app_key_file": str(key)} if location == "controller" else {}
    after = {"ansible.builtin.debug": {"msg": "goes on"}}
    done = play(tmp_path, *tasks[:wait], after, runner_auth_location=location, **given)
    assert done.returncode == 0, done.stdout
    assert "NOT CHECKED" not in done.stdout
    assert "goes on" in done.stdout


def test_without_docker_the_rootless_units_go(tmp_path: Path) -> None:
    unit = tmp_path / "etc/systemd/user/thebes-docker.service"
    wanted = unit.parent / "default.target.wants/thebes-docker.service"
    wanted.parent.mkdir(parents=True)
    unit.touch()
    wanted.symlink_to("../thebes-docker.service")
    done = play(tmp_path, *below(tmp_path, "roles/docker/tasks/main.yml"), docker_mode="none")
    assert done.returncode == 0, done.stdout
    assert not unit.exists()
    assert not wanted.is_symlink()


SYSTEMCTL = """case "$*" in
  *list-unit-files*) printf '%s enabled enabled\\n' containerd.service docker.service ;;
  *list-units*) printf '%s loaded active running x\\n' docker.socket docker.service ;;
  *show*) printf 'LoadState=loaded\\nActiveState=active\\nUnitFileState=enabled\\n' ;;
  *stop* | *start*) echo "$*" >>"$NOTES" ;;
esac
"""
DOCKER = yaml.safe_load((ROOT / "roles/docker/vars/main.yml").read_text())


def with_systemctl(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Puts a stand-in of systemctl in the way; the file of what it was asked to start and stop."""
    stand_in(folder, "systemctl", SYSTEMCTL)
    monkeypatch.setenv("PATH", f"{folder}/bin:{os.environ['PATH']}")
    monkeypatch.setenv("NOTES", str(folder / "notes"))
    (folder / "notes").touch()
    return folder / "notes"


def test_from_rootful_to_rootless_the_root_daemon_is_stopped_before_it_is_masked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = with_systemctl(tmp_path, monkeypatch)
    done = play(tmp_path, *below(tmp_path, "roles/base/tasks/stop.yml"), base_units=DOCKER["docker_units"])
    assert done.returncode == 0, done.stdout
    assert notes.read_text() == "stop docker.socket\nstop docker.service\n"
    names = [task["name"] for task in yaml.safe_load((ROOT / "roles/docker/tasks/install.yml").read_text())]
    stop = names.index("Stop a root daemon that is no longer asked for")
    assert stop < names.index("Keep the packages from starting a daemon that nobody asked for")


@pytest.mark.parametrize(
    ("installed", "expected"),
    [("docker.io containerd", ""), ("docker.io", ""), ("curl", "restart docker.service\n")],
)
def test_a_docker_that_was_there_before_the_kit_runs_again_with_its_own_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed: str, expected: str
) -> None:
    """Its containerd, which runs, is left alone; what the kit installed is removed by base, and not started."""
    notes = with_systemctl(tmp_path, monkeypatch)
    drop_in = tmp_path / "etc/systemd/system/docker.service.d/thebes.conf"
    drop_in.parent.mkdir(parents=True)
    drop_in.touch()
    (tmp_path / "etc/thebes-runner-packages").write_text(f"{installed}\n")
    removal = [
        *below(tmp_path, "roles/docker/tasks/remove.yml", "Delete the units and settings"),
        *below(tmp_path, "roles/docker/tasks/unmask.yml"),
        *below(tmp_path, "roles/docker/tasks/remove.yml")[2:],
    ]
    done = play(tmp_path, *removal, **DOCKER)
    assert done.returncode == 0, done.stdout
    assert not drop_in.parent.exists()
    assert notes.read_text() == expected
    notes.write_text("")
    again = play(tmp_path, *removal, **DOCKER)
    assert "changed=0" in again.stdout, again.stdout
    assert notes.read_text() == ""


def test_numbers_may_come_as_text_from_the_command_line(tmp_path: Path) -> None:
    """`-e runner_drain_minutes=10` is text; so each use of a number in an expression says what it is."""
    tasks = yaml.safe_load((ROOT / "roles/runner/tasks/drain.yml").read_text())
    retries = next(task["retries"] for task in tasks if "retries" in task)
    done = play(tmp_path, {"ansible.builtin.debug": {"msg": f"RETRIES {retries}"}}, runner_drain_minutes="10")
    assert "RETRIES 120" in done.stdout, done.stdout
    for path in ROOT.glob("roles/*/meta/argument_specs.yml"):
        options = yaml.safe_load(path.read_text())["argument_specs"]["main"]["options"]
        for name in (name for name, option in options.items() if option["type"] in ("int", "float")):
            used = re.compile(rf"(\b{name}\b(?! *\| *(int|float)\b) *([-+*/<>]|==|\|)|[-+*/<>=] *{name}\b(?! *\|))")
            for file in [
                *ROOT.glob("roles/*/tasks/*.yml"),
                *ROOT.glob("roles/*/templates/*"),
                *ROOT.glob("roles/*/vars/*"),
            ]:
                for line in file.read_text().splitlines():
                    expressions = " ".join(re.findall(r"\{\{.*?\}\}", line) or [line])
                    found = used.search(expressions)
                    assert not found or f"{name} | string" in expressions, (file, line)


@pytest.mark.parametrize(
    ("status", "asked_for", "installs"),
    [("ii", "jq git", False), ("ii", "git", True), ("rc", "jq git", True)],
    ids=["there", "there as a dependency", "only its settings"],
)
def test_packages_are_installed_only_where_one_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: str, asked_for: str, installs: bool
) -> None:
    stand_in(tmp_path, "dpkg-query", f"printf 'ii git\\n{status} jq\\n'")
    stand_in(tmp_path, "apt-mark", f"printf '%s\\n' {asked_for}")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    *looks, installation = yaml.safe_load((ROOT / "roles/base/tasks/packages.yml").read_text())
    (install,) = (task for task in installation["block"] if task["name"] == "Install packages")
    installation |= {"block": [{"name": install["name"], "ansible.builtin.debug": {}}], "always": []}
    known = yaml.safe_load((ROOT / "roles/base/vars/main.yml").read_text())
    done = play(tmp_path, *looks, installation, base_wanted=["git", "jq"], **known)
    assert done.returncode == 0, done.stdout
    assert ("skipped=0" in done.stdout) is installs, done.stdout


EXPORTER = (
    "Look for settings of the node exporter",
    "Keep them as they are for remove.yml",
    "Tell the node exporter where to listen",
)
RESTORE = (
    "Look for the node exporter's settings of before",
    "Look for the node exporter",
    "Give the node exporter its settings of before",
)


def test_a_node_exporter_of_before_gets_its_arguments_back(tmp_path: Path) -> None:
    settings = tmp_path / "etc/default/prometheus-node-exporter"
    settings.parent.mkdir(parents=True)
    (tmp_path / "etc/thebes-runner").mkdir()
    before = 'ARGS="--collector.systemd \\\n  --web.listen-address=:9100"\nOTHER=1\n'
    settings.write_text(before)
    told = yaml.safe_load((ROOT / "roles/observability/defaults/main.yml").read_text())
    provision = below(tmp_path, "roles/observability/tasks/main.yml", *EXPORTER)
    for task in provision:
        task.pop("notify", None)
    done = play(tmp_path, *provision, *provision, **told)
    assert done.returncode == 0, done.stdout
    assert "127.0.0.1:9100" in settings.read_text()
    done = play(tmp_path, *below(tmp_path, "roles/observability/tasks/remove.yml", *RESTORE))
    assert done.returncode == 0, done.stdout
    assert settings.read_text() == before


def release(folder: Path, sha256: str) -> subprocess.CompletedProcess[str]:
    """The tasks that install the runner's release, from a mirror in a folder, without pauses."""
    mirror = folder / "mirror"
    mirror.mkdir()
    tar = ["tar", "--create", "--gzip", "--file", str(mirror / "actions-runner-linux-x64-1.2.3.tar.gz")]
    (folder / "source/bin").mkdir(parents=True)
    (folder / "source/bin/Runner.Listener").touch()
    subprocess.run([*tar, "--directory", str(folder / "source"), "bin"], check=True)
    tasks = below(folder, "roles/runner/tasks/release.yml")
    for task in flat(tasks):
        if "delay" in task:
            task["delay"] = 0
    return play(
        folder, *tasks, runner_mirror=f"file://{mirror}", runner_root=str(folder / "root"), runner_version="1.2.3",
        runner_install_dir=str(folder / "root/releases/1.2.3"), runner_architecture="x64",
        runner_sha256={"x64": sha256 or digest(mirror)}, base_proxy_environment={},
    )  # fmt: skip


def digest(mirror: Path) -> str:
    return hashlib.sha256(next(mirror.iterdir()).read_bytes()).hexdigest()


def test_a_release_with_the_right_checksum_is_installed(tmp_path: Path) -> None:
    done = release(tmp_path, "")
    assert done.returncode == 0, done.stdout
    files = [str(p.relative_to(tmp_path / "root")) for p in (tmp_path / "root").rglob("*") if p.is_file()]
    assert files == ["releases/1.2.3/bin/Runner.Listener"]


def test_a_release_with_a_wrong_checksum_is_refused_and_nothing_of_it_stays(tmp_path: Path) -> None:
    done = release(tmp_path, "0" * 64)
    assert done.returncode == 2
    told = " ".join(done.stdout.split())
    assert f"did not match {'0' * 64}; it was {digest(tmp_path / 'mirror')}" in told, told
    assert sorted(p.name for p in (tmp_path / "root").rglob("*")) == ["releases"]
