from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Command
from fake_github import FakeGitHub
from thebes_runner import noted
from thebes_runner.github import Client
from thebes_runner.hook import escape, refusal
from thebes_runner.settings import GitHub, Instance, Policy, Runner, Watchdog
from thebes_runner.watchdog import Watch

DOUBLE = Path(__file__).resolve().parents[1] / "doubles" / "runner"
ENV_OF_JOB = {"workflow_ref": "acme/product/.github/workflows/ci.yml@refs/heads/main"}
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
    found = refusal(Policy(**POLICY), {**ENV, **env}, event)
    assert (found is None) if reason is None else (found is not None and reason in found)


def test_public_repositories_and_forks_can_be_allowed() -> None:
    open_policy = {**POLICY, "public": True, "forks": True}
    assert refusal(Policy(**open_policy), {**ENV, "GITHUB_EVENT_NAME": "pull_request"}, pull(None)) is None


def hook_program(folder: Path, setup: str = "") -> Path:
    """What the runner calls, of this folder. Without root nobody but this user can note a job."""
    installed = "/usr/local/lib/thebes-runner"
    here = f"from thebes_runner import hook, noted; noted.ROOT = {os.getuid()}; hook.WAIT_SECONDS = 20.0; {setup}"
    program = (FILES / "job_started.py").read_text().replace(f"{installed}/thebes_runner.zip", str(FILES))
    (folder / "job_started.py").write_text(
        program.replace("        code = main()", f"        {here}\n        code = main()")
    )
    shell = (FILES / "job-started.sh").read_text().replace(installed, str(folder))
    (folder / "job-started.sh").write_text(shell.replace("/usr/bin/python3", sys.executable))
    return folder / "job-started.sh"


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
    command = ["bash", "-e", str(hook_program(tmp_path))]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


def test_the_program_refuses(tmp_path: Path) -> None:
    done = run_hook(tmp_path, json.dumps({**EVENT, "repository": {"private": False}}), json.dumps(POLICY))
    assert done.returncode == 1
    assert done.stdout.startswith("::error title=Refused by this runner::")
    done = run_hook(tmp_path, json.dumps(EVENT), json.dumps(POLICY))  # by hand
    assert (done.returncode, "no Runner.Worker has started this program" in done.stdout) == (1, True)


@pytest.mark.parametrize(
    ("event", "policy"),
    [
        ("{", json.dumps(POLICY)),
        ("[]", json.dumps(POLICY)),
        ("{}", None),
        ("{}", "{}"),
        *((json.dumps(EVENT), json.dumps({**POLICY, key: "*"})) for key in ("events", "repositories", "workflows")),
    ],
)
def test_what_cannot_be_examined_is_refused(tmp_path: Path, event: str, policy: str | None) -> None:
    done = run_hook(tmp_path, event, policy)
    assert done.returncode == 1
    assert "can't be examined" in done.stdout


def test_names_cannot_inject_workflow_commands() -> None:
    evil = {**ENV, "GITHUB_EVENT_NAME": "x\n::warning::y"}
    reason = refusal(Policy(**POLICY), evil, EVENT)
    assert reason is not None
    assert "\n" not in reason
    assert escape("50%\r\n::warning::y") == "50%25%0D%0A::warning::y"


# --- a whole job, by the stand-in of the runner -----------------------------------------------


@pytest.fixture
def watch(runner: Callable[..., Runner], tmp_path: Path, command: Command) -> Watch:
    """Of one runner, whose listener is active."""
    (tmp_path / "base").mkdir()
    command("systemctl", "echo ActiveState=active")
    user = pwd.getpwuid(os.getuid()).pw_name
    made = runner(Instance(name="a", user=user, directory=str(tmp_path / "base")))
    return Watch(made, Watchdog(interval=600, job_limit=600, upload_grace=1, memory_min_mib=0, disk_min_mib=0))


@pytest.fixture
def watching(watch: Watch) -> Iterator[None]:
    """The watchdog is at work, and has just looked."""
    ended = threading.Event()

    def run() -> None:
        while not ended.is_set():
            watch.look()
            watch.rest(time.monotonic() + 1.0)

    thread = threading.Thread(target=run)
    thread.start()
    yield
    ended.set()
    thread.join()


@pytest.fixture
def job(
    tmp_path: Path, fake: FakeGitHub, github_settings: Callable[..., GitHub], watch: Watch
) -> Callable[..., dict[str, Any]]:
    """Run a job to its end: what GitHub knows of it then."""

    def run(setup: str = "", ephemeral: bool = True, **values: object) -> dict[str, Any]:
        home = Path(watch.settings.instances[0].directory)
        shutil.copytree(DOUBLE, home / "runner")
        (tmp_path / "policy.json").write_text(json.dumps(POLICY))
        hub = github_settings(installation_id="7")
        blob = Client(hub).mint("h-a-1", (), 1)[1]
        steps = [{"run": "echo plain step"}, {"run": "echo eager step", "always": True}]
        body = {"event": EVENT, "repository": "acme/product", **ENV_OF_JOB, "steps": steps, **values}
        number = fake.control("/_control/jobs", body)[1]["id"]
        env = {
            "PATH": os.environ["PATH"], "RUNNER_ALLOW_RUNASROOT": "1", "ACTIONS_RUNNER_INPUT_JITCONFIG": blob,
            "ACTIONS_RUNNER_HOOK_JOB_STARTED": str(hook_program(tmp_path, setup)),
            "THEBES_RUNNER_CONFIG": str(tmp_path), "THEBES_RUNNER_DIR": str(home / "runner"),
        }  # fmt: skip
        command = [str(home / "runner/bin/Runner.Listener"), "run"]
        subprocess.run(command, env=env, check=True, timeout=60, stdout=subprocess.DEVNULL)
        return dict(fake.control(f"/_control/jobs/{number}", None)[1])

    return run


@pytest.mark.usefixtures("watching")
def test_a_job_begins_as_soon_as_it_is_noted(job: Callable[..., dict[str, Any]], watch: Watch) -> None:
    """Long before the watchdog's interval is over."""
    done = job()
    assert (done["conclusion"], "plain step" in done["log"]) == ("success", True), done["log"]
    assert "eager step" in done["log"]
    assert done["finished"] - done["started"] < 5
    assert watch.settings.instances[0].job_file.exists()


@pytest.mark.usefixtures("watching")
def test_a_refused_job_runs_no_step_at_all(job: Callable[..., dict[str, Any]]) -> None:
    """Also not those with `if: always()`, which GitHub's runner runs after a failed hook."""
    done = job(event_name="pull_request_target")
    assert done["conclusion"] == "failure"
    assert "::error title=Refused by this runner::event 'pull_request_target'" in done["log"]
    assert " step" not in done["log"].replace("step ended", "")


def test_a_job_that_is_not_noted_does_not_begin(job: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    """The watchdog is not there; in persistent mode its word of the last job is."""
    (tmp_path / "base" / "job.json").write_text(noted.word(1, 2.0))
    done = job("hook.WAIT_SECONDS = 0.3")
    assert done["conclusion"] == "failure"
    assert "::error title=Refused by this runner::the watchdog has not noted this job within 0 s" in done["log"]
    assert " step" not in done["log"].replace("step ended", "")


def test_only_roots_word_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, link = tmp_path / "job.json", tmp_path / "link"
    word = noted.word(7, 12.5)
    monkeypatch.setattr(noted, "ROOT", os.getuid())
    assert noted.read(file) == ""
    file.write_text(word)
    link.symlink_to(file)
    assert (noted.read(file), noted.read(link), noted.read(tmp_path)) == (word, "", "")
    assert noted.wait(file, word, 0.0)
    assert not noted.wait(file, noted.word(7, 12.6), 0.0)
    monkeypatch.setattr(noted, "ROOT", os.getuid() + 1)
    assert not noted.wait(file, word, 0.0)


@pytest.mark.parametrize("broken", ["raise ImportError('thebes_runner')", "hook.processes.ancestor = None"])
def test_a_hook_that_breaks_lets_nothing_run(job: Callable[..., dict[str, Any]], broken: str) -> None:
    """While the host's programs are replaced, say."""
    done = job(broken)
    assert done["conclusion"] == "cancelled"
    assert " step" not in done["log"].replace("step ended", "")


def test_a_worker_that_does_not_shut_down_is_killed(job: Callable[..., dict[str, Any]]) -> None:
    """The listener may be stopped, say."""
    done = job("hook.SHUTDOWN_SECONDS = 0.5; hook.processes.LISTENER = 'none'", event_name="issue_comment")
    assert done["conclusion"] == "cancelled"
    assert " step" not in done["log"].replace("step ended", "")
