"""Publishing: a run of 128,000 tests → junit.xml, summary and page; all the way from records; the page in Chromium;
foreign JUnit XML.

Usage: python benchmarks/publishing.py [TESTS] [--keep FOLDER] [--launches N] [--allure COMMAND] [--playwright COMMAND]

The commands are those of npm's `allure` and `@playwright/test`. Allure makes its page of the same tests' JUnit XML;
Playwright merges blob reports of the same number of tests, beside our merging of records.
"""

import argparse
import datetime as dt
import os
import random
import shlex
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import process_time

import _blobs
import merging
import msgspec
from _measure import measure, table
from playwright.sync_api import Browser, sync_playwright

from thebes import publish
from thebes.judge import Policy, judge, read_facts
from thebes.merge import open_run
from thebes.merge.store import SCHEMA

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
    db.executemany("INSERT INTO test VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,NULL,NULL)", rows)
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
    db.execute("INSERT INTO project VALUES ('.','.',NULL,'[]')")
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
            "INSERT INTO task VALUES (?,?,?,?,?,?,?,?,?,1)",
            (name, suite, "pytest", wave, shard, TASKS // len(SUITES), 60.0, "[]", 1),
        )
        began, seconds = BEGAN + number, 55.0 + number % 9
        db.execute(
            "INSERT INTO task_attempt VALUES (?,?,?,?,?,?,?,?,?,?,?,0)",
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
    parser.add_argument("--keep", type=Path, help="leave run.db and the reports in this folder")
    parser.add_argument("--launches", type=int, default=3)
    parser.add_argument("--allure", default="", help="the command to run beside, if it is there")
    parser.add_argument("--playwright", default="", help="the same for its merge-reports")
    parser.add_argument("--step", choices=STEPS, help="only this, on what the steps before left")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if options.step:
            STEPS[options.step](folder, options)
            return
        print(f"{options.tests:,} tests, {SHARE:.0%} of them failing with 4 KB of distinct output each", flush=True)
        # Each step in a process of its own: the kernel counts a parent's memory to its children's.
        command = [sys.executable, __file__, str(options.tests), "--keep", str(folder)]
        command += ["--launches", str(options.launches), "--allure", options.allure]
        command += ["--playwright", options.playwright]
        for step in STEPS:
            if step not in {"allure", "playwright"} or getattr(options, step):
                subprocess.run([*command, "--step", step], check=True)


def _make(folder: Path, options: argparse.Namespace) -> None:
    (folder / "run.db").unlink(missing_ok=True)
    make(folder / "run.db", options.tests)


def _publish(folder: Path, options: argparse.Namespace) -> None:
    """Seconds of processor time, the least of some launches; all together in one process, with its memory."""
    db = open_run(folder)
    verdict = judge(read_facts(db), Policy(), dt.datetime.now(dt.UTC).date())
    works: dict[str, Callable[[], object]] = {
        "junit.xml": lambda: publish.junit(db, folder / "junit.xml"),
        "summary.md": lambda: (folder / "summary.md").write_text(publish.summary(db, verdict), "utf-8"),
        "report.html": lambda: publish.html(db, verdict, folder / "report.html"),
    }
    print(f"{'':14}{'cpu s':>8}{'bytes':>14}")
    spent = {name: min(_timed(work) for _ in range(options.launches)) for name, work in works.items()}
    for name, seconds in spent.items():
        print(f"{name:<14}{seconds:8.3f}{(folder / name).stat().st_size:>14,}")
    used = measure([sys.executable, "-c", PUBLISH, str(folder)])
    whole = f"as one process, with its imports: {used.cpu:.2f} s, {used.memory:.0f} MB"
    print(f"{'together':<14}{sum(spent.values()):8.3f}   ({whole})")


def _timed(work: Callable[[], object]) -> float:
    began = process_time()
    work()
    return process_time() - began


def _browse(folder: Path, _: argparse.Namespace) -> None:
    """Milliseconds until the page is ready, and until a search shows its rows, in headless Chromium."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        print("no Chromium: the page was not opened")
        return
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox", "--disable-gpu"])
        ready, searched = zip(*(_visit(started, folder / "report.html") for _ in range(5)), strict=True)
        started.close()
    print(f"in Chromium: ready after {min(ready):.0f} ms, a search answers in {min(searched):.0f} ms")


def _visit(browser: Browser, page: Path) -> tuple[float, float]:
    tab = browser.new_page()
    tab.goto(f"{page.as_uri()}#tests")
    tab.wait_for_function("performance.getEntriesByName('ready').length > 0")
    ready = tab.evaluate("performance.getEntriesByName('ready')[0].startTime")
    searches = [tab.evaluate(SEARCH, text) for text in ("t", "to", "token 4711", "nothing like it")]
    tab.close()
    return ready, max(searches)


def _inflate(folder: Path, _: argparse.Namespace, size: int = 68_000_000) -> None:
    """A JUnit file of `size` bytes: the same tests with more output."""
    text = (folder / "junit.xml").read_text("utf-8")
    places = max(1, text.count("</system-out>"))
    more = ("y" * 79 + "\n") * ((size - len(text)) // places // 80)
    (folder / "large.xml").write_text(text.replace("</system-out>", f"{more}</system-out>"), "utf-8")


def _read_foreign(folder: Path, options: argparse.Namespace) -> None:
    """The large JUnit file, beside junitparser."""
    large = folder / "large.xml"
    print(f"reading JUnit XML of {large.stat().st_size / 1e6:.0f} MB")
    codes = {"thebes.foreign": FOREIGN, "junitparser": JUNITPARSER}
    runs = range(options.launches)
    usages = {name: [measure([sys.executable, "-c", code, str(large)]) for _ in runs] for name, code in codes.items()}
    table(usages, "thebes.foreign")


def _allure(folder: Path, options: argparse.Namespace) -> None:
    """Allure's page from the JUnit file, beside ours from run.db with the same file written on the way."""
    results = folder / "allure-results"
    shutil.rmtree(results, ignore_errors=True)
    results.mkdir()
    shutil.copy(folder / "junit.xml", results)
    theirs = [*shlex.split(options.allure), "generate", "--output", str(folder / "allure"), str(results)]
    ours = [sys.executable, "-c", PUBLISH, str(folder)]
    usages = {"thebes.publish": [measure(ours)], "allure generate": [measure(theirs, folder=str(folder))]}
    table(usages, "allure generate")
    sizes = [path.stat().st_size for path in (folder / "allure").rglob("*") if path.is_file()]
    page = (folder / "report.html").stat().st_size
    print(f"page: {page / 1e6:.1f} MB in one file; Allure: {sum(sizes) / 1e6:.1f} MB in {len(sizes):,} files")


def _records(folder: Path, options: argparse.Namespace) -> None:
    """All the way from records in one process, with all imports; and, as `thebes run` does, into an empty history."""
    work = folder / "whole"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    merging.make(work, options.tests // merging.RECORDS)
    codes = {"whole": MERGE + PUBLISH, "with the history": MERGE + PUBLISH + HISTORY}
    runs = range(options.launches)
    used = {name: [measure([sys.executable, "-c", code, str(work)]) for _ in runs] for name, code in codes.items()}
    print(f"from {merging.RECORDS} records to run.db, verdict, JUnit XML, summary and page")
    table(used, "whole")
    print(f"page: {(work / 'report.html').stat().st_size / 1e6:.1f} MB")


def _playwright(folder: Path, options: argparse.Namespace) -> None:
    """Its merge of blob reports into a page, beside our merge, judge and publish of records of the same tests."""
    work = folder / "playwright"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    plan = merging.make(work, options.tests // merging.RECORDS)
    _blobs.write(sorted(work.glob("records/*/record.jsonl")), work / "blobs")
    thebes = Path(sys.executable).with_name("thebes")
    ours = (
        f"{thebes} merge records --plan {plan} --out run; {thebes} judge run; {thebes} publish run --html report.html"
    )
    theirs = [*shlex.split(options.playwright), "merge-reports", "--reporter", "html", "blobs"]
    quiet = {**os.environ, "PLAYWRIGHT_HTML_OPEN": "never"}
    usages = {
        "thebes merge, judge, publish": [measure(["sh", "-c", ours], folder=str(work))],
        "playwright merge-reports": [measure(theirs, quiet, str(work))],
    }
    table(usages, "playwright merge-reports")
    sizes = [path.stat().st_size for path in (work / "playwright-report").rglob("*") if path.is_file()]
    page = (work / "report.html").stat().st_size
    print(f"page: {page / 1e6:.1f} MB in one file; Playwright: {sum(sizes) / 1e6:.1f} MB in {len(sizes):,} files")


STEPS: dict[str, Callable[[Path, argparse.Namespace], None]] = {
    "records": _records,
    "make": _make,
    "publish": _publish,
    "browse": _browse,
    "inflate": _inflate,
    "read": _read_foreign,
    "allure": _allure,
    "playwright": _playwright,
}
SEARCH = """(text) => new Promise((done) => {
  const began = performance.now();
  page.go({ q: text }, true);
  requestAnimationFrame(() => setTimeout(() => done(performance.now() - began)));
})"""
PUBLISH = """
import datetime, pathlib, sys
from thebes import publish
from thebes.judge import Policy, judge, read_facts
from thebes.merge import open_run
folder = pathlib.Path(sys.argv[1])
db = open_run(folder)
verdict = judge(read_facts(db), Policy(), datetime.date.today())
publish.junit(db, folder / "junit.xml")
(folder / "summary.md").write_text(publish.summary(db, verdict), "utf-8")
publish.html(db, verdict, folder / "report.html")
"""
MERGE = """
import pathlib, sys
from thebes.codec import read_plan
from thebes.merge import merge
folder = pathlib.Path(sys.argv[1])
merge([folder / "records"], read_plan(folder / "plan.json"), folder, repository=folder)
"""
HISTORY = """
from thebes.history.read import Stamp
from thebes.history.store import History
(folder / "history.db").unlink(missing_ok=True)
with History(str(folder / "history.db")) as history:
    history.feed(db, Stamp(at=1.0, commit="", branch="", machine="", verdict=verdict.verdict))
"""
FOREIGN = """
import sys
from thebes.foreign import junit
with open(sys.argv[1], "rb") as stream:
    assert sum(1 for case in junit(stream, "large.xml"))
"""
JUNITPARSER = """
import sys
from junitparser import JUnitXml
cases = (case for suite in JUnitXml.fromfile(sys.argv[1]) for case in suite)
assert sum(1 for case in cases if (case.classname, case.name, case.time, case.result, case.system_out))
"""

if __name__ == "__main__":
    main()
