"""Files to shards: cut as little as balance needs, then pack. Pure, the same for any order of the input."""

from collections.abc import Callable, Collection, Iterator, Sequence
from math import fsum, inf

from thebes.model import Piece
from thebes.plan.bins import Bins, fill, improve
from thebes.plan.units import Grain, Load, Ties, Unit, divide, length, ties

__all__ = ["Load", "pack"]

_TOLERANCE = 0.0003  # a plan within this of the lower bound is not cut further
_OPEN_ABOVE = 0.005  # classes and families are opened only to save more than this
_FREE = Ties()
_LEVELS = 8  # files are cut to chunks of the ideal shard, then half, a quarter … 1/128 of it


def pack(  # noqa: PLR0913  (options with defaults, all named)
    loads: Sequence[Load],
    shards: int,
    *,
    speeds: Sequence[float] | None = None,
    keep_whole: Collection[str] = (),
    together: Callable[[str], str | None] | None = None,
    open_classes: bool = True,
) -> tuple[tuple[Piece, ...], ...]:
    """The pieces of each shard, longest shard first; never an empty one, so possibly fewer than `shards`.

    `speeds` are the machines' (1 is the one whose seconds the loads are in): then shard i is for the i-th of
    them, and where fewer shards come back the slowest machines were left out. Files in `keep_whole` are never
    cut; tests to which `together` gives one name share a shard, also across files. `open_classes` permits
    cutting inside a class, or the parametrized tests of one function, where it alone is too long for balance.
    """
    machines = tuple(speeds) if speeds is not None else (1.0,) * shards
    ordered = sorted(loads, key=lambda load: load.file)
    tied = ties(ordered, keep_whole, together)
    bins = _best(ordered, machines, tied, open_classes=open_classes)
    while empty := bins.units.count([]):
        machines = _fastest(machines, len(machines) - empty)
        bins = _best(ordered, machines, tied, open_classes=open_classes)
    sizes = {load.file: len(load.tests) for load in ordered}
    order: Sequence[int] = range(len(machines))
    if speeds is None:
        order = sorted(order, key=lambda shard: (-bins.finish[shard], shard))
    return tuple(_pieces(bins.units[shard], sizes) for shard in order)


def _fastest(machines: Sequence[float], count: int) -> tuple[float, ...]:
    """The `count` fastest, in the order given."""
    kept = sorted(range(len(machines)), key=lambda machine: (-machines[machine], machine))[:count]
    return tuple(machines[machine] for machine in sorted(kept))


def _best(loads: Sequence[Load], speeds: Sequence[float], tied: Ties, *, open_classes: bool) -> Bins:
    """The coarsest cut whose packing is as good as any tried."""
    overheads = {load.file: load.overhead for load in loads if load.overhead}
    bound = lower_bound(loads, speeds, tied)
    goal = bound * (1 + _TOLERANCE)
    best = Bins(speeds, overheads)
    previous: list[Unit] = []
    for grain in _grains(bound):
        opens = grain.group < inf
        if opens and (not open_classes or best.makespan <= bound * (1 + _OPEN_ABOVE)):
            break
        units = divide(loads, grain, tied)
        if units == previous:
            continue
        previous = units
        bins = fill(units, speeds, overheads)
        improve(bins, goal)
        if not best.units[0] or bins.makespan < best.makespan * (1 - _TOLERANCE):
            best = bins
        if best.makespan <= goal:
            break
    return best


def _grains(ideal: float) -> Iterator[Grain]:
    """From coarse to fine, first with every class and family intact."""
    yield Grain(inf)
    for level in range(_LEVELS):
        yield Grain(ideal / 2**level)
    for level in range(_LEVELS):
        yield Grain(ideal / 2**level, ideal / 2**level, ideal / 2**level)


def lower_bound(loads: Sequence[Load], speeds: Sequence[float], tied: Ties = _FREE) -> float:
    """No plan can end sooner, in seconds: all shared out evenly, or the longest indivisible thing alone."""
    total = fsum(length(load) + load.overhead for load in loads)
    longest = max((_indivisible(load, tied) for load in loads), default=0.0)
    return max(total / fsum(speeds), longest / max(speeds))


def _indivisible(load: Load, tied: Ties) -> float:
    if not load.tests or load.file in tied.whole:
        return length(load) + load.overhead
    return max(estimate.seconds for _, estimate in load.tests) + load.overhead


def _pieces(units: Sequence[Unit], sizes: dict[str, int]) -> tuple[Piece, ...]:
    """The parts in a shard, joined by file and sorted; a file of which all is there is whole."""
    tests: dict[str, list[str] | None] = {}
    for part in (part for unit in units for part in unit.parts):
        if part.tests is None:
            tests[part.file] = None
        else:
            tests[part.file] = [*(tests.get(part.file) or ()), *part.tests]
    return tuple(
        Piece(file=file, tests=None if names is None or len(names) == sizes[file] else tuple(sorted(names)))
        for file, names in sorted(tests.items())
    )
