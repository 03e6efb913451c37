"""One task, from header to closing line. The parent writes those two; what lies between comes from the child."""

import os
import platform
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

import msgspec

from thebes.checks import Adapted, adapt, failing
from thebes.checks.findings import listed
from thebes.discover import PLUGIN, PLUGIN_ARGUMENTS
from thebes.errors import InputError
from thebes.interpreter import Interpreter, child_environment
from thebes.model import DEFAULT_GATE, FORMAT, Plan, Project, Speeds, Suite, Task, TaskKind, Value
from thebes.plugin.thebes_plugin.record import RECORD_FAILED, Record, RecordError, bounded
from thebes.plugin.thebes_plugin.split import file_key
from thebes.services import Served, Service, ServiceError, served

from .child import End, Stop, Ticker, run_child
from .shard import Isolation, Session, run_shard
from .watcher import Limits

RECORD = "record.jsonl"
OUTPUT = "output.log"
COVERAGE = ".coverage"
RESULTS = "results"  # where a task's own tools may leave theirs
RESULTS_VARIABLE = "THEBES_RESULTS"
TAIL = 16 * 1024


class Attempt(Value, frozen=True, kw_only=True):
    """How a task is to be run here. `repository` and `folder` are absolute; `folder` is the attempt's own.

    `workers`: number of xdist workers, None for what the project itself says; `workers_chosen`: by us.
    `maxfail`: None for no limit of ours. `foreground`: pytest has our terminal, and nothing in it is ended.
    `sampler`: the command that draws a flame graph of a process, without the process and the file.
    `services`: those that a suite may name.
    `leaks`: "report" what tests leave behind, or let them "fail".
    `waited`: seconds since the job began.
    """

    repository: Path
    folder: Path
    number: int
    interpreter: Interpreter
    environment: Mapping[str, str]
    commit: str
    workers: int | None = None
    workers_chosen: bool = False
    maxfail: int | None = None
    limit: float
    limits: Limits = Limits()
    isolate: Isolation | None = None
    measure_memory: bool = False
    leaks: str | None = None
    foreground: bool = False
    sampler: tuple[str, ...] = ()
    waited: float = 0.0
    arguments: tuple[str, ...] = ()
    services: Mapping[str, Service] = {}


def attempt_folder(out: Path, task: str, number: int) -> Path:
    """Where an attempt of a task leaves its record; also the name of its artifact."""
    return out / f"thebes-{task}-a{number}"


def free_attempt(out: Path, task: str) -> int:
    """The first attempt that has no folder yet."""
    number = 1
    while attempt_folder(out, task, number).exists():
        number += 1
    return number


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


def pytest_command(
    project: Project, suite: Suite, task: Task, attempt: Attempt, instructions: Path, *, collect: bool = False
) -> list[str]:
    """The plain run's own command line, with our plug-in beside it. `collect`: the tests are not run."""
    command = [attempt.interpreter.path, str(PLUGIN), *PLUGIN_ARGUMENTS, f"--thebes-shard={instructions}"]
    if suite.coverage and not project.measured:  # a bare --cov would widen what the project's own measures
        command.append("--cov")
    workers = attempt.workers
    if (task.alone or attempt.isolate or collect) and (workers is not None or project.parallel):
        workers = 0
    if workers is not None:
        command += ["-n", str(workers)]
    if workers and attempt.workers_chosen and project.dist in {"no", "load"}:  # the project has no wish of its own
        command += ["--dist", "loadgroup" if project.grouped else "worksteal"]  # the latter ignores groups
    return [*command, *project.args, *attempt.arguments]


def shard_instructions(plan: Plan, project: Project, suite: Suite, task: Task, attempt: Attempt) -> dict[str, object]:
    """What the plug-in needs to know; see `Shard` there."""
    shards = [other for other in plan.tasks if other.suite == suite.id and other.kind == TaskKind.PYTEST]
    suites = {other.id for other in plan.suites if other.project == project.path}
    mine = {piece.file for piece in task.pieces}
    holders: dict[str, list[tuple[Task, Sequence[str]]]] = {}
    for shard in sorted(shards, key=lambda other: other.index):
        for piece in shard.pieces:
            if piece.tests is not None and piece.file in mine:
                holders.setdefault(piece.file, []).append((shard, piece.tests))
    return {
        "record": str(attempt.folder / RECORD),
        "project": os.path.realpath(attempt.repository / project.path),
        "rootdir": os.path.realpath(attempt.repository / project.rootdir),
        "inipath": os.path.realpath(attempt.repository / project.inipath) if project.inipath else None,
        "gate": suite.gate,
        "default_gate": DEFAULT_GATE,
        "claims": project.claims,
        "together": project.together,
        "marker": suite.marker,
        "maxfail": attempt.maxfail,
        "test_limit": attempt.limits.test,
        "default_limit": attempt.limits.default,
        "narrowed": bool(plan.narrowed),
        "collect": plan.collect,
        "only": None if project.only is None else [test for test in project.only if file_key(test) in mine],
        "speeds": _speeds(project.speeds, mine),
        "memory_limit": attempt.limits.memory,
        "measure_memory": attempt.measure_memory,
        "leaks": attempt.leaks,
        "index": task.index - 1,
        "of": task.of,
        "known": sorted({piece.file for other in plan.tasks if other.suite in suites for piece in other.pieces}),
        "whole": sorted(piece.file for piece in task.pieces if piece.tests is None),
        "cut": {
            file: (
                [shard.id for shard, _ in pieces].index(task.id),
                [[_inner(test) for test in tests] for _, tests in pieces],
            )
            for file, pieces in holders.items()
        },
    }


def _speeds(speeds: Speeds | None, files: Collection[str]) -> dict[str, object] | None:
    """What of the classes concerns these files."""
    if speeds is None:
        return None
    medium, slow = ([test for test in tests if file_key(test) in files] for tests in (speeds.medium, speeds.slow))
    return {"names": speeds.names, "medium": medium, "slow": slow}


def _inner(test: str) -> str:
    return test.removeprefix(file_key(test)).removeprefix("::")


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
