"""A fake GitHub on a free port, an App's key, and settings that point at both."""

from __future__ import annotations

import dataclasses
import json
import os
import pwd
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_github import FakeGitHub, serve
from thebes_runner import cli, reset, settings
from thebes_runner.settings import GitHub, Instance, Runner
from thebes_runner.supervise import Supervisor

Command = Callable[[str, str], None]
GitHubs = Callable[..., GitHub]
Runners = Callable[..., Runner]


@pytest.fixture(autouse=True)
def nothing_of_this_machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Users of the tests are real ones; what the machine has of them is not to be cleaned."""
    monkeypatch.setattr(settings, "RUNTIME_DIR", tmp_path / "run-user")
    monkeypatch.setattr(reset, "KEYS", tmp_path / "none")


@pytest.fixture(scope="session")
def app_key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The App's private key; the public half lies beside it as .pub."""
    key = tmp_path_factory.mktemp("app") / "key.pem"
    subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
    public = key.with_suffix(".pub")
    command = ["openssl", "rsa", "-in", str(key), "-pubout", "-out", str(public)]
    subprocess.run(command, check=True, capture_output=True)
    return key


@pytest.fixture
def fake(app_key: Path) -> Iterator[FakeGitHub]:
    github = FakeGitHub(public_key=str(app_key.with_suffix(".pub")), pat="ghp_secret")
    server = serve(github, "127.0.0.1", 0)
    github.public_url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield github
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def github_settings(fake: FakeGitHub, app_key: Path, tmp_path: Path) -> Callable[..., GitHub]:
    """Settings of a host that signs in by App at organization acme, with changes."""
    token = tmp_path / "token"
    token.write_text("ghp_secret\n")

    def make(**changes: object) -> GitHub:
        values: dict[str, object] = {
            "url": fake.public_url,
            "scope": "organization",
            "target": "acme",
            "group": "builders",
            "auth": "app",
            "app_id": "12345",
            "installation_id": "",
            "key_file": str(app_key),
            "token_file": str(token),
            "allow_public": False,
        }
        return GitHub(**{**values, **changes})  # type: ignore[arg-type]

    return make


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Puts a shell script in the place of a command of the host."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def make(name: str, text: str) -> None:
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)

    return make


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Runner]:
    """Settings of a host with these runners, whose state, logs and so on are in the test's folder."""
    for name in ("STATE", "RUN", "LOG"):
        monkeypatch.setattr(settings, f"{name}_DIR", tmp_path / name.lower())

    def make(*instances: Instance, **changes: Any) -> Runner:
        values: dict[str, Any] = {field.name: 0 for field in dataclasses.fields(Runner)}
        values |= {"instances": instances, "docker_mode": "none", "ephemeral": True}
        values |= {"labels": (), "blocked_addresses": (), "name_prefix": "h-"}
        return Runner(**{**values, **changes})

    return make


@pytest.fixture
def instance(tmp_path: Path) -> Instance:
    (tmp_path / "base" / "runner").mkdir(parents=True)
    user = pwd.getpwuid(os.getuid()).pw_name
    return Instance(name="a", user=user, directory=str(tmp_path / "base"))


@pytest.fixture
def calls(tmp_path: Path, command: Command) -> Callable[[], list[str]]:
    """What systemctl and nft were asked; there is no table."""
    log = tmp_path / "calls"
    command("systemctl", f'echo systemctl "$@" >>{log}; [ "$1" != show ] || echo ActiveState=inactive')
    command("nft", f'echo nft "$@" >>{log}; [ "$1" = -f ] || {{ echo No such file >&2; exit 1; }}; cat >{log}.nft')
    return lambda: log.read_text().splitlines() if log.exists() else []


@pytest.fixture
def wiped(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The instances that were reset."""
    found: list[str] = []
    monkeypatch.setattr(reset, "reset", lambda _, instance: found.append(instance.name))
    return found


@pytest.fixture
def make(runner: Runners, instance: Instance, github_settings: GitHubs) -> Callable[..., Supervisor]:
    def supervisor(**changes: object) -> Supervisor:
        values = {"github": github_settings(installation_id="7"), "blocked_addresses": ("169.254.0.0/16",)}
        return Supervisor(runner(instance, **{**values, **changes}), instance)

    return supervisor


@pytest.fixture
def remove(
    make: Callable[..., Supervisor], wiped: list[str], calls: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> Callable[..., int]:  # fmt: skip
    """`thebes-runner remove a` for a supervisor that registered this runner."""

    def call(runner_id: int | None, **changes: object) -> int:
        supervisor = make(**changes)
        supervisor.note("idle", runner_id=runner_id, runner_name=f"h-a-{runner_id}")
        (tmp_path / "runner.json").write_text(json.dumps(dataclasses.asdict(supervisor.settings)))
        monkeypatch.setattr(settings, "CONFIG_DIR", tmp_path)
        monkeypatch.setattr("sys.argv", ["thebes-runner", "remove", "a"])
        return cli.main()

    return call


def make_busy(fake: FakeGitHub) -> int:
    runner = fake.add("orgs/acme", "h-a-1", [], 1, True)
    fake.control("/_control/jobs", {"labels": []})
    runner.last_seen = time.time()
    fake.message(runner)
    return runner.id


def deregister(github: GitHub, key: Path, runner_id: int, **place: str) -> subprocess.CompletedProcess[str]:
    program = Path(settings.__file__).parents[1] / "thebes-runner"
    return subprocess.run(
        [program, "deregister", "--prefix=h-", json.dumps({"runner_id": runner_id, "name": "h", **place})],
        capture_output=True, text=True, check=False,
        input=json.dumps({"github": dataclasses.asdict(github), "secret": key.read_text()}),
    )  # fmt: skip
