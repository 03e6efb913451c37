"""`thebes run`: the whole flow on this machine."""

import shutil
import sys
import time
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import click

from thebes.codec import encode, write_atomic
from thebes.errors import InputError
from thebes.judge import Policy
from thebes.merge import Beside, merge, open_run
from thebes.model import Plan, TaskKind, Verdict
from thebes.plan import Choice, ProjectInput, assemble
from thebes.publish import terminal, time_lines
from thebes.repository import changed_lines
from thebes.run import Attempt, Stop, attempt_folder, run_all
from thebes.run.flame import WORDS, last_words
from thebes.run.machine import processors

from . import options, profile
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


EXAMPLES = """
\b
Examples:
  thebes run                                   everything
  thebes run --fast                            what takes no time, after each change
  thebes run --module tests/test_queue.py      a file; or a folder, or app.tests.test_queue
  thebes run --profile failed                  again what failed last
  thebes run --profile debug --module test_queue
  thebes run --parallel 2 --coverage           with two processes at most
  thebes run --gate unit -- -k 'not slow'      pytest's own arguments after --
"""


@click.command("run", epilog=EXAMPLES)
@profile.option
@profile.fast
@options.modules
@options.speeds
@options.failed
@options.gates
@click.option("--parallel", type=click.IntRange(1, 1024), metavar="N", help="Processes at the same time [processors].")
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
@options.default_test_limit
@options.memory_limit
@options.measure_memory
@options.isolate
@options.leaks
@options.base
@options.coverage
@click.option("--collect", is_flag=True, help="Collect the tests and prove that; run none.")
@click.option("--foreground", is_flag=True, help="Give pytest this terminal, for pdb; nothing is ended by a limit.")
@click.option("--times", is_flag=True, help="Tell where the time goes.")
@click.option("--flame", is_flag=True, help="Draw a flame graph of each task; needs py-spy.")
@options.as_json
@options.arguments
@click.pass_context
def command(
    context: click.Context,
    modules: tuple[str, ...],
    speeds: tuple[str, ...],
    failed: bool,  # noqa: FBT001
    gates: tuple[str, ...],
    parallel: int | None,
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
    task_limit: str | None,
    test_limit: str | None,
    default_test_limit: str | None,
    memory_limit: str | None,
    measure_memory: bool,  # noqa: FBT001
    isolate: str | None,
    leaks: str | None,
    base: str | None,
    coverage: bool,  # noqa: FBT001
    collect: bool,  # noqa: FBT001
    foreground: bool,  # noqa: FBT001
    times: bool,  # noqa: FBT001
    flame: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
    arguments: tuple[str, ...],
) -> int:
    """Plan the suite, run its tasks as processes here, merge, judge and report. Works in any pytest repository.

    ARGUMENTS (after --) are pytest arguments for every shard.
    """
    began = time.monotonic()
    workspace = Workspace(interpreter, (*profile.chosen(context), *arguments))
    held = workspace.policy(base)
    runs = past_runs(workspace, history_url, durations)
    inputs = workspace.inputs(runs, gates)
    _tell_notes(inputs)
    room = parallel or processors()
    if parallel and workers is None:
        workers = _at_most(parallel, workspace, inputs)
    each = _workers(workers or workspace.config.workers, inputs, room)
    if shards is None and target is None and not any(p.config.shards or p.config.target for p in inputs):
        shards = max(1, room // each)
    pythons = pythons or tuple(dict.fromkeys(workspace.interpreter(path).python for path in workspace.configs))[:1]
    if others := [python for python in workspace.config.python if python not in pythons]:
        say(f"thebes: under Python {', '.join(pythons)}; not here: {', '.join(others)} (--python adds one)")
    named, existing = workspace.modules(modules)
    choice = Choice(
        gates=gates,
        shards=shards,
        target=target,
        pythons=pythons,
        coverage=coverage,
        modules=named,
        existing=existing,
        speeds=speeds,
        failed=failed,
        collect=collect,
    )
    plan = assemble(inputs, choice, workspace.commit)
    if not workers:
        each = _share_processors(workspace, plan, inputs, each, room)
    folder = _folder(workspace, out)
    write_atomic(folder / PLAN, encode(plan))
    stop = Stop()
    handle_signals(stop)
    asked = Asked(
        processors=parallel,
        workers=workers,
        task_limit=task_limit,
        test_limit=test_limit,
        default_test_limit=default_test_limit,
        memory_limit=memory_limit,
        measure_memory=measure_memory,
        isolate=isolate,
        leaks=leaks,
        maxfail=maxfail,
        foreground=foreground,
        flame=flame,
    )
    numbers = {
        task.id: make_attempt(workspace, plan, task, attempt_folder(folder, task.id, 1), 1, asked)
        for task in plan.tasks
    }
    tell_workers(plan, numbers.values(), asked)
    tell(plan, known=any(past.runs for past in runs.values()))
    with Progress(len(plan.tasks), live=not foreground, collect=collect) as progress:
        run_all(
            plan,
            lambda task: numbers[task.id],
            1 if foreground else jobs or max(1, room // each),
            maxfail or 0,
            stop,
            progress,
        )
    if flame:
        _tell_flames(numbers.values())
    partial = bool(plan.narrowed or gates or workspace.arguments)
    verdict = _conclude(
        workspace, plan, folder, history_url, held, base, _Shown(as_json=as_json, times=times, partial=partial)
    )
    if each == 1 and not collect and any(past.runs for past in runs.values()):
        _tell_makespan(folder)
    say(f"{lasting(time.monotonic() - began)}; report: {folder / 'report.html'}")
    return EXITS[verdict.verdict]


class _Shown(NamedTuple):
    """What is made of a run's end. `partial`: only a part of the tests was asked for, in whatever way."""

    as_json: bool
    times: bool
    partial: bool


def _conclude(
    workspace: Workspace,
    plan: Plan,
    folder: Path,
    history_url: str | None,
    held: Policy,
    base: str | None,
    shown: _Shown,
) -> Verdict:
    """Merge, judge, remember, report."""
    changed = changed_lines(workspace.root, base) if base else None
    merge([folder], plan, folder, repository=workspace.root, pythons=workspace.pythons(), beside=Beside(changed))
    verdict = judge_folder(folder, held)
    db = open_run(folder)
    try:
        if not plan.collect:
            with open_history(workspace, history_url) as history:
                history.feed(db, stamp(workspace, verdict.verdict), partial=shown.partial)
        publish_all(db, verdict, folder)
        width = shutil.get_terminal_size((100, 24)).columns
        if shown.times:
            click.echo("\n".join(time_lines(db, width)), err=shown.as_json)
        if shown.as_json:
            click.echo(encode(verdict), nl=False)
        else:
            click.echo(terminal(verdict, db, color=sys.stdout.isatty(), width=width))
    finally:
        db.close()
    return verdict


def _tell_flames(attempts: Iterable[Attempt]) -> None:
    """Where the graphs are, or why there is none."""
    for attempt in attempts:
        graphs = sorted(attempt.folder.glob("flame*.svg"))
        for graph in graphs:
            say(f"flame graph: {graph}")
        if not attempt.sampler:
            say("thebes: no flame graph: py-spy is neither on PATH nor beside the tests' Python; pip install py-spy")
            return
        if not graphs and (attempt.folder / WORDS).exists():
            say(f"thebes: no flame graph: py-spy: {clean(last_words(attempt.folder))}")


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


def _at_most(parallel: int, workspace: Workspace, inputs: list[ProjectInput]) -> str | None:
    """The number of workers that `--parallel` makes of more than that; None: they are as configured."""
    wanted = workspace.config.workers
    few = _workers(wanted, inputs, processors()) <= parallel or wanted == "auto"
    return None if few else str(parallel if parallel > 1 else 0)


def _share_processors(workspace: Workspace, plan: Plan, inputs: list[ProjectInput], each: int, room: int) -> int:
    """Where the project's own options ask for as many workers as there are processors, shards beside each other get
    their share of them. Returns the processes that each shard will start."""
    shards = sum(task.kind == TaskKind.PYTEST for task in plan.tasks)
    wanted = {project.discovery.options.workers for project in inputs}
    if shards < 2 or AUTO_WORKERS in workspace.environment or not wanted & {"auto", "logical"}:
        return each
    share = max(1, room // shards)
    workspace.environment[AUTO_WORKERS] = str(share)
    return share


def _workers(asked: str | None, inputs: list[ProjectInput], room: int) -> int:
    """Processes that each shard will start, as far as can be told before. `room`: how many processors there are."""
    numbers = {asked} if asked else {project.discovery.options.workers for project in inputs}
    known = [room if number in {"auto", "logical"} else int(number or 1) for number in numbers]
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
