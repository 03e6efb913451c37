"""Builds small run.dbs for the tests of publishing, in memory and by hand."""

import datetime as dt
import json
import sqlite3
import zlib
from collections.abc import Iterable, Mapping, Sequence

from thebes.judge import Policy, judge, read_facts
from thebes.merge.covering import Detail, figures
from thebes.merge.covering.detail import pack
from thebes.merge.store import SCHEMA
from thebes.model import Verdict

ROOT = "/home/runner/work/app"
SUITE = "unit-py3.12"
TASK = f"{SUITE}-1of1"
HOSTILE = [
    "<script>alert(1)</script>",
    "</pre></details><img src=x onerror=alert(1)>",
    "a|b`c``d```e",
    "\x1b[31mred\x1b[0m\x07",
    "two\nlines\n::error file=x::boo",
    "##[group]x",
    "\u202egnp.exe",
    "]]>&amp;<![CDATA[",
    "@octocat https://example.com #1 ![x](http://e.com/x.png)",
    "\\x00 \\u202e %0A%25",
    "x" * 10_000,
    "\x00\x01\x7f\x85\ufeff\u2028",
]


class Run:
    """A run.db in memory with one project, one suite and one task."""

    def __init__(self, *, project: str = ".", services: str = "{}") -> None:
        self.db = sqlite3.connect(":memory:")
        self.db.executescript(SCHEMA.read_text("utf-8"))
        for row in (("schema", "1"), ("plan", "ab" * 16), ("commit", "cd" * 20), ("gates", "[]")):
            self.add("meta", *row)
        self.add("project", project, project, None, "[]")
        self.suite(SUITE, "unit", project, services)

    def add(self, table: str, *values: object) -> None:
        """A row of the first columns; those that follow have their defaults."""
        columns = [name for (name,) in self.db.execute("SELECT name FROM pragma_table_info(?)", (table,))][
            : len(values)
        ]
        places = ",".join("?" * len(values))
        self.db.execute(f"INSERT INTO {table} ({','.join(columns)}) VALUES ({places})", values)  # noqa: S608

    def suite(self, suite: str, gate: str, project: str = ".", services: str = "{}") -> None:
        self.add("suite", suite, project, gate, suite.rpartition("py")[2], services)
        self.add("task", f"{suite}-1of1", suite, "pytest", 1, 1, 1, 10.0, "[]", 1)
        self.add("task_attempt", f"{suite}-1of1", 1, 1, 0, None, None, 1000.0, 12.5, "{}", "", "r")

    def check(self, command: Iterable[str], exit_code: int, output: str) -> None:
        command = list(command)
        name = f"quality-{command[0]}"
        if not self.db.execute("SELECT 1 FROM suite WHERE id = 'quality'").fetchone():
            self.add("suite", "quality", ".", "quality", "", "{}")
        self.add("task", name, "quality", "check", 2, 1, 1, 1.0, json.dumps(command), 1)
        self.add("task_attempt", name, 1, 1, exit_code, None, None, 1000.0, 2.0, "{}", output, "r")
        if exit_code:
            text = f"exit code {exit_code}"
            self.add("problem", "check-failed", "quality", "quality", name, " ".join(command), text)

    def test(
        self,
        test: str,
        outcome: str = "passed",
        *,
        suite: str = SUITE,
        flaky: int = 0,
        memory: tuple[int | None, int | None] = (None, None),
    ) -> None:
        file = test.partition("::")[0]
        spent = (0.001, 0.25, 0.002, 0.0)
        attempts = 1 + flaky
        self.add("test", suite, test, file, f"{suite}-1of1", outcome, *spent, 1001.0, "", attempts, flaky, *memory)

    def phase(
        self,
        test: str,
        outcome: str,
        message: str = "",
        text: str = "",
        path: str = "",
        line: int = 0,
        *,
        suite: str = SUITE,
        when: str = "call",
        decides: int = 1,
        subtest: str | None = None,
        output: dict[str, str] | None = None,
    ) -> None:
        known = json.dumps(output or {})
        head = (suite, test, f"{suite}-1of1", 1, 1, decides, when, outcome)
        self.add("phase", *head, message, text, path, line, subtest, known)

    def failing(self, test: str, path: str, line: int, message: str, *, suite: str = SUITE) -> None:
        """A test that fails in its call at `path` in the repository."""
        self.test(test, "failed", suite=suite)
        text = f">   assert it\nE   {message}\n\n{path}:{line}: AssertionError"
        output = {"Captured stdout call": f"output of {test}\n"}
        self.phase(test, "failed", message, text, f"{ROOT}/{path}", line, suite=suite, output=output)

    def file(self, file: str, outcome: str, text: str) -> None:
        self.add("file", SUITE, file, TASK, 1, 0, 0.1, outcome, text)

    def problem(self, code: str, subject: str, text: str, gate: str | None = "unit") -> None:
        self.add("problem", code, gate, SUITE if gate else None, TASK if gate else None, subject, text)

    def coverage(self, gate: str, percent: float | None, text: str = "", *, project: str = ".") -> None:
        self.add("coverage", project, gate, percent, text, 0, 0, 0, 0, None, None)

    def source(
        self,
        path: str,
        text: str,
        covers: Mapping[int, Sequence[str]],
        arcs: Iterable[tuple[int, int, Sequence[str]]] = (),
        *,
        excluded: Sequence[int] = (),
        changed: Sequence[int] | None = None,
    ) -> None:
        """A measured source: the suites that executed each statement and took each way out of a line with several."""
        known = [suite for (suite,) in self.db.execute("SELECT suite FROM coverage_suite ORDER BY number")]
        suites = [] if known else self.db.execute("SELECT id FROM suite ORDER BY id").fetchall()
        for (suite,) in suites:
            self.add("coverage_suite", len(known), suite)
            known.append(suite)
        arcs = list(arcs)
        sets = sorted({tuple(sorted(map(known.index, by))) for by in (*covers.values(), *(by for _, _, by in arcs))})
        number = {one: position for position, one in enumerate(sets)}

        def place(by: Sequence[str]) -> int:
            return number[tuple(sorted(map(known.index, by)))]

        begins = [begin for begin, _, _ in arcs]
        detail = Detail(
            measured=sorted({suite for one in sets for suite in one}),
            sets=[list(one) for one in sets],
            statements=list(covers),
            covers=[place(by) for by in covers.values()],
            excluded=list(excluded),
            exits={line: begins.count(line) for line in begins},
            arcs=[(begin, end, place(by)) for begin, end, by in arcs],
            changed=None if changed is None else list(changed),
        )
        found = figures(detail, range(len(known)))
        self.add("coverage_file", ".", path, *found, pack(detail), zlib.compress(text.encode("utf-8", "replace")))

    def verdict(self) -> Verdict:
        return judge(read_facts(self.db), Policy(), dt.date(2026, 11, 21))


def hostile_run() -> Run:
    """A failing, a skipped and a flaky test for every hostile name, which is its message and output too."""
    run = Run()
    for number, name in enumerate(HOSTILE):
        test = f"tests/test_h.py::test_{number}[{name}]"
        run.test(test, "failed")
        run.phase(test, "failed", name, f"E   {name}\n\n{name}:3: {name}", name, 3, output={name: name})
        run.test(f"{test}-skipped", "skipped")
        run.phase(f"{test}-skipped", "skipped", name, "", f"{ROOT}/tests/test_h.py", 3, when="setup")
        run.test(f"{test}-flaky", flaky=1)
        run.phase(f"{test}-flaky", "failed", name, name, decides=0)
        run.problem("record-broken", name, name)
        run.problem("record-foreign", name, name, None)
        run.file(f"tests/{name}.py", "failed", f"E   {name}: {name}")
        run.add("finding", TASK, name, 3, name, "error", name)
    return run
