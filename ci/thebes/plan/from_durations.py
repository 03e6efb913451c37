"""A plan from files of durations alone, and what another such file says that it would have taken. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from math import fsum

import msgspec

from thebes.codec import digest
from thebes.model import DEFAULT_GATE, WAVES, Piece, Plan, Project, Suite, Task, TaskKind, Value
from thebes.plugin.thebes_plugin.split import Cut, file_key

from .estimate import estimate
from .pack import loads_of
from .packed import Packed, Wish, packed

Times = Mapping[str, float]


class Outcome(Value, frozen=True, kw_only=True):
    """What each shard would have taken, all together, and what no plan could have beaten; seconds."""

    loads: tuple[float, ...]
    total: float
    lower_bound: float


def files_of(times: Iterable[str]) -> list[str]:
    """The keys of the files, as discovery would find them."""
    return sorted({file_key(test) for test in times})


def pack_durations(runs: Sequence[Times], files: Sequence[str], wish: Wish) -> Packed:
    """The shards for `files`, estimated from `runs`, oldest first. Importing costs nothing: nobody measured it.
    Ids are taken as they stand, an `@group` of xdist's included: nothing is known of what these groups need.
    """
    return packed(loads_of(estimate(runs, files=files), files), wish, hedge=len(runs) > 1)


def plan_of(found: Packed) -> Plan:
    """The plan of one suite in one project, of which neither commit nor Python is known."""
    number = len(found.shards)
    tasks = (
        Task(
            id=f"{DEFAULT_GATE}-{index}of{number}",
            suite=DEFAULT_GATE,
            kind=TaskKind.PYTEST,
            wave=WAVES[DEFAULT_GATE],
            estimate=round(seconds, 3),
            index=index,
            of=number,
            pieces=pieces,
        )
        for index, (seconds, pieces) in enumerate(zip(found.expected, found.shards, strict=True), 1)
    )
    plan = Plan(
        commit="",
        projects=(Project(path=".", rootdir=".", inipath=None),),
        suites=(Suite(id=DEFAULT_GATE, project=".", gate=DEFAULT_GATE, python=""),),
        tasks=tuple(tasks),
    )
    return msgspec.structs.replace(plan, digest=digest(plan))


def against(found: Packed, times: Times) -> Outcome:
    """What the shards would really have taken: every test goes where a shard's own rules send it."""
    owner = _Owners(found.shards)
    loads: list[list[float]] = [[] for _ in found.shards]
    for test, seconds in times.items():
        loads[owner(test)].append(seconds)
    total = fsum(times.values())
    bound = max(total / found.allowed, max(times.values(), default=0.0))
    return Outcome(
        loads=tuple(round(fsum(each), 6) for each in loads), total=round(total, 6), lower_bound=round(bound, 6)
    )


class _Owners:
    """Asked for a test, tells the position of its shard."""

    def __init__(self, shards: Sequence[Sequence[Piece]]) -> None:
        self._whole = {piece.file: shard for shard, pieces in enumerate(shards) for piece in pieces}
        holders: dict[str, list[tuple[int, Piece]]] = {}
        for shard, pieces in enumerate(shards):
            for piece in pieces:
                if piece.tests is not None:
                    holders.setdefault(piece.file, []).append((shard, piece))
        self._cut = {
            file: (
                [shard for shard, _ in held],
                Cut(file, [[_inner(test) for test in piece.tests or ()] for _, piece in held]),
            )
            for file, held in holders.items()
        }

    def __call__(self, test: str) -> int:
        file = file_key(test)
        if file not in self._cut:
            return self._whole[file]
        shards, cut = self._cut[file]
        return shards[cut.owner(_inner(test))]


def _inner(test: str) -> str:
    return test.partition("::")[2]
