"""Coverage: data files of many tasks → totals, XML, JSON, LCOV and HTML; beside coverage.py's own commands.

Usage: python benchmarks/covering.py [--files N] [--sources N] [--lines] [--keep FOLDER] [--launches N]
"""

import argparse
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec
from _measure import Usage, measure, table
from coverage import CoverageData

from thebes.codec import digest, encode
from thebes.model import Piece, Plan, Project, Suite, Task, TaskKind

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
SHARE = 0.6  # of the sources that one task touches
BODY = """
def function_{n}(value, other=None):
    \"\"\"Return something of `value`.\"\"\"
    total = 0
    for position, item in enumerate(value):
        if item > {n}:
            total += item
        elif item == position:
            continue
        else:
            total -= 1
    try:
        result = total / len(value)
    except ZeroDivisionError:
        return None
    if other is None:
        return result
    while total > 100:
        total //= 2
    return {{"total": total, "result": result, "other": [one for one in other if one]}}
"""
LENGTH = BODY.count("\n")
# Line of `def`, then pairs of lines that follow one another, counted from it.
ARCS = [(1, 3), (3, 4), (4, 5), (5, 6), (6, 4), (5, 7), (7, 8), (8, 4), (7, 10), (10, 4), (4, 11), (11, 12), (12, 15)]
ARCS += [(12, 13), (13, 14), (14, -1), (15, 16), (16, -1), (15, 17), (17, 18), (18, 17), (17, 19), (19, -1)]


def make(folder: Path, files: int, sources: int, *, branches: bool) -> Path:
    """A project, a plan of `files` tasks and what they left; returns the plan's path. The same numbers each time."""
    chance = random.Random(1)
    paths = []
    for number in range(sources):
        path = folder / "src" / f"part_{number % 30:02}" / f"module_{number:04}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("import os\n" + "".join(BODY.format(n=n) for n in range(chance.randint(5, 20))), "utf-8")
        paths.append(str(path.resolve()))
    kind = "branch = true\n" if branches else ""
    (folder / ".coveragerc").write_text(f"[run]\n{kind}source = src\n", "utf-8")
    plan = _plan(files)
    (folder / "plan.json").write_bytes(encode(plan))
    for task in plan.tasks:
        target = folder / "records" / f"thebes-{task.id}-a1"
        target.mkdir(parents=True)
        (target / "record.jsonl").write_bytes(_record(plan, task, folder))
        _data(target / ".coverage", paths, chance, branches=branches)
    return folder / "plan.json"


def _plan(files: int) -> Plan:
    suites = [
        Suite(id=f"unit-py{python}", project=".", gate="unit", python=python, coverage=True) for python in PYTHONS
    ]
    each = files // len(suites)
    tasks = [
        Task(
            id=f"{suite.id}-{index}of{each}",
            suite=suite.id,
            kind=TaskKind.PYTEST,
            wave=1,
            estimate=1.0,
            index=index,
            of=each,
            pieces=(Piece(file=f"tests/test_{index}.py"),),
        )
        for suite in suites
        for index in range(1, each + 1)
    ]
    project = Project(path=".", rootdir=".", inipath=None, measured=True)
    plan = Plan(commit="", projects=(project,), suites=tuple(suites), tasks=tuple(tasks))
    return msgspec.structs.replace(plan, digest=digest(plan))


def _record(plan: Plan, task: Task, folder: Path) -> bytes:
    file = task.pieces[0].file
    head = {"plan": plan.digest, "task": task.id, "attempt": 1, "commit": "", "at": 1.0}
    lines: list[dict[str, object]] = [
        {"kind": "header", "schema": 1, **head},
        {"kind": "session", "python": "3", "pytest": "9", "rootdir": str(folder), "inipath": None, "plugins": {}},
        {"kind": "collected", "file": file, "ids": ["test"], "own": None},
        {"kind": "end", "id": f"{file}::test", "outcome": "passed", "durations": [0, 0.1, 0], "at": 2.0},
        {"kind": "finish", "exit": 0, "selected": 1, "stopped": None},
    ]
    end = {"exit": 0, "signal": None, "stopped": None, "lines": len(lines), "at": 9.0, "seconds": 8.0}
    return b"".join(msgspec.json.encode(line) + b"\n" for line in [*lines, {"kind": "closing", **end}])


def _data(path: Path, sources: Sequence[str], chance: random.Random, *, branches: bool) -> None:
    data = CoverageData(str(path))
    touched = [source for source in sources if chance.random() < SHARE]
    arcs = {source: _arcs(source, chance) for source in touched}
    if branches:
        data.add_arcs(arcs)
    else:
        data.add_lines({source: {abs(line) for arc in known for line in arc} - {1} for source, known in arcs.items()})
    data.touch_files([source for source in sources if source not in arcs])
    data.write()


def _arcs(source: str, chance: random.Random) -> list[tuple[int, int]]:
    """A part of the functions ran, each with a part of its branches."""
    count = Path(source).read_text("utf-8").count("\ndef ")
    starts = [3 + LENGTH * number for number in range(count)]
    arcs = [(-1, 1), (1, starts[0])]
    arcs += list(zip(starts, [*starts[1:], -1], strict=True))
    for start in starts:
        if chance.random() < 0.02:
            known = [arc for arc in ARCS if chance.random() < 0.8]
            arcs += [(start + a - 1, start + b - 1 if b > 0 else -start) for a, b in known]
            arcs.append((-start, start + 2))
    return arcs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=64)
    parser.add_argument("--sources", type=int, default=1500)
    parser.add_argument("--lines", action="store_true", help="without branches")
    parser.add_argument("--keep", type=Path, help="make it there and leave it")
    parser.add_argument("--launches", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep or Path(scratch)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        make(folder, options.files, options.sources, branches=not options.lines)
        usages: dict[str, list[Usage]] = {}
        for _ in range(options.launches):
            for name, used in _compare(folder).items():
                usages.setdefault(name, []).append(used)
        print(f"{options.files} data files, {options.sources:,} sources; median of {options.launches}\n")
        table(usages, reference="the tools one by one")


def _compare(folder: Path) -> dict[str, Usage]:
    tool = Path(sys.executable).parent
    coverage, thebes = str(tool / "coverage"), str(tool / "thebes")
    environment = {**os.environ, "VIRTUAL_ENV": sys.prefix}
    theirs = {
        "coverage combine": ["combine", "--keep", "-q", *map(str, sorted(folder.glob("records/*/.coverage")))],
        **{f"coverage {one}": [one] for one in ("report", "xml", "json", "lcov", "html")},
    }
    ours = {
        "thebes merge": ["merge", "records", "--plan", "plan.json", "--out", "out"],
        "thebes judge": ["judge", "out"],
        "thebes publish": ["publish", "out", "--coverage", "out/coverage", "--html", "out/report.html"],
    }
    used = {name: measure([coverage, *command], environment, str(folder)) for name, command in theirs.items()}
    used["the tools one by one"] = _together(used)
    mine = {name: measure([thebes, *command], environment, str(folder)) for name, command in ours.items()}
    return {**used, **mine, "Thebes, all of it": _together(mine)}


def _together(used: dict[str, Usage]) -> Usage:
    each = list(used.values())
    return Usage(sum(one.wall for one in each), sum(one.cpu for one in each), max(one.memory for one in each))


if __name__ == "__main__":
    main()
