"""Coverage of real suites, however their tests are run: figures and time of `thebes run --coverage` beside pytest-cov.

Usage: python benchmarks/covering_ways.py FOLDER…. Each folder has a `.venv` with its suite's needs, pytest-xdist and
pytest-cov. `pytest --cov` first, then our run one after the other, with 2 workers, over 4 shards, and with a process
for each file; each once, in a row. Their figures should differ by one statement at most.
"""

import argparse
import json
import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from real_suites import environment, timed

WAYS = {
    "one after the other": ["--workers", "0", "--shards", "1"],
    "2 workers": ["--workers", "2", "--shards", "1"],
    "4 shards": ["--workers", "0", "--shards", "4"],
    "a process for each file": ["--isolate", "module", "--shards", "2"],
}


class Covered(NamedTuple):
    """What was executed, and how long it took."""

    statements: int
    of: int
    branches: int
    seconds: float
    exit: int


def ours(folder: Path, scratch: Path, options: list[str]) -> Covered:
    out = scratch / "out"
    run = [sys.executable, "-m", "thebes", "run", "--coverage", "--out", str(out), "--history", str(scratch / "h.db")]
    seconds, code = timed([*run, *options, "--", "-p", "no:randomly"], folder, environment(folder))
    with closing(sqlite3.connect(out / "run.db")) as db:
        ran, of, taken = db.execute("SELECT executed, statements, taken FROM coverage WHERE gate = ''").fetchone()
        for (why,) in db.execute("SELECT text FROM problem WHERE code LIKE 'coverage-%'"):
            print(f"  {why}")
    return Covered(ran, of, taken, seconds, code)


def pytest_cov(folder: Path, scratch: Path, *, measured: bool) -> Covered:
    """`measured`: the project's own options ask for coverage."""
    report = scratch / "theirs.json"
    command = [str(folder / ".venv/bin/python"), "-m", "pytest", "-q", "-p", "no:randomly", "-n", "0"]
    command += ["--continue-on-collection-errors", f"--cov-report=json:{report}", *([] if measured else ["--cov"])]
    seconds, code = timed(command, folder, environment(folder) | {"COVERAGE_FILE": str(scratch / "data")})
    totals = json.loads(report.read_bytes())["totals"]
    return Covered(totals["covered_lines"], totals["num_statements"], totals.get("covered_branches", 0), seconds, code)


def compare(folder: Path) -> None:
    print(f"{folder.name}:")
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        found = {way: ours(folder, scratch, options) for way, options in WAYS.items()}
        measured = json.loads((scratch / "out" / "plan.json").read_bytes())["projects"][0]["measured"]
        theirs = pytest_cov(folder, scratch, measured=measured)
    print(f"  {'':28} {'statements':>17} {'branches':>9} {'s':>7}  ratio  exit")
    for way, one in {"pytest --cov": theirs, **found}.items():
        ratio = one.seconds / theirs.seconds
        print(
            f"  {way:28} {one.statements:>8,} of {one.of:>5,} {one.branches:>9,} {one.seconds:>7.1f} {ratio:>6.2f}"
            f"  {one.exit:>4}"
        )
    numbers = [one.statements for one in found.values()]
    print(f"  ours differ by {max(numbers) - min(numbers)} statements", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    for folder in parser.parse_args().folders:
        compare(folder.resolve())


if __name__ == "__main__":
    main()
