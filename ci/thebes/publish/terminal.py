"""The verdict for a terminal: gates, reasons with their first subjects, places to click on."""

import sqlite3

from thebes.model import GateVerdict, Reason, Verdict, VerdictKind

from .read import Failure, failures
from .text import terminal_line

SUBJECTS = 10
COLORS = {"PASS": "32", "FAIL": "31", "INVALID": "35", "dim": "2", "bold": "1"}
ORDER = (
    "passed",
    "failed",
    "error",
    "crashed",
    "missing",
    "interrupted",
    "cancelled",
    "skipped",
    "xfailed",
    "xpassed",
)


def terminal(verdict: Verdict, db: sqlite3.Connection, *, color: bool, width: int) -> str:
    """Lines of at most `width` columns (40 at least), the verdict last, where a terminal shows it."""
    screen = _Screen(color=color, width=max(40, width), failures=_by_subject(failures(db)))
    seconds = dict(
        db.execute(
            "SELECT s.gate, sum(a.seconds) FROM task_attempt a JOIN task t ON t.id = a.task"
            " JOIN suite s ON s.id = t.suite WHERE a.decides GROUP BY s.gate"
        ).fetchall()
    )
    for name, gate in verdict.gates.items():
        screen.gate(name, gate, seconds.get(name))
    for reason in verdict.reasons:
        screen.reason(reason)
    for reason in verdict.notices:
        screen.reason(reason)
    screen.last(verdict)
    return "\n".join(screen.lines) + "\n"


def _by_subject(found: list[Failure]) -> dict[str, Failure]:
    """Failures by the names that reasons have for them: with the suite where a gate has several."""
    return {name: one for one in found for name in (one.id, f"{one.id} ({one.suite})")}


class _Screen:
    def __init__(self, *, color: bool, width: int, failures: dict[str, Failure]) -> None:
        self.color = color
        self.width = width
        self.failures = failures
        self.lines: list[str] = []

    def gate(self, name: str, gate: GateVerdict, seconds: float | None) -> None:
        if gate.absent and not gate.reasons:
            return
        word = gate.verdict.value if gate.verdict else "-"
        facts = [f"{gate.counts[outcome]:,} {outcome}" for outcome in ORDER if outcome in gate.counts]
        facts += [f"{gate.counts['flaky']:,} flaky"] if "flaky" in gate.counts else []
        facts += [f"coverage {gate.coverage:.2f} %"] if gate.coverage is not None else []
        facts += [f"{seconds:.1f} s of work"] if seconds else []
        self.put(f"{self.paint(f'{word:<7}', word)} {self.paint(f'{name:<11}', 'bold')} {' · '.join(facts)}")
        for reason in gate.reasons:
            self.reason(reason)

    def reason(self, reason: Reason) -> None:
        mark = {"FAIL": "✗", "INVALID": "?"}.get(reason.verdict.value, "·")
        code = self.paint(f"[{reason.code}]", "dim")
        self.put(f"  {self.paint(mark, reason.verdict.value)} {reason.text} {code}")
        for subject in reason.subjects[:SUBJECTS]:
            self.subject(subject)
        rest = len(reason.subjects[SUBJECTS:]) + reason.more
        if rest:
            self.put(self.paint(f"      … and {rest:,} more", "dim"))

    def subject(self, subject: str) -> None:
        self.put(f"      {terminal_line(subject, self.width - 6)}")
        failure = self.failures.get(subject)
        if failure is None:
            return
        place = terminal_line(f"{failure.place}:" if failure.place else "", self.width)
        room = self.width - 9 - len(place)
        message = terminal_line(failure.message.partition("\n")[0], max(room, 20))
        self.put(f"        {self.paint(place, 'dim')} {message}".rstrip())

    def last(self, verdict: Verdict) -> None:
        word = verdict.verdict.value
        meaning = {
            VerdictKind.PASS: "every gate that is configured holds",
            VerdictKind.FAIL: "see the reasons above",
            VerdictKind.INVALID: "evidence is missing: this is not a pass, whatever did run",
        }
        self.put(f"{self.paint(word, word)}: {meaning[verdict.verdict]}")

    def put(self, line: str) -> None:
        self.lines.append(line)

    def paint(self, text: str, name: str) -> str:
        return f"\x1b[{COLORS[name]}m{text}\x1b[0m" if self.color and text and name in COLORS else text
