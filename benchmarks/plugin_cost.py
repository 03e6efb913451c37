"""What recording costs each test: 10,000 empty tests, bare and with each recorder, launched in turn.

Usage: python benchmarks/plugin_cost.py [--launches N]. The figures are µs of processor time a test over bare
pytest: of the minima over the launches, because noise only ever adds, and the median of the differences within a
launch, which a machine whose speed changes can't fool. No other plug-in is loaded, whatever is installed here:
pytest-randomly alone would have each launch run the tests in another order.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from statistics import median

from _measure import measure

from thebes.discover import PLUGIN, PLUGIN_ARGUMENTS

TESTS, FILES = 10_000, 100


def make(folder: Path) -> None:
    """The suite, and the instructions for one shard that holds all of it."""
    body = "".join(f"def test_{n}(): pass\n" for n in range(TESTS // FILES))
    for number in range(FILES):
        (folder / f"test_{number:03}.py").write_text(body, "utf-8")
    (folder / "pytest.ini").write_text("[pytest]\n", "utf-8")
    files = [f"test_{number:03}.py" for number in range(FILES)]
    instructions: dict[str, object] = {
        "record": str(folder / "record.jsonl"),
        "project": str(folder),
        "rootdir": str(folder),
        "inipath": str(folder / "pytest.ini"),
        "gate": "unit",
        "default_gate": "unit",
        "claims": {},
        "together": [],
        "marker": None,
        "maxfail": None,
        "traces": str(folder),
        "test_limit": None,
        "memory_limit": None,
        "measure_memory": False,
        "leaks": None,
        "done": [],
        "finished": [],
        "broken": {},
        "part": None,
        "only": None,
        "default_limit": None,
        "narrowed": False,
        "collect": False,
        "speeds": None,
        "one": False,
        "failed_before": 0,
        "index": 0,
        "of": 1,
        "known": files,
        "whole": files,
        "cut": {},
    }
    (folder / "shard.json").write_text(json.dumps(instructions), "utf-8")
    (folder / "leaks.json").write_text(json.dumps(instructions | {"leaks": "report"}), "utf-8")
    (folder / "memory.json").write_text(json.dumps(instructions | {"measure_memory": True}), "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--launches", type=int, default=20)
    launches = parser.parse_args().launches
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch).resolve()
        make(folder)
        bare = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        shard = [sys.executable, str(PLUGIN), *PLUGIN_ARGUMENTS, "-q", "-p", "no:cacheprovider"]
        commands = {
            "bare": bare,
            "thebes": [*shard, f"--thebes-shard={folder / 'shard.json'}"],
            "  with leaks": [*shard, f"--thebes-shard={folder / 'leaks.json'}"],
            "  with memory": [*shard, f"--thebes-shard={folder / 'memory.json'}"],
            "junitxml": [*bare, f"--junitxml={folder / 'junit.xml'}"],
            "reportlog": [*bare, "-p", "pytest_reportlog.plugin", f"--report-log={folder / 'report.jsonl'}"],
        }
        environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        cpu: dict[str, list[float]] = {name: [] for name in commands}
        order = list(commands.items())
        for _ in range(launches):
            order.reverse()  # so that none always comes first
            for name, command in order:
                (folder / "record.jsonl").unlink(missing_ok=True)
                cpu[name].append(measure(command, environment, str(folder)).cpu)
        base = min(cpu["bare"])
        print(
            f"{TESTS:,} empty tests, {launches} launches in turn; bare pytest {base / TESTS * 1e6:.0f} µs of CPU a test"
        )
        print(f"µs a test over bare pytest {'minimum':>12} {'median of pairs':>18}   median as a ratio to reportlog")
        paired = {
            name: per_test(median(one - other for one, other in zip(values, cpu["bare"], strict=True)))
            for name, values in list(cpu.items())[1:]
        }
        for name, added in paired.items():
            least = per_test(min(cpu[name]) - base)
            print(f"{name:26} {least:12.1f} {added:18.1f} {added / paired['reportlog']:12.2f}")


def per_test(seconds: float) -> float:
    """Microseconds."""
    return seconds / TESTS * 1e6


if __name__ == "__main__":
    main()
