"""What judging needs to know of a run, read from run.db."""

import json
import sqlite3

from thebes.merge.covering import share
from thebes.model import Value

RED = ("failed", "error", "crashed")
LEFT = ("missing", "interrupted", "cancelled")


class SuiteFacts(Value, frozen=True, kw_only=True):
    """Counts of tests by outcome; `named` has the ids for every outcome that is not simply fine. `leaks`: tests that
    left something behind and did not fail for it, each with what. `collected`: tests that the files had, without those
    that were deselected."""

    id: str
    project: str
    gate: str
    tasks: int
    checks: int
    counts: dict[str, int]
    named: dict[str, tuple[str, ...]]
    flaky: tuple[str, ...]
    leaks: tuple[tuple[str, str], ...] = ()
    skipped_files: int
    collected: int = 0
    deselected: int = 0


class ProblemFact(Value, frozen=True, kw_only=True):
    code: str
    gate: str | None
    subject: str
    text: str
    task: str | None = None


class FindingFact(Value, frozen=True, kw_only=True):
    """What a check found; `task` found it."""

    task: str
    file: str
    line: int
    rule: str
    severity: str
    text: str


class CoverageFact(Value, frozen=True, kw_only=True):
    """`gate` is empty for the whole project; `percent` is None where it can't be told, `text` says why. `changed`:
    statements that the change touched, None where nobody asked; so many of them were executed."""

    project: str
    gate: str
    percent: float | None
    text: str
    changed: int | None = None
    changed_executed: int | None = None

    @property
    def changed_percent(self) -> float | None:
        """None where nothing changed that could be covered, or nobody asked."""
        return share(self.changed_executed or 0, self.changed) if self.changed else None


class RunFacts(Value, frozen=True, kw_only=True):
    """`narrowed`: options that asked for a part of the tests; `collect`: none was to be run."""

    plan: str
    commit: str
    suites: tuple[SuiteFacts, ...]
    problems: tuple[ProblemFact, ...]
    coverage: tuple[CoverageFact, ...]
    findings: tuple[FindingFact, ...] = ()
    fail_under: dict[str, float]
    skips: tuple[tuple[str, str], ...]
    narrowed: tuple[str, ...] = ()
    collect: bool = False


def read_facts(db: sqlite3.Connection) -> RunFacts:
    meta = dict(db.execute("SELECT key, value FROM meta").fetchall())
    return RunFacts(
        plan=meta["plan"],
        commit=meta["commit"],
        suites=tuple(_suite(db, row) for row in db.execute("SELECT id, project, gate FROM suite ORDER BY id")),
        problems=tuple(
            ProblemFact(code=code, gate=gate, subject=subject, text=text, task=task)
            for code, gate, subject, text, task in db.execute(
                "SELECT code, gate, subject, text, task FROM problem ORDER BY code, subject, text"
            )
        ),
        findings=tuple(
            FindingFact(task=task, file=file, line=line, rule=rule, severity=severity, text=text)
            for task, file, line, rule, severity, text in db.execute(
                "SELECT task, file, line, rule, severity, text FROM finding"
                " WHERE task IN (SELECT task FROM problem WHERE code = 'check-findings') AND severity != 'note'"
                " ORDER BY task, file, line, rule, text"
            )
        ),
        coverage=tuple(
            CoverageFact(
                project=project, gate=gate, percent=percent, text=text, changed=changed, changed_executed=executed
            )
            for project, gate, percent, text, changed, executed in db.execute(
                "SELECT project, gate, percent, text, changed, changed_executed FROM coverage"
            )
        ),
        fail_under=dict(db.execute("SELECT path, fail_under FROM project WHERE fail_under IS NOT NULL").fetchall()),
        skips=tuple((gate, reason) for gate, reason in db.execute("SELECT gate, reason FROM skip")),
        narrowed=tuple(json.loads(meta.get("narrowed", "[]"))),
        collect=meta.get("collect") == "1",
    )


def _suite(db: sqlite3.Connection, row: sqlite3.Row) -> SuiteFacts:
    suite, project, gate = row
    tasks = dict(
        db.execute(
            "SELECT kind IN ('check', 'results'), count(*) FROM task WHERE suite = ? GROUP BY 1", (suite,)
        ).fetchall()
    )
    counts = dict(
        db.execute("SELECT outcome, count(*) FROM test WHERE suite = ? GROUP BY 1 ORDER BY 1", (suite,)).fetchall()
    )
    return SuiteFacts(
        id=suite,
        project=project,
        gate=gate,
        tasks=tasks.get(0, 0),
        checks=tasks.get(1, 0),
        counts=counts,
        named={outcome: _ids(db, suite, outcome) for outcome in (*RED, *LEFT) if outcome in counts},
        flaky=tuple(
            test for (test,) in db.execute("SELECT id FROM test WHERE suite = ? AND flaky ORDER BY id", (suite,))
        ),
        leaks=tuple(
            (test, texts)
            for test, texts in db.execute(
                "SELECT l.id, group_concat(l.text, '; ') FROM leak l JOIN task t ON t.id = l.task"
                " AND t.attempt = l.task_attempt WHERE l.suite = ? AND NOT l.fails GROUP BY l.id ORDER BY l.id",
                (suite,),
            )
        ),
        skipped_files=db.execute(
            "SELECT count(*) FROM file WHERE suite = ? AND outcome = 'skipped'", (suite,)
        ).fetchone()[0],
        collected=_count(db, "SELECT total(tests) FROM file WHERE suite = ?", suite),
        deselected=_count(db, "SELECT count(DISTINCT id) FROM deselected WHERE suite = ?", suite),
    )


def _count(db: sqlite3.Connection, query: str, suite: str) -> int:
    return int(db.execute(query, (suite,)).fetchone()[0])


def _ids(db: sqlite3.Connection, suite: str, outcome: str) -> tuple[str, ...]:
    rows = db.execute("SELECT id FROM test WHERE suite = ? AND outcome = ? ORDER BY id", (suite, outcome))
    return tuple(test for (test,) in rows)
