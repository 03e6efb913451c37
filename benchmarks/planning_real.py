"""Real suites in shards, one after the other, beside pytest-split: `python benchmarks/planning_real.py SUITE…`.

A SUITE is FOLDER or FOLDER:ARGUMENTS, a checkout with a `.venv` that has the needs of its suite and pytest-split.
It runs seven times over, which takes from minutes to an hour, so `make bench` leaves it out:

1. once plain, for pytest-split's durations; for the history once as one shard, and then `--past` times in shards;
2. in shards by `thebes plan` and `thebes task`; 3. in shards by each of pytest-split's two algorithms.

Everything counts: start of Python and of pytest, imports, fixtures. `ideal` is the shards' mean, or the longest test
if that is longer. Processor time is of the process and all its children; on a machine that others use, too, only its
columns mean anything.
"""

import argparse
import json
import os
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from _makespan import table
from _measure import Usage, measure, medians

ALGORITHMS = ("duration_based_chunks", "least_duration")
OF_PYTEST = (0, 1, 5)  # 5: nothing to run, as in the empty groups of pytest-split
OF_THEBES = (0, 1)
QUIET = ("-q", "-p", "no:randomly", "-p", "no:cacheprovider")


class Suite(NamedTuple):
    """A checkout, and what pytest is called with there."""

    folder: Path
    arguments: tuple[str, ...]

    @property
    def name(self) -> str:
        return " ".join((self.folder.name, *self.arguments))

    @property
    def python(self) -> str:
        return str(self.folder / ".venv" / "bin" / "python")

    def environment(self) -> dict[str, str]:
        binaries = self.folder / ".venv" / "bin"
        return os.environ | {
            "VIRTUAL_ENV": str(self.folder / ".venv"),
            "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}",
        }

    def pytest(self, *options: str) -> Usage:
        command = [self.python, "-m", "pytest", *QUIET, *options, *self.arguments]
        return measure(command, self.environment(), str(self.folder), OF_PYTEST)

    def thebes(self, *options: str, pytest: bool = False) -> Usage:
        arguments = ("--", *QUIET, *self.arguments) if pytest else ()
        command = [sys.executable, "-m", "thebes", *options, *arguments]
        return measure(command, self.environment(), str(self.folder), OF_THEBES)


def parse(text: str) -> Suite:
    folder, _, arguments = text.partition(":")
    return Suite(Path(folder).resolve(), tuple(shlex.split(arguments)))


def rows(suite: Suite, options: argparse.Namespace, scratch: Path) -> Iterable[Sequence[str]]:
    shards, rounds = options.shards, options.rounds
    timings = scratch / "durations.json"
    plain = suite.pytest("--store-durations", "--durations-path", str(timings))
    yield _row(suite, "plain, one process", plain, [plain], 0.0)
    longest = max(json.loads(timings.read_bytes()).values())
    yield _row(suite, "thebes", plain, in_shards(suite, options, scratch), longest)
    for algorithm in () if options.alone else ALGORITHMS:
        split = ("--durations-path", str(timings), "--splitting-algorithm", algorithm, "--splits", str(shards))
        groups = [partial(_group, suite, split, group) for group in range(1, shards + 1)]
        usages = repeated(groups, rounds)
        yield _row(suite, f"pytest-split, {algorithm}", plain, usages, longest)


def _group(suite: Suite, options: Sequence[str], group: int, _: int) -> Usage:
    return suite.pytest(*options, "--group", str(group))


def in_shards(suite: Suite, options: argparse.Namespace, scratch: Path) -> list[Usage]:
    """Runs for the history, the first of them in one process, then the shards that count."""
    history = ("--history", str(scratch / "history.db"))
    for shards in (1, *(options.shards,) * options.past):
        run = ("--shards", str(shards), "--jobs", "1", "--workers", "0", "--out", str(scratch / "run"))
        suite.thebes("run", *run, *history, pytest=True)
    plan = scratch / "plan.json"
    suite.thebes("plan", "--shards", str(options.shards), "--out", str(plan), *history, pytest=True)
    tasks = [task["id"] for task in json.loads(plan.read_bytes())["tasks"]]
    how = ("--plan", str(plan), "--workers", "0", "--out", str(scratch))
    return repeated([partial(_task, suite, task, how) for task in tasks], options.rounds)


def _task(suite: Suite, task: str, options: Sequence[str], number: int) -> Usage:
    return suite.thebes("task", task, *options, "--attempt", str(number + 1))


def repeated(shards: Sequence[Callable[[int], Usage]], rounds: int) -> list[Usage]:
    """Medians of each shard. All of them take turns, so that a machine whose speed changes can't favour some."""
    found = [[shard(number) for shard in shards] for number in range(rounds)]
    return [medians(one) for one in zip(*found, strict=True)]


def _row(suite: Suite, name: str, plain: Usage, usages: Sequence[Usage], longest: float) -> tuple[str, ...]:
    wall = [each.wall for each in usages]
    cpu = [each.cpu for each in usages]
    return (
        suite.name,
        name,
        f"{max(wall):.1f}",
        f"{max(wall) / max(fmean(wall), longest):.3f}",
        f"{max(cpu) / fmean(cpu):.3f}",
        f"{sum(cpu):.1f}",
        f"{sum(cpu) / plain.cpu:.3f}",
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suites", nargs="+", type=parse, metavar="SUITE")
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=1, help="how often each shard runs; its medians count")
    parser.add_argument("--past", type=int, default=1, help="runs in shards that the history knows beside the first")
    parser.add_argument("--alone", action="store_true", help="leave pytest-split's shards out")
    options = parser.parse_args()
    head = ("suite", "split by", "longest, s", "longest / ideal", "of CPU", "CPU in all, s", "CPU / plain")
    for suite in options.suites:
        with tempfile.TemporaryDirectory() as scratch:
            table(head, rows(suite, options, Path(scratch)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
