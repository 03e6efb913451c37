from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from thebes_runner.hook import refusal

FILES = Path(__file__).resolve().parents[2] / "roles" / "base" / "files"
POLICY: dict[str, Any] = {
    "events": ["push", "pull_request", "workflow_run", "schedule"],
    "repositories": ["acme/*"],
    "workflows": ["acme/*/.github/workflows/ci.yml@*"],
    "public": False,
    "forks": False,
}
ENV = {
    "GITHUB_EVENT_NAME": "push",
    "GITHUB_REPOSITORY": "acme/product",
    "GITHUB_WORKFLOW_REF": "acme/product/.github/workflows/ci.yml@refs/heads/main",
}
EVENT: dict[str, Any] = {"repository": {"id": 1, "private": True}}


def pull(head: object) -> dict[str, Any]:
    return {**EVENT, "pull_request": {"head": {"repo": head}, "base": {"repo": {"id": 1}}}}


@pytest.mark.parametrize(
    ("env", "event", "reason"),
    [
        ({}, EVENT, None),
        ({"GITHUB_EVENT_NAME": "pull_request"}, pull({"id": 1}), None),
        ({"GITHUB_EVENT_NAME": "pull_request_target"}, EVENT, "event 'pull_request_target'"),
        ({"GITHUB_EVENT_NAME": "pull_request"}, pull({"id": 2}), "fork"),
        ({"GITHUB_EVENT_NAME": "pull_request"}, pull(None), "fork"),
        ({"GITHUB_EVENT_NAME": "workflow_run"}, {**EVENT, "workflow_run": {"head_repository": {"id": 9}}}, "fork"),
        ({"GITHUB_REPOSITORY": "evil/product"}, EVENT, "repository 'evil/product'"),
        ({"GITHUB_REPOSITORY": "acme"}, EVENT, "repository 'acme'"),
        ({"GITHUB_WORKFLOW_REF": "acme/product/.github/workflows/x.yml@refs/heads/main"}, EVENT, "workflow"),
        ({}, {"repository": {"id": 1, "private": False}}, "not known to be private"),
        ({}, {}, "not known to be private"),
    ],
)  # fmt: skip
def test_who_may_run_here(env: dict[str, str], event: dict[str, Any], reason: str | None) -> None:
    found = refusal(POLICY, {**ENV, **env}, event)
    assert (found is None) if reason is None else (found is not None and reason in found)


def test_a_deleted_policy_can_be_allowed_by_name_only() -> None:
    open_policy = {**POLICY, "public": True, "forks": True}
    assert refusal(open_policy, {**ENV, "GITHUB_EVENT_NAME": "pull_request"}, pull(None)) is None


def run_hook(tmp_path: Path, event: str, policy: str | None) -> subprocess.CompletedProcess[str]:
    (tmp_path / "event.json").write_text(event)
    if policy is not None:
        (tmp_path / "policy.json").write_text(policy)
    env = {
        **os.environ,
        **ENV,
        "GITHUB_EVENT_PATH": str(tmp_path / "event.json"),
        "THEBES_RUNNER_CONFIG": str(tmp_path),
    }
    command = [
        sys.executable,
        "-c",
        f"import sys; sys.path.insert(0, {str(FILES)!r}); from thebes_runner.hook import main; sys.exit(main())",
    ]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


def test_the_program_allows_and_refuses(tmp_path: Path) -> None:
    assert run_hook(tmp_path, json.dumps(EVENT), json.dumps(POLICY)).returncode == 0
    done = run_hook(tmp_path, json.dumps({**EVENT, "repository": {"private": False}}), json.dumps(POLICY))
    assert done.returncode == 1
    assert done.stdout.startswith("::error title=Refused by this runner::")


@pytest.mark.parametrize(
    ("event", "policy"), [("{", json.dumps(POLICY)), ("[]", json.dumps(POLICY)), ("{}", None), ("{}", "{}")]
)
def test_what_cannot_be_examined_is_refused(tmp_path: Path, event: str, policy: str | None) -> None:
    done = run_hook(tmp_path, event, policy)
    assert done.returncode == 1
    assert "can't be examined" in done.stdout


def test_names_cannot_inject_workflow_commands(tmp_path: Path) -> None:
    ENV_EVIL = {**ENV, "GITHUB_EVENT_NAME": "x\n::warning::y"}
    reason = refusal(POLICY, ENV_EVIL, EVENT)
    assert reason is not None
    assert "\n" not in reason
