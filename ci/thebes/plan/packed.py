"""The shards of one suite, with all that is known about them: what `assemble` makes tasks of. Pure."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from itertools import accumulate
from math import ceil, fsum
from typing import NamedTuple

from thebes.config import PlanConfig
from thebes.model import Piece

from .groups import Bundles, Rules, bundle, rules
from .pack import CHUNK, Cuts, Load, fastest, indivisible, lower_bound, overheads, pack, work

_TRIES, _MORE = 8, 1.15  # times that so many more shards are tried where the longest one misses the target
NEAR = 0.001  # by which share a target may be missed
_FINER = (CHUNK / 8, CHUNK / 4, CHUNK / 2)
_PREMIUM = 0.01  # what cutting finer may cost in importing files again, as a share of the longest shard
_FREE = PlanConfig()
_NONE: Mapping[str, str] = {}


class Wish(NamedTuple):
    """How many shards are wanted: `shards`, or as many as it takes to end within `target` seconds, of which
    every job needs `job_start` before its first test; never more than `most`. `start`: the seconds of these in which
    pytest itself starts, on a machine of speed 1. `speeds` are the machines', one for each shard at most; empty: all
    are alike."""

    shards: int | None = None
    target: float | None = None
    job_start: float = 0.0
    start: float = 0.0
    most: int = 256
    speeds: tuple[float, ...] = ()


class Asked(NamedTuple):
    """How many `shards` were asked for, or are the fewest that might do for a `target` in seconds. `limit`: the setting
    that allows no more than were planned, if one does."""

    shards: int
    target: float | None = None
    limit: str | None = None


class Packed(NamedTuple):
    """`shards` hold the pieces of `loads`, each estimated to take `expected` seconds on its machine, which is one of
    `speeds`. `asked` were wanted, and `allowed` of them planned for; `cuts` tells how files were cut; starting a job
    takes `job_start`, of which pytest needs `start` in the task itself, on a machine of speed 1."""

    loads: tuple[Load, ...]
    shards: tuple[tuple[Piece, ...], ...]
    expected: tuple[float, ...]
    speeds: tuple[float, ...]
    allowed: int
    asked: Asked
    cuts: Cuts
    job_start: float = 0.0
    start: float = 0.0

    @property
    def estimates(self) -> tuple[float, ...]:
        """Seconds of each shard's task."""
        return tuple(work + self.start / speed for work, speed in zip(self.expected, self.speeds, strict=True))


def packed(
    loads: Sequence[Load],
    wish: Wish,
    config: PlanConfig = _FREE,
    groups: Mapping[str, str] = _NONE,
    *,
    hedge: bool = False,
    whole: Collection[str] = (),
) -> Packed:
    """The shards for `wish`: the fewest found that end in time, or else as early as the longest test permits.

    `hedge`: the past shows that times change, so files are cut finer than balance needs if that costs next to nothing.
    `whole`: files that can't be cut.
    """
    bundles = bundle(loads, config)
    tied = rules((load.file for load in loads), config, groups, whole)
    packing = partial(_hedged if hedge else _pack, loads, bundles, tied, wish)
    if wish.shards or not wish.target:
        return packing(wish.shards or len(wish.speeds) or 1)
    return _in_time(bundles.loads, wish, wish.target, packing)


def _in_time(loads: Sequence[Load], wish: Wish, target: float, packing: Callable[[int], Packed]) -> Packed:
    """The fewest shards found that end in time, or else as early as the longest test permits."""
    most = min(wish.most, len(wish.speeds)) if wish.speeds else wish.most
    left = max(target - wish.job_start, 0.0, lower_bound(loads, wish.speeds or (1.0,) * most))
    number = min(most, _fewest(work(loads) / left, wish.speeds)) if left else 1
    best = found = packing(number)
    for _ in range(_TRIES):
        if max(found.expected, default=0.0) <= left * (1 + NEAR) or number >= most:
            break
        number = min(most, ceil(number * _MORE))
        found = packing(number)
        best = min(best, found, key=lambda each: max(each.expected))
    late = best.allowed >= most and max(best.expected, default=0.0) > left * (1 + NEAR)
    takes = _takes(loads, wish, target)
    limit = "runner-speeds" if wish.speeds and len(wish.speeds) <= wish.most else "max-shards"
    return best._replace(asked=Asked(max(takes, best.allowed), target, limit if late or takes > most else None))


def _takes(loads: Sequence[Load], wish: Wish, target: float) -> int:
    """The fewest shards that might do for the target, or shorten the longest, if there were no limit."""
    enough = max(target - wish.job_start, indivisible(loads) / max(wish.speeds, default=1.0)) * (1 + NEAR)
    return _fewest(work(loads) / enough, wish.speeds) if enough > 0 else 1


def _fewest(wanted: float, speeds: Sequence[float]) -> int:
    """How many machines do the work of `wanted` of speed 1, the fastest taken first; if all do not, one more."""
    if not speeds:
        return max(1, ceil(wanted))
    together = accumulate(sorted(speeds, reverse=True))
    return next((number for number, speed in enumerate(together, 1) if speed >= wanted), len(speeds) + 1)


def _hedged(loads: Sequence[Load], bundles: Bundles, tied: Rules, wish: Wish, number: int) -> Packed:
    """The finest cut that costs at most a hundredth more: the tests of a file tend to become slower together."""
    usual = _pack(loads, bundles, tied, wish, number)
    limit = max(usual.expected, default=0.0) * (1 + _PREMIUM)
    finer = (_pack(loads, bundles, tied, wish, number, chunk) for chunk in _FINER if number > 1)
    return next((found for found in finer if max(found.expected, default=0.0) <= limit), usual)


def _pack(
    loads: Sequence[Load], bundles: Bundles, tied: Rules, wish: Wish, number: int, chunk: float = CHUNK
) -> Packed:
    together = tied.groups.get if tied.groups else None
    found = pack(
        bundles.loads,
        number,
        speeds=fastest(wish.speeds, number) if wish.speeds else None,
        keep_whole=tied.whole,
        together=together,
        open_classes=tied.open_classes,
        chunk=chunk,
    )
    shards = tuple(bundles.unpack(pieces) for pieces in found.shards)
    speeds = fastest(wish.speeds, len(shards)) if wish.speeds else (1.0,) * len(shards)
    expected = tuple(work / speed for work, speed in zip(expected_of(loads, shards), speeds, strict=True))
    return Packed(
        loads=tuple(loads),
        shards=shards,
        expected=expected,
        speeds=speeds,
        allowed=number,
        asked=Asked(number),
        cuts=found.cuts,
        job_start=wish.job_start,
        start=wish.start,
    )


def expected_of(loads: Iterable[Load], shards: Sequence[Sequence[Piece]]) -> tuple[float, ...]:
    """Seconds that each shard is estimated to take on a machine of speed 1."""
    known = {load.file: load for load in loads}
    cut = {piece.file for pieces in shards for piece in pieces if piece.tests is not None}
    single = {test: each.seconds for file in cut for test, each in known[file].tests}
    holders = Counter(piece.file for pieces in shards for piece in pieces)

    costs = overheads(known.values())

    def expected(piece: Piece) -> float:
        if piece.tests:
            return fsum(single[test] for test in piece.tests)
        return known[piece.file].seconds / holders[piece.file]  # all of it, or what the hash will give it

    def needs(piece: Piece) -> tuple[str, ...]:
        load, held = known[piece.file], set(piece.tests or ())
        return load.needs([each for each in load.tests if each[0] in held] if held and load.setups.of else None)

    def once(pieces: Sequence[Piece]) -> float:
        return fsum(costs.get(need, 0.0) for need in dict.fromkeys(need for piece in pieces for need in needs(piece)))

    return tuple(fsum(expected(piece) for piece in pieces) + once(pieces) for pieces in shards)
