"""`thebes merge`."""

from pathlib import Path

import click

from thebes.codec import read_plan
from thebes.errors import InputError
from thebes.merge import merge, open_run
from thebes.publish import junit
from thebes.repository import changed_lines

from . import options
from .text import amount, say
from .workspace import Workspace


@click.command("merge", epilog="Example: thebes merge artifacts --plan plan.json --out run")
@click.argument("folders", nargs=-1, required=True, metavar="DIR…", type=options.path(folder=True))
@options.plan_file
@click.option("--out", required=True, type=options.path(), metavar="DIR", help="Gets run.db, junit.xml, .coverage.")
@click.option(
    "--expect",
    "expected",
    multiple=True,
    metavar="TASK=N",
    help="Attempt N of TASK was started; so it must have a record.",
)
@options.changed_base
def command(folders: tuple[Path, ...], plan_path: Path, out: Path, expected: tuple[str, ...], base: str | None) -> None:
    """Merge all records below the folders into one run, and prove that nothing is missing.

    A missing, broken or foreign record is no error here: it is named in the run, and judged.
    """
    plan = read_plan(plan_path)
    workspace = Workspace()
    attempts = dict(_expected(one) for one in expected)
    merge(
        folders,
        plan,
        out,
        repository=workspace.root,
        expected=attempts,
        pythons=workspace.pythons(),
        changed=changed_lines(workspace.root, base) if base else None,
    )
    db = open_run(out)
    junit(db, out / "junit.xml")
    tests, problems = db.execute("SELECT (SELECT count(*) FROM test), (SELECT count(*) FROM problem)").fetchone()
    db.close()
    say(f"thebes: {amount(tests, 'test')} and {amount(problems, 'problem')} in {out / 'run.db'}")


def _expected(text: str) -> tuple[str, int]:
    task, _, number = text.partition("=")
    if not task or not number.isdecimal():
        raise InputError(f"--expect {text}: expected TASK=N, as in unit-py3.12-1of4=2")
    return task, int(number)
