"""How long each test will take, from several past runs. Pure.

A test's estimate is its newest time, or the median of its last three where that is longer. A test that has
become slow is believed at once, because too little room delays a whole shard while too much is shared by
all; one lucky run is not believed. `docs/planning.md` has the figures for this and for what was tried
instead.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from math import fsum
from statistics import median
from typing import NamedTuple

_WINDOW = 3  # past times of a test that count
_ENOUGH = 8  # common tests that tell something about the machines of two runs
_MEASURABLE = 0.05  # seconds; shorter times say more about the clock than about the machine
_ONE_RUN = 0.25  # spread of a test that was measured once, relative to its time
_NO_HISTORY = 1.0  # seconds of a file where nothing at all is known; only ratios matter then


class Estimate(NamedTuple):
    """Expected seconds, and how many seconds it may well be off.

    The spread of a test is its largest miss among the past times that count; of a file nothing is known
    about, what the longest file of the suite takes more.
    """

    seconds: float
    spread: float = 0.0


class FileEstimates:
    """`tests`: file key → its known tests, sorted by node id. Ask `of_file` about files without any; `empty` ones are
    known to have none."""

    def __init__(
        self, tests: Mapping[str, tuple[tuple[str, Estimate], ...]], empty: Collection[str] = frozenset()
    ) -> None:
        self.tests = tests
        self._empty = empty
        self._longest = 0.0
        self._folders: dict[str, list[float]] = {}
        self._usual: dict[str, float] = {}  # by folder; a change may bring thousands of new files into one
        for file, known in tests.items():
            seconds = fsum(each.seconds for _, each in known)
            self._longest = max(self._longest, seconds)
            for folder in _folders(file):
                self._folders.setdefault(folder, []).append(seconds)

    def of_file(self, file: str) -> Estimate:
        """The sum of its tests; of a file that is new, the median file of the nearest folder above it that has any."""
        known = self.tests.get(file)
        if known is not None:
            return Estimate(fsum(each.seconds for _, each in known), fsum(each.spread for _, each in known))
        if file in self._empty:
            return Estimate(0.0)
        for folder in _folders(file):
            if folder in self._folders:
                seconds = self._median(folder)
                return Estimate(seconds, self._longest - seconds)
        return Estimate(_NO_HISTORY)

    def _median(self, folder: str) -> float:
        if folder not in self._usual:
            self._usual[folder] = median(self._folders[folder])
        return self._usual[folder]


def estimate(
    runs: Sequence[Mapping[str, float]],
    *,
    files: Collection[str] | None = None,
    speeds: Sequence[float] | None = None,
    left_out: Sequence[Collection[str]] = (),
) -> FileEstimates:
    """Estimates from runs, oldest first, each node id → seconds.

    A test is known if the newest run that has its file has the test, or left it out (`left_out`: for each run, what
    was not asked for or did not come to an end) and an older one timed it. `files` are the keys of the files that
    exist (default: all that any run has). `speeds` are those of the machines that made the runs (2 is twice as fast
    as 1, whose seconds come back); without them each run is scaled to the newest by the median ratio of the tests they
    share.
    """
    factors = _factors(runs) if speeds is None else speeds
    newest_first = tuple(zip(runs, factors, strict=True))[::-1]
    names = _newest(_present(runs, left_out))
    kept = sorted(names if files is None else names.keys() & files)
    return FileEstimates(
        {file: tuple((name, _estimate(name, newest_first)) for name in sorted(names[file])) for file in kept}
    )


def _newest(runs: Sequence[Collection[str]]) -> dict[str, list[str]]:
    """File key → node ids, from the newest run that has the file."""
    latest = runs[-1] if runs else ()
    names = _by_file(latest)
    for run in reversed(runs[:-1]):
        names = _by_file(name for name in run if name not in latest) | names
    return names


def _present(runs: Sequence[Mapping[str, float]], left_out: Sequence[Collection[str]]) -> Sequence[Collection[str]]:
    """What each run knew of: what it timed, and what it left out and any run timed."""
    if not any(left_out):
        return runs
    timed = {name for run in runs for name in run}
    return [run.keys() | timed.intersection(others) for run, others in zip(runs, left_out, strict=True)]


def _by_file(names: Iterable[str]) -> dict[str, list[str]]:
    files: dict[str, list[str]] = {}
    for name in names:
        files.setdefault(name.partition("::")[0], []).append(name)
    return files


def _estimate(name: str, newest_first: Sequence[tuple[Mapping[str, float], float]]) -> Estimate:
    seconds = []
    for run, factor in newest_first:
        if name in run:
            seconds.append(run[name] * factor)
            if len(seconds) == _WINDOW:
                break
    newest = seconds[0]
    if len(seconds) == 1:
        return Estimate(newest, newest * _ONE_RUN)
    seconds.sort()
    middle = len(seconds) // 2
    usual = seconds[middle] if len(seconds) % 2 else (seconds[middle - 1] + seconds[middle]) / 2
    expected = max(newest, usual)
    return Estimate(expected, max(expected - seconds[0], seconds[-1] - expected))


def _factors(runs: Sequence[Mapping[str, float]]) -> list[float]:
    """What to multiply each run's seconds by to compare them with the newest's."""
    return [_ratio(run, runs[-1]) for run in runs[:-1]] + [1.0] * bool(runs)


def _ratio(old: Mapping[str, float], new: Mapping[str, float]) -> float:
    ratios = [
        new[name] / seconds
        for name, seconds in old.items()
        if seconds > _MEASURABLE and new.get(name, 0.0) > _MEASURABLE
    ]
    return median(ratios) if len(ratios) >= _ENOUGH else 1.0


def _folders(file: str) -> list[str]:
    """The folders above a file, nearest first, down to the root (an empty string)."""
    parts = file.split("/")[:-1]
    return ["/".join(parts[:depth]) for depth in range(len(parts), -1, -1)]
