"""What was tried for stale timings: every row of the table changes one thing."""

import random
from collections.abc import Callable, Iterator, Sequence
from math import exp, log
from statistics import fmean, median
from typing import NamedTuple

from _makespan import Estimator, History, Times, files_in, ninth, pieces_per_file, played, ratio, table

from thebes.plan.estimate import Estimate, FileEstimates, estimate
from thebes.plan.pack import Load, loads_of, pack

SHARDS = (7, 8, 9, 10, 12, 14, 16, 18, 20)
SHAKES = 3


class Choice(NamedTuple):
    estimator: Estimator = estimate
    chunk: float = 0.25
    share_out: bool = True


def choices(history: History) -> None:
    """What was tried: every row changes one thing. Plans are made for nine N and, for each, from estimates
    shaken by ± 1 % three times over, so that the luck of one packing does not decide.
    """
    head = ("choice", *(f"{name}: median / p90 / mean" for name in history), "both: mean", "shards per file")
    table(head, (_choice_row(name, history, choice) for name, choice in _variants()))


def _variants() -> Iterator[tuple[str, Choice]]:
    yield "**thebes: newest, or median of three if longer**", Choice()
    for name, value in ESTIMATORS.items():
        yield f"estimate: {name}", Choice(by(value))
    yield "estimate: as thebes, runs not scaled", Choice(_unscaled)
    for share in (1.0, 0.5, 0.125, 0.0625, 0.03125):
        yield f"cut: from {share:.3g} of the ideal shard", Choice(chunk=share)
    yield "new files: whole", Choice(share_out=False)


def _unscaled(runs: Sequence[Times]) -> FileEstimates:
    return estimate(runs, speeds=[1.0] * len(runs))


def _ewma(values: Sequence[float]) -> float:
    result = values[0]
    for value in values[1:]:
        result = (result + value) / 2
    return result


def _trend(values: Sequence[float]) -> float:
    """Theil-Sen, one step ahead; the newest where there are fewer than three."""
    if len(values) < 3:
        return values[-1]
    pairs = [(j - i, values[j] - values[i]) for j in range(len(values)) for i in range(j)]
    slope = median(rise / run for run, rise in pairs)
    return max(0.0, median(value - slope * i for i, value in enumerate(values)) + slope * len(values))


def _trimmed(values: Sequence[float]) -> float:
    cut = len(values) // 4
    return fmean(sorted(values)[cut : len(values) - cut])


def _hedged(values: Sequence[float]) -> float:
    expected = max(values[-1], median(values[-3:]))
    return expected + fmean(abs(value - expected) for value in values)


ESTIMATORS: dict[str, Callable[[Sequence[float]], float]] = {
    "newest": lambda values: values[-1],
    "mean": fmean,
    "trimmed mean": _trimmed,
    "median": median,
    "median of three": lambda values: median(values[-3:]),
    "moving average, half-life of one run": _ewma,
    "longest of two": lambda values: max(values[-2:]),
    "longest": max,
    "Theil-Sen trend": _trend,
    "as thebes + mean deviation": _hedged,
}


def by(value: Callable[[Sequence[float]], float]) -> Estimator:
    """An estimator that has its own way with the past times of a test, the rest as ours."""

    def estimated(runs: Sequence[Times]) -> FileEstimates:
        tests = {
            file: tuple((name, Estimate(value([run[name] for run in runs if name in run]))) for name, _ in known)
            for file, known in estimate(runs).tests.items()
        }
        return FileEstimates(tests)

    return estimated


def _choice_row(name: str, history: History, choice: Choice) -> tuple[str, ...]:
    ratios: dict[str, list[float]] = {project: [] for project in history}
    held: list[float] = []
    for project, pairs in history.items():
        for runs, times in pairs:
            loads = loads_of(choice.estimator(runs), files_in(times))
            for shake in range(SHAKES):
                shaken = [_shaken(load, shake, share_out=choice.share_out) for load in loads]
                for shards in SHARDS:
                    plan = pack(shaken, shards, chunk=choice.chunk).shards
                    held.append(pieces_per_file(plan))
                    ratios[project].append(ratio(played(plan, times), times, shards))
    cells = [f"{median(values):.3f} / {ninth(values):.3f} / {_mean(values):.3f}" for values in ratios.values()]
    return (
        name,
        *cells,
        f"{_mean([v for values in ratios.values() for v in values]):.3f}",
        f"{fmean(held):.2f}",
    )


def _mean(values: Sequence[float]) -> float:
    """Geometric."""
    return exp(fmean(log(value) for value in values))


def _shaken(load: Load, shake: int, *, share_out: bool) -> Load:
    dice = random.Random(f"{load.file} {shake}")
    tests = tuple(
        (name, each._replace(seconds=each.seconds * (1 + (dice.random() - 0.5) / 50))) for name, each in load.tests
    )
    return load._replace(tests=tests, spread=load.spread if share_out else 0.0)
