"""Putting units into shards: longest first, then moves and swaps that shorten the longest shard. Pure.

Longest first ends at most a third after the best (Graham 1969); with many short units it is far closer. The
local search repairs what remains, in a bounded number of steps.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import fsum, inf

from thebes.plan.units import Unit

_BUDGET = 100_000  # comparisons in one local search, about a tenth of a second


class Bins:
    """Shards being filled. `finish` is the time at which each would end, in seconds."""

    def __init__(self, speeds: Sequence[float], overheads: Mapping[str, float]) -> None:
        self.speeds = speeds
        self.overheads = overheads
        self.seconds = [0.0] * len(speeds)
        self.finish = [0.0] * len(speeds)
        self.units: list[list[Unit]] = [[] for _ in speeds]
        self._equal = len(set(speeds)) == 1
        self._held: dict[str, Counter[int]] = {need: Counter() for need in overheads}  # units by shard

    @property
    def makespan(self) -> float:
        return max(self.finish, default=0.0)

    @property
    def longest(self) -> int:
        return self.finish.index(self.makespan)

    def cost(self, unit: Unit, shard: int, *, held: int = 0) -> float:
        """Seconds that the unit takes in the shard; with `held` = 1, what the shard is rid of without it."""
        seconds = unit.seconds
        for need in unit.needs:
            if need in self._held and self._held[need][shard] == held:
                seconds += self.overheads[need]
        return seconds

    def add(self, unit: Unit, shard: int) -> None:
        self._change(unit, shard, self.cost(unit, shard), 1)
        self.units[shard].append(unit)

    def remove(self, position: int, shard: int) -> Unit:
        unit = self.units[shard].pop(position)
        self._change(unit, shard, -self.cost(unit, shard, held=1), -1)
        return unit

    def _change(self, unit: Unit, shard: int, seconds: float, count: int) -> None:
        self.seconds[shard] += seconds
        self.finish[shard] = self.seconds[shard] / self.speeds[shard]
        for need in unit.needs:
            if need in self._held:
                self._held[need][shard] += count

    def best(self, unit: Unit) -> int:
        """The shard that ends first with the unit; of several the one with the fewest units."""
        best, shortest = 0, (inf, 0, 0)
        for shard in sorted(self._candidates(unit), key=self.finish.__getitem__):
            speed = self.speeds[shard]
            if self.finish[shard] + unit.seconds / speed > shortest[0]:
                continue  # whatever it needs
            end = (self.seconds[shard] + self.cost(unit, shard)) / speed
            if (rank := (end, len(self.units[shard]), shard)) < shortest:
                best, shortest = shard, rank
        return best

    def _candidates(self, unit: Unit) -> Iterable[int]:
        """On equal machines the least loaded shards, and those that pay for a need of the unit anyway."""
        if not self._equal:
            return range(len(self.speeds))
        least = min(self.finish)
        first = self.finish.index(least)
        if self.finish.count(least) == 1 and not self._held:
            return (first,)
        ties = [shard for shard, finish in enumerate(self.finish) if finish == least]
        return dict.fromkeys(ties + [shard for need in unit.needs for shard in self._held.get(need, ())])


def fill(units: Iterable[Unit], speeds: Sequence[float], overheads: Mapping[str, float]) -> Bins:
    """Longest first, each to the shard that ends first with it."""
    bins = Bins(speeds, overheads)
    for unit in sorted(units, key=lambda unit: _rank(unit, overheads)):
        bins.add(unit, bins.best(unit))
    return bins


def _rank(unit: Unit, overheads: Mapping[str, float]) -> tuple[float, str, tuple[str, ...]]:
    first = unit.parts[0]
    # Not `sum`: Python 3.11 rounds it differently, and ties would be broken differently.
    overhead = fsum(overheads.get(need, 0.0) for need in unit.needs)
    return -(unit.seconds + overhead), first.file, first.tests or ()


def improve(bins: Bins, goal: float) -> None:
    """Move or swap units until no shard ends after `goal`, or nothing helps."""
    budget = _BUDGET
    while bins.makespan > goal and budget > 0:
        order = sorted(range(len(bins.speeds)), key=lambda shard: (bins.finish[shard], shard))
        longest = order.pop()
        for other in order:
            budget -= len(bins.units[longest]) + len(bins.units[other])
            if budget <= 0 or _level(bins, longest, other):
                break
        else:
            return


def _level(bins: Bins, longest: int, other: int) -> bool:
    """Move one unit, or swap two, so that the later of both shards ends earlier. False where nothing does."""
    fast, slow = bins.speeds[longest], bins.speeds[other]
    wanted = (bins.seconds[longest] * slow - bins.seconds[other] * fast) / (fast + slow)
    mine, theirs = _exchange(_rids(bins, longest), _rids(bins, other), wanted)
    if mine is None:
        return False
    before = bins.finish[longest]
    given = bins.remove(mine, longest)
    taken = None if theirs is None else bins.remove(theirs, other)
    bins.add(given, other)
    if taken is not None:
        bins.add(taken, longest)
    if max(bins.finish[longest], bins.finish[other]) < before * (1 - 1e-9):
        return True
    if taken is not None:
        bins.remove(len(bins.units[longest]) - 1, longest)
        bins.add(taken, other)
    bins.add(bins.remove(_index(bins.units[other], given), other), longest)
    return False


def _index(units: Sequence[Unit], unit: Unit) -> int:
    return next(position for position, other in enumerate(units) if other is unit)


def _rids(bins: Bins, shard: int) -> list[float]:
    """The seconds that the shard is rid of without each of its units."""
    units = bins.units[shard]
    return [bins.cost(unit, shard, held=1) if bins.overheads else unit.seconds for unit in units]


def _exchange(mine: Sequence[float], theirs: Sequence[float], wanted: float) -> tuple[int | None, int | None]:
    """Positions whose exchange moves as nearly `wanted` seconds as any; None for theirs: a plain move."""
    ranked = sorted((seconds, position) for position, seconds in enumerate(theirs))
    lengths = [-1.0e-12, *(seconds for seconds, _ in ranked)]  # the first stands for giving nothing back
    best = wanted
    found: tuple[int | None, int | None] = (None, None)
    for position, seconds in enumerate(mine):
        near = bisect_left(lengths, seconds - wanted)
        for candidate in (near - 1, near):
            if 0 <= candidate < len(lengths):
                miss = abs(seconds - lengths[candidate] - wanted)
                if miss < best * (1 - 1e-9):
                    best = miss
                    found = (position, None if candidate == 0 else ranked[candidate - 1][1])
    return found
