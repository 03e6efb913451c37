"""Files to shards: cut as little as balance needs, then pack. Pure; the order of the input does not matter.

Whole files are packed, and files longer than a quarter of the ideal shard in chunks of about that length: a
long piece is a large bet on one estimate. If shards are then not even enough, other cuts are tried; the
shortest longest shard wins, the first tried if they are equal. A new file that may be long is shared out by
the hash of its tests.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from math import ceil, fsum, inf

from thebes.model import Piece
from thebes.plan.bins import Bins, fill, improve
from thebes.plan.estimate import FileEstimates
from thebes.plan.units import Grain, Load, Part, Ties, Unit, divide, length, ties

__all__ = ["Load", "loads_of", "lower_bound", "pack"]

_LEVELS = 8  # times that chunks are halved
_EVEN = 0.0003  # a plan this near to the lower bound is not improved further
_OPEN_ABOVE = 0.005  # classes and families are opened only where the best plan is longer than this
_FEW = 0.1  # share of new files up to which they are treated one by one; beyond, their errors cancel out
_FREE = Ties()


def loads_of(
    estimates: FileEstimates, files: Iterable[str], overheads: Mapping[str, float] | None = None
) -> list[Load]:
    """What each file is expected to take; `overheads` are seconds by file, see Load."""
    loads = []
    for file in files:
        whole = estimates.of_file(file)
        overhead = overheads.get(file, 0.0) if overheads else 0.0
        loads.append(Load(file, estimates.tests.get(file, ()), whole.seconds, overhead, whole.spread))
    return loads


def pack(  # noqa: PLR0913  (options with defaults, all named)
    loads: Sequence[Load],
    shards: int,
    *,
    speeds: Sequence[float] | None = None,
    keep_whole: Collection[str] = (),
    together: Callable[[str], str | None] | None = None,
    open_classes: bool = True,
    chunk: float = 0.25,
) -> tuple[tuple[Piece, ...], ...]:
    """The pieces of each shard, longest shard first; never an empty one, so possibly fewer than `shards`.

    A piece without tests (`()`, not None) belongs to a new file whose tests go by their hash. `speeds` are
    the machines' (1 is the one whose seconds the loads are in): then shard i is for the i-th of them, and
    where fewer shards come back the slowest machines were left out. Files in `keep_whole` are never cut;
    tests to which `together` gives one name share a shard, also across files. `open_classes` permits
    cutting inside a class, or the parametrized tests of one function, where it alone is too long for
    balance. `chunk` is the longest piece of a file to begin with, as a share of the ideal shard: shorter
    ones hold better against stale timings and import files more often.
    """
    machines = tuple(speeds) if speeds is not None else (1.0,) * shards
    ordered = sorted(loads, key=lambda load: load.file)
    tied = ties(ordered, keep_whole, together)
    longest = lower_bound(ordered, machines) * chunk
    new = _uncertain(ordered, longest, tied)
    settled = [load for load in ordered if load.file not in new]
    bins = _best(settled, machines, tied, chunk, open_classes=open_classes)
    if [] in bins.units:
        new = {}
        bins = _best(ordered, machines, tied, chunk, open_classes=open_classes)
    while empty := bins.units.count([]):
        machines = _fastest(machines, len(machines) - empty)
        bins = _best(ordered, machines, tied, chunk, open_classes=open_classes)
    for load in new.values():
        _share_out(bins, load, ceil((load.seconds + load.spread) / longest))
    order: Sequence[int] = range(len(machines))
    if speeds is None:
        order = sorted(order, key=lambda shard: (-bins.finish[shard], shard))
    sizes = {load.file: len(load.tests) for load in ordered}
    return tuple(_pieces(bins.units[shard], sizes) for shard in order)


def _fastest(machines: Sequence[float], count: int) -> tuple[float, ...]:
    """The `count` fastest, in the order given."""
    kept = sorted(range(len(machines)), key=lambda machine: (-machines[machine], machine))[:count]
    return tuple(machines[machine] for machine in sorted(kept))


def _uncertain(loads: Sequence[Load], longest: float, tied: Ties) -> dict[str, Load]:
    """Files that nothing is known about and that may be longer than `longest`, if they are few."""
    new = {load.file: load for load in loads if not load.tests}
    if len(new) > max(4, _FEW * len(loads)):
        return {}
    return {
        file: load
        for file, load in new.items()
        if load.spread > 0 and load.seconds + load.spread > longest > 0 and file not in tied.whole
    }


def _share_out(bins: Bins, load: Load, parts: int) -> None:
    """Let the least loaded shards hold a part of the file each; which tests, their hash will tell."""
    least = sorted(range(len(bins.finish)), key=lambda shard: (bins.finish[shard], shard))[:parts]
    for shard in least:
        tests = () if len(least) > 1 else None
        bins.add(Unit(load.seconds / len(least), (Part(load.file, tests),)), shard)


def _best(
    loads: Sequence[Load], speeds: Sequence[float], tied: Ties, chunk: float, *, open_classes: bool
) -> Bins:
    """The shortest packing, classes opened if that is allowed and needed."""
    bound = lower_bound(loads, speeds, tied)
    best = _first(_coarse_to_fine(bound, chunk), loads, speeds, tied)
    if open_classes and best.makespan > bound * (1 + _OPEN_ABOVE):
        opened = _first(_opening(bound, chunk), loads, speeds, tied)
        best = min(best, opened, key=lambda bins: bins.makespan)
    return best


def _first(grains: Iterable[Grain], loads: Sequence[Load], speeds: Sequence[float], tied: Ties) -> Bins:
    """The shortest packing of those that the grains give; the first of about equal ones."""
    overheads = {load.file: load.overhead for load in loads if load.overhead}
    goal = lower_bound(loads, speeds, tied) * (1 + _EVEN)
    best: Bins | None = None
    for grain in grains:
        bins = fill(divide(loads, grain, tied), speeds, overheads)
        improve(bins, goal)
        if best is None or bins.makespan < best.makespan * (1 - _EVEN):
            best = bins
        if best.makespan <= goal or len(best.units[best.longest]) == 1:
            break  # as even as can be, or what the longest shard holds is all one
    return best or Bins(speeds, overheads)


def _coarse_to_fine(ideal: float, chunk: float) -> Iterator[Grain]:
    """As asked, coarser in case that importing files again costs too much, then finer."""
    yield Grain(ideal * chunk)
    yield Grain(ideal)
    yield Grain(inf)
    for level in range(1, _LEVELS):
        yield Grain(ideal * chunk / 2**level)


def _opening(ideal: float, chunk: float) -> Iterator[Grain]:
    """Classes and families opened, at first only those that are longer than a shard."""
    for level in range(_LEVELS):
        longest = ideal / 2**level
        yield Grain(min(longest, ideal * chunk), longest, longest)


def lower_bound(loads: Sequence[Load], speeds: Sequence[float], tied: Ties = _FREE) -> float:
    """No plan can end sooner, in seconds: all shared out evenly, or the longest indivisible thing alone."""
    total = fsum(length(load) + load.overhead for load in loads)
    longest = max((_indivisible(load, tied) for load in loads), default=0.0)
    return max(total / fsum(speeds), longest / max(speeds))


def _indivisible(load: Load, tied: Ties) -> float:
    if not load.tests or load.file in tied.whole:
        return length(load) + load.overhead
    return max(each.seconds for _, each in load.tests) + load.overhead


def _pieces(units: Sequence[Unit], sizes: Mapping[str, int]) -> tuple[Piece, ...]:
    """The parts in a shard, joined by file and sorted; a file of which all is there is whole."""
    tests: dict[str, list[str]] = {}
    whole = set()
    for part in (part for unit in units for part in unit.parts):
        tests.setdefault(part.file, []).extend(part.tests or ())
        if part.tests is None or len(tests[part.file]) == sizes[part.file] > 0:
            whole.add(part.file)
    return tuple(
        Piece(file=file, tests=None if file in whole else tuple(sorted(tests[file])))
        for file in sorted(tests)
    )
