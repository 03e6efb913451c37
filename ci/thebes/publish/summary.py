"""The Markdown summary: verdict first, then what matters most, under GitHub's limit.

Text that comes from tests stands in code spans and fenced blocks, where nothing is markup, link or mention.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from urllib.parse import quote

from thebes.model import GateVerdict, Reason, Verdict

from . import words
from .broken import broken
from .coverage import sources
from .read import Cause, causes, details, failures, reproduce
from .text import code_block, code_span, html, one_line, shortened

LIMIT = 1_000_000  # bytes; GitHub drops a summary of more than 1 MiB
TEXT = 6_000  # characters of one traceback
OUTPUT = 2_000
SUBJECTS = 10
NAMES = 20
TASKS = 10
SLOWEST = 10
SOURCES = 20
SAFE = ":/?#=&%+-._~"
ICONS = {"PASS": "✅", "FAIL": "❌", "INVALID": "⚠️"}


def summary(db: sqlite3.Connection, verdict: Verdict, *, report: str = "") -> str:
    """GitHub-flavoured Markdown of less than 1 MiB. What does not fit is left out whole, and counted.

    `report`: the address of the page, to be linked.
    """
    found = causes(failures(db))
    page = _Page(LIMIT)
    page.add("".join(_head(db, verdict, report)))
    page.add("".join(_broken(db)))
    shown = 0
    while shown < len(found) and page.add(_cause(db, found[shown], report, first=shown == 0)):
        shown += 1
    page.close(_left(found[shown:]))
    for part in (_coverage(db, report), _flaky(db, report), _slowest(db, report)):
        page.add("".join(part))
    return page.text()


def _left(causes: Sequence[Cause]) -> str:
    """The line that tells what did not fit."""
    if not causes:
        return ""
    tests = sum(len(cause.failures) for cause in causes)
    return f"\n**{len(causes):,} more causes with {tests:,} failures did not fit here**; the report has them.\n"


class _Page:
    """Parts up to a limit in bytes, some of which is kept back for the last line."""

    def __init__(self, limit: int) -> None:
        self._left = limit - 1000
        self._parts: list[str] = []

    def add(self, part: str) -> bool:
        size = len(part.encode())
        if size > self._left:
            return False
        self._left -= size
        self._parts.append(part)
        return True

    def close(self, line: str) -> None:
        self._parts.append(line)

    def text(self) -> str:
        return "".join(self._parts)


def _head(db: sqlite3.Connection, verdict: Verdict, report: str) -> Iterator[str]:
    word = verdict.verdict.value
    yield f"# {ICONS[word]} {word}: {words.headline(verdict)}\n\n"
    yield f"{' · '.join(words.facts(db, verdict))}\n\n"
    if report:
        yield f"**[The whole report](<{quote(report, safe=SAFE)}>)**\n\n"
    named = [(name, gate) for name, gate in verdict.gates.items() if not gate.absent or gate.reasons]
    yield "".join(_reason(name, reason) for name, reason in words.reasons(verdict)) + "\n"
    yield from _table(named)
    absent = [name for name, gate in verdict.gates.items() if gate.absent and not gate.reasons]
    if absent:
        yield f"Nothing is configured for: {', '.join(absent)}.\n\n"


def _reason(gate: str, reason: Reason) -> str:
    icon = {"PASS": "💡"}.get(reason.verdict.value, ICONS[reason.verdict.value])
    place = f"**{gate}**: " if gate else ""
    lines = [f"- {icon} {place}{reason.text} (`{reason.code}`)\n"]
    lines += [f"  - {code_span(subject)}\n" for subject in reason.subjects[:SUBJECTS]]
    rest = len(reason.subjects[SUBJECTS:]) + reason.more
    return "".join([*lines, *([f"  - … and {rest:,} more\n"] if rest else [])])


def _table(gates: Iterable[tuple[str, GateVerdict]]) -> Iterator[str]:
    gates = list(gates)
    columns = [name for name in words.OUTCOMES if any(name in gate.counts for _, gate in gates)]
    covered = any(gate.coverage is not None for _, gate in gates)
    head = ["gate", "verdict", *columns, *(["coverage"] if covered else [])]
    yield f"| {' | '.join(head)} |\n|{' --- |' * 2}{' ---: |' * (len(head) - 2)}\n"
    for name, gate in gates:
        word = gate.verdict.value if gate.verdict else ""
        cells = [
            name,
            f"{ICONS[word]} {word}" if word else "skipped",
            *(f"{gate.counts.get(column, 0):,}" if gate.counts else "" for column in columns),
        ]
        if covered:
            cells.append("" if gate.coverage is None else f"{gate.coverage:.2f} %")
        yield f"| {' | '.join(cells)} |\n"
    yield "\n"


def _broken(db: sqlite3.Connection) -> Iterator[str]:
    found = broken(db)
    if found:
        yield "## Tasks that broke\n\n"
    for number, one in enumerate(found[:TASKS]):
        opened = " open" if number == 0 else ""
        yield f"<details{opened}><summary><code>{html(one.task)}</code> {html(one_line(one.said, 200))}</summary>\n\n"
        yield code_block(shortened(one.output, OUTPUT) or "It printed nothing.") + "\n</details>\n\n"
    if found[TASKS:]:
        yield f"… and {len(found) - TASKS:,} more\n\n"


def _cause(db: sqlite3.Connection, cause: Cause, report: str, *, first: bool) -> str:
    failure = cause.first
    count = len(cause.failures)
    title = " ".join(part for part in (cause.exception, f"at {cause.place}" if cause.place else "") if part)
    told = f"<b>{words.many(count, failure.noun)}</b> · <code>{html(one_line(title))}</code>"
    opened = " open" if first else ""
    body = [
        "## Failures\n\n" if first else "",
        f"<details{opened}><summary>{told} {html(one_line(failure.message, 160))}</summary>\n\n",
        *(
            f"- {code_span(one.id)} {code_span(one.suite)}{_link(report, one.suite, one.id)}\n"
            for one in cause.failures[:NAMES]
        ),
        f"- … and {count - NAMES:,} more\n" if count > NAMES else "",
    ]
    known = details(db, failure)
    body.append("\n" + code_block(shortened(known.text or known.message, TEXT)))
    for name, text in known.output.items():
        body.append(f"\n{code_span(name)}\n\n{code_block(shortened(text, OUTPUT))}")
    body.append("\n" + code_block(reproduce(db, failure), "sh"))
    return "".join([*body, "\n</details>\n\n"])


def _link(report: str, suite: str, test: str) -> str:
    """To the place of a test in the page."""
    place = quote(f"{suite}|{test}"[:2000], safe="")
    return f" [↗](<{quote(report, safe=SAFE)}#tests?open={place}>)" if report else ""


def _coverage(db: sqlite3.Connection, report: str) -> Iterator[str]:
    """Totals, and the changed lines that nothing executed."""
    rows = db.execute(
        "SELECT project, percent, changed, changed_executed FROM coverage WHERE gate = '' AND percent IS NOT NULL"
        " ORDER BY project"
    ).fetchall()
    if rows:
        yield "\n## Coverage\n\n"
    for project, percent, changed, executed in rows:
        of = f" of {code_span(project)}" if len(rows) > 1 else ""
        touched = f", {executed:,} of {words.many(changed, 'changed statement')}" if changed else ""
        yield f"- {percent:.2f} %{of}{touched}\n"
    paths = db.execute(
        "SELECT DISTINCT file FROM coverage_file WHERE changed > changed_executed"
        " ORDER BY changed_executed - changed, file LIMIT ?",
        (SOURCES + 1,),
    ).fetchall()
    for (path,) in paths[:SOURCES]:
        source = next(sources(db, path))
        missed = [line for line in source.detail.changed or () if not source.hits[line]]
        if missed:
            link = f" [↗](<{quote(report, safe=SAFE)}#coverage?source={quote(path, safe='')}>)" if report else ""
            yield f"  - {code_span(path)}: changed and never executed: {_lines(missed)}{link}\n"
    if paths[SOURCES:]:
        yield "  - … and more; the report has them all\n"


def _lines(lines: Sequence[int]) -> str:
    shown = ", ".join(str(line) for line in lines[:NAMES])
    return f"{'line' if len(lines) == 1 else 'lines'} {shown}{', …' if lines[NAMES:] else ''}"


def _flaky(db: sqlite3.Connection, report: str) -> Iterator[str]:
    rows = db.execute("SELECT id, attempts, suite FROM test WHERE flaky ORDER BY attempts DESC, id LIMIT 51").fetchall()
    if rows:
        yield "\n## Flaky\n\n"
    for test, attempts, suite in rows[:50]:
        yield f"- {code_span(test)}, {attempts} attempts{_link(report, suite, test)}\n"
    if len(rows) > 50:
        yield "- … and more; the report has them all\n"


def _slowest(db: sqlite3.Connection, report: str) -> Iterator[str]:
    rows = db.execute(
        "SELECT id, setup + call + teardown AS seconds, suite FROM test WHERE seconds >= 1"
        " ORDER BY seconds DESC LIMIT ?",
        (SLOWEST,),
    ).fetchall()
    if rows:
        yield "\n<details><summary>Slowest tests</summary>\n\n"
        for test, seconds, suite in rows:
            yield f"- {seconds:.2f} s {code_span(test)}{_link(report, suite, test)}\n"
        yield "\n</details>\n"
