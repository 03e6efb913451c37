"""How even the planner's shards are, beside other tools: `python benchmarks/planning.py [--only TABLE]`.

All figures are the longest shard over the lower bound max(total / N, longest test): 1.000 cannot be beaten.
The data is recorded timings of real suites, see --data.
"""

import argparse
import json
import os
import random
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from itertools import pairwise
from math import fsum
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean, median
from tempfile import TemporaryDirectory
from typing import NamedTuple

from _choices import choices
from _makespan import History, Times, files_in, ninth, pieces_per_file, played, ratio, shards_per_file, table
from _measure import measure
from _peers import PEERS, Split, chunks, least_duration

from thebes.history import store
from thebes.history.facts import Facts
from thebes.history.read import Stamp
from thebes.model import Piece
from thebes.plan.estimate import Estimate, estimate
from thebes.plan.from_durations import pack_durations
from thebes.plan.pack import loads_of
from thebes.plan.packed import Wish, packed

SHARDS = (2, 4, 8, 16, 32, 64)
DRIFT_SHARDS = (8, 16)
DRIFT_DAYS = 14
JUMP = 8.0  # seconds; what looks like set-up, falling on whatever test ran first, is about 10 s

Plan = Sequence[Sequence[Piece]]
Row = tuple[str, ...]
Tool = Callable[[Sequence[str], Times, int], Split]
Cost = tuple[float, float]
Planner = Callable[[Sequence[Times], Times, int], Split]


def ours(runs: Sequence[Times], times: Times, shards: int) -> Plan:
    """The plan for the files of `times`, of which nothing but the names is known."""
    return pack_durations(runs, files_in(times), Wish(shards=shards)).shards


# ------------------------------------------------------------------------------------------- known durations


class Known(NamedTuple):
    """One suite split with its true durations: `fair` if no single test exceeds total / N."""

    ratio: float
    shards: int
    fair: bool
    held: float
    empty: int


def known(suites: Mapping[str, Times]) -> None:
    rows = [_known_row(name, suites, tool) for name, tool in PEERS.items()]
    rows.append(_known_row("thebes", suites, lambda _, times, shards: played(ours([times], times, shards), times)))
    head = ("known durations", "median", "p90", "worst", "shards per file, N = 8", "plans with empty shards")
    table(head, rows)


def _known_row(name: str, suites: Mapping[str, Times], tool: Tool) -> Row:
    cases = [
        _known_case(tool(list(times), times, shards), times, shards) for times in suites.values() for shards in SHARDS
    ]
    ratios = [case.ratio for case in cases if case.fair]
    held = median(case.held for case in cases if case.shards == 8)
    empty = sum(case.empty > 0 for case in cases)
    return (
        name,
        f"{median(ratios):.5f}",
        f"{ninth(ratios):.4f}",
        f"{max(ratios):.4f}",
        f"{held:.2f}",
        f"{empty} of {len(cases)}",
    )


def _known_case(split: Split, times: Times, shards: int) -> Known:
    fair = max(times.values()) <= fsum(times.values()) / shards
    return Known(ratio(split, times, shards), shards, fair, shards_per_file(split), sum(not names for names in split))


# ----------------------------------------------------------------------------------------------------- drift


def drift(history: History) -> None:
    """Planned from all runs before, played against the next one."""
    rows = [_drift_row(name, history, tool) for name, tool in PEERS.items()]
    rows += [
        _our_row("thebes", history, ours),
        _our_row("(thebes with foresight, but for jumps)", history, foreseen),
    ]
    head = (
        "planned at most 14 days before",
        *(f"{name}: median / p90" for name in history),
        "both",
        "worst",
        "shards per file",
    )
    table(head, rows)


def foreseen(runs: Sequence[Times], times: Times, shards: int) -> Plan:
    """As ours, knowing what each known test will take, unless that is JUMP seconds off its estimate."""
    files = files_in(times)
    loads = loads_of(estimate(runs, files=files), files)
    told = [load._replace(tests=tuple(_told(test, times) for test in load.tests)) for load in loads]
    return packed(told, Wish(shards=shards), hedge=len(runs) > 1).shards


def _told(test: tuple[str, Estimate], times: Times) -> tuple[str, Estimate]:
    name, guess = test
    truth = times.get(name, guess.seconds)
    return name, Estimate(truth) if abs(truth - guess.seconds) < JUMP else guess


def _our_row(name: str, history: History, planner: Callable[[Sequence[Times], Times, int], Plan]) -> Row:
    held: list[float] = []

    def split(runs: Sequence[Times], times: Times, shards: int) -> Split:
        plan = planner(runs, times, shards)
        held.append(pieces_per_file(plan))
        return played(plan, times)

    return _drift_cells(name, history, split, held)


def _drift_row(name: str, history: History, tool: Tool) -> Row:
    held: list[float] = []

    def newest(runs: Sequence[Times], times: Times, shards: int) -> Split:
        split = tool(list(times), runs[-1], shards)
        held.append(shards_per_file(split))
        return split

    return _drift_cells(name, history, newest, held)


def _drift_cells(name: str, history: History, tool: Planner, held: Sequence[float]) -> Row:
    ratios = {
        project: [ratio(tool(runs, times, n), times, n) for runs, times in pairs for n in DRIFT_SHARDS]
        for project, pairs in history.items()
    }
    both = [value for values in ratios.values() for value in values]
    cells = [f"{median(values):.4f} / {ninth(values):.4f}" for values in (*ratios.values(), both)]
    return (name, *cells, f"{max(both):.2f}", f"{fmean(held):.2f}")


# ------------------------------------------------------------------------------------------------------ size


def size() -> None:
    """CPU and memory of estimating and packing, input not counted, each in a process of its own."""
    jobs: list[tuple[str, Callable[[str, int, int], Cost], tuple[str, int, int]]] = [
        ("pytest-split, duration_based_chunks", _split_cost, ("chunks", 10_000, 1)),
        ("pytest-split, least_duration", _split_cost, ("least_duration", 10_000, 1)),
        ("thebes, one run", _our_cost, ("", 10_000, 1)),
        ("thebes, five runs", _our_cost, ("", 10_000, 5)),
        ("thebes, one run", _our_cost, ("", 100_000, 1)),
    ]
    rows = []
    with TemporaryDirectory() as folder:
        url = f"{folder}/history.db"
        apart(_make_history, url, 10_000, 20)
        jobs.append(("thebes, reading 20 runs from the history", _history_cost, (url, 10_000, 20)))
        for name, job, arguments in jobs:
            cpu, megabytes = apart(job, *arguments)
            rows.append((name, f"{arguments[1] * 10:,}", f"{cpu:.2f}", f"{megabytes:.0f}"))
    table(("64 shards, ten tests a file", "tests", "CPU, s", "memory added, MB"), rows)


def command() -> None:
    """`thebes plan` as a whole process, start of Python and reading included."""
    rows = []
    with TemporaryDirectory() as folder:
        for files, runs, against in ((10_000, 1, False), (10_000, 2, False), (10_000, 1, True), (100_000, 1, True)):
            paths = [str(Path(folder, f"{files}-{seed}.json")) for seed in range(runs)]
            for seed, path in enumerate(paths):
                Path(path).write_text(json.dumps(_made_up(files, seed)))
            given = [word for path in paths for word in ("--durations", path)]
            given += ["--against", paths[-1]] if against else ["--out", str(Path(folder, "plan.json"))]
            plan = [sys.executable, "-m", "thebes", "plan", "--from-durations", "--shards", "64", *given]
            used = measure(plan, expected=(0,))
            what = f"from {runs} run{'s' * (runs > 1)}{', --against one' * against}"
            rows.append((f"{files * 10:,}", f"{files:,}", what, f"{used.cpu:.2f}", f"{used.memory:.0f}"))
    table(("tests", "files", "thebes plan --from-durations --shards 64", "CPU, s", "peak memory, MB"), rows)


def apart(job: Callable[..., Cost], *arguments: object) -> Cost:
    """What the job returns, from a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(job, *arguments).result()


def _make_history(url: str, files: int, count: int) -> Cost:
    with store.History(url) as history:
        for seed in range(count):
            run = _made_up(files, seed)
            tests = [(".", "unit", test, "passed", seconds, 0.0, 1, False) for test, seconds in run.items()]
            imports = [(".", "unit", file, 0.01, 0.0) for file in files_in(run)]
            history.add(Stamp(at=seed, commit="", branch="", machine="", verdict=""), Facts(tests, imports))
    return 0.0, 0.0


def _history_cost(url: str, _files: int, _count: int) -> Cost:
    with store.History(url) as history:
        return _cost(lambda: history.runs("."))


def _made_up(files: int, seed: int) -> dict[str, float]:
    dice = random.Random(seed)
    names = (
        f"tests/package_{file % 100}/test_module_{file}.py::TestClass{test % 3}::test_name[{test}]"
        for file in range(files)
        for test in range(10)
    )
    return {name: dice.lognormvariate(-4, 2) for name in names}


def _our_cost(_: str, files: int, count: int) -> Cost:
    runs = [_made_up(files, seed) for seed in range(count)]
    names = files_in(runs[0])
    return _cost(lambda: pack_durations(runs, names, Wish(shards=64)))


def _split_cost(algorithm: str, files: int, _: int) -> Cost:
    times = _made_up(files, 0)
    tool = {"chunks": chunks, "least_duration": least_duration}[algorithm]
    return _cost(lambda: tool(list(times), times, 64))


def _cost(work: Callable[[], object]) -> Cost:
    """CPU seconds, and by how many megabytes the process grew."""
    unit = 1024 if sys.platform != "darwin" else 1024 * 1024
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    work()
    cpu = time.process_time() - start
    return cpu, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / unit


# ------------------------------------------------------------------------------------------------------ data


def read(path: Path) -> Times:
    times: Times = json.loads(path.read_text())
    return times


def read_suites(data: Path) -> dict[str, Times]:
    return {path.stem: read(path) for path in sorted((data / "durations").glob("*.json"))}


def read_history(data: Path) -> History:
    """Project → (all runs so far, the next one), where the next is at most two weeks younger."""
    history = {}
    for folder in sorted((data / "duration-history").iterdir()):
        paths = sorted(folder.glob("*.json"))
        runs = [read(path) for path in paths]
        days = [date.fromisoformat(path.stem) for path in paths]
        near = [i for i, (old, new) in enumerate(pairwise(days), 1) if (new - old).days <= DRIFT_DAYS]
        history[folder.name.rpartition("__")[2]] = [(runs[:i], runs[i]) for i in near]
    return history


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    default = os.environ.get("THEBES_DATA") or Path(__file__).parents[2] / "shared" / "data"
    parser.add_argument("--data", type=Path, default=default, help="folder with durations/ and duration-history/")
    parser.add_argument("--only", choices=("known", "drift", "choices", "size"))
    options = parser.parse_args()
    if not (options.data / "durations").is_dir() or not (options.data / "duration-history").is_dir():
        print(f"{options.data}: no durations/ and duration-history/ there; see --data")
        return 2
    if options.only in (
        None,
        "size",
    ):  # first, while this process is small: its own peak hides what others add
        size()
        command()
    if options.only in (None, "known"):
        known(read_suites(options.data))
    if options.only in (None, "drift"):
        drift(read_history(options.data))
    if options.only in (None, "choices"):
        choices(read_history(options.data))
    return 0


if __name__ == "__main__":
    sys.exit(main())
