"""`thebes run`: the whole flow on this machine."""

import shutil
import sys
import time
from contextlib import closing
from pathlib import Path

import click

from thebes.codec import encode, write_atomic
from thebes.errors import InputError
from thebes.judge import Policy
from thebes.merge import Beside, merge, open_run
from thebes.model import Plan, TaskKind, Verdict
from thebes.plan import Choice, ProjectInput, assemble
from thebes.publish import terminal
from thebes.repository import changed_lines
from thebes.run import Stop, attempt_folder, run_all
from thebes.run.machine import processors

from . import options
from .judge import judge_folder
from .past import open_history, past_runs, stamp
from .plan import tell
from .progress import Progress
from .publish import publish_all
from .task import EXITS, Asked, handle_signals, make_attempt, tell_workers
from .text import clean, lasting, say
from .workspace import Workspace

KEPT_RUNS = 5
PLAN = "plan.json"

AUTO_WORKERS = "PYTEST_XDIST_AUTO_NUM_WORKERS"  # read by pytest-xdist for `-n auto`


@click.command("run", epilog="Examples: thebes run · thebes run --shards 4 --gate unit · thebes run -- -k 'not slow'")
@options.gates
@options.shards
@options.target
@options.worker_count
@click.option("--jobs", type=click.IntRange(1), metavar="N", help="Tasks at the same time [processors / workers].")
@click.option("--maxfail", type=click.IntRange(1), metavar="N", help="Stop after N failures over all tasks.")
@click.option("--out", type=options.path(), metavar="DIR", help="Where everything goes [.thebes/runs/…].")
@options.durations
@options.history
@options.interpreter
@options.pythons
@options.task_limit
@options.test_limit
@options.memory_limit
@options.isolate
@options.leaks
@options.base
@options.coverage
@options.as_json
@options.arguments
def command(
    gates: tuple[str, ...],
    shards: int | None,
    target: float | None,
    workers: str | None,
    jobs: int | None,
    maxfail: int | None,
    out: Path | None,
    durations: tuple[Path, ...],
    history_url: str | None,
    interpreter: str | None,
    pythons: tuple[str, ...],
    task_limit: float | None,
    test_limit: str | None,
    memory_limit: str | None,
    isolate: str | None,
    leaks: str | None,
    base: str | None,
    coverage: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
    arguments: tuple[str, ...],
) -> int:
    """Plan the suite, run its tasks as processes here, merge, judge and report. Works in any pytest repository.

    ARGUMENTS (after --) are pytest arguments for every shard.
    """
    began = time.monotonic()
    workspace = Workspace(interpreter, arguments)
    held = workspace.policy(base)
    runs = past_runs(workspace, history_url, durations)
    inputs = workspace.inputs(runs, gates)
    _tell_notes(inputs)
    each = _workers(workers or workspace.config.workers, inputs)
    if shards is None and target is None and not any(p.config.shards or p.config.target for p in inputs):
        shards = max(1, processors() // each)
    pythons = pythons or tuple(dict.fromkeys(workspace.interpreter(path).python for path in workspace.configs))[:1]
    if others := [python for python in workspace.config.python if python not in pythons]:
        say(f"thebes: under Python {', '.join(pythons)}; not here: {', '.join(others)} (--python adds one)")
    plan = assemble(
        inputs, Choice(gates=gates, shards=shards, target=target, pythons=pythons, coverage=coverage), workspace.commit
    )
    if not workers:
        each = _share_processors(workspace, plan, inputs, each)
    folder = _folder(workspace, out)
    write_atomic(folder / PLAN, encode(plan))
    stop = Stop()
    handle_signals(stop)
    asked = Asked(
        workers=workers,
        task_limit=task_limit,
        test_limit=test_limit,
        memory_limit=memory_limit,
        isolate=isolate,
        leaks=leaks,
        maxfail=maxfail,
    )
    numbers = {
        task.id: make_attempt(workspace, plan, task, attempt_folder(folder, task.id, 1), 1, asked)
        for task in plan.tasks
    }
    tell_workers(plan, numbers.values())
    tell(plan, known=any(past.runs for past in runs.values()))
    with Progress(len(plan.tasks)) as progress:
        run_all(
            plan,
            lambda task: numbers[task.id],
            jobs or max(1, processors() // each),
            maxfail or 0,
            stop,
            progress,
        )
    verdict = _conclude(workspace, plan, folder, history_url, held, base, as_json=as_json)
    if each == 1 and any(past.runs for past in runs.values()):
        _tell_makespan(folder)
    say(f"{lasting(time.monotonic() - began)}; report: {folder / 'report.html'}")
    return EXITS[verdict.verdict]


def _conclude(
    workspace: Workspace,
    plan: Plan,
    folder: Path,
    history_url: str | None,
    held: Policy,
    base: str | None,
    *,
    as_json: bool,
) -> Verdict:
    """Merge, judge, remember, report."""
    changed = changed_lines(workspace.root, base) if base else None
    merge([folder], plan, folder, repository=workspace.root, pythons=workspace.pythons(), beside=Beside(changed))
    verdict = judge_folder(folder, held)
    db = open_run(folder)
    try:
        with open_history(workspace, history_url) as history:
            history.feed(db, stamp(workspace, verdict.verdict))
        publish_all(db, verdict, folder)
        if as_json:
            click.echo(encode(verdict), nl=False)
        else:
            width = shutil.get_terminal_size((100, 24)).columns
            click.echo(terminal(verdict, db, color=sys.stdout.isatty(), width=width))
    finally:
        db.close()
    return verdict


def _tell_makespan(folder: Path) -> None:
    """The longest shard, beside what the longest was estimated to take."""
    with closing(open_run(folder)) as db:
        took, expected = db.execute(
            "SELECT max(a.seconds), max(t.estimate) FROM task t"
            " JOIN task_attempt a ON a.task = t.id AND a.attempt = t.attempt WHERE t.kind = 'pytest'"
        ).fetchone()
    if took:
        say(f"longest shard: {lasting(took)}, estimated {lasting(expected)}")


def _tell_notes(inputs: list[ProjectInput]) -> None:
    for project in inputs:
        for note in project.discovery.notes:
            say(f"thebes: {project.path}: {clean(note)}")


def _share_processors(workspace: Workspace, plan: Plan, inputs: list[ProjectInput], each: int) -> int:
    """Where the project's own options ask for as many workers as there are processors, shards beside each other get
    their share of them. Returns the processes that each shard will start."""
    shards = sum(task.kind == TaskKind.PYTEST for task in plan.tasks)
    wanted = {project.discovery.options.workers for project in inputs}
    if shards < 2 or AUTO_WORKERS in workspace.environment or not wanted & {"auto", "logical"}:
        return each
    share = max(1, processors() // shards)
    workspace.environment[AUTO_WORKERS] = str(share)
    return share


def _workers(asked: str | None, inputs: list[ProjectInput]) -> int:
    """Processes that each shard will start, as far as can be told before."""
    numbers = {asked} if asked else {project.discovery.options.workers for project in inputs}
    known = [processors() if number in {"auto", "logical"} else int(number or 1) for number in numbers]
    return max([1, *known])


def _folder(workspace: Workspace, out: Path | None) -> Path:
    """An empty folder for this run: a new one in `.thebes/runs`, or the one asked for, cleared of an earlier run."""
    if out is None:
        runs = workspace.own_folder() / "runs"
        runs.mkdir(exist_ok=True)
        for old in sorted(one for one in runs.iterdir() if one.is_dir())[: -(KEPT_RUNS - 1)]:
            shutil.rmtree(old)
        folder = runs / f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{time.monotonic_ns() % 10**6:06}"
        folder.mkdir()
        return folder
    if out.is_dir() and any(out.iterdir()):
        if not (out / PLAN).is_file():
            raise InputError(f"--out {out}: not empty, and not the folder of an earlier run")
        for attempt in out.glob("thebes-*-a*"):
            shutil.rmtree(attempt)
    out.mkdir(parents=True, exist_ok=True)
    return out
