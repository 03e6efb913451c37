"""Which attempt of which job was started: GitHub's own account, held against the records."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from thebes.errors import EvidenceError
from thebes.judge.reasons import REASONS, headline
from thebes.model import Plan, Reason, Verdict, VerdictKind

from .rest import PAGE, Rest

PAGES = 50
RESULT = re.compile(r"(?P<job>[\w-]+)=(?P<result>success|failure|cancelled|skipped)?")


def started(environment: Mapping[str, str], plan: Plan) -> dict[str, int]:
    """By task, the newest attempt that GitHub started a job for. Empty in the first attempt, which needs no asking.

    EvidenceError: GitHub does not tell, so nobody knows whether a newer attempt is missing.
    """
    attempt = environment.get("GITHUB_RUN_ATTEMPT", "1")
    if attempt == "1":
        return {}
    return _by_task(_jobs(environment), plan)


def _by_task(jobs: Iterable[Mapping[str, Any]], plan: Plan) -> dict[str, int]:
    """Jobs are called after their task, behind the names of the workflows that call ours."""
    tasks = {task.id for task in plan.tasks}
    found: dict[str, int] = {}
    for job in jobs:
        name = str(job.get("name", "")).rpartition(" / ")[2]
        number = job.get("run_attempt")
        if name in tasks and isinstance(number, int) and job.get("conclusion") != "skipped":
            found[name] = max(number, found.get(name, 0))
    return found


def _jobs(environment: Mapping[str, str]) -> Iterable[Mapping[str, Any]]:
    """All jobs of the run, each in its newest attempt."""
    rest = Rest(environment)
    run = environment.get("GITHUB_RUN_ID", "")
    for page in range(1, PAGES + 1):
        path = f"{rest.repository}/actions/runs/{run}/jobs?filter=latest&per_page={PAGE}&page={page}"
        found = rest.get(path)
        jobs = found.get("jobs") if isinstance(found, dict) else None
        if not isinstance(jobs, list):
            raise EvidenceError(f"GitHub's API: {path}: no jobs in the answer")
        yield from (job for job in jobs if isinstance(job, dict))
        if len(jobs) < PAGE:
            return
    raise EvidenceError(f"GitHub's API: more than {PAGE * PAGES} jobs")


def results(text: str) -> dict[str, str]:
    """Results of jobs, from words such as `plan=success`. A job without a result is called `unknown`."""
    return {match["job"]: match["result"] or "unknown" for match in map(RESULT.fullmatch, text.split()) if match}


def crosscheck(verdict: VerdictKind, tasks: Mapping[str, int], jobs: Mapping[str, str]) -> list[str]:
    """Where GitHub's results of the jobs contradict a PASS.

    `tasks`: how many tasks of the plan each job has. A job that failed, was cancelled or never began, though its tasks
    left nothing but good records, hides something that no record tells.
    """
    if verdict != VerdictKind.PASS:
        return []
    said = []
    for job in sorted({"plan", *tasks, *jobs}):
        result, expected = jobs.get(job, "unknown"), "success" if job == "plan" or tasks.get(job) else "skipped"
        if result != expected:
            said.append(f"{job}: {result}, where {expected} was expected")
    return said


def with_reason(verdict: Verdict, code: str, subjects: Sequence[str]) -> Verdict:
    """The verdict with one more reason, which makes it INVALID."""
    reason = Reason(
        code=code, verdict=REASONS[code].verdict, text=headline(code, len(subjects)), subjects=tuple(subjects)
    )
    return Verdict(
        plan=verdict.plan,
        commit=verdict.commit,
        verdict=VerdictKind.INVALID,
        gates=verdict.gates,
        reasons=(reason, *verdict.reasons),
        notices=verdict.notices,
    )
