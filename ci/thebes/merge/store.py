"""run.db: writing it once, and opening it again."""

import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import msgspec

from thebes.errors import EvidenceError, FormatError
from thebes.foreign import Benchmark, Case
from thebes.model import FORMAT, Finding, Leak, Phase, Plan, Sample, Task
from thebes.model import Benchmark as BenchmarkLine

from .covering import Figures
from .proof import Left, Problem, TaskProof
from .records import Facts
from .results import Given

RUN_DB = "run.db"
SCHEMA = Path(__file__).with_name("schema.sql")
RED = {"failed", "error", "crashed"}
BATCH = 2000
LEVEL = 3  # of deflate

_json = msgspec.json.Encoder()


def text_json(value: object) -> str:
    return _json.encode(value).decode()


class Store:
    """A run.db that is being written. Use as a context manager: on an error nothing is left behind."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._temporary = path.with_name(f".{path.name}.part")
        self._temporary.unlink(missing_ok=True)
        try:
            self._db = sqlite3.connect(f"{self._temporary.resolve().as_uri()}?mode=rwc", isolation_level=None, uri=True)
            self._db.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;" + SCHEMA.read_text("utf-8"))
        except sqlite3.Error as error:
            raise EvidenceError(f"{path}: can't be written: {error}") from None
        self._db.execute("BEGIN")
        self._phases: list[tuple[object, ...]] = []
        self._measured: set[tuple[str, str]] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None:
            self._flush()
            self._db.execute("COMMIT")
        self._db.close()
        if kind is None:
            self._temporary.replace(self._path)
            return
        self._temporary.unlink(missing_ok=True)
        if isinstance(error, sqlite3.Error):
            raise EvidenceError(f"{self._path}: can't be written: {error}") from None

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """The database itself, outside of the transaction, for what can't be done in one."""
        self._db.execute("COMMIT")
        yield self._db
        self._db.execute("BEGIN")

    def plan(self, plan: Plan, gates: Sequence[str]) -> None:
        meta = {"schema": FORMAT, "plan": plan.digest, "commit": plan.commit, "gates": text_json(gates)}
        meta |= {"narrowed": text_json(plan.narrowed), "collect": int(plan.collect)}
        self._many("meta", 2, ((key, str(value)) for key, value in meta.items()))
        self._many("project", 4, ((p.path, p.rootdir, p.fail_under, text_json(p.args)) for p in plan.projects))
        self._many("suite", 5, ((s.id, s.project, s.gate, s.python, text_json(s.services)) for s in plan.suites))
        self._many("skip", 2, ((skip.gate, skip.reason) for skip in plan.skips))

    def task(self, task: Task, attempt: int | None) -> None:
        command = text_json(task.command)
        row = (
            task.id,
            task.suite,
            task.kind.value,
            task.wave,
            task.index,
            task.of,
            task.estimate,
            command,
            attempt,
            task.speed,
        )
        self._many("task", 10, [row])

    def attempt(self, facts: Facts, record: str, *, decides: bool) -> None:
        first, closing = facts.header, facts.closing
        session = facts.session
        environment = first.environment | ({"pytest": session.pytest, **session.plugins} if session else {})
        if core := facts.measuring:
            environment |= {"coverage_core": core.core, "coverage_cores": " ".join(core.cores)}
        row = (
            first.task,
            first.attempt,
            decides,
            closing.exit if closing else None,
            closing.signal if closing else None,
            closing.stopped if closing else None,
            first.at,
            closing.seconds if closing else None,
            text_json(environment),
            facts.output,
            record,
            first.waited,
        )
        self._many("task_attempt", 12, [row])

    def files(self, task: Task, facts: Facts, proof: TaskProof) -> None:
        results = {result.file: result for result in facts.files}
        planned = {piece.file for piece in task.pieces}
        rows = []
        for file in sorted(planned | set(facts.collected) | set(results)):
            line, result = facts.collected.get(file), results.get(file)
            outcome = result.outcome if result else "collected" if line else "missing"
            rows.append(
                (
                    task.suite,
                    file,
                    task.id,
                    file in planned,
                    len(proof.selected.get(file, ())),
                    line.seconds if line else 0.0,
                    outcome,
                    result.text if result else "",
                )
            )
        self._many("file", 8, rows)

    def tests(self, task: Task, facts: Facts, proof: TaskProof, older: Sequence[Facts]) -> None:
        """The decided outcome of every test that ended or should have; `older` are earlier attempts of the task."""
        suite, name, ended, earlier = task.suite, task.id, facts.ended, facts.earlier
        left = {item.id: item.outcome for item in proof.left}
        rows: list[tuple[object, ...]] = []
        for file, tests in proof.selected.items():
            for test in dict.fromkeys(tests):
                end = ended.get(test)
                if end is None or test in left:
                    number = len(earlier.get(test, ())) + (end is not None)
                    at = facts.running.get(test, 0.0)
                    rows.append((suite, test, file, name, left[test], 0, 0, 0, 0, at, "", number, 0, None, None))
                    continue
                setup, call, teardown = end.durations
                before = [one.outcome for one in earlier.get(test, ())] if earlier else []
                before += [one.ended[test].outcome for one in older if test in one.ended]
                flaky = bool(before) and (end.outcome in RED) != any(one in RED for one in before)
                flaky = flaky or (bool(before) and end.outcome in RED and any(one not in RED for one in before))
                rows.append(
                    (
                        suite,
                        test,
                        file,
                        name,
                        end.outcome,
                        setup,
                        call,
                        teardown,
                        end.fixtures,
                        end.at,
                        end.worker,
                        1 + len(before),
                        flaky,
                        *(end.memory or (None, None)),
                    )
                )
        self._many("test", 15, rows)
        self._earlier(task, facts, older)
        self._many("grouped", 3, ((suite, test, group) for test, group in _groups(facts, proof)))
        self._many("deselected", 3, ((suite, test, name) for test in sorted(facts.deselected)))
        shared = ((suite, name, one.fixture, one.seconds, one.test, text_json(one.users)) for one in facts.shared)
        self._many("shared", 6, shared)

    def _earlier(self, task: Task, facts: Facts, older: Sequence[Facts]) -> None:
        rows = []
        for source in (facts, *older):
            ends = {test: list(before) for test, before in source.earlier.items()}
            if source is not facts:
                for test, end in source.ended.items():
                    ends.setdefault(test, []).append(end)
            for test, attempts in ends.items():
                for number, end in enumerate(attempts, 1):
                    head = (task.suite, test, task.id, source.header.attempt, number, end.outcome)
                    rows.append((*head, *end.durations, end.at, end.worker))
        self._many("attempt", 11, rows)

    def phase(self, suite: str, task: str, attempt: int, test: str, number: int, line: Phase) -> None:
        head = (suite, test, task, attempt, number, 0, line.when, line.outcome, line.message, line.text)
        self._phases.append((*head, line.path, line.line, line.subtest, text_json(line.output)))
        if len(self._phases) >= BATCH // 10:
            self._flush()

    def decided_phases(self, task: str, attempt: int, numbers: Mapping[str, int]) -> None:
        """Mark the phases of the attempts that decide: the last of each test in the newest record."""
        self._flush()
        self._db.execute("UPDATE phase SET decides = 1 WHERE task = ? AND task_attempt = ?", (task, attempt))
        self._db.executemany(
            "UPDATE phase SET decides = 0 WHERE task = ? AND task_attempt = ? AND id = ? AND number < ?",
            ((task, attempt, test, number) for test, number in numbers.items()),
        )

    def finding(self, task: str, line: Finding) -> None:
        self._many("finding", 6, [(task, line.file, line.line, line.rule, line.severity, line.text)])

    def cases(self, given: Given, cases: Iterable[tuple[str, str, Case]]) -> None:
        """Tests of another tool: file, id and what it says of each."""
        tests: list[tuple[object, ...]] = []
        for file, test, case in cases:
            attempts = len(case.failures) + 1
            spent = (0, case.seconds, 0, 0)
            row = (given.suite, test, file, given.task, case.outcome, *spent, 0, "", attempts, case.flaky)
            tests.append((*row, None, None))  # nobody measured its memory
            if case.outcome != "passed" or case.flaky:
                head = (given.suite, test, given.task, given.attempt)
                output = text_json({"output": case.output} if case.output else {})
                for number, message in enumerate(case.failures, 1):
                    self._phases.append((*head, number, 0, "call", "failed", message, "", "", 0, None, "{}"))
                if case.outcome != "passed":
                    said = (case.message or case.kind, case.text, case.file, case.line, None, output)
                    self._phases.append((*head, attempts, 1, "call", case.outcome, *said))
        self._many("test", 15, tests)
        self._flush()

    def measured(self, task: Task, facts: Facts) -> None:
        """What pytest-benchmark measured in a shard."""
        self._benchmarks(task.suite, task.id, facts.benchmarks.values())

    def benchmarks(self, given: Given, found: Iterable[Benchmark]) -> None:
        """Those of a file; what the shard that left it has told already is not counted again."""
        self._benchmarks(given.suite, given.task, found)

    def _benchmarks(self, suite: str, task: str, found: Iterable[Benchmark | BenchmarkLine]) -> None:
        new = [one for one in found if (task, one.id) not in self._measured]
        self._measured.update((task, one.id) for one in new)
        rows = ((suite, task, b.id, b.group, b.minimum, b.median, b.mean, b.deviation, b.rounds) for b in new)
        self._many("benchmark", 9, rows)

    def outside(self, suite: str, gate: str) -> None:
        """A suite with one task, for results that were made elsewhere."""
        self._many("suite", 5, [(suite, ".", gate, "", "{}")])
        self._many("task", 10, [(suite, suite, "results", 0, 1, 1, 0.0, "[]", 1, 1.0)])

    def sample(self, task: str, line: Sample) -> None:
        self._many("sample", 5, [(task, line.worker, line.at, line.memory, line.cpu)])

    def leak(self, suite: str, task: str, attempt: int, test: str, line: Leak) -> None:
        self._many("leak", 7, [(suite, test, task, attempt, line.what, line.text, line.fails)])

    def problems(self, problems: Iterable[Problem], gate: str | None, suite: str | None) -> None:
        rows = ((p.code, gate, suite, p.task, p.subject, p.text) for p in problems)
        self._many("problem", 6, rows)

    def coverage(self, project: str, gate: str, found: Figures | None, text: str) -> None:
        self._many("coverage", 10, [(project, gate, found and found.percent, text, *(found or Figures()))])

    def coverage_suites(self, suites: Sequence[str]) -> None:
        self._many("coverage_suite", 2, enumerate(suites))

    def coverage_file(self, project: str, file: str, found: Figures, detail: bytes, source: str) -> None:
        packed = zlib.compress(source.encode("utf-8", "replace"), LEVEL)
        self._many("coverage_file", 10, [(project, file, *found, detail, packed)])

    def _many(self, table: str, columns: int, rows: Iterable[tuple[object, ...]]) -> None:
        self._db.executemany(f"INSERT INTO {table} VALUES ({','.join('?' * columns)})", rows)  # noqa: S608

    def _flush(self) -> None:
        self._many("phase", 14, self._phases)
        self._phases = []


def _groups(facts: Facts, proof: TaskProof) -> Iterable[tuple[str, str]]:
    """The tests of a task that want to share a shard, each with its group."""
    for file, line in facts.collected.items():
        if line.groups:
            mine = set(proof.selected[file])
            named = ((f"{file}::{line.ids[at]}", group) for at, group in line.groups.items() if 0 <= at < len(line.ids))
            yield from ((test, group) for test, group in named if test in mine)


def open_run(folder: Path) -> sqlite3.Connection:
    """The run.db in `folder`, for reading. FormatError if there is none or it is of another version."""
    path = folder / RUN_DB if folder.is_dir() else folder
    if not path.is_file():
        raise FormatError(f"{path}: no such file; `thebes merge` makes it")
    db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
    try:
        row = db.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone()
    except sqlite3.DatabaseError as error:
        db.close()
        raise FormatError(f"{path}: not a run.db: {error}") from None
    if row is None or row[0] != str(FORMAT):
        db.close()
        raise FormatError(f"{path}: format {row and row[0]}, this version reads format {FORMAT}")
    db.row_factory = sqlite3.Row
    return db


__all__ = ["RUN_DB", "Left", "Store", "open_run"]
