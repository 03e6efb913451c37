"""`thebes history`."""

import datetime as dt
import time
from contextlib import closing
from pathlib import Path

import click

from thebes.errors import EvidenceError
from thebes.history.durations import read_durations, write_durations
from thebes.history.read import Stamp
from thebes.merge import open_run

from . import options
from .past import open_history, remember
from .text import amount, clean, say
from .workspace import Workspace


@click.group("history", epilog="Example: thebes history import .test_durations")
def command() -> None:
    """Past runs: durations and outcomes, which the planner works from. Every local run adds to it."""


@command.command("show")
@options.history
def show(history_url: str | None) -> None:
    """List the runs, newest first."""
    with open_history(Workspace(), history_url) as history:
        for stamp in history.stamps():
            when = dt.datetime.fromtimestamp(stamp.at, dt.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
            click.echo(
                clean(
                    f"{when}  {stamp.verdict or '-':7}  {stamp.commit[:10] or '-':10}  {stamp.branch} {stamp.machine}"
                )
            )


@command.command("feed", epilog="Example: thebes history feed run --history postgresql://ci@db/thebes")
@click.argument("folder", metavar="DIR", type=options.path(folder=True))
@options.history
def feed(folder: Path, history_url: str | None) -> None:
    """Add the merged run in DIR. `thebes run` does it by itself."""
    with closing(open_run(folder)) as db:
        remember(Workspace(), db, "", history_url)


@command.command("import")
@click.argument("file", type=options.path(exists=True))
@click.option("--project", default=".", metavar="DIR", help="The project whose tests these are.")
@options.history
def import_(file: Path, project: str, history_url: str | None) -> None:
    """Add the durations in FILE, in pytest-split's format, as one past run."""
    durations = read_durations(file)
    stamp = Stamp(at=time.time(), commit="", branch="", machine=f"import of {file.name}", verdict="")
    with open_history(Workspace(), history_url) as history:
        history.add_durations(durations, stamp, project)
    say(f"thebes: {amount(len(durations), 'duration')} added")


@command.command("export")
@click.argument("file", type=options.path())
@click.option("--project", default=".", metavar="DIR", help="The project whose tests are wanted.")
@options.history
def export(file: Path, project: str, history_url: str | None) -> None:
    """Write each test's newest duration to FILE, in pytest-split's format."""
    with open_history(Workspace(), history_url) as history:
        durations: dict[str, float] = {}
        for run in history.runs(project):
            durations |= run.tests
    if not durations:
        raise EvidenceError(f"project {project}: no past run knows a test of it")
    write_durations(file, durations)
    say(f"thebes: {amount(len(durations), 'duration')} in {file}")
