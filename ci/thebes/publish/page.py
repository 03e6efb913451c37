"""The report: one HTML file that needs nothing else."""

import sqlite3
from pathlib import Path

import jinja2

from thebes.codec import write_atomic
from thebes.model import Verdict

from .jsonfile import counts
from .read import causes, details, failures, reproduce
from .text import plain, shortened

ASSETS = Path(__file__).with_name("assets")
CAUSES = 200


def html(db: sqlite3.Connection, verdict: Verdict, path: Path) -> None:
    """Write the page to `path`."""
    environment = jinja2.Environment(
        autoescape=True,
        loader=jinja2.FileSystemLoader(ASSETS),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    environment.filters["plain"] = plain
    found = causes(failures(db))
    shown = [(cause, [details(db, cause.first)], reproduce(db, cause.first)) for cause in found[:CAUSES]]
    tests = db.execute(
        "SELECT id, suite, outcome, setup + call + teardown FROM test ORDER BY outcome = 'passed', rowid LIMIT 20000"
    ).fetchall()
    text = environment.get_template("page.html").render(
        verdict=verdict,
        counts=counts(db),
        causes=shown,
        more=found[CAUSES:],
        tests=tests,
        shortened=shortened,
        tasks=db.execute(
            "SELECT t.id, t.kind, t.estimate, a.seconds, a.exit FROM task t"
            " LEFT JOIN task_attempt a ON a.task = t.id AND a.decides ORDER BY t.wave, t.id"
        ).fetchall(),
    )
    write_atomic(path, text.encode("utf-8", "backslashreplace"))
