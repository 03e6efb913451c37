"""Files to shards: cut as little as balance needs, then pack. Pure; the order of the input does not matter.

Whole files are packed, and files longer than a quarter of the ideal shard in chunks of about that length: a
long piece is a large bet on one estimate. If shards are then not even enough, other cuts are tried; the
shortest longest shard wins, the first tried if they are equal. A new file that may be long is shared out by
the hash of its tests.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from math import ceil, fsum, inf
from typing import NamedTuple

from thebes.model import Piece
from thebes.plan.bins import Bins, fill, improve
from thebes.plan.estimate import FileEstimates
from thebes.plan.units import Grain, Load, Part, Setups, Ties, Unit, divide, overheads, ties, work

__all__ = [
    "CHUNK",
    "Cuts",
    "Load",
    "Setups",
    "fastest",
    "indivisible",
    "loads_of",
    "lower_bound",
    "overheads",
    "pack",
    "work",
]

CHUNK = 0.25  # the longest piece of a file to begin with, as a share of the ideal shard
_LEVELS = 8  # times that chunks are halved
_EVEN = 0.0003  # a plan this near to the lower bound is not improved further
_OPEN_ABOVE = 0.005  # classes and families are opened only where the best plan is longer than this
_FEW, _FEW_OF_ALL = 4, 0.1  # as many new files, or this share, are shared out; the errors of more cancel out
_VAIN = 3  # cuts that bring nothing, after which finer ones are not tried where each costs imports and fixtures
_FREE = Ties()


def loads_of(
    estimates: FileEstimates,
    files: Iterable[str],
    overheads: Mapping[str, float] | None = None,
    setups: Mapping[str, Setups] | None = None,
) -> list[Load]:
    """What each file is expected to take; `overheads` are seconds by file, see Load; `setups` are by file, too."""
    loads = []
    for file in files:
        whole = estimates.of_file(file)
        overhead = overheads.get(file, 0.0) if overheads else 0.0
        costly = setups.get(file, Setups()) if setups else Setups()
        loads.append(Load(file, estimates.tests.get(file, ()), whole.seconds, overhead, whole.spread, costly))
    return loads


class Cuts(NamedTuple):
    """How finely files were cut. `ideal`: seconds of the ideal shard, the lower bound. At first, files longer than the
    share `chunk` of it were to be cut; in the end, those longer than `grain` seconds were."""

    ideal: float
    chunk: float
    grain: float


class Packing(NamedTuple):
    """The pieces of each shard, and how finely they were cut."""

    shards: tuple[tuple[Piece, ...], ...]
    cuts: Cuts


def pack(
    loads: Sequence[Load],
    shards: int,
    *,
    speeds: Sequence[float] | None = None,
    keep_whole: Collection[str] = (),
    together: Callable[[str], str | None] | None = None,
    open_classes: bool = True,
    chunk: float = CHUNK,
) -> Packing:
    """The pieces of each shard, longest shard first; never an empty one, so possibly fewer than `shards`.

    A piece without tests (`()`, not None) belongs to a new file whose tests go by their hash. `speeds` are
    the machines' (1 is the one whose seconds the loads are in): then shard i is for the i-th of them, and
    where fewer shards come back the slowest machines were left out. Files in `keep_whole` are never cut;
    tests to which `together` gives one name share a shard, also across files. `open_classes` permits
    cutting inside a class where it alone is too long for balance, as the parametrized tests of one top-level
    function always may be. `chunk` is the longest piece of a file to begin with, as a share of the ideal shard: shorter
    ones hold better against stale timings and import files more often.
    """
    ordered = sorted(loads, key=lambda load: load.file)
    tied = ties(ordered, keep_whole, together)
    machines = tuple(speeds) if speeds is not None else (1.0,) * shards
    rules = _Rules(machines, tied, chunk, open_classes)
    (bins, grain), ideal = _all_in_use(ordered, rules)
    order: Sequence[int] = range(len(bins.units))
    if speeds is None:
        order = sorted(order, key=lambda shard: (-bins.finish[shard], shard))
    sizes = {load.file: len(load.tests) for load in ordered}
    return Packing(tuple(_pieces(bins.units[shard], sizes) for shard in order), Cuts(ideal, chunk, grain.chunk))


class _Rules(NamedTuple):
    """How to pack: machines by speed, what is tied, and how finely to cut."""

    speeds: tuple[float, ...]
    tied: Ties
    chunk: float
    open_classes: bool


class _Try(NamedTuple):
    """Shards, and what their files were cut by."""

    bins: Bins
    grain: Grain


def _all_in_use(loads: Sequence[Load], rules: _Rules) -> tuple[_Try, float]:
    """The best packing in which no shard is empty, and the lower bound that it was held against."""
    bound = lower_bound(loads, rules.speeds, rules.tied)
    longest = bound * rules.chunk
    new = _uncertain(loads, longest, rules.tied)
    if new:
        best = _best([load for load in loads if load.file not in new], rules, bound)
        if all(best.bins.units):
            for load in new.values():
                _share_out(best.bins, load, ceil((load.seconds + load.spread) / longest))
            return best, bound
    best = _best(loads, rules, bound)
    while (units := best.bins.units) and not all(units):
        rules = rules._replace(speeds=fastest(rules.speeds, len(units) - units.count([])))
        bound = lower_bound(loads, rules.speeds, rules.tied)
        best = _best(loads, rules, bound)
    return best, bound


def fastest(machines: Sequence[float], count: int) -> tuple[float, ...]:
    """The `count` fastest, in the order given."""
    kept = sorted(range(len(machines)), key=lambda machine: (-machines[machine], machine))[:count]
    return tuple(machines[machine] for machine in sorted(kept))


def _uncertain(loads: Sequence[Load], longest: float, tied: Ties) -> dict[str, Load]:
    """Files that nothing is known about and that may take more than `longest` seconds, if they are few. Without tests
    here, but not new, are files known to be empty and those that share a shard: they have no spread."""
    new = [load for load in loads if not load.tests and load.spread > 0]
    if len(new) > max(_FEW, _FEW_OF_ALL * len(loads)):
        return {}
    return {load.file: load for load in new if load.seconds + load.spread > longest > 0 and load.file not in tied.whole}


def _share_out(bins: Bins, load: Load, parts: int) -> None:
    """Let the least loaded shards hold a part of the file each; which tests, their hash will tell."""
    least = sorted(range(len(bins.finish)), key=lambda shard: (bins.finish[shard], shard))[:parts]
    tests = () if len(least) > 1 else None
    for shard in least:
        bins.add(Unit(load.seconds / len(least), (Part(load.file, tests),), load.needs()), shard)


def _best(loads: Sequence[Load], rules: _Rules, bound: float) -> _Try:
    """The shortest packing; families are opened if that is needed, classes if it is allowed, too."""
    best = _first(_intact(bound, rules.chunk), loads, rules, bound * (1 + _EVEN))
    if best.bins.makespan > bound * (1 + _OPEN_ABOVE):
        opened = _first(_opened(bound, rules.chunk, classes=rules.open_classes), loads, rules, bound * (1 + _EVEN))
        best = min(best, opened, key=lambda each: each.bins.makespan)
    return best


def _first(grains: Iterable[Grain], loads: Sequence[Load], rules: _Rules, goal: float) -> _Try:
    """The shortest packing of those that the grains give, the first of about equal ones; `goal` is good
    enough.
    """
    costs = overheads(loads)
    best: _Try | None = None
    vain = 0
    for grain in grains:
        bins = fill(divide(loads, grain, rules.tied), rules.speeds, costs)
        improve(bins, goal)
        vain += 1
        if best is None or bins.makespan < best.bins.makespan * (1 - _EVEN):
            best, vain = _Try(bins, grain), 0
        if best.bins.makespan <= goal or _stuck(bins, grain) or (costs and vain > _VAIN):
            break
    return best or _Try(Bins(rules.speeds, costs), Grain(inf))


def _stuck(bins: Bins, grain: Grain) -> bool:
    """The longest shard holds one thing only, and the grain would have cut it if it could be cut."""
    units = bins.units[bins.longest]
    return len(units) == 1 and units[0].seconds > 2 * grain.chunk


def _intact(ideal: float, chunk: float) -> Iterator[Grain]:
    """As asked; coarser, in case that importing files again costs too much; then finer."""
    yield Grain(ideal * chunk)
    yield Grain(ideal)
    yield Grain(inf)
    for level in range(1, _LEVELS):
        yield Grain(ideal * chunk / 2**level)


def _opened(ideal: float, chunk: float, *, classes: bool) -> Iterator[Grain]:
    """Families, and `classes`, opened, at first only those that are longer than a shard."""
    for level in range(_LEVELS):
        longest = ideal / 2**level
        yield Grain(min(longest, ideal * chunk), longest if classes else inf, longest)


def lower_bound(loads: Sequence[Load], speeds: Sequence[float], tied: Ties = _FREE, *, start: float = 0.0) -> float:
    """No plan for all these machines can end sooner, in seconds: all shared out evenly, or the longest indivisible
    thing alone. `start`: what each machine does first, in seconds at speed 1."""
    if not speeds:
        return 0.0
    alone = indivisible(loads, tied)
    return max((work(loads) + start * len(speeds)) / fsum(speeds), (alone + start) / max(speeds))


def indivisible(loads: Iterable[Load], tied: Ties = _FREE) -> float:
    """Seconds of the longest indivisible thing, with what it needs."""
    return max((_indivisible(load, tied) for load in loads), default=0.0)


def _indivisible(load: Load, tied: Ties) -> float:
    if not load.tests or load.file in tied.whole:
        return work([load])
    if not load.setups.seconds:
        return max(each.seconds for _, each in load.tests) + load.overhead
    apart = max(each.seconds + load.setups.cost(load.setups.of.get(test, ())) for test, each in load.tests)
    return apart + load.overhead + load.setups.cost(load.setups.common)


def _pieces(units: Sequence[Unit], sizes: Mapping[str, int]) -> tuple[Piece, ...]:
    """The parts in a shard, joined by file and sorted; a file of which all is there is whole."""
    tests: dict[str, list[str]] = {}
    whole = set()
    for part in (part for unit in units for part in unit.parts):
        tests.setdefault(part.file, []).extend(part.tests or ())
        if part.tests is None or len(tests[part.file]) == sizes[part.file] > 0:
            whole.add(part.file)
    return tuple(
        Piece(file=file, tests=None if file in whole else tuple(sorted(tests[file]))) for file in sorted(tests)
    )
