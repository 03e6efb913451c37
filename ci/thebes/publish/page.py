"""The report: one HTML file that needs nothing else and fetches nothing.

The verdict and its reasons are plain HTML. The rest is data that the page's own scripts unpack and draw; the
Content-Security-Policy lets no other script run, whatever a test's name or output contains.
"""

import base64
import hashlib
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import jinja2
from markupsafe import Markup

from thebes import __version__
from thebes.codec import write_atomic
from thebes.model import Reason, Verdict, VerdictKind

from .jsonfile import counts
from .payload import payload
from .text import one_line, plain

ASSETS = Path(__file__).with_name("assets")
SCRIPTS = ("base", "run", "state", "rows", "failures", "tests", "tables", "charts", "page")
SUBJECTS = 50
EFFECTS = {"test-missing", "test-interrupted", "file-not-collected", "nothing-selected"}  # mostly of other reasons
WEIGHT = {VerdictKind.INVALID: 0, VerdictKind.FAIL: 1, VerdictKind.PASS: 2}


def html(db: sqlite3.Connection, verdict: Verdict, path: Path, *, owners: str = "") -> None:
    """Write the page to `path`. `owners` is the text of the repository's CODEOWNERS, to filter by."""
    data = payload(db, owners)
    named = [(name, gate) for name, gate in verdict.gates.items() if not gate.absent or gate.reasons]
    script, style = _script(), (ASSETS / "page.css").read_text("utf-8")
    reasons = _reasons(verdict)
    text = (
        _environment()
        .get_template("page.html")
        .render(
            word=verdict.verdict.value,
            headline=_headline(verdict, reasons),
            facts=list(_facts(db, verdict)),
            gates=named,
            absent=[name for name, gate in verdict.gates.items() if gate.absent and not gate.reasons],
            reasons=reasons,
            shown=SUBJECTS,
            plan=verdict.plan,
            version=__version__,
            script=Markup(script),  # noqa: S704  (our own files)
            style=Markup(style),  # noqa: S704
            script_hash=_hash(script),
            style_hash=_hash(style),
            run=data.run,
            failures=data.failures,
            blocks=data.blocks,
        )
    )
    write_atomic(path, text.encode("utf-8", "backslashreplace"))


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        autoescape=True,
        loader=jinja2.FileSystemLoader(ASSETS),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    environment.filters["plain"] = plain
    environment.filters["line"] = one_line
    return environment


def _script() -> str:
    """All scripts as one, in a scope of their own."""
    parts = ((ASSETS / f"{name}.js").read_text("utf-8") for name in SCRIPTS)
    return f'(() => {{\n"use strict";\n{"".join(parts)}}})();\n'


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _reasons(verdict: Verdict) -> list[tuple[str, Reason]]:
    """With their gates, the heaviest first, causes before effects; what is only worth knowing last."""
    named = [(name, reason) for name, gate in verdict.gates.items() for reason in gate.reasons]
    named += [("", reason) for reason in (*verdict.reasons, *verdict.notices)]
    return sorted(named, key=lambda pair: (WEIGHT[pair[1].verdict], pair[1].code in EFFECTS))


def _headline(verdict: Verdict, reasons: list[tuple[str, Reason]]) -> str:
    """What one has to know in one line: the heaviest reasons, or how many gates hold."""
    if verdict.verdict == VerdictKind.PASS:
        held = sum(gate.verdict == VerdictKind.PASS for gate in verdict.gates.values())
        return f"{held} {'gate holds' if held == 1 else 'gates hold'}"
    heavy = [
        f"{gate}: {reason.text}" if gate else reason.text
        for gate, reason in reasons
        if reason.verdict == verdict.verdict
    ]
    rest = f" and {len(heavy) - 2} more reasons" if len(heavy) > 3 else ""
    return "; ".join(heavy[: 2 if rest else 3]) + rest


def _facts(db: sqlite3.Connection, verdict: Verdict) -> Iterator[str]:
    known = counts(db)
    yield f"{known['tests']:,} {'test' if known['tests'] == 1 else 'tests'}"
    if known["flaky"]:
        yield f"{known['flaky']:,} flaky"
    tasks, spent, began, ended = db.execute(
        "SELECT count(*), sum(seconds), min(began), max(began + seconds) FROM task_attempt WHERE decides"
    ).fetchone()
    if began is not None and ended is not None:
        work = f"{_duration(spent)} of work in {tasks} {'task' if tasks == 1 else 'tasks'}"
        yield f"{_duration(ended - began)} from start to end, {work}"
    pythons = [python for (python,) in db.execute("SELECT DISTINCT python FROM suite WHERE python != '' ORDER BY 1")]
    if pythons:
        yield f"Python {', '.join(sorted(pythons, key=_version))}"
    if verdict.commit:
        yield f"commit {verdict.commit[:12]}"


def _version(text: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", text)]


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {rest} s"
