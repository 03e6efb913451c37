"""`thebes task`."""

import datetime as dt
import math
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import FrameType

import click
import msgspec

from thebes.codec import read_plan
from thebes.config import Config, GateConfig
from thebes.config.values import limit, size, size_limit
from thebes.errors import EvidenceError, Exit, InputError
from thebes.judge import judge_task, read_facts
from thebes.merge import merge, open_run
from thebes.model import Plan, Project, Task, TaskKind, Value, VerdictKind
from thebes.plugin.thebes_plugin.record import RECORD_FAILED
from thebes.run import Attempt, End, Isolation, Limits, Stop, attempt_folder, free_attempt, run_task
from thebes.run.attempt import OUTPUT, RESULTS
from thebes.run.flame import find_sampler
from thebes.run.machine import Workers, available_memory, choose_workers, processors
from thebes.run.task import RESULTS_VARIABLE
from thebes.services import services_of

from . import options
from .text import amount, clean, lasting, say
from .workspace import Workspace

LONGEST_WAIT = 6 * 3600.0  # seconds; a hosted job lasts no longer
EXITS = {VerdictKind.PASS: Exit.PASS, VerdictKind.FAIL: Exit.FAIL, VerdictKind.INVALID: Exit.EVIDENCE_MISSING}
COLLECT = 60.0  # the least that a file's import may take where there is a limit for tests only


class Asked(Value, frozen=True, kw_only=True):
    """What the options say about how tasks are run; None: as configured. `processors`: how many to use, None: all."""

    processors: int | None = None
    workers: str | None = None
    task_limit: str | None = None
    test_limit: str | None = None
    default_test_limit: str | None = None
    memory_limit: str | None = None
    measure_memory: bool = False
    isolate: str | None = None
    leaks: str | None = None
    maxfail: int | None = None
    foreground: bool = False
    flame: bool = False


@click.command("task", epilog="Example: exec thebes task --plan plan.json unit-py3.12-1of4 --out artifacts")
@click.argument("task_id", metavar="ID")
@options.plan_file
@click.option("--out", required=True, type=options.path(), metavar="DIR", help="Gets a folder for this attempt.")
@click.option(
    "--attempt",
    type=click.IntRange(1),
    envvar="GITHUB_RUN_ATTEMPT",
    metavar="N",
    help="Number of this attempt [the next].",
)
@options.interpreter
@options.worker_count
@options.task_limit
@options.test_limit
@options.default_test_limit
@options.memory_limit
@options.isolate
@options.leaks
@options.arguments
def command(
    task_id: str,
    plan_path: Path,
    out: Path,
    attempt: int | None,
    interpreter: str | None,
    workers: str | None,
    task_limit: str | None,
    test_limit: str | None,
    default_test_limit: str | None,
    memory_limit: str | None,
    isolate: str | None,
    leaks: str | None,
    arguments: tuple[str, ...],
) -> int:
    """Run task ID of a plan and leave its record in DIR/thebes-ID-aN. ID may be 1/4 where there is one suite.

    ARGUMENTS (after --) are further pytest arguments. pytest's output is shown as it comes.
    """
    workspace = Workspace(interpreter)
    plan = read_plan(plan_path)
    task = find_task(plan, task_id, str(plan_path))
    number = attempt or free_attempt(out, task.id)
    folder = attempt_folder(out, task.id, number)
    asked = Asked(
        workers=workers,
        task_limit=task_limit,
        test_limit=test_limit,
        default_test_limit=default_test_limit,
        isolate=isolate,
        memory_limit=memory_limit,
        leaks=leaks,
    )
    here = make_attempt(workspace, plan, task, folder, number, asked, arguments=arguments)
    here = msgspec.structs.replace(here, waited=waited(workspace.environment, time.time()))
    tell_workers(plan, [here], asked)
    stop = Stop()
    handle_signals(stop)
    end = run_task(plan, task, here, stop, show_output(here.folder / OUTPUT))
    if end.exit == RECORD_FAILED:
        raise EvidenceError(f"{task.id}: {end.stopped}")
    verdict = judge_attempt(plan, task, here.folder, workspace)
    say(f"thebes: {task.id}: {verdict} in {lasting(end.seconds)}{why(end)}; record in {here.folder}")
    return EXITS[verdict]


def find_task(plan: Plan, name: str, source: str) -> Task:
    """The task of that id, or shard "i/n" of the only suite with shards."""
    for task in plan.tasks:
        if task.id == name:
            return task
    shards = [task for task in plan.tasks if task.kind == TaskKind.PYTEST and f"{task.index}/{task.of}" == name]
    if len(shards) == 1:
        return shards[0]
    known = ", ".join(task.id for task in plan.tasks[:10]) + (", …" if len(plan.tasks) > 10 else "")
    raise InputError(f"{source}: no task {name!r}; there are {known}")


def make_attempt(
    workspace: Workspace,
    plan: Plan,
    task: Task,
    folder: Path,
    number: int,
    asked: Asked,
    arguments: tuple[str, ...] = (),
) -> Attempt:
    """How `task` is run on this machine."""
    suite = next(suite for suite in plan.suites if suite.id == task.suite)
    project = next(project for project in plan.projects if project.path == suite.project)
    workers = asked.workers or workspace.config.workers
    config = workspace.configs[suite.project]
    isolate = asked.isolate or config.isolate
    leaks = asked.leaks or config.gates.get(suite.gate, GateConfig()).leaks or config.leaks
    held = limits(config, suite.gate, asked)
    interpreter = workspace.interpreter_for(suite.project, suite.python)
    return Attempt(
        repository=workspace.root,
        folder=folder.absolute(),
        number=number,
        interpreter=interpreter,
        environment={**workspace.environment, RESULTS_VARIABLE: str(folder.absolute() / RESULTS)},
        commit=workspace.commit,
        workers=workers_for(project, held, asked).number if workers == "auto" else int(workers) if workers else None,
        workers_chosen=workers == "auto",
        maxfail=asked.maxfail,
        arguments=arguments,
        limit=limit(asked.task_limit or workspace.config.task_limit, "task-limit") or math.inf,
        limits=held,
        measure_memory=asked.measure_memory or config.measure_memory or bool(held.memory or held.task_memory),
        foreground=asked.foreground,
        sampler=find_sampler(workspace.environment, interpreter.path) if asked.flame else (),
        isolate=Isolation(isolate) if isolate else None,
        leaks=None if leaks == "none" else leaks,
        services=services_of(config),
    )


def workers_for(project: Project, held: Limits, asked: Asked) -> Workers:
    """How many `--workers auto` means here."""
    return choose_workers(asked.processors or processors(), available_memory(), project.worker_memory, held.memory)


def tell_workers(plan: Plan, attempts: Iterable[Attempt], asked: Asked) -> None:
    """Where we chose, how many workers there will be, and why."""
    chosen = next((attempt for attempt in attempts if attempt.workers_chosen), None)
    if chosen is None:
        return
    for project in plan.projects:
        number, why = workers_for(project, chosen.limits, asked)
        place = "" if project.path == "." else f"{project.path}: "
        say(f"thebes: {place}{amount(number, 'worker')}: {why}")


def limits(config: Config, gate: str, asked: Asked) -> Limits:
    """What holds for the tests of a gate: what was asked for, else the gate's, else the project's."""
    settings = config.gates.get(gate, GateConfig())
    text = asked.test_limit or settings.test_limit or config.test_limit
    test = limit(text, "test-limit") if text else None
    default = limit(asked.default_test_limit, "default-test-limit") if asked.default_test_limit and not text else None
    most = max(test or 0.0, default or 0.0)
    collect = (
        limit(config.collect_limit, "collect-limit") if config.collect_limit else max(most, COLLECT) if most else None
    )
    worker, whole = asked.memory_limit or config.memory_limit, config.task_memory_limit
    return Limits(
        test=test,
        default=default,
        collect=collect,
        memory=size_limit(worker, "memory-limit") if worker else None,
        task_memory=size(whole, "task-memory-limit") if whole else None,
    )


def waited(environment: Mapping[str, str], now: float) -> float:
    """Seconds since the job began, if a step of it said when; nonsense counts as nothing said."""
    try:
        seconds_since = now - float(environment.get("THEBES_JOB_BEGAN", ""))
    except ValueError:
        return 0.0
    return seconds_since if 0 < seconds_since < LONGEST_WAIT else 0.0


def handle_signals(stop: Stop) -> None:
    """SIGINT and SIGTERM end the children, not us: what is known is still written."""

    def handle(number: int, _frame: FrameType | None) -> None:
        stop.request(signal.Signals(number).name, signal.Signals(number))

    signal.signal(signal.SIGINT, handle)
    signal.signal(signal.SIGTERM, handle)


def show_output(path: Path) -> Callable[[], None]:
    """Copies what is new in a growing file to standard output, each time it is called."""
    offset = 0

    def show() -> None:
        nonlocal offset
        if not path.exists():
            return
        with path.open("rb") as file:
            file.seek(offset)
            new = file.read()
        offset += len(new)
        sys.stdout.buffer.write(new)
        sys.stdout.flush()

    return show


def judge_attempt(plan: Plan, task: Task, folder: Path, workspace: Workspace) -> VerdictKind:
    """What the record of one attempt says of its task."""
    with tempfile.TemporaryDirectory(prefix="thebes-") as scratch:
        merge([folder], plan, Path(scratch), repository=workspace.root, only=task.id)
        db = open_run(Path(scratch))
        try:
            return judge_task(read_facts(db), workspace.policy(None), dt.datetime.now(dt.UTC).date())
        finally:
            db.close()


def why(end: End) -> str:
    return f" ({clean(end.stopped)})" if end.stopped else ""
