"""The verdict for a terminal: gates, reasons with their first subjects, places to click on."""

import sqlite3
import textwrap

from thebes.model import GateVerdict, Reason, Verdict

from . import words
from .read import Failure, failures
from .text import terminal_line

SUBJECTS = 10
INDENT = 20
COLORS = {"PASS": "32", "FAIL": "31", "INVALID": "35", "dim": "2", "bold": "1"}


def terminal(verdict: Verdict, db: sqlite3.Connection, *, color: bool, width: int) -> str:
    """Lines of at most `width` columns (40 at least) and, where a terminal shows it, the verdict in one line."""
    screen = _Screen(color=color, width=max(40, width), failures=_by_subject(failures(db)))
    seconds = dict(
        db.execute(
            "SELECT s.gate, sum(a.seconds) FROM task_attempt a JOIN task t ON t.id = a.task"
            " JOIN suite s ON s.id = t.suite WHERE a.decides GROUP BY s.gate"
        ).fetchall()
    )
    for name, gate in verdict.gates.items():
        screen.gate(name, gate, seconds.get(name))
    for reason in (*verdict.reasons, *verdict.notices):
        screen.reason(reason)
    screen.last(verdict, db)
    return "\n".join(screen.lines) + "\n"


def one_line(verdict: Verdict, db: sqlite3.Connection) -> str:
    """Verdict, main reason and figures in one line, without colour."""
    return terminal_line(f"{verdict.verdict}: {words.headline(verdict)} ({', '.join(words.facts(db, verdict))})", 1000)


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
        facts = words.outcomes(gate.counts)
        facts += [f"coverage {gate.coverage:.2f} %"] if gate.coverage is not None else []
        facts += [f"{words.duration(seconds)} of work"] if seconds else []
        # A wrapped line ends between two facts, never inside of one.
        told = textwrap.wrap(" · ".join(fact.replace(" ", "\xa0") for fact in facts), self.width - INDENT)
        first, *more = [line.replace("\xa0", " ") for line in told] or [""]
        self.put(f"{self.paint(f'{word:<7}', word)} {self.paint(f'{name:<11}', 'bold')} {first}".rstrip())
        for line in more:
            self.put(" " * INDENT + line)
        for reason in sorted(gate.reasons, key=words.rank):
            self.reason(reason)

    def reason(self, reason: Reason) -> None:
        mark = {"FAIL": "✗", "INVALID": "?"}.get(reason.verdict.value, "·")
        head, *more = textwrap.wrap(f"{reason.text} [{reason.code}]", self.width - 4)
        self.put(f"  {self.paint(mark, reason.verdict.value)} {head}")
        for line in more:
            self.put(f"    {line}")
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
        place = terminal_line(f"{failure.place}:" if failure.line else failure.place, self.width - 8)
        message = terminal_line(failure.message.partition("\n")[0], self.width - 8)
        if len(place) + len(message) < self.width - 8:
            self.put(f"        {self.paint(place, 'dim')} {message}".rstrip())
        else:
            self.put(f"        {self.paint(place, 'dim')}")
            self.put(f"        {message}".rstrip())

    def last(self, verdict: Verdict, db: sqlite3.Connection) -> None:
        """Never shorter than it must be: this line is what people copy."""
        line = one_line(verdict, db)
        word = verdict.verdict.value
        self.put(self.paint(word, word) + line.removeprefix(word))

    def put(self, line: str) -> None:
        self.lines.append(line)

    def paint(self, text: str, name: str) -> str:
        return f"\x1b[{COLORS[name]}m{text}\x1b[0m" if self.color and text and name in COLORS else text
