"""What the protections cost: a real suite under `pytest -n 2`, under `thebes task` with all of them, and collecting
garbage after each test, which other systems do in the hope of saving memory.

Usage: python benchmarks/protections.py [--launches N] [PART]. The suite is networkx's own, as the wheel has it; PART is
a folder of it. Launched in turn; medians, and ratios to `pytest -n 2`. Memory is that of the largest process.
"""

import argparse
import importlib.util
import shutil
import sys
import tempfile
from pathlib import Path

from _measure import Usage, measure, table

GARBAGE = "import gc\ndef pytest_runtest_teardown(): gc.collect()\n"
LIMITS = ["--test-limit", "60s", "--memory-limit", "2GiB", "--workers", "2"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", nargs="?", default="")
    parser.add_argument("--launches", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch).resolve()
        spec = importlib.util.find_spec("networkx")
        if spec is None or spec.origin is None:
            parser.error("networkx is not installed here; it is part of the development environment")
        shutil.copytree(Path(spec.origin).parent, folder / "networkx")
        part = f"networkx/{given.part}" if given.part else "networkx"
        (folder / "pytest.ini").write_text(f"[pytest]\ntestpaths = {part}\n", "utf-8")
        (folder / "collect_garbage.py").write_text(GARBAGE, "utf-8")
        thebes = [sys.executable, "-m", "thebes"]
        measure([*thebes, "plan", "--interpreter", sys.executable, "--out", "plan.json"], folder=str(folder))
        plain = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "2"]
        task = [*thebes, "task", "--interpreter", sys.executable, "--plan", "plan.json", "1/1", "--out", "out", *LIMITS]
        commands = {"pytest -n 2": plain, "thebes task, all protections": task}
        commands["pytest -n 2, gc.collect()"] = [*plain, "-p", "collect_garbage"]
        usages: dict[str, list[Usage]] = {name: [] for name in commands}
        for _ in range(given.launches):
            for name, command in commands.items():
                usages[name].append(measure(command, folder=str(folder)))
        table(usages, "pytest -n 2")


if __name__ == "__main__":
    main()
