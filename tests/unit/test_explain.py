"""Explanations: sums fit the plan, cuts have their reason, what a split would gain is what it would gain."""

from hypothesis import given, settings
from hypothesis import strategies as st

from thebes.cli.explain import lines
from thebes.plan.explain import SuiteView, Target, Why, explain
from thebes.plan.from_durations import files_of, pack_durations
from thebes.plan.packed import Packed, Wish, packed

TESTS = [f"{file}.py::{test}" for file in "abcdef" for test in ("test_1[a]", "test_1[b]", "TestC::test_3", "t")]
TIMES = st.dictionaries(st.sampled_from(TESTS), st.floats(0, 100), min_size=1)


def even(tests: int, shards: int, **more: float) -> Packed:
    times = {f"a.py::test_{number}": 1.0 for number in range(tests)}
    times |= {f"{name}.py::test": seconds for name, seconds in more.items()}
    return pack_durations([times], files_of(times), Wish(shards=shards))


@settings(deadline=None)
@given(TIMES, st.integers(1, 9))
def test_the_shards_are_those_of_the_plan(times: dict[str, float], shards: int) -> None:
    found = pack_durations([times], files_of(times), Wish(shards=shards))
    view = explain("unit", found)
    assert [round(seconds, 3) for seconds in found.expected] == [shard.seconds for shard in view.shards]
    assert sum(shard.tests for shard in view.shards) == len(times)
    assert {file.file: file.shards for file in view.cut} == {
        file: count
        for file in files_of(times)
        if (count := sum(piece.file == file for pieces in found.shards for piece in pieces)) > 1
    }
    assert view.ratio >= 0.999
    assert "\n".join(lines(view))


def test_a_long_file_is_cut_because_it_is_long_and_a_new_one_by_hash() -> None:
    times = {f"{name}{part}.py::test": 1.0 for name in "abc" for part in range(32)}
    times |= {f"long.py::test_{test}": 1.0 for test in range(40)}
    found = pack_durations([times], [*files_of(times), "new.py"], Wish(shards=4))
    why = {file.file: file.why for file in explain("unit", found).cut}
    assert why == {"long.py": Why.LONG, "new.py": Why.NEW}
    assert next(iter(explain("unit", found).unsure)).new


def test_a_file_is_cut_for_balance() -> None:
    times = {f"{file}.py::test_{test}": 1.0 for file in "abcdefghi" for test in range(10)}
    found = pack_durations([times], files_of(times), Wish(shards=2))  # whole files: five to four
    assert found.expected == (45.0, 45.0)
    assert {file.why for file in explain("unit", found).cut} == {Why.BALANCE}


def test_files_are_cut_finer_because_times_change() -> None:
    times = {f"{file:02}.py::test_{test}": 1.0 for file in range(32) for test in range(8)}
    times |= {f"long.py::test_{test}": 1.0 for test in range(64)}
    assert {file.why for file in explain("unit", pack_durations([times], files_of(times), Wish(shards=4))).cut} == {
        Why.LONG
    }
    cut = explain("unit", pack_durations([times] * 2, files_of(times), Wish(shards=4))).cut
    assert (cut[0].file, cut[0].why) == ("long.py", Why.LONG)
    assert len(cut) > 1
    assert {file.why for file in cut[1:]} == {Why.DRIFT}


def test_a_file_is_cut_because_a_group_spans_it_and_others() -> None:
    times = {f"{file:02}.py::test_{test}": 1.0 for file in range(40) for test in range(2)}
    groups = {"00.py::test_0": "db", "01.py::test_1": "db"}
    found = packed(pack_durations([times], files_of(times), Wish()).loads, Wish(shards=4), groups=groups)
    cut = explain("unit", found).cut
    assert 1 <= len(cut) <= 2
    assert {file.file for file in cut} <= {"00.py", "01.py"}
    assert {file.why for file in cut} == {Why.GROUP}


def test_a_class_that_alone_is_too_long_is_opened() -> None:
    times = {f"a.py::TestC::test_{test}": 1.0 for test in range(12)}
    view = explain("unit", pack_durations([times], ["a.py"], Wish(shards=4)))
    assert [file.opened for file in view.cut] == [("TestC",)]


def test_what_splitting_the_longest_test_would_gain() -> None:
    view = explain("unit", even(tests=30, shards=4, b=20.0))
    assert view.longest is not None
    assert (view.longest.test, view.longest.gain) == ("b.py::test", 7.5)  # 50 s for four is 12.5 s
    assert "save 7.50 s" in "\n".join(lines(view))
    view = explain("unit", even(tests=30, shards=2, b=5.0))
    assert view.longest is not None
    assert view.longest.gain == 0


def test_machines_of_different_speed_split_the_longest_test_between_the_fastest() -> None:
    loads = even(tests=40, shards=1, b=60.0).loads
    longest = explain("unit", packed(loads, Wish(shards=4, speeds=(2.0, 1.0, 1.0, 1.0)))).longest
    assert longest is not None
    assert longest.gain == 0  # 30 s on the fast machine either way: the other half would take as long on a slow one
    longest = explain("unit", packed(loads, Wish(shards=4, speeds=(2.0, 2.0, 1.0, 1.0)))).longest
    assert longest is not None
    assert longest.gain == 13.333  # 100 s are 16.667 s for machines of speed 6 in all


def test_pytest_s_start_is_part_of_every_shard_and_of_the_bound() -> None:
    loads = even(tests=40, shards=1).loads
    alike = packed(loads, Wish(shards=4, start=3.0))
    view = explain("unit", alike)
    assert [shard.seconds for shard in view.shards] == [13.0] * 4
    assert (view.lower_bound, view.ratio) == (13.0, 1.0)
    view = explain("unit", packed(loads, Wish(shards=2, speeds=(0.5, 2.0), start=1.0)))
    assert [shard.seconds for shard in view.shards] == [18.0, 16.5]  # 8 s and 32 s of work
    assert view.lower_bound == 16.8
    assert view.ratio == 1.0714


def number(view: SuiteView) -> list[str]:
    """What the text says about the number of shards."""
    return [line.strip() for line in lines(view) if "target" in line or "asked for" in line or "put into" in line]


def test_a_target_is_named_and_the_setting_that_makes_it_missed() -> None:
    loads = even(tests=120, shards=1).loads
    wish = Wish(target=40.0, job_start=15.0, start=3.0, most=4)
    view = explain("unit", packed(loads, wish))
    assert (view.asked, view.allowed, view.limit, view.target) == (5, 4, "max-shards", Target(seconds=40.0, missed=5.0))
    (line,) = number(view)
    assert line == (
        "target of 40.0 s, starting the job included: missed by 5.00 s; it takes 5 shards or more; max-shards allows 4"
    )
    view = explain("unit", packed(loads, wish._replace(most=5)))
    assert (view.asked, view.allowed, view.limit, view.target) == (5, 5, None, Target(seconds=40.0, missed=0.0))
    assert number(view) == ["target of 40.0 s, starting the job included: met"]
    view = explain("unit", packed(loads, wish._replace(most=5, speeds=(1.0, 1.0))))
    assert (view.asked, view.allowed, view.limit) == (3, 2, "runner-speeds")
    assert number(view)[0].endswith("missed by 35.0 s; it takes 3 shards or more; runner-speeds allows 2")


def test_where_one_test_is_longer_than_the_target_no_limit_is_to_blame() -> None:
    view = explain("unit", packed(even(tests=60, shards=1, b=60.0).loads, Wish(target=20.0, most=4)))
    assert (view.asked, view.allowed, view.limit, view.target) == (2, 2, None, Target(seconds=20.0, missed=40.0))
    assert number(view) == ["target of 20.0 s, starting the job included: missed by 40.0 s"]


def test_more_shards_than_there_is_anything_for() -> None:
    view = explain("unit", even(tests=2, shards=4))
    assert (view.asked, view.allowed, view.limit, view.target) == (4, 4, None, None)
    assert number(view) == ["4 were asked for; there is nothing to put into more"]


def test_other_numbers_of_shards_and_their_price() -> None:
    view = explain("unit", even(tests=240, shards=4)._replace(job_start=15.0), price=0.008)
    assert [(each.shards, each.wall, each.cost) for each in view.alternatives] == [
        (2, 135.0, 0.048),
        (4, 75.0, 0.064),
        (8, 45.0, 0.064),
    ]
