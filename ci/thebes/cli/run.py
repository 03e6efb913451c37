"""`thebes run`: the whole flow on this machine."""

import shutil
import time
from collections.abc import Collection, Sequence
from pathlib import Path

import click

from thebes.codec import encode, write_atomic
from thebes.errors import InputError
from thebes.model import Plan
from thebes.plan import Choice, ProjectInput, assemble
from thebes.run import Attempt, Stop, attempt_folder, run_all
from thebes.run.machine import processors

from . import options, profile
from .conclude import Shown, conclude, tell_flames, tell_makespan
from .past import past_runs
from .plan import tell, tell_notes
from .progress import Progress
from .share import at_most, processes, share_processors
from .task import EXITS, Asked, handle_signals, make_attempt, tell_workers
from .text import lasting, say
from .workspace import Workspace

KEPT_RUNS = 5
PLAN = "plan.json"


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
    past = past_runs(workspace, history_url, durations)
    inputs = workspace.inputs(past, gates)
    tell_notes(inputs)
    room = parallel or processors()
    workers = workers or at_most(parallel, workspace, inputs)
    each = processes(workers or workspace.config.workers, inputs, room)
    named, existing = workspace.modules(modules)
    choice = Choice(
        gates=gates,
        shards=shards or _as_many(room // each, target, inputs),
        target=target,
        pythons=_pythons(workspace, pythons),
        coverage=coverage,
        modules=named,
        existing=existing,
        speeds=speeds,
        failed=failed,
        collect=collect,
        alike=True,
    )
    plan = assemble(inputs, choice, workspace.commit)
    _refuse_absent(plan, inputs, workers or workspace.config.workers)
    if not workers:
        each = share_processors(workspace, plan, inputs, each, room)
    folder = _folder(workspace, out)
    write_atomic(folder / PLAN, encode(plan))
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
    known = any(one.runs for one in past.values())
    attempts = _perform(workspace, plan, folder, asked, jobs or max(1, room // each), known=known)
    if flame:
        tell_flames(attempts)
    verdict = conclude(workspace, plan, folder, history_url, held, base, Shown(as_json=as_json, times=times))
    if each == 1 and not collect and known:
        tell_makespan(folder)
    say(f"{lasting(time.monotonic() - began)}; report: {folder / 'report.html'}")
    return EXITS[verdict.verdict]


def _perform(
    workspace: Workspace, plan: Plan, folder: Path, asked: Asked, jobs: int, *, known: bool
) -> Collection[Attempt]:
    """Run the tasks, `jobs` at a time, and show how far they are. `known`: past runs say what to expect."""
    stop = Stop()
    handle_signals(stop)
    attempts = {
        task.id: make_attempt(workspace, plan, task, attempt_folder(folder, task.id, 1), 1, asked)
        for task in plan.tasks
    }
    tell_workers(plan, attempts.values(), asked)
    tell(plan, known=known)
    with Progress(len(plan.tasks), live=not asked.foreground, collect=plan.collect) as progress:
        beside = 1 if asked.foreground else jobs
        run_all(plan, lambda task: attempts[task.id], beside, asked.maxfail or 0, stop, progress)
    return attempts.values()


def _as_many(fit: int, target: float | None, inputs: Sequence[ProjectInput]) -> int | None:
    """As many shards as fit on this machine, where nobody says how many or how long they may take."""
    if target is not None or any(project.config.shards or project.config.target for project in inputs):
        return None
    return max(1, fit)


def _pythons(workspace: Workspace, asked: tuple[str, ...]) -> tuple[str, ...]:
    """Those asked for, or the one at hand; says which others are configured."""
    pythons = asked or tuple(dict.fromkeys(workspace.interpreter(path).python for path in workspace.configs))[:1]
    if others := [python for python in workspace.config.python if python not in pythons]:
        say(f"thebes: under Python {', '.join(pythons)}; not here: {', '.join(others)} (--python adds one)")
    return pythons


def _refuse_absent(plan: Plan, inputs: list[ProjectInput], workers: str | None) -> None:
    """What pytest would only say in each shard: that it does not know an option."""
    measured = {suite.project for suite in plan.suites if suite.coverage}
    for project in inputs:
        needed = {
            "pytest-xdist": f"workers = {workers}" if workers not in {None, "0"} else "",
            "pytest-cov": "coverage is to be measured" if project.path in measured else "",
        }
        for plugin, why in needed.items():
            if why and plugin not in project.discovery.plugins:
                raise InputError(
                    f"{project.path}: {why}, and pytest finds no {plugin} where the tests run; install it there"
                )


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
