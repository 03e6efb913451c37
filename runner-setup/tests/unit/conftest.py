"""A fake GitHub on a free port, an App's key, and settings that point at both."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_github import FakeGitHub, serve
from thebes_runner import settings
from thebes_runner.settings import GitHub, Instance, Runner

Command = Callable[[str, str], None]


@pytest.fixture(scope="session")
def app_key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The App's private key; the public half lies beside it as .pub."""
    key = tmp_path_factory.mktemp("app") / "key.pem"
    subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
    public = key.with_suffix(".pub")
    command = ["openssl", "rsa", "-in", key, "-pubout", "-out", public]
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
        values |= {"labels": (), "blocked_addresses": ()}
        return Runner(**{**values, **changes})

    return make
