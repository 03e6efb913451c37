"""What the protections cost: a real suite under `pytest -n 2`, and under `thebes task` with all of them. Beside it, on
a part of that suite, what collecting garbage after each test costs, as other systems do in the hope of saving memory.

Usage: python benchmarks/protections.py [--launches N] [PART]…. The suite is networkx's own, as the wheel has it,
without the tests that draw: about 9,500; PARTs are folders of it. Launched in turn; medians, and ratios to
`pytest -n 2`. Memory is that of the largest process. With nothing else to do, two processors take six minutes.
"""

import argparse
import importlib.util
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from _measure import Usage, measure, table

GARBAGE = "import gc\ndef pytest_runtest_teardown(): gc.collect()\n"
LIMITS = ["--test-limit", "60s", "--memory-limit", "2GiB", "--leaks", "report", "--workers", "2"]
SLOW = "networkx/drawing"
SMALL = ["networkx/classes", "networkx/generators"]
PLAIN = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "2"]
THEBES = [sys.executable, "-m", "thebes"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*")
    parser.add_argument("--launches", type=int, default=3)
    given = parser.parse_args()
    spec = importlib.util.find_spec("networkx")
    if spec is None or spec.origin is None:
        parser.error("networkx is not installed here; it is part of the development environment")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch).resolve()
        shutil.copytree(Path(spec.origin).parent, folder / "networkx")
        (folder / "collect_garbage.py").write_text(GARBAGE, "utf-8")
        # Random order would make launches differ by more than the protections cost.
        (folder / "pytest.ini").write_text(f"[pytest]\naddopts = -p no:randomly --ignore={SLOW}\n", "utf-8")
        parts = [f"networkx/{part}" for part in given.parts] or ["networkx"]
        protections(folder, parts, given.launches)
        garbage(folder, parts if given.parts else SMALL)


def protections(folder: Path, parts: Sequence[str], launches: int) -> None:
    """All of them at once, beside none."""
    measure([*THEBES, "plan", "--interpreter", sys.executable, "--out", "plan.json", "--", *parts], folder=str(folder))
    task = [*THEBES, "task", "--interpreter", sys.executable, "--plan", "plan.json", "1/1", "--out", "out", *LIMITS]
    commands = {"pytest -n 2": [*PLAIN, *parts], "thebes task, all protections": task}
    usages: dict[str, list[Usage]] = {name: [] for name in commands}
    for launch in range(launches):
        for name, command in commands.items():
            usages[name].append(measure(command, folder=str(folder)))
            print(f"{launch + 1}/{launches} {name}: {usages[name][-1].wall:.1f} s", file=sys.stderr)
    table(usages, "pytest -n 2")


def garbage(folder: Path, parts: Sequence[str]) -> None:
    """Once: what it costs can't be overlooked."""
    collecting = [*PLAIN, "-p", "collect_garbage", *parts]
    print(f"\ngc.collect() after each test of {', '.join(parts)}, one launch")
    usages = {"pytest -n 2": measure([*PLAIN, *parts], folder=str(folder))}
    usages["pytest -n 2, gc.collect()"] = measure(collecting, folder=str(folder))
    table({name: [used] for name, used in usages.items()}, "pytest -n 2")


if __name__ == "__main__":
    main()
