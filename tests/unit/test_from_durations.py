"""Plans from durations alone: what shards would have taken is told truly, and by the designed rules."""

from hypothesis import given
from hypothesis import strategies as st

from thebes.codec import decode_plan, encode
from thebes.plan.estimate import estimate
from thebes.plan.from_durations import against, files_of, pack_durations, plan_of
from thebes.plan.pack import loads_of
from thebes.plan.packed import Wish, packed
from thebes.plugin.thebes_plugin.split import stable_hash

TESTS = [f"tests/test_{file}.py::{test}" for file in "abc" for test in ("test_1", "test_2[x]", "TestC::test_3", "t")]
TIMES = st.dictionaries(st.sampled_from(TESTS), st.floats(0, 100), min_size=1)


@given(st.lists(TIMES, min_size=1, max_size=3), TIMES, st.integers(1, 6))
def test_all_that_happened_is_in_one_shard_each(runs: list[dict[str, float]], times: dict[str, float], n: int) -> None:
    found = pack_durations(runs, files_of(times), Wish(shards=n))
    told = against(found, times)
    assert len(told.loads) == len(found.shards)
    assert abs(sum(told.loads) - told.total) < 1e-4
    assert max(told.loads) >= told.lower_bound - 1e-4
    plan = plan_of(found)
    assert decode_plan(encode(plan), "") == plan
    assert {piece.file for task in plan.tasks for piece in task.pieces} == set(files_of(times))


def test_what_really_happened_has_no_part_in_the_plan() -> None:
    runs = [dict.fromkeys(TESTS, 1.0)]
    later = {test: float(number) for number, test in enumerate(TESTS)}
    quick = pack_durations(runs, files_of(later), Wish(shards=3))
    assert quick.shards == pack_durations(runs, files_of(TESTS), Wish(shards=3)).shards


def test_an_unknown_test_goes_by_the_hash_of_its_family_among_the_holders_of_its_file() -> None:
    found = pack_durations([{f"a.py::test_{number}": 1.0 for number in range(8)}], ["a.py"], Wish(shards=4))
    holders = [index for index, pieces in enumerate(found.shards) if pieces]
    for test in ("a.py::test_new", "a.py::test_new[2]", "a.py::test_other[a::b]"):
        expected = holders[stable_hash(test.partition("[")[0], len(holders))]
        assert against(found, {test: 5.0}).loads[expected] == 5.0


def test_a_file_without_history_is_shared_out_by_hash() -> None:
    known = {f"{number:02}.py::t": 1.0 + 8 * (number == 0) for number in range(80)}
    new = {f"new.py::test_{number}": 1.0 for number in range(40)}
    found = pack_durations([known], files_of({**known, **new}), Wish(shards=8))
    holders = [index for index, pieces in enumerate(found.shards) if any(piece.file == "new.py" for piece in pieces)]
    assert len(holders) > 1
    loads = against(found, new).loads
    assert {index for index, seconds in enumerate(loads) if seconds} <= set(holders)
    assert sum(loads) == 40.0


def test_files_are_cut_finer_where_times_change_and_importing_again_costs_next_to_nothing() -> None:
    run = {f"{file}.py::test_{test}": 1.0 for file in "abcdefgh" for test in range(64)}
    files = files_of(run)

    def parts(runs: int, overhead: float) -> int:
        loads = loads_of(estimate([run] * runs), files, dict.fromkeys(files, overhead))
        return sum(map(len, packed(loads, Wish(shards=4), hedge=runs > 1).shards))

    assert parts(1, 0.0) == 16  # two halves of a quarter of the ideal shard each
    assert parts(2, 0.0) > 16
    assert parts(2, 5.0) <= 16
