"""The shards of one suite, with all that is known about them: what `assemble` makes tasks of. Pure."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from math import ceil, fsum
from typing import NamedTuple

from thebes.model import Piece

from .pack import Load, pack

_TRIES = 8  # times that shards are added because the longest one misses the target


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


def packed(loads: Sequence[Load], wish: Wish, keep_whole: Collection[str] = ()) -> Packed:
    """The shards for `wish`. None where there are no files."""
    if wish.shards or not wish.target:
        return _pack(loads, wish.shards or 1, keep_whole)
    left = max(wish.target - wish.job_start, 0.0)
    best = _pack(loads, _first_guess(loads, left, wish.most), keep_whole)
    for _ in range(_TRIES):
        longest = max(best.expected, default=0.0)
        if longest <= left or len(best.shards) < best.asked or best.asked >= wish.most:
            break
        more = _pack(loads, min(wish.most, max(best.asked + 1, ceil(best.asked * longest / left))), keep_whole)
        if max(more.expected) >= longest:  # one thing that can't be cut: further shards would shorten nothing
            break
        best = more
    return best


def _first_guess(loads: Iterable[Load], left: float, most: int) -> int:
    """As many shards as it takes if they were even; where no time is left at all, as many as there may be."""
    total = fsum(load.seconds for load in loads)
    return max(1, min(most, ceil(total / left))) if left > 0 else most


def _pack(loads: Sequence[Load], number: int, keep_whole: Collection[str]) -> Packed:
    shards = pack(loads, number, keep_whole=keep_whole)
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
