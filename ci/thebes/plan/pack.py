from collections.abc import Sequence
from typing import NamedTuple

from thebes.model import Piece

from .estimate import Estimate


class Load(NamedTuple):
    file: str
    tests: tuple[tuple[str, Estimate], ...] = ()
    seconds: float = 0.0
    overhead: float = 0.0


def pack(loads: Sequence[Load], shards: int) -> tuple[tuple[Piece, ...], ...]:
    total = sum(sum(e.seconds for _, e in load.tests) or load.seconds for load in loads)
    units = []
    for load in sorted(loads):
        seconds = sum(e.seconds for _, e in load.tests) or load.seconds
        if len(load.tests) > 1 and seconds > total / shards / 4:
            groups: dict[str, list[tuple[str, Estimate]]] = {}
            for test, e in load.tests:
                groups.setdefault(test.split("::")[1].split("[")[0], []).append((test, e))
            units += [(sum(e.seconds for _, e in g), load.file, [t for t, _ in g]) for g in groups.values()]
        else:
            units.append((seconds, load.file, None))
    bins = [[0.0, i, {}] for i in range(shards)]
    for seconds, file, tests in sorted(units, key=lambda u: (-u[0], u[1], u[2] or [])):
        best = min(bins, key=lambda b: (b[0], b[1]))
        best[0] += seconds
        if tests is None:
            best[2][file] = None
        else:
            best[2].setdefault(file, []).extend(tests)
    return tuple(
        tuple(Piece(file=f, tests=None if t is None else tuple(sorted(t))) for f, t in sorted(b[2].items()))
        for b in bins
        if b[2]
    )
