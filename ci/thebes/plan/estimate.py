"""How long each test will take, from several past runs. Pure.

A test's estimate is the longer of its newest and its median time: a test that has become slow is believed at
once (too little room costs a whole shard, too much is shared by all), one lucky run is outvoted.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from math import exp, fsum, log
from statistics import median
from typing import NamedTuple

_NO_HISTORY = 1.0  # seconds of a file where nothing at all is known; only ratios matter then
_MEASURABLE = 0.05  # seconds; shorter times say more about the clock than about the machine
_ENOUGH = 8  # common tests that tell something about the machine
_ONE_RUN = 0.25  # relative spread of a test measured once


class Estimate(NamedTuple):
    """Expected seconds, and how far off they may be: the mean absolute deviation of past runs from it."""

    seconds: float
    spread: float = 0.0


class FileEstimates:
    """`tests`: file key → its known tests, sorted by node id. Ask `of_file` for a file that has none."""

    def __init__(self, tests: Mapping[str, tuple[tuple[str, Estimate], ...]]) -> None:
        self.tests = tests
        self._folders: dict[str, list[float]] = {}
        for file, known in tests.items():
            seconds = fsum(estimate.seconds for _, estimate in known)
            for folder in _parents(file):
                self._folders.setdefault(folder, []).append(seconds)

    def of_file(self, file: str) -> Estimate:
        """The whole file: the sum of its tests, else the median file of the nearest folder that has any."""
        known = self.tests.get(file)
        if known:
            return Estimate(
                fsum(estimate.seconds for _, estimate in known),
                fsum(estimate.spread for _, estimate in known),
            )
        for folder in _parents(file):
            if folder in self._folders:
                seconds = median(self._folders[folder])
                return Estimate(seconds, seconds)
        return Estimate(_NO_HISTORY, _NO_HISTORY)


def estimate(
    runs: Sequence[Mapping[str, float]],
    *,
    files: Collection[str] | None = None,
    renamed: Mapping[str, str] | None = None,
    speeds: Sequence[float] | None = None,
) -> FileEstimates:
    """Estimates from runs, oldest first, each node id → seconds.

    A test is known if the newest run that has its file has the test. `files` are the file keys asked for
    (default: all), `renamed` maps old keys to new ones. `speeds` are those of the machines that made the runs
    (2 is twice as fast as 1, whose seconds come back); without them each run is compared with the newest.
    """
    runs = [_moved(run, renamed) for run in runs] if renamed else runs
    factors = _factors(runs) if speeds is None else speeds
    scaled = tuple(zip(runs, factors, strict=True))
    names = _newest(runs, None if files is None else frozenset(files))
    return FileEstimates(
        {
            file: tuple((name, _estimate(name, scaled)) for name in sorted(known))
            for file, known in names.items()
        }
    )


def _newest(runs: Sequence[Mapping[str, float]], files: frozenset[str] | None) -> dict[str, list[str]]:
    """File key → node ids, from the newest run that has the file."""
    names: dict[str, list[str]] = {}
    source: dict[str, int] = {}
    for index in reversed(range(len(runs))):
        for name in runs[index]:
            file = name.partition("::")[0]
            if source.setdefault(file, index) == index and (files is None or file in files):
                names.setdefault(file, []).append(name)
    return names


def _estimate(name: str, scaled: Iterable[tuple[Mapping[str, float], float]]) -> Estimate:
    seconds = [run[name] * factor for run, factor in scaled if name in run]
    if len(seconds) == 1:
        return Estimate(seconds[0], seconds[0] * _ONE_RUN)
    expected = max(seconds[-1], median(seconds))
    return Estimate(expected, fsum(abs(value - expected) for value in seconds) / len(seconds))


def _factors(runs: Sequence[Mapping[str, float]]) -> list[float]:
    """What to multiply each run's seconds by to compare it with the newest."""
    return [_ratio(run, runs[-1]) for run in runs[:-1]] + [1.0] * bool(runs)


def _ratio(old: Mapping[str, float], new: Mapping[str, float]) -> float:
    logs = [
        log(new[name] / seconds)
        for name, seconds in old.items()
        if seconds > _MEASURABLE and new.get(name, 0.0) > _MEASURABLE
    ]
    return exp(median(logs)) if len(logs) >= _ENOUGH else 1.0


def _moved(run: Mapping[str, float], renamed: Mapping[str, str]) -> Mapping[str, float]:
    result: dict[str, float] = {}
    for name, seconds in run.items():
        file, colons, rest = name.partition("::")
        result[renamed.get(file, file) + colons + rest] = seconds
    return result


def _parents(file: str) -> list[str]:
    """The folders above a file, nearest first, ending with the root."""
    parts = file.split("/")[:-1]
    return ["/".join(parts[:depth]) for depth in range(len(parts), -1, -1)]
