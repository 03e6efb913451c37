"""`thebes github decide`."""

import datetime as dt
import json
import re
import shutil
import sqlite3
from pathlib import Path

import click

from thebes.cli import options as common
from thebes.cli.judge import VERDICT
from thebes.cli.past import cached, remember
from thebes.cli.publish import publish_all
from thebes.cli.task import EXITS
from thebes.cli.text import say
from thebes.cli.workspace import Workspace
from thebes.codec import encode, read_plan, write_atomic
from thebes.errors import EvidenceError
from thebes.github import attempts, matrix
from thebes.github.event import read_event
from thebes.github.runner import add_summary, command, set_outputs
from thebes.judge import judge, read_facts
from thebes.merge import Beside, merge, open_run
from thebes.model import Plan, Verdict, VerdictKind
from thebes.publish import annotations, summary, terminal
from thebes.repository import changed_lines, commit

from . import options, variables

CANCELLED = {"task-cancelled", "test-cancelled", "file-cancelled"}


@click.command("decide")
@click.argument("artifacts", metavar="DIR", envvar="THEBES_ARTIFACTS", type=common.path())
@options.plan_file
@options.coverage
@click.option("--out", envvar="THEBES_OUT", required=True, type=common.path(), metavar="DIR", help="Gets all reports.")
@click.option("--prefix", envvar="THEBES_PREFIX", default="thebes", help="How names of artifacts begin.")
@click.option("--jobs", envvar="THEBES_JOBS", default="", metavar="WORDS", help="JOB=RESULT of each job before.")
@click.option(
    "--plan-attempt", envvar="THEBES_PLAN_ATTEMPT", default=1, type=click.IntRange(1), help="That made the plan."
)
@click.option("--waves/--no-waves", envvar="THEBES_WAVES", default=False, help="As planned.")
@click.option("--fail-fast/--no-fail-fast", envvar="THEBES_FAIL_FAST", default=False, help="As run.")
@click.option("--feed/--no-feed", envvar="THEBES_FEED", default=False, help="Add the run to the history.")
@common.history
def decide(
    artifacts: Path,
    plan_path: Path,
    coverage: float | None,
    out: Path,
    prefix: str,
    jobs: str,
    plan_attempt: int,
    waves: bool,  # noqa: FBT001
    fail_fast: bool,  # noqa: FBT001
    feed: bool,  # noqa: FBT001
    history_url: str | None,
) -> int:
    """Merge, judge and report what the jobs left in DIR. Whatever is missing there is INVALID, never a pass."""
    results = attempts.results(jobs)
    if not plan_path.is_file():  # then the configuration may be what is wrong: it is not looked at
        return _without_plan(out, results)
    workspace = Workspace(coverage=coverage)
    plan = read_plan(plan_path)
    base = read_event(variables(), workspace.root).base or None
    folders = _gather(artifacts, out / "attempts", prefix, plan, plan_attempt)
    in_jobs = _in_jobs(plan, waves=waves)
    verdict = _judged(workspace, plan, folders, out, base, _cancelled(in_jobs, results, fail_fast=fail_fast))
    counts = {job: len(tasks) for job, tasks in in_jobs.items()}
    if said := attempts.crosscheck(verdict.verdict, counts, results if jobs else _as_expected(counts)):
        verdict = attempts.with_reason(verdict, "jobs-disagree", said)
    write_atomic(out / VERDICT, encode(verdict))
    db = open_run(out)
    try:
        if feed:
            remember(workspace, db, verdict.verdict, cached(workspace, history_url, variables()))
        _publish(db, verdict, out)
    finally:
        db.close()
    return EXITS[verdict.verdict]


def _without_plan(out: Path, results: dict[str, str]) -> int:
    """Nothing ran that could be judged."""
    subjects = [f"{job}: {result}" for job, result in results.items() if result != "skipped"]
    nothing = Verdict(plan="", commit=commit(Path.cwd()), verdict=VerdictKind.INVALID, gates={})
    verdict = attempts.with_reason(nothing, "plan-missing", subjects)
    write_atomic(out / VERDICT, encode(verdict))
    text = "No plan was made, so nothing was run. The job that plans says why."
    add_summary(variables(), f"# ⚠️ INVALID: no plan was made\n\n{text}\n")
    write_atomic(out / "summary.md", f"# ⚠️ INVALID: no plan was made\n\n{text}\n".encode())
    set_outputs(variables(), {"verdict": verdict.verdict, "counts": "{}"})
    click.echo(command("error", text))
    return EXITS[verdict.verdict]


def _gather(artifacts: Path, into: Path, prefix: str, plan: Plan, since: int) -> list[Path]:
    """The attempts that are this plan's, each in a folder of the name that its record should have."""
    tasks = {task.id for task in plan.tasks}
    shape = re.compile(rf"{re.escape(prefix)}-(?P<task>.+)-a(?P<attempt>[0-9]{{1,9}})")
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(parents=True)
    for folder in sorted(artifacts.iterdir()) if artifacts.is_dir() else ():
        match = shape.fullmatch(folder.name)
        if match and match["task"] in tasks and int(match["attempt"]) >= since and not folder.is_symlink():
            shutil.copytree(folder, into / f"thebes-{match['task']}-a{match['attempt']}", symlinks=True)
    return [into]


def _in_jobs(plan: Plan, *, waves: bool) -> dict[str, list[str]]:
    """Task ids by the job whose matrix has them."""
    return {job: [task.id for task in tasks] for job, tasks in matrix.jobs_of(plan, waves=waves).items()}


def _as_expected(counts: dict[str, int]) -> dict[str, str]:
    """Where nobody told the results, the records are all there is."""
    return {"plan": "success", **{job: "success" if count else "skipped" for job, count in counts.items()}}


def _cancelled(in_jobs: dict[str, list[str]], results: dict[str, str], *, fail_fast: bool) -> set[str]:
    """Tasks that did not come to their end because something else had failed: with fail-fast all that stopped, with
    waves those after the failing one."""
    failed = [job for job in in_jobs if results.get(job) == "failure"]
    if not failed:
        return set()
    later = [job for job in list(in_jobs)[list(in_jobs).index(failed[0]) + 1 :] if results.get(job) == "skipped"]
    return {task for job in (in_jobs if fail_fast else later) for task in in_jobs[job]}


def _judged(
    workspace: Workspace, plan: Plan, folders: list[Path], out: Path, base: str | None, cancelled: set[str]
) -> Verdict:
    """The verdict on what was gathered. Cancelled tasks are a FAIL only beside the failure that cancelled them."""
    unknown: list[str] = []
    expected: dict[str, int] = {}
    try:
        expected = attempts.started(variables(), plan)
    except EvidenceError as error:
        unknown.append(str(error))
    lines = changed_lines(workspace.root, base) if base else None
    policy, today = workspace.policy(base), dt.datetime.now(dt.UTC).date()

    def judged(stopped: set[str]) -> Verdict:
        beside = Beside(lines, cancelled=stopped)
        root, pythons = workspace.root, workspace.pythons()
        merge(folders, plan, out, repository=root, expected=expected, pythons=pythons, beside=beside)
        db = open_run(out)
        try:
            return judge(read_facts(db), policy, today)
        finally:
            db.close()

    verdict = judged(cancelled)
    codes = {
        reason.code
        for gate in verdict.gates.values()
        for reason in (*gate.reasons, *verdict.reasons)
        if reason.verdict == VerdictKind.FAIL
    }
    if codes and codes <= CANCELLED:
        verdict = judged(set())
    return attempts.with_reason(verdict, "attempts-unknown", unknown) if unknown else verdict


def _publish(db: sqlite3.Connection, verdict: Verdict, out: Path) -> None:
    publish_all(db, verdict, out)
    add_summary(variables(), summary(db, verdict))
    totals: dict[str, int] = {}
    for gate in verdict.gates.values():
        for name, count in gate.counts.items():
            totals[name] = totals.get(name, 0) + count
    set_outputs(variables(), {"verdict": verdict.verdict, "counts": json.dumps(totals)})
    for line in annotations(db, verdict, Path.cwd()):
        click.echo(line)
    for line in terminal(verdict, db, color=False, width=100).splitlines():
        click.echo(line)
    say(f"thebes: report in {out}")
