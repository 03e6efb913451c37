"""GitHub workflow commands that put failures beside the source.

GitHub shows ten of a type for a step: what is missing first, then one for each cause, the widest first.
"""

import sqlite3
from pathlib import Path, PurePosixPath

from thebes.model import Reason, Verdict, VerdictKind

from . import words
from .read import Cause, Failure, causes, details, failures, own_place
from .text import command_data, command_property, shortened

PER_TYPE = 10
MESSAGE = 3500  # GitHub cuts at 4,096 characters
TYPES = ("error", "warning", "notice")
SEVERITIES = {"error": "error", "warning": "warning"}


def annotations(db: sqlite3.Connection, verdict: Verdict, root: Path) -> list[str]:
    """At most ten commands of each type. `root` is the checkout; places outside of it name no file."""
    made: dict[str, list[str]] = {kind: [] for kind in TYPES}
    _invalid(verdict, made["error"])
    reasons = [reason for gate in verdict.gates.values() for reason in gate.reasons]
    spared = {name for reason in reasons if reason.code == "quarantined" for name in reason.subjects}
    for cause in causes(failures(db)):
        kind = "warning" if all(_names(failure) & spared for failure in cause.failures) else "error"
        if len(made[kind]) < PER_TYPE:
            made[kind].append(_failure(db, cause, kind, root))
    _findings(db, made, root)
    _flaky(db, made["warning"], root)
    _notices(verdict, made["notice"])
    return [line for kind in TYPES for line in made[kind][:PER_TYPE]]


def _names(failure: Failure) -> set[str]:
    """What reasons call a failing test: with its suite where a gate has several."""
    return {failure.id, f"{failure.id} ({failure.suite})"}


def _invalid(verdict: Verdict, lines: list[str]) -> None:
    """What is missing comes first: nothing else shows it beside the source."""
    for gate, reason in words.reasons(verdict):
        if reason.verdict == VerdictKind.INVALID and len(lines) < PER_TYPE // 2:
            lines.append(_command("error", _title(gate, reason), _named(reason)))


def _title(gate: str, reason: Reason) -> str:
    return f"{gate}: {reason.text}" if gate else reason.text


def _named(reason: Reason) -> str:
    shown = reason.subjects[:20]
    rest = len(reason.subjects) - len(shown) + reason.more
    return "\n".join([*shown, *([f"… and {rest} more"] if rest else [])]) or reason.text


def _failure(db: sqlite3.Connection, cause: Cause, kind: str, root: Path) -> str:
    failure = cause.first
    file, line = own_place(db, failure)
    others = len(cause.failures) - 1
    title = failure.id if not others else f"{failure.id} and {others} more"
    text = details(db, failure).text
    message = f"{failure.message}\n\n{text}" if failure.message not in text else text
    return _command(kind, title, message.strip() or failure.outcome, _within(root, file), line)


def _findings(db: sqlite3.Connection, made: dict[str, list[str]], root: Path) -> None:
    rows = db.execute("SELECT file, line, rule, severity, text FROM finding ORDER BY severity, rowid LIMIT 1000")
    for file, line, rule, severity, text in rows:
        kind = SEVERITIES.get(severity, "notice")
        if len(made[kind]) < PER_TYPE:
            made[kind].append(_command(kind, rule, text, _within(root, file), line))


def _flaky(db: sqlite3.Connection, lines: list[str], root: Path) -> None:
    rows = db.execute("SELECT id, file, attempts FROM test WHERE flaky ORDER BY rowid LIMIT ?", (PER_TYPE,))
    for test, file, attempts in rows:
        if len(lines) < PER_TYPE:
            text = f"failed and passed on the same commit, in {attempts} attempts"
            lines.append(_command("warning", f"flaky: {test}", text, _within(root, file)))


def _notices(verdict: Verdict, lines: list[str]) -> None:
    lines.extend(_command("notice", reason.text, _named(reason)) for reason in verdict.notices[:PER_TYPE])


def _within(root: Path, file: str) -> str:
    """`file` relative to the checkout, or nothing where it lies outside or is no path at all."""
    path = PurePosixPath(file)
    if path.is_absolute():
        absolute = PurePosixPath(root.absolute().as_posix())
        return str(path.relative_to(absolute)) if path.is_relative_to(absolute) else ""
    return "" if not file or ".." in path.parts or "\n" in file else str(path)


def _command(kind: str, title: str, message: str, file: str = "", line: int = 0) -> str:
    properties = {"title": title[:200]}
    if file:
        properties = {"file": file, "line": str(max(line, 1)), **properties}
    told = ",".join(f"{key}={command_property(value)}" for key, value in properties.items())
    return f"::{kind} {told}::{command_data(shortened(message, MESSAGE))}"
