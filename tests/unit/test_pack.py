"""The packer: nothing lost or doubled, nothing cut that must not be, never worse than whole files."""

import heapq
from collections.abc import Sequence
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from thebes.model import Piece
from thebes.plan.estimate import Estimate
from thebes.plan.pack import Load, lower_bound, pack

Shards = tuple[tuple[Piece, ...], ...]

NAMES = [
    "test_a",
    "test_b[1]",
    "test_b[2]",
    "test_b[x::y]",
    "TestC::test_d",
    "TestC::test_e[1]",
    "TestC::test_e[2]",
]
SECONDS = st.floats(min_value=0, max_value=100)


@st.composite
def suites(draw: st.DrawFn) -> list[Load]:
    """Up to twelve files, some of them unknown to the history."""
    loads = []
    for number in range(draw(st.integers(1, 12))):
        file = f"tests/d{number % 3}/test_{number}.py"
        names = draw(st.lists(st.sampled_from(NAMES), unique=True))
        tests = tuple((f"{file}::{name}", Estimate(draw(SECONDS))) for name in names)
        loads.append(Load(file, tests, draw(SECONDS), draw(st.sampled_from([0.0, 0.5, 20.0]))))
    return loads


def seconds(loads: Sequence[Load], shards: Shards) -> list[float]:
    """What each shard takes, overhead included."""
    known = {load.file: load for load in loads}
    return [sum(_piece(known[piece.file], piece) for piece in shard) for shard in shards]


def _piece(load: Load, piece: Piece) -> float:
    wanted = None if piece.tests is None else set(piece.tests)
    if not load.tests:
        return load.overhead + load.seconds
    return load.overhead + sum(each.seconds for name, each in load.tests if wanted is None or name in wanted)


def by_file(loads: Sequence[Load], shards: int) -> float:
    """Makespan of whole files, longest first."""
    heap = [0.0] * shards
    for load in sorted(seconds(loads, tuple((Piece(file=load.file),) for load in loads)), reverse=True):
        heapq.heapreplace(heap, heap[0] + load)
    return max(heap)


@given(suites(), st.integers(1, 9))
@settings(deadline=None)
def test_every_test_is_in_exactly_one_shard(loads: list[Load], shards: int) -> None:
    plan = pack(loads, shards)
    assert 1 <= len(plan) <= shards
    assert all(plan)
    for load in loads:
        held = [piece.tests for shard in plan for piece in shard if piece.file == load.file]
        if held != [None]:
            names = [name for tests in held for name in tests or ("whole and cut",)]
            assert sorted(names) == sorted(name for name, _ in load.tests)
            assert len(held) > 1


@given(suites(), st.integers(1, 9), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_the_order_of_the_input_does_not_matter(loads: list[Load], shards: int, random: Random) -> None:
    shuffled = [load._replace(tests=tuple(random.sample(load.tests, len(load.tests)))) for load in loads]
    random.shuffle(shuffled)
    assert pack(shuffled, shards) == pack(loads, shards)


@given(suites(), st.integers(1, 9))
@settings(deadline=None)
def test_never_longer_than_whole_files_longest_first(loads: list[Load], shards: int) -> None:
    plan = pack(loads, shards)
    longest = max(seconds(loads, plan))
    assert longest <= by_file(loads, shards) * (1 + 1e-9)
    assert longest >= lower_bound(loads, [1.0] * shards) * (1 - 1e-9)


@given(suites(), st.integers(1, 9))
@settings(deadline=None)
def test_classes_and_families_stay_whole_when_asked(loads: list[Load], shards: int) -> None:
    homes: dict[str, set[int]] = {}
    for index, shard in enumerate(pack(loads, shards, open_classes=False)):
        for piece in shard:
            for name in piece.tests or ():
                top = name.removeprefix(piece.file + "::").partition("[")[0].partition("::")[0]
                homes.setdefault(f"{piece.file}::{top}", set()).add(index)
    assert all(len(shards) == 1 for shards in homes.values())
