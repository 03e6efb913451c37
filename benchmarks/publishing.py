"""Times publishing a run of 128,000 tests, 2 % of them failing with 4 KB of distinct output each.

`python benchmarks/publishing.py [TESTS] [--keep FOLDER]`
"""

import argparse
import datetime as dt
import random
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import process_time

import msgspec

from thebes import publish
from thebes.judge import Policy, judge, read_facts
from thebes.merge import open_run
from thebes.merge.store import SCHEMA
from thebes.model import Verdict

TASKS = 64
SUITES = ("unit-py3.11", "unit-py3.12", "unit-py3.13", "integration-py3.13")
PER_FILE = 25
WORDS = (
    *("alpha", "beta", "gamma", "delta", "epsilon", "request", "session", "token"),
    *("agent", "memory", "vector", "queue", "worker", "commit", "index"),
)
BEGAN = 1_795_255_000.0
SHARE = 0.02


def make(path: Path, tests: int, share: float = SHARE, *, places: int = 400) -> None:
    """A run.db in which `share` of the tests fail at `places` different lines."""
    db = sqlite3.connect(path, isolation_level=None)
    db.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;" + SCHEMA.read_text("utf-8"))
    db.execute("BEGIN")
    _frame(db)
    chance = random.Random(7)
    rows = sorted(_tests(tests, share, chance), key=lambda row: str(row[3]))  # as merging leaves them
    db.executemany("INSERT INTO test VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)", rows)
    red = (row for row in rows if row[4] != "passed")
    db.executemany(
        "INSERT INTO phase VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)", (_phase(row, chance, places) for row in red)
    )
    files = {(row[0], row[2], row[3]) for row in rows}
    db.executemany(
        "INSERT INTO file VALUES (?,?,?,1,?,?,'collected','')",
        ((*key, PER_FILE, chance.random() / 5) for key in sorted(files, key=str)),
    )
    db.execute("COMMIT")
    db.close()


def _frame(db: sqlite3.Connection) -> None:
    meta = {"schema": "1", "plan": "ab" * 16, "commit": "cd" * 20, "gates": '["unit","integration"]'}
    db.executemany("INSERT INTO meta VALUES (?,?)", meta.items())
    db.execute("INSERT INTO project VALUES ('.','.',NULL)")
    db.executemany(
        "INSERT INTO suite VALUES (?,'.',?,?,'{}')",
        [(suite, suite.partition("-")[0], suite.rpartition("py")[2]) for suite in SUITES],
    )
    for number in range(TASKS):
        suite = SUITES[number % len(SUITES)]
        name = _task(number)
        wave = 3 if suite.startswith("integration") else 1
        shard = number // len(SUITES) + 1
        db.execute(
            "INSERT INTO task VALUES (?,?,?,?,?,?,?,?,?)",
            (name, suite, "pytest", wave, shard, TASKS // len(SUITES), 60.0, "[]", 1),
        )
        began, seconds = BEGAN + number, 55.0 + number % 9
        db.execute(
            "INSERT INTO task_attempt VALUES (?,?,?,?,?,?,?,?,?,?,?)",
            (name, 1, 1, 1, None, None, began, seconds, "{}", "= 40 failed =", f"{name}/record"),
        )
        db.executemany(
            "INSERT INTO sample VALUES (?,?,?,?,?)",
            [(name, "", began + at, 80_000_000 + at * 1_000_000, at * 0.8) for at in range(56)],
        )


def _task(number: int) -> str:
    return f"{SUITES[number % len(SUITES)]}-{number // len(SUITES) + 1}of{TASKS // len(SUITES)}"


def _tests(tests: int, share: float, chance: random.Random) -> Iterator[tuple[object, ...]]:
    for number in range(tests):
        position = number // PER_FILE
        task = position % TASKS
        file = f"tests/{WORDS[position % 7]}/test_{WORDS[position % 15]}_{position}.py"
        name = f"Test{WORDS[position % 13].title()}::test_{WORDS[number % 11]}_{number}"
        test = f"{file}::{name}[{number % 3}-{WORDS[number % 5]}]"
        outcome = "failed" if chance.random() < share else "passed"
        wanted = (chance.random() / 100, chance.expovariate(50), chance.random() / 300)
        spent = [round(seconds, 6) for seconds in wanted]
        at = BEGAN + task + number * 55.0 / tests
        yield (
            SUITES[task % len(SUITES)],
            test,
            file,
            _task(task),
            outcome,
            *spent,
            0.0,
            at,
            f"gw{number % 2}",
            1,
            0,
        )


def _phase(row: tuple[object, ...], chance: random.Random, places: int) -> tuple[object, ...]:
    line = chance.randrange(1, places)
    path = f"/home/runner/work/app/app/src/app/{WORDS[line % 15]}.py"
    message = f"AssertionError: expected {chance.randrange(10**6)}, got {chance.randrange(10**6)}"
    lines = [f"{chance.randrange(16**16):016x} {chance.choice(WORDS)} {chance.random()}" for _ in range(90)]
    last = f"src/app/{WORDS[line % 15]}.py:{line}: AssertionError"
    text = f">       assert answer == expected\nE       {message}\n\n{last}"
    output = msgspec.json.encode({"Captured stdout call": "\n".join(lines)[:4096]}).decode()
    return row[0], row[1], row[3], 1, 1, 1, "call", "failed", message, text, path, line, None, output


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tests", type=int, nargs="?", default=128_000)
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "run.db").unlink(missing_ok=True)
        make(folder / "run.db", options.tests)
        db = open_run(folder)
        verdict = judge(read_facts(db), Policy(), dt.datetime.now(dt.UTC).date())
        print(f"{options.tests:,} tests, {SHARE:.0%} failing; seconds of processor time, bytes")
        total = sum(_timed(name, work, folder) for name, work in _works(db, verdict, folder))
        print(f"{'together':<12}{total:8.3f}")


def _works(db: sqlite3.Connection, verdict: Verdict, folder: Path) -> Iterator[tuple[str, Callable[[], object]]]:
    yield "junit.xml", lambda: publish.junit(db, folder / "junit.xml")
    yield "summary.md", lambda: (folder / "summary.md").write_text(publish.summary(db, verdict), "utf-8")
    yield "report.html", lambda: publish.html(db, verdict, folder / "report.html")


def _timed(name: str, work: Callable[[], object], folder: Path) -> float:
    began = process_time()
    work()
    spent = process_time() - began
    print(f"{name:<12}{spent:8.3f} {(folder / name).stat().st_size:>12,}")
    return spent


if __name__ == "__main__":
    main()
