"""One task, from header to closing line. The parent writes those two; what lies between comes from the child."""

import os
import platform
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

import msgspec

from thebes.checks import Adapted, adapt, failing
from thebes.checks.findings import listed
from thebes.errors import InputError
from thebes.interpreter import child_environment
from thebes.model import FORMAT, Plan, Project, Suite, Task, TaskKind
from thebes.plugin.thebes_plugin.record import RECORD_FAILED, Record, RecordError, bounded
from thebes.services import Served, ServiceError, served

from .attempt import COVERAGE, OUTPUT, RECORD, RESULTS, Attempt
from .child import End, Stop, Ticker, run_child
from .instructions import pytest_command, shard_instructions
from .shard import Session, run_shard

RESULTS_VARIABLE = "THEBES_RESULTS"
TAIL = 16 * 1024


def run_task(plan: Plan, task: Task, attempt: Attempt, stop: Stop, tick: Callable[[], None]) -> End:
    """Run `task` and leave its record, closed, in the attempt's folder.

    InputError: the folder is taken. The record says everything else, also that the child could not be started.
    """
    try:
        attempt.folder.mkdir(parents=True)
    except FileExistsError:
        raise InputError(f"{attempt.folder}: this attempt has been run already; give --attempt or --out") from None
    (attempt.folder / RESULTS).mkdir()
    path = attempt.folder / RECORD
    record = Record(str(path))
    try:
        record.put(
            "header",
            schema=FORMAT,
            plan=plan.digest,
            task=task.id,
            attempt=attempt.number,
            commit=attempt.commit,
            at=time.time(),
            environment=_environment(attempt),
            waited=round(attempt.waited, 3),
        )
        suite = next(suite for suite in plan.suites if suite.id == task.suite)
        project = next(project for project in plan.projects if project.path == suite.project)
        end = _run(_Work(plan, project, suite, task, attempt, stop, tick, record))
        _close(record, path, attempt.folder / OUTPUT, end)
    except RecordError as error:
        return End(exit=RECORD_FAILED, signal=None, stopped=f"the record can't be written: {error}", seconds=0.0)
    finally:
        record.close()
    return end


class _Work(NamedTuple):
    """All that running a task needs to know."""

    plan: Plan
    project: Project
    suite: Suite
    task: Task
    attempt: Attempt
    stop: Stop
    tick: Callable[[], None]
    record: Record


def _run(work: _Work) -> End:
    """The task's process from start to end, its servers around it."""
    attempt, record, stop = work.attempt, work.record, work.stop
    if stop.reason:  # asked to stop before it began
        return End(exit=0, signal=None, stopped=stop.reason, seconds=0.0)
    environment = child_environment(attempt.environment, attempt.interpreter.path)
    run = _run_shard if work.task.kind == TaskKind.PYTEST else _run_check
    try:
        with serving(work) as up:
            for server in up.servers.values():
                record.put("note", code="service-used", text=str(server))
            end = run(work, environment | up.environment)
            for text in up.full():
                record.put("note", code="service-full", text=bounded(text, TAIL))
            for text in up.died():
                record.put("note", code="service-died", text=bounded(text, TAIL))
            return end
    except ServiceError as error:
        record.put("note", code=error.code, text=bounded("\n".join(filter(None, [str(error), error.log])), TAIL))
    except InputError as error:  # of a compose file
        record.put("note", code="service-failed", text=bounded(str(error), TAIL))
    except OSError as error:
        command = work.task.command[0] if work.task.command else attempt.interpreter.path
        record.put("note", code="not-started", text=f"{command}: {error.strerror}")
    return End(exit=127, signal=None, stopped=stop.reason, seconds=0.0)


def _put_findings(adapted: Adapted, end: End, output: Path, folder: Path, record: Record) -> None:
    """What a check found, and the reason that this is."""
    found = failing(adapted, end.exit, output, folder)
    for finding in found.findings:
        record.put("finding", **{key: value for key, value in msgspec.to_builtins(finding).items() if key != "kind"})
    if found.code:
        record.put("note", code=found.code, text=found.text)
    if adapted.report:
        with output.open("a", encoding="utf-8") as file:
            file.write(listed(found.findings))


def _run_check(work: _Work, environment: Mapping[str, str]) -> End:
    attempt = work.attempt
    bare = {name: value for name, value in environment.items() if name != "THEBES_PARENT"}
    folder, log = attempt.repository / work.project.path, attempt.folder / OUTPUT
    adapted = adapt(work.task.command, attempt.folder)
    end = run_child(adapted.command, folder, bare, log, attempt.limit, work.stop, Ticker(work.tick))
    if not end.stopped and not end.signal:
        _put_findings(adapted, end, log, folder, work.record)
        work.tick()  # shows what was added to the output
    return end


def _run_shard(work: _Work, environment: Mapping[str, str]) -> End:
    attempt = work.attempt
    instructions = attempt.folder / "shard.json"
    measured = work.suite.coverage or work.project.measured
    session = Session(
        command=tuple(
            pytest_command(work.project, work.suite, work.task, attempt, instructions, collect=work.plan.collect)
        ),
        # Without it, each session would begin by erasing what the one before measured.
        again=("--cov-append",) if measured else (),
        measured=measured,
        folder=attempt.repository / work.project.path,
        environment={
            **environment,
            "COVERAGE_FILE": str(attempt.folder / COVERAGE),
            **({"THEBES_TRACED": "1"} if attempt.sampler else {}),
        },
        instructions=shard_instructions(work.plan, work.project, work.suite, work.task, attempt),
        to=instructions,
        log=attempt.folder / OUTPUT,
        record=attempt.folder / RECORD,
        limit=attempt.limit,
        limits=attempt.limits,
        isolate=attempt.isolate,
        foreground=attempt.foreground,
        sampler=attempt.sampler,
        files=tuple(piece.file for piece in work.task.pieces),
    )
    return run_shard(session, work.record, work.stop, work.tick)


def serving(work: _Work) -> AbstractContextManager[Served]:
    """The suite's servers, up while the context lasts. What they have to tell goes to the task's output."""
    attempt = work.attempt

    def tell(text: str) -> None:
        with (attempt.folder / OUTPUT).open("a", encoding="utf-8") as output:
            output.write(f"thebes: {text}\n")
        work.tick()

    return served(
        work.suite.services,
        attempt.services,
        attempt.repository / work.project.path,
        attempt.folder,
        attempt.environment,
        f"{work.task.id}-a{attempt.number}",
        tell,
        lambda: work.stop.reason is not None,
    )


def _environment(attempt: Attempt) -> dict[str, str]:
    return {
        "python": attempt.interpreter.python,
        "interpreter": _shown(attempt),
        "platform": platform.platform(),
        "machine": platform.node(),
        "processors": str(os.cpu_count()),
    }


def _shown(attempt: Attempt) -> str:
    """The interpreter as others can call it: by its path in the repository, else by its version."""
    path = Path(attempt.interpreter.path)
    inside = path.is_absolute() and path.is_relative_to(attempt.repository)
    return str(path.relative_to(attempt.repository)) if inside else f"python{attempt.interpreter.python}"


def _close(record: Record, path: Path, output: Path, end: End) -> None:
    if end.exit == RECORD_FAILED:
        raise RecordError(_tail(output).strip().rpartition("\n")[2])
    if output.exists():
        record.put("output", file=OUTPUT, text=bounded(_tail(output), TAIL))
    with path.open("rb") as file:
        lines = sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))
    record.put(
        "closing",
        exit=end.exit,
        signal=end.signal,
        stopped=end.stopped,
        lines=lines,
        at=time.time(),
        seconds=round(end.seconds, 6),
    )


def _tail(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL))
        return file.read().decode("utf-8", "replace")
