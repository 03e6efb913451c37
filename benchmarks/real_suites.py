"""`thebes run` on checked-out repositories: same tests and outcomes as a plain pytest, and the wall time of both.

Usage: python benchmarks/real_suites.py FOLDER… [--shards N]. Each folder has a `.venv` with its suite's needs and
pytest-xdist. A plain `pytest`, `pytest -n N` and `thebes run --shards N` run in turn; differences are named.
"""

import argparse
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

HERE = Path(__file__).parent


def environment(folder: Path, log: Path | None = None) -> dict[str, str]:
    """As if the folder's environment were activated."""
    binaries = folder / ".venv" / "bin"
    changed = {"VIRTUAL_ENV": str(folder / ".venv"), "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}"}
    if log:
        changed |= {"OUTCOME_LOG": str(log), "PYTHONPATH": str(HERE)}
    return os.environ | changed


def timed(command: list[str], folder: Path, variables: dict[str, str]) -> tuple[float, int]:
    began = time.perf_counter()
    done = subprocess.run(
        command, cwd=folder, env=variables, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    return time.perf_counter() - began, done.returncode


def compare(folder: Path, shards: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        log = scratch / "plain.json"
        pytest = [str(folder / ".venv/bin/python"), "-m", "pytest", "-q", "-p", "outcome_log"]
        pytest.append("--continue-on-collection-errors")
        plain, plain_exit = timed(pytest, folder, environment(folder, log))
        outcomes = json.loads(log.read_bytes())
        xdist, _ = timed([*pytest, "-n", str(shards)], folder, environment(folder, scratch / "xdist.json"))
        out = scratch / "out"
        run = [sys.executable, "-m", "thebes", "run", "--shards", str(shards), "--out", str(out)]
        ours, our_exit = timed([*run, "--history", str(scratch / "history.db")], folder, environment(folder))
        again, _ = timed([*run, "--history", str(scratch / "history.db")], folder, environment(folder))
        with closing(sqlite3.connect(out / "run.db")) as db:
            found = dict(db.execute("SELECT id, outcome FROM test").fetchall())
        verdict = json.loads((out / "verdict.json").read_bytes())["verdict"]
    differing = {test for test in outcomes.keys() | found.keys() if outcomes.get(test) != found.get(test)}
    print(f"{folder.name}: {len(outcomes):,} tests; exit codes {plain_exit} and {our_exit} ({verdict})")
    print(f"  pytest {plain:.1f} s, -n {shards} {xdist:.1f} s; thebes {ours:.1f} s, with history {again:.1f} s")
    for test in sorted(differing)[:20]:
        print(f"  differs: {test}: {outcomes.get(test)} / {found.get(test)}")
    print(f"  {len(differing)} outcomes differ")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--shards", type=int, default=4)
    given = parser.parse_args()
    for folder in given.folders:
        compare(folder.resolve(), given.shards)


if __name__ == "__main__":
    main()
