"""The report: one HTML file that needs nothing else and fetches nothing.

The verdict and its reasons are plain HTML. The rest is data that the page's own scripts unpack and draw; the
Content-Security-Policy lets no other script run, whatever a test's name or output contains.
"""

import base64
import hashlib
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

from thebes import __version__
from thebes.codec import write_atomic
from thebes.model import Verdict

from . import words
from .payload import coverage_payload, payload
from .text import one_line, plain

if TYPE_CHECKING:
    import jinja2

ASSETS = Path(__file__).with_name("assets")
SCRIPTS = (
    *("base", "run", "state", "rows", "failures", "tests", "tables"),
    *("coverage", "benchmarks", "charts", "memory", "page"),
)
SUBJECTS = 50


def html(db: sqlite3.Connection, verdict: Verdict, path: Path, *, owners: str = "", only: str = "") -> None:
    """Write the page to `path`. `owners` is the text of the repository's CODEOWNERS, to filter by.

    `only`: "coverage" for a page of nothing else, which has the lines of every source, however large it gets.
    """
    data = coverage_payload(db) if only else payload(db, owners)
    named = [(name, gate) for name, gate in verdict.gates.items() if not gate.absent or gate.reasons]
    script, style = _script(), (ASSETS / "page.css").read_text("utf-8")
    text = (
        _environment()
        .get_template("page.html")
        .render(
            word=verdict.verdict.value,
            headline=words.headline(verdict),
            facts=list(words.facts(db, verdict)),
            gates=named,
            absent=[name for name, gate in verdict.gates.items() if gate.absent and not gate.reasons],
            reasons=words.reasons(verdict),
            shown=SUBJECTS,
            plan=verdict.plan,
            version=__version__,
            script=script,
            style=style,
            script_hash=_hash(script),
            style_hash=_hash(style),
            run=data.run,
            failures=data.failures,
            blocks=data.blocks,
            only=only,
        )
    )
    write_atomic(path, text.encode("utf-8", "backslashreplace"))


def _environment() -> "jinja2.Environment":
    import jinja2  # noqa: PLC0415  (38 ms that only the page needs)

    environment = jinja2.Environment(
        autoescape=True,
        loader=jinja2.FileSystemLoader(ASSETS),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    environment.filters["plain"] = plain
    environment.filters["line"] = one_line
    environment.filters["outcomes"] = words.outcomes
    return environment


def _script() -> str:
    """All scripts as one, in a scope of their own."""
    parts = ((ASSETS / f"{name}.js").read_text("utf-8") for name in SCRIPTS)
    return f'(() => {{\n"use strict";\n{"".join(parts)}}})();\n'


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
