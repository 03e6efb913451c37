"""JUnit XML: one testsuite per suite, streamed, written by formatting strings.

Names are those of pytest's own junitxml. What did not run is an error here, so that a consumer that reads
nothing but this file is not green by accident. Earlier attempts are Surefire's flakyFailure and rerunFailure.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from thebes.judge.reasons import REASONS
from thebes.model import VerdictKind

from .read import DETAIL, Detail, detail
from .text import is_harmless, xml_attribute, xml_text

_Rows = dict[str, tuple[int, ...]]
_PhaseRows = dict[str, tuple[_Rows, _Rows]]  # by suite: of attempts that decide, and of earlier ones

ERRORS = ("error", "crashed", "missing", "interrupted")
SKIPPED = ("skipped", "xfailed", "cancelled")
BATCH = 4000
TOLD = {
    "crashed": "the process died while this test was running",
    "missing": "never ran",
    "interrupted": "did not come to an end",
    "cancelled": "cancelled after a failure",
}
COUNTS = (
    "count(*), coalesce(sum(outcome = 'failed'), 0),"
    f" coalesce(sum(outcome IN {ERRORS}), 0), coalesce(sum(outcome IN {SKIPPED}), 0),"
    " coalesce(sum(setup + call + teardown), 0), min(nullif(at, 0)), min(rowid), max(rowid)"
)


def junit(db: sqlite3.Connection, path: Path) -> None:
    """Write all tests, files that failed or skipped themselves, checks and what is missing to `path`."""
    part = path.with_name(f".{path.name}.part")
    with part.open("w", encoding="utf-8", newline="\n") as file:
        file.write('<?xml version="1.0" encoding="utf-8"?>\n')
        file.writelines(_document(db))
    part.replace(path)


def _document(db: sqlite3.Connection) -> Iterator[str]:
    suites = [row[0] for row in db.execute("SELECT id FROM suite ORDER BY id")]
    phases = _phase_rows(db)
    parts = [_Suite(db, suite, phases.get(suite, ({}, {}))) for suite in suites]
    problems = _problems(db)
    tests, failures, errors, skipped, seconds = (sum(part.counts[i] for part in parts) for i in range(5))
    head = _counts(tests + len(problems), failures, errors + len(problems), skipped, seconds)
    yield f'<testsuites name="thebes"{head}>\n'
    for part in parts:
        yield from part.lines()
    if problems:
        yield f'<testsuite name="thebes"{_counts(len(problems), 0, len(problems), 0, 0.0)}>\n'
        yield from problems
        yield "</testsuite>\n"
    yield "</testsuites>\n"


def _counts(tests: int, failures: int, errors: int, skipped: int, seconds: float) -> str:
    return f' tests="{tests}" failures="{failures}" errors="{errors}" skipped="{skipped}" time="{seconds:.3f}"'


def _problems(db: sqlite3.Connection) -> list[str]:
    """A test case for everything that makes a run invalid and has no test or file to be shown at."""
    rows = db.execute("SELECT code, coalesce(task, suite, ''), subject, text FROM problem ORDER BY rowid")
    return [_problem(*row) for row in rows if row[0] not in REASONS or REASONS[row[0]].verdict == VerdictKind.INVALID]


def _problem(code: str, place: str, subject: str, text: str) -> str:
    kind, name = xml_attribute(code), xml_attribute(subject)
    error = f'<error type="{kind}" message="{xml_attribute(text[:1000])}">{xml_text(place)}</error>'
    return f'<testcase classname="thebes.{kind}" name="{name}" time="0.000">{error}</testcase>\n'


class _Suite:
    """One testsuite element. Details are looked up by row, so that memory does not grow with the output."""

    def __init__(self, db: sqlite3.Connection, suite: str, phases: tuple[_Rows, _Rows]) -> None:
        self.db = db
        self.phases, self.reruns = phases
        self.suite = suite
        self.files = _files(db, suite)
        self.checks = _checks(db, suite)
        row = db.execute(f"SELECT {COUNTS} FROM test WHERE suite = ?", (suite,)).fetchone()  # noqa: S608
        files = [outcome == "failed" for outcome, _ in self.files]
        checks = [red for red, _ in self.checks]
        self.counts = (
            row[0] + len(files) + len(checks),
            row[1] + sum(checks),
            row[2] + sum(files),
            row[3] + len(files) - sum(files),
            row[4],
        )
        self.began: float | None = row[5]
        self.rows = (row[6], row[7])

    def lines(self) -> Iterator[str]:
        began = ""
        if self.began:
            began = f' timestamp="{datetime.fromtimestamp(self.began, UTC).isoformat(timespec="seconds")}"'
        yield f'<testsuite name="{xml_attribute(self.suite)}"{_counts(*self.counts)}{began}>\n'
        yield from (line for _, line in self.files)
        yield from (line for _, line in self.checks)
        yield from self._tests()
        yield "</testsuite>\n"

    def _tests(self) -> Iterator[str]:
        phases, reruns = self.phases, self.reruns
        cursor = self.db.cursor()
        cursor.row_factory = None
        # The tests of a suite mostly lie together: with the bounds, all suites together read the table once.
        cursor.execute(
            "SELECT id, file, outcome, setup + call + teardown FROM test"
            " WHERE rowid BETWEEN ? AND ? AND suite = ? ORDER BY rowid",
            (*self.rows, self.suite),
        )
        while rows := cursor.fetchmany(BATCH):
            # One look at all the names of a batch costs less than one at each.
            escape = str if is_harmless("".join([row[0] for row in rows])) else xml_attribute
            openings: dict[str, str] = {}
            lines = []
            for test, file, outcome, seconds in rows:
                end = test.find("[")
                at = test.rfind("::", 0, end) if end >= 0 else test.rfind("::")
                group, name = (test[:at], test[at + 2 :]) if at >= 0 else ("", test)
                opening = openings.get(group)
                if opening is None:
                    opening = openings[group] = _opening(group, file)
                start = f'{opening}{escape(name)}" time="{seconds:.3f}"'
                if outcome == "passed" and not (reruns and test in reruns):
                    lines.append(start + "/>\n")
                else:
                    inside = self._inside(outcome, phases.get(test, ()), reruns.get(test, ()))
                    lines.append(f"{start}>{inside}</testcase>\n" if inside else start + "/>\n")
            yield "".join(lines)

    def _inside(self, outcome: str, phases: Iterable[int], reruns: Iterable[int]) -> str:
        """The elements of a test case that did not simply pass."""
        found = self._details(phases)
        inside = _result(outcome, found)
        name = "flakyFailure" if outcome in {"passed", "xfailed", "xpassed", "skipped"} else "rerunFailure"
        for one in self._details(reruns):
            inside += (
                f'<{name} type="{one.outcome}" message="{xml_attribute(one.message)}">'
                f"<stackTrace>{xml_text(one.text)}</stackTrace></{name}>"
            )
        return inside + _output(found)

    def _details(self, rows: Iterable[int]) -> list[Detail]:
        sql = f"SELECT {DETAIL} FROM phase WHERE rowid = ?"  # noqa: S608
        return [detail(self.db.execute(sql, (row,)).fetchone()) for row in rows]


def _opening(group: str, file: str) -> str:
    """A test case up to its name, for a node id without its last part; named as pytest names it."""
    names = group.split("::")
    names[0] = names[0].replace("/", ".").removesuffix(".py")
    return f'<testcase classname="{xml_attribute(".".join(names))}" file="{xml_attribute(file)}" name="'


def _phase_rows(db: sqlite3.Connection) -> _PhaseRows:
    """Where the phases of each suite's tests are: one pass over a table that is mostly long texts."""
    found: _PhaseRows = {}
    cursor = db.cursor()
    cursor.row_factory = None
    for suite, test, row, decides in cursor.execute("SELECT suite, id, rowid, decides FROM phase ORDER BY rowid"):
        known = found.setdefault(suite, ({}, {}))[0 if decides else 1]
        known[test] = (*known.get(test, ()), row)
    return found


def _result(outcome: str, found: list[Detail]) -> str:
    told = [one for one in found if one.outcome in {"failed", "error"}] or found
    message = told[0].message if told else TOLD.get(outcome, "")
    if outcome in SKIPPED:
        kind = "pytest.xfail" if outcome == "xfailed" else "pytest.skip"
        return f'<skipped type="{kind}" message="{xml_attribute(message)}"/>'
    if outcome in {"passed", "xpassed"}:
        return ""
    name = "error" if outcome in ERRORS else "failure"
    text = "\n\n".join(_headed(one) for one in told)
    return f'<{name} type="{outcome}" message="{xml_attribute(message)}">{xml_text(text)}</{name}>'


def _headed(one: Detail) -> str:
    text = one.text or one.message
    return f"{one.subtest}\n{text}" if one.subtest else text


def _output(found: list[Detail]) -> str:
    return "".join(
        f"<{element}>{xml_text(text)}</{element}>"
        for element, wanted in (("system-out", _is_out), ("system-err", _is_err))
        if (text := "\n".join(text for one in found for head, text in one.output.items() if wanted(head)))
    )


def _is_out(heading: str) -> bool:
    return not _is_err(heading)


def _is_err(heading: str) -> bool:
    return "stderr" in heading


def _files(db: sqlite3.Connection, suite: str) -> list[tuple[str, str]]:
    """Outcome and element of every file without tests, as pytest's own junitxml names them."""
    made = []
    rows = db.execute(
        "SELECT file, outcome, text FROM file WHERE suite = ? AND outcome IN ('failed', 'skipped') ORDER BY file, task",
        (suite,),
    )
    for file, outcome, text in rows:
        name = xml_attribute(file.removesuffix(".py").replace("/", "."))
        start = f'<testcase classname="" name="{name}" file="{xml_attribute(file)}" time="0.000">'
        element = "error" if outcome == "failed" else "skipped"
        message = "collection failure" if outcome == "failed" else "collection skipped"
        made.append((outcome, f'{start}<{element} message="{message}">{xml_text(text)}</{element}></testcase>\n'))
    return made


def _checks(db: sqlite3.Connection, suite: str) -> list[tuple[bool, str]]:
    """Whether it is red, and element, of every task of this suite that is no shard of tests."""
    made = []
    rows = db.execute(
        "SELECT t.id, t.command, a.seconds, a.output, p.text FROM task t"
        " LEFT JOIN task_attempt a ON a.task = t.id AND a.decides"
        " LEFT JOIN problem p ON p.task = t.id AND p.code = 'check-failed'"
        " WHERE t.suite = ? AND t.kind != 'pytest' ORDER BY t.id",
        (suite,),
    )
    for task, command, seconds, output, failed in rows:
        name = xml_attribute(" ".join(msgspec.json.decode(command)) or task)
        start = f'<testcase classname="{xml_attribute(suite)}" name="{name}" time="{seconds or 0.0:.3f}"'
        if failed is None:
            made.append((False, start + "/>\n"))
            continue
        message = xml_attribute(failed)
        made.append((True, f'{start}><failure message="{message}">{xml_text(output)}</failure></testcase>\n'))
    return made
