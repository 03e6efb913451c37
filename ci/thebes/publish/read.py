"""What publishing needs of a run, read from run.db: failures with their places, and the causes they share."""

import shlex
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from thebes.model import Value

from .commands import commands, into
from .places import Place, Told, deepest, exception_of, inside, place, root_of

RED = ("failed", "error", "crashed")
LEFT = ("missing", "interrupted", "cancelled")
HEAD = 2000  # characters of a message that are kept in memory; texts stay in the database until they are shown
TAIL = 400
DETAIL = "phase, outcome, message, text, subtest, output"


class Failure(Value, frozen=True, kw_only=True):
    """A test, file or check that is red; `when` is a phase of a test, `collect` or `check`.

    `path` is relative to the repository where that can be told, `root` is its project's folder; `line` counts
    from 1, 0 is unknown; `phase` is the row of table phase that has the text, or None.
    """

    suite: str
    gate: str
    task: str
    id: str
    file: str
    outcome: str
    exception: str
    message: str
    path: str
    line: int
    root: str = ""
    phase: int | None = None
    when: str = ""
    text: str = ""

    @property
    def noun(self) -> str:
        return {"collect": "file", "check": "check"}.get(self.when, "test")

    @property
    def place(self) -> str:
        return f"{self.path}:{self.line}" if self.line else self.path


class Cause(Value, frozen=True, kw_only=True):
    """Failures with the same exception at the same place: most likely one mistake."""

    exception: str
    place: str
    failures: tuple[Failure, ...]

    @property
    def first(self) -> Failure:
        return self.failures[0]


class Detail(NamedTuple):
    """All that was recorded of a failing phase, texts as they are."""

    when: str
    outcome: str
    message: str
    text: str
    subtest: str | None
    output: dict[str, str]


def failures(db: sqlite3.Connection) -> list[Failure]:
    """Everything that is red: files that could not be collected, checks, tests in the order of the run."""
    suites = {row[0]: _Suite(*row[1:]) for row in db.execute(_SUITES)}
    return [*_files(db, suites), *_checks(db, suites), *_tests(db, suites)]


def causes(found: Iterable[Failure]) -> list[Cause]:
    """Failures by cause: what keeps whole files from running, checks, then what broke the most tests."""
    groups: dict[tuple[str, str], list[Failure]] = {}
    for failure in found:
        groups.setdefault((failure.exception, failure.place), []).append(failure)
    made = [Cause(exception=key[0], place=key[1], failures=tuple(group)) for key, group in groups.items()]
    ranks = {"file": 0, "check": 1, "test": 2}
    return sorted(made, key=lambda cause: (ranks[cause.first.noun], -len(cause.failures)))


def details(db: sqlite3.Connection, failure: Failure) -> Detail:
    """All that is known of the phase that made a failure one."""
    if failure.phase is None:
        output = {} if failure.text else _last_words(db, failure.task)
        return Detail(failure.when, failure.outcome, failure.message, failure.text, None, output)
    row = db.execute(f"SELECT {DETAIL} FROM phase WHERE rowid = ?", (failure.phase,)).fetchone()  # noqa: S608
    return detail(row)


def _last_words(db: sqlite3.Connection, task: str) -> dict[str, str]:
    """For a test that died without a word: what its process printed last."""
    row = db.execute("SELECT output FROM task_attempt WHERE task = ? AND decides", (task,)).fetchone()
    return {f"end of the output of {task}": row[0][-4000:]} if row and row[0] else {}


def detail(row: Sequence[Any]) -> Detail:
    """From the columns DETAIL of table phase."""
    output = msgspec.json.decode(row[5], type=dict[str, str]) if row[5] != "{}" else {}
    return Detail(row[0], row[1], row[2], row[3], row[4], output)


def own_place(db: sqlite3.Connection, failure: Failure) -> tuple[str, int]:
    """The place in the repository that comes closest to a failure; line 0 if none is known."""
    if failure.path and not failure.path.startswith("/"):
        return failure.path, failure.line
    path, line = deepest(failure.text or details(db, failure).text) or (failure.file, 0)
    return inside(failure.root, path), line


def reproduce(db: sqlite3.Connection, failure: Failure) -> str:
    """The command that runs this test, file or check alone, from the repository's root."""
    if failure.when == "check":
        return f"{into(failure.root)}{failure.id}"
    kind, command = db.execute("SELECT kind, command FROM task WHERE id = ?", (failure.task,)).fetchone() or ("", "[]")
    if kind in {"check", "results"}:  # another tool's test: there is no command for it alone
        words = msgspec.json.decode(command, type=list[str])
        return f"{into(failure.root)}{shlex.join(words)}" if words else ""
    services = db.execute("SELECT services FROM suite WHERE id = ?", (failure.suite,)).fetchone()[0]
    wanted = ", ".join(f"{name} {version}" for name, version in msgspec.json.decode(services).items())
    told = f"{commands(db)[failure.suite]} {shlex.quote(failure.id)}"
    return f"{told}  # with {wanted}" if wanted else told


# ------------------------------------------------------------------------------------------------ from run.db

_SUITES = "SELECT s.id, s.gate, coalesce(p.rootdir, '') FROM suite s LEFT JOIN project p ON p.path = s.project"


_CRASHES = "SELECT subject, text FROM problem WHERE code IN ('worker-crashed', 'pytest-died')"


class _Suite(NamedTuple):
    gate: str
    root: str


class _Phase(NamedTuple):
    row: int
    when: str
    told: Told


def _files(db: sqlite3.Connection, suites: Mapping[str, _Suite]) -> Iterable[Failure]:
    rows = db.execute("SELECT suite, task, file, text FROM file WHERE outcome = 'failed' ORDER BY suite, file, task")
    for suite, task, file, text in rows:
        message = text.strip().rpartition("\n")[2].removeprefix("E").strip()
        path, line = deepest(text) or (file, 0)
        yield Failure(
            suite=suite,
            gate=suites[suite].gate,
            task=task,
            id=file,
            file=file,
            outcome="error",
            when="collect",
            exception=exception_of(message),
            message=message[:HEAD],
            path=inside(suites[suite].root, path),
            line=line,
            root=suites[suite].root,
            text=text,
        )


def _checks(db: sqlite3.Connection, suites: Mapping[str, _Suite]) -> Iterable[Failure]:
    rows = db.execute(
        "SELECT t.suite, t.id, p.subject, p.text, coalesce(a.output, '') FROM problem p JOIN task t ON t.id = p.task"
        " LEFT JOIN task_attempt a ON a.task = t.id AND a.decides"
        " WHERE p.code IN ('check-failed', 'check-died') ORDER BY t.id"
    )
    for suite, task, command, text, output in rows:
        yield Failure(
            suite=suite,
            gate=suites[suite].gate,
            task=task,
            id=command,
            file="",
            outcome="failed",
            when="check",
            exception=f"{command}: {text}",
            message=output.strip().rpartition("\n")[2][:HEAD],
            path="",
            line=0,
            root=suites[suite].root,
            text=output or text,
        )


def _tests(db: sqlite3.Connection, suites: Mapping[str, _Suite]) -> Iterable[Failure]:
    phases, roots = _phases(db), _roots(db)
    crashes = dict(db.execute(_CRASHES).fetchall())
    rows = db.execute(
        f"SELECT suite, task, id, file, outcome FROM test WHERE outcome IN {RED} ORDER BY rowid"  # noqa: S608
    )
    for suite, task, test, file, outcome in rows:
        phase = phases.get((suite, test))
        if phase is None:
            message = crashes.get(test, "its process died" if outcome == "crashed" else "")
            where = Place(file, 0, outcome)
        else:
            message, where = phase.told.message, place(phase.told, roots.get(task, ""), file)
        yield Failure(
            suite=suite,
            gate=suites[suite].gate,
            task=task,
            id=test,
            file=file,
            outcome=outcome,
            when=phase.when if phase else "",
            exception=where.exception,
            message=message,
            path=inside(suites[suite].root, where.path),
            line=where.line,
            root=suites[suite].root,
            phase=phase.row if phase else None,
        )


def _phases(db: sqlite3.Connection) -> dict[tuple[str, str], _Phase]:
    """The first red phase of every test, of the attempt that decided."""
    found: dict[tuple[str, str], _Phase] = {}
    rows = db.execute(
        "SELECT suite, id, rowid, phase, path, line, substr(message, 1, ?), substr(text, -?) FROM phase"
        " WHERE decides AND outcome IN ('failed', 'error', 'crashed') ORDER BY rowid",
        (HEAD, TAIL),
    )
    for suite, test, row, when, *told in rows:
        found.setdefault((suite, test), _Phase(row, when, Told(*told)))
    return found


def _roots(db: sqlite3.Connection) -> dict[str, str]:
    """Where each task's machine had the project."""
    roots: dict[str, str] = {}
    for task, path, test in db.execute("SELECT task, path, id FROM phase WHERE path LIKE '/%'"):
        if task not in roots and (root := root_of(path, test)):
            roots[task] = root
    return roots
