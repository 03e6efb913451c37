"""Merging: 64 records of 2,000 tests each → run.db with proof and JUnit XML, beside `junitparser merge`.

Usage: python benchmarks/merging.py [--launches N]. 2 % of the tests fail with 4 KB of distinct output each.
"""

import argparse
import json
import random
import sys
import tempfile
from pathlib import Path

import msgspec
from _measure import Usage, measure, table

from thebes.codec import digest, encode
from thebes.model import Piece, Plan, Project, Suite, Task, TaskKind

RECORDS, TESTS, FILES = 64, 2000, 40
FAILING = 0.02


def make(folder: Path, tests: int = TESTS) -> Path:
    """A plan and its records of so many tests each; returns the plan's path. The same numbers each time."""
    tasks = [
        Task(
            id=f"unit-py3.11-{index}of{RECORDS}",
            suite="unit-py3.11",
            kind=TaskKind.PYTEST,
            wave=1,
            estimate=1.0,
            index=index,
            of=RECORDS,
            pieces=tuple(Piece(file=f"tests/part_{index:02}/test_module_{n:02}.py") for n in range(FILES)),
        )
        for index in range(1, RECORDS + 1)
    ]
    plan = Plan(
        commit="",
        projects=(Project(path=".", rootdir=".", inipath=None),),
        suites=(Suite(id="unit-py3.11", project=".", gate="unit", python="3.11"),),
        tasks=tuple(tasks),
    )
    plan = msgspec.structs.replace(plan, digest=digest(plan))
    (folder / "plan.json").write_bytes(encode(plan))
    chance = random.Random(1)
    for task in tasks:
        target = folder / "records" / f"thebes-{task.id}-a1"
        target.mkdir(parents=True)
        (target / "record.jsonl").write_text("".join(_record(plan, task, chance, tests // FILES)), "utf-8")
        (target / "junit.xml").write_text(_junit(task, tests // FILES), "utf-8")
    return folder / "plan.json"


def _record(plan: Plan, task: Task, chance: random.Random, each: int) -> list[str]:
    lines: list[dict[str, object]] = [
        {"kind": "header", "schema": 1, "plan": plan.digest, "task": task.id, "attempt": 1, "commit": "", "at": 1.0},
        {"kind": "session", "python": "3.11.7", "pytest": "9.2.0", "rootdir": "/r", "inipath": None, "plugins": {}},
    ]
    names = [_name(n) for n in range(each)]
    lines += [{"kind": "collected", "file": piece.file, "ids": names, "own": None} for piece in task.pieces]
    for piece in task.pieces:
        for name in names:
            test = f"{piece.file}::{name}"
            failed = chance.random() < FAILING
            lines.append({"kind": "start", "id": test, "at": 2.0})
            if failed:
                lines.append(_phase(test, piece.file, chance))
            outcome = "failed" if failed else "passed"
            lines.append({"kind": "end", "id": test, "outcome": outcome, "durations": [0.001, 0.01, 0.001], "at": 2.0})
    lines.append({"kind": "finish", "exit": 1, "selected": each * FILES, "stopped": None})
    lines.append(
        {"kind": "closing", "exit": 1, "signal": None, "stopped": None, "lines": len(lines), "at": 9.0, "seconds": 8.0}
    )
    return [json.dumps(line, separators=(",", ":")) + "\n" for line in lines]


def _name(number: int) -> str:
    return f"TestOfSomething::test_that_a_thing_holds[case-{number}]"


def _phase(test: str, file: str, chance: random.Random) -> dict[str, object]:
    text = "\n".join(f"E   assert {chance.random()} == {chance.random()}" for _ in range(40))
    return {
        "kind": "phase",
        "id": test,
        "when": "call",
        "outcome": "failed",
        "text": text,
        "message": text[:60],
        "path": file,
        "line": 7,
        "output": {"Captured stdout call": chance.randbytes(2048).hex()[: 4096 - len(text)]},
    }


def _junit(task: Task, each: int) -> str:
    cases = "".join(
        f'<testcase classname="{piece.file}" name="{_name(n)}" time="0.012"/>\n'
        for piece in task.pieces
        for n in range(each)
    )
    return f'<testsuites><testsuite name="pytest" tests="{each * FILES}">\n{cases}</testsuite></testsuites>'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--launches", type=int, default=5)
    launches = parser.parse_args().launches
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        plan = make(folder)
        files = sorted(str(path) for path in folder.glob("records/*/junit.xml"))
        tool = Path(sys.executable).parent
        ours = [
            str(tool / "thebes"),
            "merge",
            str(folder / "records"),
            "--plan",
            str(plan),
            "--out",
            str(folder / "out"),
        ]
        peer = [str(tool / "junitparser"), "merge", *files, str(folder / "merged.xml")]
        usages: dict[str, list[Usage]] = {"thebes merge": [], "junitparser merge": []}
        for _ in range(launches):
            usages["thebes merge"].append(measure(ours))
            usages["junitparser merge"].append(measure(peer))
        size = sum(path.stat().st_size for path in folder.glob("records/*/record.jsonl"))
        print(f"{RECORDS * TESTS:,} tests in {RECORDS} records, {size / 1e6:.0f} MB; median of {launches}\n")
        table(usages, reference="junitparser merge")


if __name__ == "__main__":
    main()
