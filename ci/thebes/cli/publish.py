"""`thebes publish`."""

import re
import sqlite3
from pathlib import Path

import click

from thebes.codec import read_verdict, write_atomic
from thebes.errors import InputError
from thebes.merge import open_run
from thebes.model import Verdict
from thebes.publish import annotations, as_json, codeowners, coverage, html, junit, summary

from . import options
from .judge import VERDICT
from .text import say


@click.command("publish", epilog="Example: thebes publish run --html report.html --summary $GITHUB_STEP_SUMMARY")
@click.argument("folder", metavar="DIR", type=options.path(folder=True))
@click.option("--html", "html_path", type=options.path(), metavar="FILE", help="The report, one self-contained page.")
@click.option("--summary", "summary_path", type=options.path(), metavar="FILE", help="Markdown, appended to FILE.")
@click.option("--junit", "junit_path", type=options.path(), metavar="FILE", help="JUnit XML.")
@click.option("--json", "json_path", type=options.path(), metavar="FILE", help="All of it for scripts.")
@click.option(
    "--coverage",
    "coverage_path",
    type=options.path(folder=True),
    metavar="DIR",
    help="Gets coverage.html, .xml (Cobertura), .json and .lcov.",
)
@click.option("--report-url", metavar="URL", help="Where the page will be; the summary links into it.")
@click.option("--annotations", "annotate", is_flag=True, help="Print GitHub's annotation commands.")
def command(
    folder: Path,
    html_path: Path | None,
    summary_path: Path | None,
    junit_path: Path | None,
    json_path: Path | None,
    coverage_path: Path | None,
    report_url: str | None,
    annotate: bool,  # noqa: FBT001
) -> None:
    """Write the reports of the judged run in DIR."""
    if not any((html_path, summary_path, junit_path, json_path, coverage_path, annotate)):
        raise InputError(
            "publish: nothing asked for; give --html, --summary, --junit, --json, --coverage or --annotations"
        )
    if report_url and (not report_url.startswith(("https://", "http://")) or re.search(r"[\s<>#]", report_url)):
        raise InputError(f"--report-url {report_url!r}: expected the address of the page, as in https://example.org/r")
    verdict = read_verdict(folder / VERDICT)
    db = open_run(folder)
    try:
        if html_path:
            html(db, verdict, html_path, owners=codeowners.find(Path.cwd()))
        if summary_path:
            with summary_path.open("a", encoding="utf-8") as file:
                file.write(summary(db, verdict, report=report_url or ""))
        if junit_path:
            junit(db, junit_path)
        if json_path:
            write_atomic(json_path, as_json(db, verdict))
        if coverage_path and not _coverage(db, verdict, coverage_path):
            say(f"thebes: no coverage was measured; nothing in {coverage_path}")
        if annotate:
            for line in annotations(db, verdict, Path.cwd()):
                click.echo(line)
    finally:
        db.close()


def _coverage(db: sqlite3.Connection, verdict: Verdict, out: Path) -> bool:
    """Coverage in all forms; False where nothing was measured."""
    if not coverage.files(db, out):
        return False
    html(db, verdict, out / "coverage.html", only="coverage")
    return True


def publish_all(db: sqlite3.Connection, verdict: Verdict, out: Path) -> Path:
    """Every report, in `out`; returns the path of the page."""
    html(db, verdict, out / "report.html", owners=codeowners.find(Path.cwd()))
    write_atomic(out / "summary.md", summary(db, verdict).encode("utf-8", "backslashreplace"))
    write_atomic(out / "report.json", as_json(db, verdict))
    junit(db, out / "junit.xml")
    _coverage(db, verdict, out)
    return out / "report.html"
