"""`thebes plan`."""

from pathlib import Path

import click

from thebes.codec import encode, write_atomic
from thebes.model import Plan
from thebes.plan import Choice, assemble

from . import options
from .past import past_runs
from .text import amount, lasting, say
from .workspace import Workspace


@click.command("plan", epilog="Example: thebes plan --gate unit --shards 8 --out plan.json")
@options.gates
@options.shards
@options.target
@options.durations
@options.history
@options.interpreter
@options.pythons
@click.option("--out", type=options.path(), metavar="FILE", help="Where the plan goes [standard output].")
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
    as_json: bool,  # noqa: FBT001
    arguments: tuple[str, ...],
) -> None:
    """Split the suite into tasks, each for a job of its own. Nothing is run and no test module imported.

    ARGUMENTS (after --) are pytest arguments for every shard.
    """
    workspace = Workspace(interpreter, arguments)
    runs = past_runs(workspace, history_url, durations)
    choice = Choice(gates=gates, shards=shards, target=target, pythons=pythons)
    plan = assemble(workspace.inputs(runs, gates), choice, workspace.commit)
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
