"""Why a suite was split as it was, and what would make it faster. Pure."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from heapq import nlargest
from math import ceil, fsum, hypot

from thebes.model import Piece, Value
from thebes.plugin.thebes_plugin.split import atom

from .estimate import Estimate
from .pack import CHUNK, Cuts, Load, lower_bound, work
from .packed import NEAR, Packed
from .units import weight

_SHOWN = 5  # of the least certain files


class Why(StrEnum):
    """Why several shards hold parts of a file."""

    LONG = "longer than a quarter of the ideal shard"
    DRIFT = "times change from run to run: in small parts that does less harm"
    BALANCE = "shards are evener with it cut"
    GROUP = "some of its tests share a shard with tests of other files"
    NEW = "new, and may be long: its tests go by their hash"


class ShardView(Value, frozen=True, kw_only=True):
    """A shard: seconds, as in the plan, and by how many it may well be off if its tests' errors have nothing to do with
    each other; its files, of which it shares `parts` with other shards; its tests that are known."""

    shard: int
    seconds: float
    spread: float
    files: int
    parts: int
    tests: int


class CutFile(Value, frozen=True, kw_only=True):
    """A file in several `shards`. Each of them pays `overhead` seconds. `opened`: classes and parametrized functions
    that are in several shards themselves."""

    file: str
    shards: int
    seconds: float
    overhead: float
    why: Why
    opened: tuple[str, ...] = ()


class Unsure(Value, frozen=True, kw_only=True):
    """A file whose time is not certain. `new`: nothing is known about it."""

    file: str
    seconds: float
    spread: float
    new: bool


class Longest(Value, frozen=True, kw_only=True):
    """The longest test, and the seconds by which the best possible plan would end earlier if it were two."""

    test: str
    seconds: float
    gain: float


class Alternative(Value, frozen=True, kw_only=True):
    """What another number of shards would take at best, jobs' starts included. `cost` of the minutes begun."""

    shards: int
    wall: float
    machine: float
    cost: float | None


class Target(Value, frozen=True, kw_only=True):
    """The time in which all was to end, in seconds, and how much later the longest shard does; with jobs' starts."""

    seconds: float
    missed: float


class SuiteView(Value, frozen=True, kw_only=True):
    """A suite's plan. `asked`: how many shards were asked for, or are the fewest that might do for the `target`;
    `allowed`: for how many the plan was made, and `limit` the setting that allows no more, if one does. `ratio` is the
    longest shard over `lower_bound`, which no plan with `allowed` shards can beat."""

    suite: str
    asked: int
    allowed: int
    limit: str | None
    target: Target | None
    lower_bound: float
    ratio: float
    shards: tuple[ShardView, ...]
    cut: tuple[CutFile, ...]
    unsure: tuple[Unsure, ...]
    longest: Longest | None
    alternatives: tuple[Alternative, ...]


class Alone(Value, frozen=True, kw_only=True):
    """A task beside the shards: `files` that may run next to nothing else."""

    task: str
    seconds: float
    files: int


class Explanation(Value, frozen=True, kw_only=True):
    suites: tuple[SuiteView, ...]
    alone: tuple[Alone, ...] = ()


def explain(suite: str, found: Packed, *, price: float | None = None) -> SuiteView:
    """The view of one suite. `price` is that of a job's minute; each job's last one counts in full."""
    loads = {load.file: load for load in found.loads}
    speeds = found.speeds if set(found.speeds) - {1.0} else (1.0,) * found.allowed
    bound = lower_bound(found.loads, speeds, start=found.start)
    makespan = max(found.estimates, default=0.0)
    return SuiteView(
        suite=suite,
        asked=found.asked.shards,
        allowed=found.allowed,
        limit=found.asked.limit,
        target=_target(found),
        lower_bound=round(bound, 3),
        ratio=round(makespan / bound, 4) if bound else 1.0,
        shards=tuple(_shards(found, loads)),
        cut=tuple(_cut(found, loads)),
        unsure=tuple(_unsure(found.loads)),
        longest=_longest(found.loads, speeds),
        alternatives=tuple(_alternatives(found, price)),
    )


def _target(found: Packed) -> Target | None:
    if found.asked.target is None:
        return None
    seconds = found.asked.target
    missed = max(found.estimates, default=0.0) + found.job_start - found.start - seconds
    return Target(seconds=seconds, missed=round(missed, 3) if missed > seconds * NEAR else 0.0)


def _shards(found: Packed, loads: Mapping[str, Load]) -> Iterable[ShardView]:
    for index, (pieces, seconds) in enumerate(zip(found.shards, found.estimates, strict=True), 1):
        known = [each for piece in pieces for _, each in _known(piece, loads[piece.file])]
        new = [loads[piece.file].spread for piece in pieces if not loads[piece.file].tests]
        yield ShardView(
            shard=index,
            seconds=round(seconds, 3),
            spread=round(hypot(*(each.spread for each in known), *new), 3),
            files=len(pieces),
            parts=sum(piece.tests is not None for piece in pieces),
            tests=len(known),
        )


def _known(piece: Piece, load: Load) -> Sequence[tuple[str, Estimate]]:
    if piece.tests is None:
        return load.tests
    wanted = set(piece.tests)
    return [test for test in load.tests if test[0] in wanted]


def _cut(found: Packed, loads: Mapping[str, Load]) -> Iterable[CutFile]:
    held: dict[str, list[Piece]] = {}
    for piece in (piece for pieces in found.shards for piece in pieces if piece.tests is not None):
        held.setdefault(piece.file, []).append(piece)
    for file in sorted(held, key=lambda file: (-loads[file].seconds, file)):
        load = loads[file]
        yield CutFile(
            file=file,
            shards=len(held[file]),
            seconds=round(load.seconds, 3),
            overhead=round(load.overhead + load.setups.cost(load.setups.common), 3),
            why=_why(load, found.cuts),
            opened=tuple(_opened(held[file])),
        )


def _why(load: Load, cuts: Cuts) -> Why:
    """The first of the planner's own reasons that holds."""
    if not load.tests:
        return Why.NEW
    seconds = weight(load.tests, load.setups)
    if seconds <= cuts.grain:
        return Why.GROUP  # only a group that spans files makes it cut a short one
    if seconds > cuts.ideal * CHUNK:
        return Why.LONG
    return Why.DRIFT if seconds > cuts.ideal * cuts.chunk else Why.BALANCE


def _opened(pieces: Sequence[Piece]) -> list[str]:
    homes = Counter(name for piece in pieces for name in {atom(test.partition("::")[2]) for test in piece.tests or ()})
    return sorted(name for name, count in homes.items() if count > 1)


def _unsure(loads: Sequence[Load]) -> Iterable[Unsure]:
    spreads = [(_spread(load), load) for load in loads]
    for spread, load in sorted(spreads, key=lambda each: (-each[0], each[1].file))[:_SHOWN]:
        if spread > 0:
            yield Unsure(file=load.file, seconds=round(load.seconds, 3), spread=round(spread, 3), new=not load.tests)


def _spread(load: Load) -> float:
    return hypot(*(each.spread for _, each in load.tests)) if load.tests else load.spread


def _longest(loads: Sequence[Load], speeds: Sequence[float]) -> Longest | None:
    """What splitting the longest test would gain: nothing, unless it is longer than an even share."""
    seconds = nlargest(2, ((each.seconds, test) for load in loads for test, each in load.tests))
    if not seconds:
        return None
    longest, test = seconds[0]
    fast, *others = nlargest(2, speeds)
    even = work(loads) / fsum(speeds)
    second = seconds[1][0] / fast if len(seconds) > 1 else 0.0
    # One half each for the two fastest machines, or both for the fastest.
    halves = min([longest / fast, *(longest / 2 / other for other in others)])
    gain = max(0.0, longest / fast - max(even, second, halves))
    return Longest(test=test, seconds=round(longest, 3), gain=round(gain, 3))


def _alternatives(found: Packed, price: float | None) -> Iterable[Alternative]:
    """Half and twice as many shards, at their best, around those that were planned."""
    planned, job_start = len(found.shards), found.job_start
    if not planned or set(found.speeds) != {1.0}:  # of machines that are not there nobody knows the speed
        return
    cost = _costs(price)
    for shards in sorted({max(1, planned // 2), planned, 2 * planned}):
        at_best = [lower_bound(found.loads, (1.0,) * shards)] * shards
        seconds = [job_start + each for each in (found.expected if shards == planned else at_best)]
        machine = fsum(seconds) if shards == planned else _machine(found, shards, job_start)
        yield Alternative(
            shards=shards, wall=round(max(seconds), 3), machine=round(machine, 3), cost=cost(machine, shards)
        )


def _machine(found: Packed, shards: int, job_start: float) -> float:
    return work(found.loads) + shards * job_start


def _costs(price: float | None) -> Callable[[float, int], float | None]:
    def cost(machine: float, jobs: int) -> float | None:
        return None if price is None else round(jobs * ceil(machine / jobs / 60) * price, 4)

    return cost
