"""`thebes merge`."""

from pathlib import Path

import click

from thebes.codec import read_plan
from thebes.errors import InputError
from thebes.merge import RUN_DB, Beside, merge, merge_runs, open_run
from thebes.model import GATES, Plan
from thebes.publish import junit
from thebes.repository import changed_lines

from . import options
from .text import amount, say
from .workspace import Workspace


@click.command("merge", epilog="Example: thebes merge artifacts --plan plan.json --out run")
@click.argument("folders", nargs=-1, required=True, metavar="DIR…", type=options.path(folder=True))
@click.option(
    "--plan",
    "plan_path",
    type=options.path(exists=True),
    metavar="FILE",
    help="The plan, plan.json; none for whole runs.",
)
@click.option("--out", required=True, type=options.path(), metavar="DIR", help="Gets run.db, junit.xml, .coverage.")
@click.option(
    "--expect",
    "expected",
    multiple=True,
    metavar="TASK=N",
    help="Attempt N of TASK was started; so it must have a record.",
)
@options.changed_base
@click.option(
    "--results",
    multiple=True,
    metavar="GATE=FILE",
    help="What another tool found: JUnit XML, SARIF, pytest-benchmark's JSON, Cobertura's XML.",
)
def command(
    folders: tuple[Path, ...],
    plan_path: Path | None,
    out: Path,
    expected: tuple[str, ...],
    base: str | None,
    results: tuple[str, ...],
) -> None:
    """Merge all records below the folders into one run, and prove that nothing is missing.

    A missing, broken or foreign record is no error here: it is named in the run, and judged.
    Without --plan the folders are merged runs (of several workflows, say), which become one.
    """
    if plan_path is None:
        _whole_runs(folders, out, (*expected, *results, base or ""))
    else:
        _records(folders, read_plan(plan_path), out, expected, base, results)
    db = open_run(out)
    junit(db, out / "junit.xml")
    tests, problems = db.execute("SELECT (SELECT count(*) FROM test), (SELECT count(*) FROM problem)").fetchone()
    db.close()
    say(f"thebes: {amount(tests, 'test')} and {amount(problems, 'problem')} in {out / 'run.db'}")


def _whole_runs(folders: tuple[Path, ...], out: Path, others: tuple[str, ...]) -> None:
    if any(others):
        raise InputError("merge: --expect, --base and --results need --plan; they belong to the merge of records")
    for folder in folders:
        if not (folder / RUN_DB).is_file():
            raise InputError(f"{folder}: no {RUN_DB}; records need --plan FILE, without it the folders are merged runs")
    merge_runs(folders, out)


def _records(
    folders: tuple[Path, ...],
    plan: Plan,
    out: Path,
    expected: tuple[str, ...],
    base: str | None,
    results: tuple[str, ...],
) -> None:
    workspace = Workspace()
    attempts = dict(_expected(one) for one in expected)
    merge(
        folders,
        plan,
        out,
        repository=workspace.root,
        expected=attempts,
        pythons=workspace.pythons(),
        beside=Beside(changed_lines(workspace.root, base) if base else None, [_result(one) for one in results]),
    )


def _result(text: str) -> tuple[str, Path]:
    gate, _, name = text.partition("=")
    if gate not in GATES or not name:
        raise InputError(f"--results {text}: expected GATE=FILE, as in quality=eslint.sarif; gates: {', '.join(GATES)}")
    if not Path(name).is_file():
        raise InputError(f"--results {text}: no file {name}")
    return gate, Path(name)


def _expected(text: str) -> tuple[str, int]:
    task, _, number = text.partition("=")
    if not task or not number.isdecimal():
        raise InputError(f"--expect {text}: expected TASK=N, as in unit-py3.12-1of4=2")
    return task, int(number)
