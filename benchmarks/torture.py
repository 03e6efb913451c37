"""A suite of 1,000 tests, of which 10 crash their process or eat memory, 10 never end and 10 leave something behind.

Usage: python benchmarks/torture.py [--limit SECONDS] [--give-up SECONDS] [--only NAME]…. `thebes run` with a limit of
that many seconds and of 512 MiB, then pytest-xdist with pytest-timeout by its methods `signal` and `thread`, each with
2 workers; a peer that has not ended when it is given up is killed. A test counts as named if something is said about
it and no other test, and by its cause if that is a crash, the time, the memory, or what it left.
"""

import argparse
import contextlib
import os
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

CRASHES = {
    "segfault": "ctypes.string_at(0)",
    "abort": "os.abort()",
    "leaves": "os._exit(0)",
    "leaves_with_error": "os._exit(9)",
    "killed": "os.kill(os.getpid(), signal.SIGKILL)",
    "terminated": "os.kill(os.getpid(), signal.SIGTERM)",
    "bus_error": "os.kill(os.getpid(), signal.SIGBUS)",
    "writes_anywhere": "ctypes.memset(8, 0, 8)",
    "dies_in_a_thread": "t = threading.Thread(target=lambda: ctypes.string_at(0)); t.start(); t.join()",
}
EATER = "eats", "kept = [bytearray(4 << 20) for _ in range(200)]"
HANGS = {
    "loop": "while True: pass",
    "lock": "a = threading.Lock(); a.acquire(); a.acquire()",
    "in_c": "m = ctypes.create_string_buffer(64); f = ctypes.PyDLL(None).pthread_mutex_lock; f(m); f(m)",
    "asyncio": "asyncio.run(asyncio.Event().wait())",
    "queue": "queue.Queue().get()",
    "socket": "s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen(); s.accept()",
    "child": "subprocess.run([sys.executable, '-c', 'import threading; threading.Event().wait()'])",
    "join": "t = threading.Thread(target=threading.Event().wait, daemon=True); t.start(); t.join()",
    "regex": "re.match('(a|a)*b', 'a' * 60)",
    "swallows": "while True:\n        try: threading.Event().wait()\n        except BaseException: pass",
}
# What each leaves, in the words of the record.
LEAKS = {
    "thread": "threading.Thread(target=threading.Event().wait, daemon=True).start()",
    "task": "KEPT.append(LOOP.create_task(asyncio.sleep(3600)))",
    "loop": "KEPT.append(asyncio.new_event_loop())",
    "process": "subprocess.Popen([sys.executable, '-c', 'import threading; threading.Event().wait()'])",
    "descriptor": "os.open(__file__, os.O_RDONLY)",
    "socket": "KEPT.append(socket.create_server(('127.0.0.1', 0)))",
    "file": "os.close(tempfile.mkstemp()[0])",
    "folder_of_files": "tempfile.mkdtemp()",
    "variable": "os.environ['LEFT'] = '1'",
    "folder": "os.chdir('/')",
}
HEAD = """import asyncio, ctypes, os, pytest, queue, re, signal, socket, subprocess, sys, tempfile, threading
KEPT = []
"""
LOOP = "LOOP = asyncio.new_event_loop()\n"
TESTS, FILES, PASSING = 1000, 100, 970
SAID = re.compile(r"(PASSED|FAILED|ERROR) (\S+::\w+)")


def make(folder: Path, files: int = FILES) -> dict[str, str]:
    """Write the suite, ten tests a file, at least 30 files; returns the cause of each bad test by node id."""
    causes: dict[str, str] = {}
    bad = [
        *((name, body, "crash") for name, body in CRASHES.items()),
        (*EATER, "memory"),
        *((name, body, "time") for name, body in HANGS.items()),
        *((name, body, f"leak {name.partition('_of_')[2].removesuffix('s') or name}") for name, body in LEAKS.items()),
    ]
    apart = files // len(bad)
    for number in range(files):
        tests = [f"def test_{n}(): pass\n" for n in range(10)]
        head = HEAD
        if number % apart == 0 and bad:
            name, body, cause = bad.pop()
            head += LOOP * (name == "task")
            limit = "@pytest.mark.timeout(60)\n" * (cause == "memory")  # or, on a busy machine, it is too slow
            tests[5] = f"{limit}def test_{name}():\n    {body}\n"
            causes[f"test_{number:03}.py::test_{name}"] = cause
        (folder / f"test_{number:03}.py").write_text(head + "".join(tests), "utf-8")
    (folder / "pytest.ini").write_text("[pytest]\naddopts = -p no:randomly\nmarkers = timeout\n", "utf-8")
    return causes


def thebes(folder: Path, limit: float, give_up: float) -> tuple[dict[str, str], dict[str, str], float]:
    """Outcomes, causes and seconds of our own run."""
    out = folder / "out"
    options = ["--shards", "1", "--workers", "2", "--test-limit", f"{limit:g}s", "--memory-limit", "512MiB"]
    options += ["--leaks", "fail"]
    command = [sys.executable, "-m", "thebes", "run", "--out", str(out), *options]
    took, _ = timed([*command, "--interpreter", sys.executable, "--", "-p", "no:timeout"], folder, give_up)
    with closing(sqlite3.connect(out / "run.db")) as db:
        outcomes = dict(db.execute("SELECT id, outcome FROM test").fetchall())
        messages = dict(db.execute("SELECT id, message FROM phase WHERE decides").fetchall())
        left = dict(db.execute("SELECT id, 'leak ' || what FROM leak").fetchall())
    return outcomes, {test: _cause(message) for test, message in messages.items()} | left, took


def _cause(message: str) -> str:
    if message.startswith("still running"):
        return "time"
    return "memory" if message.startswith("used ") else "crash" if re.search("signal|exit code", message) else "other"


def peer(folder: Path, limit: float, give_up: float, method: str) -> tuple[dict[str, str], dict[str, str], float]:
    """The same of pytest-xdist with pytest-timeout, from what they print."""
    options = ["-n", "2", "--timeout", f"{limit:g}", "--timeout-method", method, "-v", "-p", "no:cacheprovider"]
    took, text = timed([sys.executable, "-m", "pytest", *options], folder, give_up)
    outcomes = {test: word.lower() for word, test in SAID.findall(text)}
    causes = dict.fromkeys(re.findall(r"crashed while running '([^']+)'", text), "crash")
    for test in re.findall(r"^FAILED (\S+) - Failed: Timeout", text, re.MULTILINE):
        causes[test] = "time"
    return outcomes, causes, took


def timed(command: list[str], folder: Path, give_up: float) -> tuple[float, str]:
    """Seconds, and what was printed; killed with all it started after `give_up` seconds."""
    began = time.perf_counter()
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=clean | {"TMPDIR": str(folder)},
        )
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(give_up)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        output.seek(0)
        return time.perf_counter() - began, output.read()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limit", type=float, default=10.0)
    parser.add_argument("--give-up", type=float, default=300.0)
    parser.add_argument("--only", action="append", choices=["thebes", "signal", "thread"])
    given = parser.parse_args()
    print(f"{TESTS:,} tests, {PASSING} of them pass; 10 crash, 10 hang, 10 leak; limit {given.limit:g} s\n")
    for name in given.only or ("thebes", "signal", "thread"):
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch).resolve()
            causes = make(folder)
            if name == "thebes":
                outcomes, told, took = thebes(folder, given.limit, given.give_up)
            else:
                outcomes, told, took = peer(folder, given.limit, given.give_up, name)
        good = Counter(outcome for test, outcome in outcomes.items() if test not in causes)
        right = sum(told.get(test) == cause for test, cause in causes.items())
        wrong = sorted(set(told) - set(causes))
        late = " (given up)" if took >= given.give_up else ""
        print(
            f"{name:8} {took:6.1f} s{late}: {good['passed']} of {PASSING} passed, {right} of 30 with the right cause,"
        )
        print(f"         {TESTS - len(outcomes)} tests without an outcome, {len(wrong)} blamed wrongly", flush=True)
        for test, cause in causes.items():
            if told.get(test) != cause:
                print(f"           {test}: {told.get(test, outcomes.get(test, 'nothing said'))}, is {cause}")


if __name__ == "__main__":
    main()
