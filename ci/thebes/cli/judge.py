"""`thebes judge`."""

import datetime as dt
from pathlib import Path

import click

from thebes.codec import encode, write_atomic
from thebes.judge import Policy, judge, read_facts
from thebes.merge import open_run
from thebes.model import Verdict
from thebes.publish import terminal

from . import options
from .task import EXITS
from .workspace import Workspace

VERDICT = "verdict.json"


@click.command("judge", epilog="Example: thebes judge run --base origin/main")
@click.argument("folder", metavar="DIR", type=options.path(folder=True))
@options.base
@options.as_json
def command(folder: Path, base: str | None, as_json: bool) -> int:  # noqa: FBT001
    """Give the verdict on the run in DIR, and write it to DIR/verdict.json.

    With --base, a change can tighten its policy (thresholds, required gates, quarantine) but not relax it.
    """
    verdict = judge_folder(folder, Workspace().policy(base))
    if as_json:
        click.echo(encode(verdict), nl=False)
    else:
        db = open_run(folder)
        click.echo(terminal(verdict, db, color=False, width=100))
        db.close()
    return EXITS[verdict.verdict]


def judge_folder(folder: Path, held: Policy) -> Verdict:
    """Judge `folder`/run.db and leave verdict.json beside it."""
    db = open_run(folder)
    try:
        verdict = judge(read_facts(db), held, dt.datetime.now(dt.UTC).date())
    finally:
        db.close()
    write_atomic(folder / VERDICT, encode(verdict))
    return verdict
