"""The job-started hook: refuses a job by event, fork, repository, visibility or workflow.

Runs as the runner's user before the first step; a non-zero exit fails the job. GitHub's runner
doesn't pass the workflow's `env` to hooks, so a workflow can't influence what is read here.
What can't be told from the payload is refused.
"""

from __future__ import annotations

import fnmatch
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from thebes_runner import settings
from thebes_runner.errors import SettingsError


def refusal(policy: Mapping[str, Any], env: Mapping[str, str], event: Mapping[str, Any]) -> str | None:
    """Why this job must not run here, or None."""
    name = env.get("GITHUB_EVENT_NAME", "")
    repository = env.get("GITHUB_REPOSITORY", "")
    workflow = env.get("GITHUB_WORKFLOW_REF", "")
    if name not in policy["events"]:
        return f"event {name!r} is not in runner_allowed_events"
    if not matches(repository, policy["repositories"]):
        return f"repository {repository!r} is not in runner_allowed_repositories"
    if not matches(workflow, policy["workflows"]):
        return f"workflow {workflow!r} is not in runner_allowed_workflows"
    if not policy["public"] and event.get("repository", {}).get("private") is not True:
        return f"repository {repository!r} is not known to be private; see runner_allow_public"
    if not policy["forks"] and comes_from_fork(event):
        return "the change comes from a fork; see runner_allow_forks"
    return None


def matches(value: str, patterns: list[str]) -> bool:
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


def main() -> int:
    try:
        policy = settings.read_json(settings.CONFIG_DIR / "policy.json")
        event = json.loads(Path(os.environ["GITHUB_EVENT_PATH"]).read_text(encoding="utf-8"))
        reason = refusal(policy, os.environ, event)
    except (KeyError, OSError, ValueError, TypeError, AttributeError, SettingsError) as error:
        reason = f"the event can't be examined ({error!r})"
    if reason is not None:
        sys.stdout.write(f"::error title=Refused by this runner::{escape(reason)}\n")
        return 1
    sys.stdout.write("This runner's policy allows the job.\n")
    return 0


def escape(text: str) -> str:
    """Untrusted names must not become workflow commands of their own."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


if __name__ == "__main__":
    sys.exit(main())
