"""`thebes plan`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from thebes.codec import encode, write_atomic
from thebes.config import Config
from thebes.errors import InputError
from thebes.model import Plan
from thebes.plan import JOB_START, Assembled, Choice, ProjectInput, assembled
from thebes.plan.groups import unmatched
from thebes.plan.packed import Wish

from . import options
from .explain import explanation, give
from .text import amount, clean, lasting, say

if TYPE_CHECKING:
    from .workspace import Workspace


@click.command("plan", epilog="Example: thebes plan --gate unit --shards 8 --out plan.json")
@options.gates
@options.modules
@options.speeds
@options.failed
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
@click.option("--explain", "explained", is_flag=True, help="Tell why: shards, cuts, the bound, what is uncertain.")
@options.coverage
@options.as_json
@options.arguments
def command(
    gates: tuple[str, ...],
    modules: tuple[str, ...],
    speeds: tuple[str, ...],
    failed: bool,  # noqa: FBT001
    shards: int | None,
    target: float | None,
    durations: tuple[Path, ...],
    history_url: str | None,
    interpreter: str | None,
    pythons: tuple[str, ...],
    out: Path | None,
    bare: bool,  # noqa: FBT001
    against: Path | None,
    explained: bool,  # noqa: FBT001
    coverage: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
    arguments: tuple[str, ...],
) -> None:
    """Split the suite into tasks, each for a job of its own. Nothing is run and no test module imported.

    ARGUMENTS (after --) are pytest arguments for every shard. With --explain, --json is for the explanation, and
    the plan goes to --out only.
    """
    choice = Choice(gates=gates, shards=shards, target=target, pythons=pythons, coverage=coverage)
    if bare:
        _refuse({"--gate": gates, "--history": history_url, "--interpreter": interpreter, "--python": pythons})
        _refuse({"pytest arguments": arguments, "--module": modules, "--speed": speeds, "--failed": failed})
        _refuse({"--coverage": coverage})
        _from_durations(choice, durations, against, out, explained=explained, as_json=as_json)
        return
    if against:
        raise InputError("--against: only with --from-durations")
    workspace = _workspace(interpreter, arguments)
    named, existing = workspace.modules(modules)
    choice = msgspec.structs.replace(choice, modules=named, existing=existing, speeds=speeds, failed=failed)
    found, known = _assembled(workspace, choice, history_url, durations)
    if out:
        write_atomic(out, encode(found.plan))
    if explained:
        give(explanation(found.plan, found.suites, workspace.config), as_json=as_json)
    elif as_json or not out:
        click.echo(encode(found.plan), nl=False)
    if out:
        tell(found.plan, known=known)


def _refuse(others: dict[str, object]) -> None:
    for name, value in others.items():
        if value:
            raise InputError(f"{name}: not with --from-durations, which knows no project")


def _from_durations(
    choice: Choice,
    durations: tuple[Path, ...],
    against: Path | None,
    out: Path | None,
    *,
    explained: bool,
    as_json: bool,
) -> None:
    from .from_durations import Request, from_durations  # noqa: PLC0415  (and nothing that needs a project)

    usual = Config()
    from_durations(
        Request(
            durations=durations,
            wish=Wish(shards=choice.shards, target=choice.target, job_start=JOB_START, most=usual.max_shards),
            against=against,
            out=out,
            explained=explained,
            as_json=as_json,
        )
    )


def _workspace(interpreter: str | None, arguments: tuple[str, ...]) -> "Workspace":
    from .workspace import Workspace  # noqa: PLC0415  (looks for projects)

    return Workspace(interpreter, arguments)


def _assembled(
    workspace: "Workspace", choice: Choice, history_url: str | None, durations: tuple[Path, ...]
) -> tuple[Assembled, bool]:
    """The plan, and whether anything is known of past runs."""
    from .past import past_runs  # noqa: PLC0415  (the database library)

    runs = past_runs(workspace, history_url, durations)
    inputs = workspace.inputs(runs, choice.gates)
    tell_notes(inputs)
    found = assembled(inputs, choice, workspace.commit)
    return found, any(past.runs for past in runs.values())


def tell_notes(inputs: Sequence[ProjectInput]) -> None:
    """What discovery noticed, and what the configuration says of files that there are not."""
    for project in inputs:
        for note in (*project.discovery.notes, *astray(project)):
            say(f"thebes: {project.path}: {clean(note)}")


def astray(project: ProjectInput) -> list[str]:
    """Globs of the configuration that match no test file. Arguments may leave their files out."""
    return [] if project.args else unmatched(project.config.plan, [file.key for file in project.discovery.files])


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
