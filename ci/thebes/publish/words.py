"""A verdict in words: its reasons in order, one line that tells the most, and the run's main figures."""

import re
import sqlite3
from collections.abc import Iterator, Mapping

from thebes.model import Reason, Verdict, VerdictKind

from .jsonfile import counts

WEIGHT = {VerdictKind.INVALID: 0, VerdictKind.FAIL: 1, VerdictKind.PASS: 2}
OUTCOMES = (
    *("passed", "failed", "error", "crashed", "missing", "interrupted", "cancelled"),
    *("skipped", "xfailed", "xpassed", "flaky", "collected"),
)
PARTIAL = {"tests-narrowed", "collected-only"}  # a pass that must say what it is worth
EFFECTS = {"test-missing", "test-interrupted", "file-not-collected", "nothing-selected"}  # mostly of other reasons


def reasons(verdict: Verdict) -> list[tuple[str, Reason]]:
    """With their gates, the heaviest first, causes before effects; what is only worth knowing last."""
    named = [(name, reason) for name, gate in verdict.gates.items() for reason in gate.reasons]
    named += [("", reason) for reason in (*verdict.reasons, *verdict.notices)]
    return sorted(named, key=lambda pair: rank(pair[1]))


def rank(reason: Reason) -> tuple[int, bool]:
    """To sort reasons by."""
    return WEIGHT[reason.verdict], reason.code in EFFECTS


def headline(verdict: Verdict) -> str:
    """What one has to know in one line: the heaviest reasons, or how many gates hold."""
    if verdict.verdict == VerdictKind.PASS:
        held = sum(gate.verdict == VerdictKind.PASS for gate in verdict.gates.values())
        but = "".join(f", {reason.text}" for reason in verdict.reasons if reason.code in PARTIAL)
        return f"{held} {'gate holds' if held == 1 else 'gates hold'}{but}"
    heavy = [
        f"{gate}: {reason.text}" if gate else reason.text
        for gate, reason in reasons(verdict)
        if reason.verdict == verdict.verdict
    ]
    rest = f" and {len(heavy) - 2} more reasons" if len(heavy) > 3 else ""
    return "; ".join(heavy[: 2 if rest else 3]) + rest


def outcomes(counts: Mapping[str, int]) -> list[str]:
    """Counts of tests by outcome in words, in the order of all tables."""
    return [f"{counts[outcome]:,} {outcome}" for outcome in OUTCOMES if outcome in counts]


def facts(db: sqlite3.Connection, verdict: Verdict) -> Iterator[str]:
    """Tests, flaky ones, time and work, Pythons, commit; each where it is known."""
    known = counts(db)
    collected = sum(gate.counts.get("collected", 0) for gate in verdict.gates.values())
    yield f"{many(collected, 'test')} collected" if collected else many(known["tests"], "test")
    if known["flaky"]:
        yield f"{known['flaky']:,} flaky"
    tasks, spent, began, ended = db.execute(
        "SELECT count(*), sum(seconds), min(began), max(began + seconds) FROM task_attempt WHERE decides"
    ).fetchone()
    if began is not None and ended is not None:
        yield f"{duration(ended - began)} from start to end, {duration(spent)} of work in {many(tasks, 'task')}"
    (runs,) = db.execute("SELECT count(DISTINCT number) FROM origin").fetchone()
    if runs:
        yield f"{many(runs, 'run')} together"
    pythons = [python for (python,) in db.execute("SELECT DISTINCT python FROM suite WHERE python != '' ORDER BY 1")]
    if pythons:
        yield f"Python {', '.join(_tame(python) for python in sorted(pythons, key=_version))}"
    if verdict.commit:
        yield f"commit {_tame(verdict.commit[:12])}"


def many(number: int, name: str) -> str:
    return f"{number:,} {name if number == 1 else name + 's'}"


def duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {rest} s"


def _tame(text: str) -> str:
    """These come from plan.json, and stand where nothing escapes them."""
    return re.sub(r"[^\w.+-]", "?", text)


def _version(text: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", text)]
