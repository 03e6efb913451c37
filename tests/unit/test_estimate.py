"""Estimates: from several runs, on machines of different speed, of files that are new."""

from collections.abc import Iterable
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thebes.plan.estimate import estimate

RUNS = st.lists(
    st.dictionaries(
        st.sampled_from(["a/x.py::t1", "a/x.py::t2", "a/y.py::t[a::b]", "b/z.py::T::t", "w.py::t"]),
        st.floats(min_value=0, max_value=1000),
        min_size=1,
    ),
    min_size=1,
    max_size=5,
)


def test_one_outlier_does_not_move_the_estimate_but_widens_it() -> None:
    quiet = {"a.py::t": 2.0, "a.py::u": 3.0}
    known = dict(estimate([quiet, {**quiet, "a.py::t": 40.0}, quiet, quiet]).tests["a.py"])
    assert known["a.py::t"].seconds == 2.0
    assert known["a.py::t"].spread > known["a.py::u"].spread == 0.0


def test_a_slower_machine_is_not_a_slower_suite() -> None:
    fast = {f"a.py::t{number}": 1.0 + number for number in range(9)}
    slow = {test: 2 * seconds for test, seconds in fast.items()}
    for known in (estimate([slow, fast]), estimate([slow, fast], speeds=[0.5, 1.0])):
        assert {test: value.seconds for test, value in known.tests["a.py"]} == fast


def test_a_new_file_is_like_its_siblings() -> None:
    runs = [{"a/x.py::t": 10.0, "a/y.py::t": 30.0, "c/z.py::t": 20.0, "b/w.py::t": 1.0}]
    known = estimate(runs)
    assert known.of_file("c/z.py").seconds == 20.0
    assert known.of_file("a/new.py").seconds == 20.0
    assert known.of_file("b/deep/new.py").seconds == 1.0
    assert known.of_file("elsewhere/new.py").seconds == 15.0


def test_many_new_files_do_not_have_their_folder_s_files_sorted_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    sorted_lists = []

    def counting(values: Iterable[float]) -> float:
        sorted_lists.append([*values])
        return median(sorted_lists[-1])

    monkeypatch.setattr("thebes.plan.estimate.median", counting)
    known = estimate([{f"{folder}/test_{number}.py::t": 1.0 for folder in "ab" for number in range(20)}])
    assert {known.of_file(f"{folder}/new_{number}.py").seconds for folder in "ab" for number in range(20)} == {1.0}
    assert len(sorted_lists) == 2


@given(RUNS)
def test_known_tests_are_those_of_the_newest_run_that_has_the_file(runs: list[dict[str, float]]) -> None:
    known = estimate(runs)
    for file, tests in known.tests.items():
        newest = next(run for run in reversed(runs) if any(test.startswith(file + "::") for test in run))
        assert [test for test, _ in tests] == sorted(test for test in newest if test.startswith(file + "::"))
    assert sorted(known.tests) == sorted({test.partition("::")[0] for run in runs for test in run})
