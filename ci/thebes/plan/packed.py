"""The shards of one suite, with all that is known about them: what `assemble` makes tasks of. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from math import ceil, fsum
from typing import NamedTuple

from thebes.config import PlanConfig
from thebes.model import Piece

from .groups import Bundles, Rules, bundle, rules
from .pack import CHUNK, Load, lower_bound, pack

_TRIES, _MORE = 8, 1.15  # times that so many more shards are tried where the longest one misses the target
_NEAR = 0.001
_FINER = (CHUNK / 8, CHUNK / 4, CHUNK / 2)
_PREMIUM = 0.01  # what cutting finer may cost in importing files again, as a share of the longest shard
_FREE = PlanConfig()
_NONE: Mapping[str, str] = {}


class Wish(NamedTuple):
    """How many shards are wanted: `shards`, or as many as it takes to end within `target` seconds, of which
    every job needs `job_start` before its first test; never more than `most`."""

    shards: int | None = None
    target: float | None = None
    job_start: float = 0.0
    most: int = 256


class Packed(NamedTuple):
    """`shards` hold the pieces of `loads`, each estimated to take `expected` seconds. `asked` were wanted."""

    loads: tuple[Load, ...]
    shards: tuple[tuple[Piece, ...], ...]
    expected: tuple[float, ...]
    asked: int


def packed(
    loads: Sequence[Load],
    wish: Wish,
    config: PlanConfig = _FREE,
    groups: Mapping[str, str] = _NONE,
    *,
    hedge: bool = False,
) -> Packed:
    """The shards for `wish`: the fewest found that end in time, or else as early as the longest test permits.

    `hedge`: the past shows that times change, so files are cut finer than balance needs if that costs next to nothing.
    """
    bundles = bundle(loads, config)
    tied = rules((load.file for load in loads), config, groups)
    packing = partial(_hedged if hedge else _pack, loads, bundles, tied)
    if wish.shards or not wish.target:
        return packing(wish.shards or 1)
    left = max(wish.target - wish.job_start, 0.0, lower_bound(bundles.loads, (1.0,) * wish.most))
    number = min(wish.most, max(1, ceil(fsum(load.seconds for load in loads) / left))) if left else 1
    best = found = packing(number)
    for _ in range(_TRIES):
        if max(found.expected, default=0.0) <= left * (1 + _NEAR) or number >= wish.most:
            break
        number = min(wish.most, ceil(number * _MORE))
        found = packing(number)
        best = min(best, found, key=lambda each: max(each.expected))
    return best


def _hedged(loads: Sequence[Load], bundles: Bundles, tied: Rules, number: int) -> Packed:
    """The finest cut that costs at most a hundredth more: the tests of a file tend to become slower together."""
    usual = _pack(loads, bundles, tied, number)
    limit = max(usual.expected, default=0.0) * (1 + _PREMIUM)
    finer = (_pack(loads, bundles, tied, number, chunk) for chunk in _FINER if number > 1)
    return next((found for found in finer if max(found.expected, default=0.0) <= limit), usual)


def _pack(loads: Sequence[Load], bundles: Bundles, tied: Rules, number: int, chunk: float = CHUNK) -> Packed:
    together = tied.groups.get if tied.groups else None
    found = pack(
        bundles.loads, number, keep_whole=tied.whole, together=together, open_classes=tied.open_classes, chunk=chunk
    )
    shards = tuple(bundles.unpack(pieces) for pieces in found)
    return Packed(tuple(loads), shards, expected_of(loads, shards), number)


def expected_of(loads: Iterable[Load], shards: Sequence[Sequence[Piece]]) -> tuple[float, ...]:
    """Seconds that each shard is estimated to take."""
    known = {load.file: load for load in loads}
    cut = {piece.file for pieces in shards for piece in pieces if piece.tests is not None}
    single = {test: each.seconds for file in cut for test, each in known[file].tests}
    holders = Counter(piece.file for pieces in shards for piece in pieces)

    def expected(piece: Piece) -> float:
        load = known[piece.file]
        if piece.tests:
            return fsum(single[test] for test in piece.tests) + load.overhead
        return load.seconds / holders[piece.file] + load.overhead  # all of it, or what the hash will give it

    return tuple(fsum(expected(piece) for piece in pieces) for pieces in shards)
