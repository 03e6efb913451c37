"""The packer: nothing lost or doubled, nothing cut that must not be, never worse than whole files."""

import heapq
from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thebes.model import Piece
from thebes.plan.bins import fill
from thebes.plan.estimate import Estimate
from thebes.plan.pack import Load, Setups, lower_bound, pack
from thebes.plan.packed import expected_of
from thebes.plan.units import Part, Unit

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
EVEN = 0.0003  # where the packer stops improving
SECONDS = st.floats(min_value=0, max_value=100)


COSTLY = {"session": 5.0, "database": 60.0, "server": 0.5}


@st.composite
def suites(draw: st.DrawFn, *, sharing: bool = False) -> list[Load]:
    """Up to twelve files, some of them unknown to the history; `sharing` costly fixtures, some of them."""
    loads = []
    for number in range(draw(st.integers(1, 12))):
        file = f"tests/d{number % 3}/test_{number}.py"
        names = draw(st.lists(st.sampled_from(NAMES), unique=True))
        tests = tuple((f"{file}::{name}", Estimate(draw(SECONDS))) for name in names)
        whole = sum(each.seconds for _, each in tests) if tests else draw(SECONDS)
        load = Load(file, tests, whole, draw(st.sampled_from([0.0, 0.5, 20.0])))
        if sharing:
            some = st.frozensets(st.sampled_from(list(COSTLY)))
            common = draw(some)
            of = {name: tuple(sorted(draw(some) - common)) for name, _ in tests}
            needed = common.union(*of.values())
            load = load._replace(setups=Setups({name: COSTLY[name] for name in needed}, common, of))
        loads.append(load)
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


def fixtures(loads: Sequence[Load], shard: Sequence[Piece]) -> float:
    """What the costly fixtures of a shard take, each set up once."""
    needed: set[str] = set()
    for piece in shard:
        load = next(load for load in loads if load.file == piece.file)
        ran = [name for name, _ in load.tests] if piece.tests is None else piece.tests
        needed |= load.setups.common.union(*(load.setups.of[name] for name in ran))
    return sum(COSTLY[name] for name in needed)


def by_file(loads: Sequence[Load], shards: int) -> float:
    """Makespan of whole files, longest first."""
    heap = [0.0] * shards
    for load in sorted(seconds(loads, tuple((Piece(file=load.file),) for load in loads)), reverse=True):
        heapq.heapreplace(heap, heap[0] + load)
    return max(heap)


@given(suites(sharing=True), st.integers(1, 9), st.none() | st.lists(st.sampled_from([0.5, 1.0, 3.0]), min_size=9))
@settings(deadline=None)
def test_every_test_is_in_exactly_one_shard(loads: list[Load], shards: int, speeds: list[float] | None) -> None:
    plan = pack(loads, shards, speeds=speeds and speeds[:shards]).shards
    assert 1 <= len(plan) <= shards
    assert all(plan)
    for load in loads:
        held = [piece.tests for shard in plan for piece in shard if piece.file == load.file]
        if held != [None]:
            names = [name for tests in held for name in tests or ("whole and cut",)]
            assert sorted(names) == sorted(name for name, _ in load.tests)
            assert len(held) > 1


@given(suites(sharing=True), st.integers(1, 9), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_the_order_of_the_input_does_not_matter(loads: list[Load], shards: int, random: Random) -> None:
    shuffled = [load._replace(tests=tuple(random.sample(load.tests, len(load.tests)))) for load in loads]
    random.shuffle(shuffled)
    assert pack(shuffled, shards) == pack(loads, shards)


@given(suites(), st.integers(1, 9))
@settings(deadline=None)
def test_never_longer_than_whole_files_longest_first(loads: list[Load], shards: int) -> None:
    plan = pack(loads, shards).shards
    longest = max(seconds(loads, plan))
    assert longest <= by_file(loads, shards) * (1 + EVEN)
    assert longest >= lower_bound(loads, [1.0] * shards) * (1 - 1e-9)


@given(suites(sharing=True), st.integers(1, 9))
@settings(deadline=None)
def test_estimates_have_each_costly_fixture_once_in_each_shard_that_needs_it(loads: list[Load], shards: int) -> None:
    plan = pack(loads, shards).shards
    plain = seconds(loads, plan)
    truth = [own + fixtures(loads, shard) for own, shard in zip(plain, plan, strict=True)]
    assert expected_of(loads, plan) == pytest.approx(truth)
    assert max(truth) >= lower_bound(loads, [1.0] * shards) * (1 - 1e-9)


def test_units_of_equal_length_are_in_the_order_of_their_files_on_every_python() -> None:
    """0.1 + 0.2 + 0.3 is more than 0.6 where each sum is rounded by itself, as before Python 3.12."""
    fixtures = {"f1": 0.1, "f2": 0.2, "f3": 0.3, "f6": 0.6}
    units = [Unit(0.0, (Part("b.py", None),), ("f1", "f2", "f3")), Unit(0.0, (Part("a.py", None),), ("f6",))]
    bins = fill(units, (1.0, 1.0), fixtures)
    assert [[unit.parts[0].file for unit in shard] for shard in bins.units] == [["a.py"], ["b.py"]]


def test_tests_that_share_a_costly_fixture_share_a_shard() -> None:
    """Each of eight fixtures serves two tests, which are not neighbours; one serves all."""
    tests = tuple((f"a.py::test_{number:02}", Estimate(0.1)) for number in range(16))
    pairs = [frozenset({tests[number][0], tests[number + 8][0]}) for number in range(8)]
    of = {name: (f"f{number}",) for number, pair in enumerate(pairs) for name in pair}
    setups = Setups({"all": 1.0} | {f"f{number}": 5.0 for number in range(8)}, frozenset({"all"}), of)
    loads = [Load("a.py", tests, 1.6, 0.0, setups=setups)]
    plan = pack(loads, 4).shards
    assert expected_of(loads, plan) == pytest.approx([11.4] * 4)
    for (piece,) in plan:
        assert all(pair <= set(piece.tests or ()) or pair.isdisjoint(piece.tests or ()) for pair in pairs)


@given(suites(), st.integers(1, 9))
@settings(deadline=None)
def test_classes_stay_whole_when_asked(loads: list[Load], shards: int) -> None:
    homes: dict[str, set[int]] = {}
    for index, shard in enumerate(pack(loads, shards, open_classes=False).shards):
        for piece in shard:
            for name in piece.tests or ():
                top, colons, _ = name.removeprefix(piece.file + "::").partition("[")[0].partition("::")
                if colons:
                    homes.setdefault(f"{piece.file}::{top}", set()).add(index)
    assert all(len(shards) == 1 for shards in homes.values())


def test_functions_with_many_parameters_are_opened_where_classes_stay_whole() -> None:
    """A class of one method looks like such a function, and is a class."""

    def longest(top: str) -> float:
        tests = tuple((f"a.py::{top}[{number}]", Estimate(1.0)) for number in range(400))
        loads = [Load("a.py", tests, 400.0), Load("b.py", (("b.py::test", Estimate(1.0)),), 1.0)]
        return max(seconds(loads, pack(loads, 8, open_classes=False).shards))

    assert longest("test_f") < 52.0
    assert longest("TestC::test_f") == 400.0


@given(suites(), st.integers(1, 9), st.sets(st.integers(0, 11)))
@settings(deadline=None)
def test_groups_share_a_shard_across_files_and_kept_files_stay_whole(
    loads: list[Load], shards: int, kept: set[int]
) -> None:
    whole = {load.file for number, load in enumerate(loads) if number in kept}
    grouped = {"test_a": "one", "TestC::test_d": "two"}
    plan = pack(loads, shards, keep_whole=whole, together=lambda test: grouped.get(test.partition("::")[2])).shards
    sizes = {load.file: load.tests for load in loads}
    homes: dict[str, set[int]] = {}
    for index, shard in enumerate(plan):
        for piece in shard:
            assert piece.tests is None or piece.file not in whole
            names = [name for name, _ in sizes[piece.file]] if piece.tests is None else piece.tests
            for name in names if piece.file not in whole else ():
                if group := grouped.get(name.partition("::")[2]):
                    homes.setdefault(group, set()).add(index)
    assert all(len(where) == 1 for where in homes.values())


def test_a_fast_machine_gets_more_and_none_is_left_without_work() -> None:
    loads = [Load(f"{number}.py", seconds=1.0) for number in range(90)]
    assert [len(shard) for shard in pack(loads, 3, speeds=[1.0, 0.5, 3.0]).shards] == [20, 10, 60]
    assert pack([], 3).shards == ()
    assert pack(loads[:1], 3, speeds=[1.0, 0.5, 3.0]).shards == ((Piece(file="0.py"),),)


def test_a_file_is_not_cut_where_importing_it_again_costs_more_than_it_saves() -> None:
    tests = tuple((f"a.py::test_{number}", Estimate(1.0)) for number in range(10))
    assert pack([Load("a.py", tests, overhead=11.0)], 2).shards != ((Piece(file="a.py"),),)
    other = Load("b.py", seconds=12.0)
    assert pack([Load("a.py", tests, overhead=11.0), other], 2).shards == (
        (Piece(file="a.py"),),
        (Piece(file="b.py"),),
    )


def test_a_new_file_that_may_be_long_goes_by_the_hash_of_its_tests() -> None:
    known = [Load(f"{number:02}.py", ((f"{number:02}.py::t", Estimate(1.0)),)) for number in range(80)]
    plan = pack([*known, Load("new.py", seconds=1.0, spread=9.0)], 8).shards
    held = [piece for shard in plan for piece in shard if piece.file == "new.py"]
    assert held == [Piece(file="new.py", tests=())] * 4
    assert pack([*known, Load("new.py", seconds=1.0, spread=1.0)], 8).shards[0][-1] == Piece(file="new.py")


def test_files_without_tests_whose_time_is_certain_do_not_count_as_new() -> None:
    known = [Load(f"{number:02}.py", ((f"{number:02}.py::t", Estimate(1.0)),)) for number in range(30)]
    certain = [Load(f"empty{number}.py", overhead=0.02) for number in range(4)] + [Load("tests/db", seconds=2.0)]
    plan = pack([*known, *certain, Load("new.py", seconds=1.0, spread=9.0)], 4).shards
    assert sum(piece == Piece(file="new.py", tests=()) for shard in plan for piece in shard) > 1
