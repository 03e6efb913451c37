"""`thebes plan`."""

from pathlib import Path

import click

from thebes.codec import encode, write_atomic
from thebes.config import Config, seconds
from thebes.errors import InputError
from thebes.model import Plan
from thebes.plan import Choice, assemble
from thebes.plan.packed import Wish

from . import options
from .text import amount, lasting, say


@click.command("plan", epilog="Example: thebes plan --gate unit --shards 8 --out plan.json")
@options.gates
@options.shards
@options.target
@options.durations
@options.history
@options.interpreter
@options.pythons
@click.option("--out", type=options.path(), metavar="FILE", help="Where the plan goes [standard output].")
@click.option("--from-durations", "bare", is_flag=True, help="Plan from --durations alone, with no project at hand.")
@click.option(
    "--against",
    type=options.path(exists=True),
    metavar="FILE",
    help="With --from-durations: plan FILE's test files and tell what each shard would really have taken.",
)
@options.as_json
@options.arguments
def command(
    gates: tuple[str, ...],
    shards: int | None,
    target: float | None,
    durations: tuple[Path, ...],
    history_url: str | None,
    interpreter: str | None,
    pythons: tuple[str, ...],
    out: Path | None,
    bare: bool,  # noqa: FBT001
    against: Path | None,
    as_json: bool,  # noqa: FBT001
    arguments: tuple[str, ...],
) -> None:
    """Split the suite into tasks, each for a job of its own. Nothing is run and no test module imported.

    ARGUMENTS (after --) are pytest arguments for every shard.
    """
    choice = Choice(gates=gates, shards=shards, target=target, pythons=pythons)
    if bare:
        _refuse({"--gate": gates, "--history": history_url, "--interpreter": interpreter, "--python": pythons})
        _refuse({"pytest arguments": arguments})
        _from_durations(choice, durations, against, out, as_json=as_json)
        return
    if against:
        raise InputError("--against: only with --from-durations")
    _from_project(choice, interpreter, arguments, history_url, durations, out, as_json=as_json)


def _refuse(others: dict[str, object]) -> None:
    for name, value in others.items():
        if value:
            raise InputError(f"{name}: not with --from-durations, which knows no project")


def _from_durations(
    choice: Choice, durations: tuple[Path, ...], against: Path | None, out: Path | None, *, as_json: bool
) -> None:
    from .from_durations import Request, from_durations  # noqa: PLC0415  (and nothing that needs a project)

    usual = Config()
    start = seconds(usual.job_start, "tool.thebes.job-start")
    wish = Wish(shards=choice.shards, target=choice.target, job_start=start, most=usual.max_shards)
    from_durations(Request(durations=durations, wish=wish, against=against, out=out, as_json=as_json))


def _from_project(
    choice: Choice,
    interpreter: str | None,
    arguments: tuple[str, ...],
    history_url: str | None,
    durations: tuple[Path, ...],
    out: Path | None,
    *,
    as_json: bool,
) -> None:
    from .past import past_runs  # noqa: PLC0415  (the database library)
    from .workspace import Workspace  # noqa: PLC0415

    workspace = Workspace(interpreter, arguments)
    runs = past_runs(workspace, history_url, durations)
    plan = assemble(workspace.inputs(runs, choice.gates), choice, workspace.commit)
    if out:
        write_atomic(out, encode(plan))
    if as_json or not out:
        click.echo(encode(plan), nl=False)
    if out:
        tell(plan, known=any(past.runs for past in runs.values()))


def tell(plan: Plan, *, known: bool) -> None:
    """The plan in a line for each suite."""
    for suite in plan.suites:
        tasks = [task for task in plan.tasks if task.suite == suite.id]
        files = {piece.file for task in tasks for piece in task.pieces}
        longest = max((task.estimate for task in tasks), default=0.0)
        about = f", the longest about {lasting(longest)}" if known else ""
        say(f"{suite.id}: {amount(len(tasks), 'task')}, {amount(len(files), 'file')}{about}")
    for skip in plan.skips:
        say(f"{skip.gate}: {skip.reason}")
