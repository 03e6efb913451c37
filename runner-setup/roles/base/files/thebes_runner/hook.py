"""The job-started hook: refuses a job by event, fork, repository, visibility or workflow, and lets none begin
that the watchdog has not noted.

Runs as the runner's user before the first step, and before the job's containers. GitHub's runner
doesn't pass the workflow's `env` to hooks, so a workflow can't influence what is read here.
What can't be told from the payload is refused.

A non-zero exit fails the job, but GitHub's runner goes on with its steps that have `if: always()` or
`if: failure()`, and with what its actions run first. Only when it shuts down it runs none of them. So the
listener of a refused job is told to shut down, and this program stays until the worker knows of it.
"""

from __future__ import annotations

import fnmatch
import json
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from thebes_runner import noted, processes, settings
from thebes_runner.processes import Process
from thebes_runner.settings import Policy

WAIT_SECONDS = 60.0
SHUTDOWN_SECONDS = 30.0  # a runner interrupts a step, 7.5 s later it terminates it


def refusal(policy: Policy, env: Mapping[str, str], event: Mapping[str, Any]) -> str | None:
    """Why this job must not run here, or None."""
    name = env.get("GITHUB_EVENT_NAME", "")
    repository = env.get("GITHUB_REPOSITORY", "")
    workflow = env.get("GITHUB_WORKFLOW_REF", "")
    if name not in policy.events:
        return f"event {name!r} is not in runner_allowed_events"
    if not matches(repository, policy.repositories):
        return f"repository {repository!r} is not in runner_allowed_repositories"
    if not matches(workflow, policy.workflows):
        return f"workflow {workflow!r} is not in runner_allowed_workflows"
    if not policy.public and event.get("repository", {}).get("private") is not True:
        return f"repository {repository!r} is not known to be private; see runner_allow_public"
    if not policy.forks and comes_from_fork(event):
        return "the change comes from a fork; see runner_allow_forks"
    return None


def matches(value: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(value.lower(), pattern.lower()) for pattern in patterns)


def comes_from_fork(event: Mapping[str, Any]) -> bool:
    """For pull requests and workflow_run; a head whose repository is deleted counts as a fork."""
    if "pull_request" in event:
        pull = event["pull_request"]
        head = (pull.get("head") or {}).get("repo") or {}
        base = (pull.get("base") or {}).get("repo") or {}
        return head.get("id") is None or head.get("id") != base.get("id")
    if "workflow_run" in event:
        head = event["workflow_run"].get("head_repository") or {}
        return head.get("id") is None or head.get("id") != event.get("repository", {}).get("id")
    return False


def unnoted(worker: Process, env: Mapping[str, str]) -> str | None:
    """Why the job must not begin, after it was waited for the watchdog."""
    file = Path(env["THEBES_RUNNER_DIR"]).parent / "job.json"  # settings.Instance.noted_file
    if noted.wait(file, noted.word(worker.pid, worker.started), WAIT_SECONDS):
        return None
    return (
        f"the watchdog has not noted this job within {WAIT_SECONDS:.0f} s; "
        "journalctl -u thebes-watchdog on the machine says why"
    )


def examine(env: Mapping[str, str], worker: Process | None) -> str | None:
    """Why this job must not run here, or None."""
    try:
        policy = settings.policy()
        event = json.loads(Path(env["GITHUB_EVENT_PATH"]).read_text(encoding="utf-8"))
        reason = refusal(policy, env, event)
        if reason is None and worker is None:
            reason = f"no {processes.WORKER} has started this program"
        return reason if reason or worker is None else unnoted(worker, env)
    except Exception as error:
        return f"the event can't be examined ({error!r})"


def shut_down(worker: Process) -> None:
    """Have the listener shut down, and wait until the worker knows: it then ends the shell that called us, or
    is ended itself."""
    shell = os.getppid()
    listener = processes.ancestor(worker.pid, processes.LISTENER)
    processes.send([listener] if listener else [], signal.SIGINT)
    deadline = time.monotonic() + SHUTDOWN_SECONDS
    while os.getppid() == shell:
        if time.monotonic() > deadline:
            processes.send([worker], signal.SIGKILL)
            return
        time.sleep(noted.POLL_SECONDS)


def main() -> int:
    """The exit code. An exception is up to the caller, which ends the worker."""
    try:
        return judge()
    except KeyboardInterrupt:  # the listener shuts down, or the whole unit
        return 1


def judge() -> int:
    worker = processes.ancestor(os.getpid(), processes.WORKER)
    reason = examine(os.environ, worker)
    if reason is None:
        sys.stdout.write("This runner's policy allows the job.\n")
        return 0
    sys.stdout.write(f"::error title=Refused by this runner::{escape(reason)}\n")
    sys.stdout.flush()
    if worker is not None:
        shut_down(worker)
    return 1


def escape(text: str) -> str:
    """Untrusted names must not become workflow commands of their own."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
