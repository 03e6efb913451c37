"""Merging and judging, on records made here: order does not matter, twice is once, and no cut is ever a pass."""

import datetime as dt
import json
import random
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thebes.codec import decode_plan, digest, encode
from thebes.errors import FormatError
from thebes.judge import Policy, judge, read_facts
from thebes.merge import merge, open_run
from thebes.model import Piece, Plan, Project, Suite, Task, TaskKind, Verdict

TABLES = ("task", "task_attempt", "file", "test", "attempt", "phase", "deselected", "problem")
TODAY = dt.date(2026, 1, 1)


def make_plan(shards: int) -> Plan:
    """One suite; shard n has a file of its own and a piece of `cut.py`."""
    plan = Plan(
        commit="c0ffee",
        projects=(Project(path=".", rootdir=".", inipath=None),),
        suites=(Suite(id="unit-py3.12", project=".", gate="unit", python="3.12"),),
        tasks=tuple(
            Task(
                id=f"unit-py3.12-{index}of{shards}",
                suite="unit-py3.12",
                kind=TaskKind.PYTEST,
                wave=1,
                estimate=1.0,
                index=index,
                of=shards,
                pieces=(Piece(file="cut.py", tests=(f"cut.py::test_{index}",)), Piece(file=f"own_{index}.py")),
            )
            for index in range(1, shards + 1)
        ),
    )
    return msgspec.structs.replace(plan, digest=digest(plan))


def lines_of(plan: Plan, task: Task, *, failing: bool = False) -> list[bytes]:
    """A whole and honest record."""
    header = {"schema": 1, "plan": plan.digest, "task": task.id, "attempt": 1, "commit": plan.commit, "at": 1.0}
    versions: dict[str, Any] = {"python": "3.12.1", "pytest": "9.0.0", "rootdir": "/r", "inipath": None, "plugins": {}}
    cut = [f"test_{index}" for index in range(1, task.of + 1)]
    lines: list[dict[str, Any]] = [
        {"kind": "header", **header},
        {"kind": "session", **versions},
        {"kind": "collected", "file": "cut.py", "ids": cut, "own": [task.index - 1]},
        {"kind": "collected", "file": f"own_{task.index}.py", "ids": ["test_a", "test_b[ü]"]},
    ]
    tests = [f"cut.py::test_{task.index}", f"own_{task.index}.py::test_a", f"own_{task.index}.py::test_b[ü]"]
    for test in tests:
        red = failing and test.endswith("_a")
        lines.append({"kind": "start", "id": test, "at": 2.0})
        if red:
            lines.append({"kind": "phase", "id": test, "when": "call", "outcome": "failed", "text": "E  no"})
        outcome = "failed" if red else "passed"
        lines.append({"kind": "end", "id": test, "outcome": outcome, "durations": [0.1, 0.2, 0.3], "at": 2.0})
    lines.append({"kind": "finish", "exit": int(failing), "selected": 3})
    last = {"exit": int(failing), "signal": None, "stopped": None, "lines": len(lines), "at": 3.0, "seconds": 2.0}
    lines.append({"kind": "closing", **last})
    return [json.dumps(line).encode() + b"\n" for line in lines]


def lay(folder: Path, task: str, data: bytes) -> Path:
    place = folder / f"thebes-{task}-a1"
    place.mkdir(parents=True)
    (place / "record.jsonl").write_bytes(data)
    return place


def verdict_on(folders: Sequence[Path], plan: Plan, out: Path) -> Verdict:
    merge(folders, plan, out, repository=out)
    with closing(open_run(out)) as db:
        return judge(read_facts(db), Policy(), TODAY)


def content(out: Path) -> dict[str, list[tuple[Any, ...]]]:
    with closing(sqlite3.connect(out / "run.db")) as db:
        return {table: sorted(db.execute(f"SELECT * FROM {table}").fetchall(), key=repr) for table in TABLES}  # noqa: S608


@pytest.fixture
def scratch() -> Iterator[Path]:
    with TemporaryDirectory() as folder:
        yield Path(folder)


def test_merging_commutes_and_is_idempotent(scratch: Path) -> None:
    plan = make_plan(3)
    places = [lay(scratch / f"in{task.index}", task.id, b"".join(lines_of(plan, task, failing=task.index == 2)))
              for task in plan.tasks]  # fmt: skip
    verdict = verdict_on(places, plan, scratch / "a")
    assert verdict.verdict == "FAIL"
    assert verdict.gates["unit"].counts == {"failed": 1, "passed": 8}
    first = content(scratch / "a")
    for seed in range(4):
        shuffled = random.Random(seed).sample([*places, *places], 6)  # noqa: S311
        assert verdict_on(shuffled, plan, scratch / "a") == verdict
        assert content(scratch / "a") == first


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_cut_of_a_record_is_a_pass(data: st.DataObject) -> None:
    plan = make_plan(2)
    with TemporaryDirectory() as folder:
        scratch = Path(folder)
        whole = b"".join(lines_of(plan, plan.tasks[0]))
        lay(scratch, plan.tasks[1].id, b"".join(lines_of(plan, plan.tasks[1])))
        cut = data.draw(st.integers(0, len(whole) - 1))
        lay(scratch, plan.tasks[0].id, whole[:cut])
        assert verdict_on([scratch], plan, scratch).verdict == "INVALID"
        with closing(open_run(scratch)) as db:
            assert db.execute("SELECT count(*) FROM test WHERE outcome = 'passed'").fetchone()[0] >= 3


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_lost_or_doubled_line_is_a_pass(data: st.DataObject) -> None:
    plan = make_plan(1)
    lines = lines_of(plan, plan.tasks[0])
    position = data.draw(st.integers(0, len(lines) - 1))
    changed = [*lines[:position], *lines[position + 1 :]]
    if data.draw(st.booleans()):
        changed = [*lines[: position + 1], lines[position], *lines[position + 1 :]]
    with TemporaryDirectory() as folder:
        scratch = Path(folder)
        lay(scratch, plan.tasks[0].id, b"".join(changed))
        assert verdict_on([scratch], plan, scratch).verdict == "INVALID"


def two_sessions(plan: Plan) -> list[dict[str, Any]]:
    """The record of a shard whose first session of pytest died in its second test."""
    task = plan.tasks[0]
    lines = [json.loads(line) for line in lines_of(plan, task)]
    session, cut, own = lines[1:4]
    crashed = "own_1.py::test_a"
    durations = {"durations": [0.0, 0.5, 0.0], "at": 2.0}
    again = [{"kind": "resume", "at": 2.5, "done": 2}, session, own]
    dead = [
        {"kind": "start", "id": crashed, "at": 2.0},
        {"kind": "crash", "id": crashed, "text": "signal 11 (SIGSEGV)"},
        {"kind": "end", "id": crashed, "outcome": "crashed", **durations},
    ]
    last = [line for line in lines if line.get("id") == "own_1.py::test_b[ü]"]
    first = [line for line in lines if line.get("id") == "cut.py::test_1"]
    finish = {"kind": "finish", "exit": 0, "selected": 1}
    return [lines[0], session, cut, own, *first, *dead, *again, *last, finish, lines[-1]]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda lines: lines, None),
        (lambda lines: [line | {"selected": 3} if line["kind"] == "finish" else line for line in lines],
         "selection-differs"),
        (lambda lines: [*lines[:11], lines[11] | {"ids": ["test_b[ü]"]}, *lines[12:]], "ids-unstable"),
        (lambda lines: [*lines[:12], *lines[4:6], *lines[12:]], "test-repeated"),
        (lambda lines: lines[:12] + lines[-1:], "pytest-died"),
        (lambda lines: lines[:12] + lines[-1:], "test-missing"),
        (lambda lines: [line for line in lines if line.get("id") != "own_1.py::test_a"], "test-missing"),
    ],
)  # fmt: skip
def test_several_sessions_prove_what_one_would(scratch: Path, change: Any, code: str | None) -> None:
    """A crash is a failure and no more; whatever else is wrong with the sessions is INVALID by name."""
    plan = make_plan(1)
    lines = change(two_sessions(plan))
    lines[-1] = lines[-1] | {"lines": len(lines) - 1}
    lay(scratch, plan.tasks[0].id, b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    verdict = verdict_on([scratch], plan, scratch)
    codes = {reason.code for reason in verdict.gates["unit"].reasons}
    if code is None:
        assert (verdict.verdict, codes) == ("FAIL", {"test-crashed"})
    else:
        assert verdict.verdict == "INVALID"
        assert code in codes


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 12))
def test_garbage_in_a_record_is_named_and_harms_nothing_else(garbage: bytes, position: int) -> None:
    plan = make_plan(1)
    lines = lines_of(plan, plan.tasks[0])
    lines.insert(position, garbage + b"\n")
    with TemporaryDirectory() as folder:
        scratch = Path(folder)
        lay(scratch, plan.tasks[0].id, b"".join(lines))
        assert verdict_on([scratch], plan, scratch).verdict == "INVALID"


def test_a_link_in_an_artifact_is_not_followed(scratch: Path) -> None:
    plan = make_plan(1)
    real = lay(scratch / "elsewhere", plan.tasks[0].id, b"".join(lines_of(plan, plan.tasks[0])))
    place = scratch / "artifacts" / f"thebes-{plan.tasks[0].id}-a1"
    place.mkdir(parents=True)
    (place / "record.jsonl").symlink_to(real / "record.jsonl")
    verdict = verdict_on([scratch / "artifacts"], plan, scratch)
    assert verdict.verdict == "INVALID"
    assert verdict.gates["unit"].reasons[0].code == "record-missing"


text = st.text(max_size=20)
pieces = st.builds(Piece, file=text, tests=st.none() | st.lists(text, max_size=3).map(tuple))
tasks = st.builds(
    Task,
    id=text,
    suite=text,
    kind=st.sampled_from(TaskKind),
    wave=st.integers(1, 4),
    estimate=st.floats(0, 1e6),
    pieces=st.lists(pieces, max_size=3).map(tuple),
    command=st.lists(text, max_size=3).map(tuple),
)
plans = st.builds(Plan, commit=text, suites=st.just(()), tasks=st.lists(tasks, max_size=4).map(tuple))


@given(plans)
def test_a_plan_survives_its_bytes(plan: Plan) -> None:
    plan = msgspec.structs.replace(plan, digest=digest(plan))
    data = encode(plan)
    assert decode_plan(data, "x") == plan
    assert encode(decode_plan(data, "x")) == data


@given(plans, st.integers(2, 9))
def test_another_version_is_refused(plan: Plan, version: int) -> None:
    other = msgspec.structs.replace(plan, schema=version)
    with pytest.raises(FormatError, match=f"plan.json: format {version}, this version reads format 1"):
        decode_plan(encode(other), "plan.json")
