"""Which shard runs which test: every test exactly one, whatever was known when the plan was made."""

import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from thebes.plugin.thebes_plugin.split import Cut, atom, family, gate_of, homes, stable_hash

names = st.text("ab_[]:.-x", min_size=1, max_size=8).filter(lambda name: name[0] not in "[:")
tests = st.lists(names, min_size=1, max_size=2).map("::".join)
pieces = st.lists(st.lists(tests, max_size=5), min_size=1, max_size=5)


@given(pieces, st.lists(tests))
def test_every_test_of_a_cut_file_has_exactly_one_owner(planned: list[list[str]], unknown: list[str]) -> None:
    cut = Cut("tests/test_a.py", planned)
    for test in [*unknown, *(test for piece in planned for test in piece)]:
        assert 0 <= cut.owner(test) < len(planned)
    once = {test: rank for rank, piece in enumerate(planned) for test in piece}
    assert all(cut.owner(test) == rank for test, rank in once.items())


@given(pieces, st.text("abc", min_size=1), st.lists(st.text(), min_size=1))
def test_an_unknown_family_stays_together(planned: list[list[str]], name: str, parameters: list[str]) -> None:
    cut = Cut("tests/test_a.py", planned)
    known = {test for piece in planned for test in piece}
    owners = {
        cut.owner(f"new_{name}[{parameter}]") for parameter in parameters if f"new_{name}[{parameter}]" not in known
    }
    assert len(owners) <= 1


def test_a_new_method_follows_its_class_if_that_is_in_one_place() -> None:
    cut = Cut("tests/test_a.py", [["TestA::test_x", "test_f"], ["TestB::test_y"], ["TestB::test_z"]])
    assert cut.owner("TestA::test_new") == 0
    assert cut.owner("TestB::test_new") == stable_hash("tests/test_a.py::TestB::test_new", 3)
    assert cut.owner("test_new") == stable_hash("tests/test_a.py::test_new", 3)


def test_the_hash_is_the_same_in_every_process() -> None:
    code = "from thebes.plugin.thebes_plugin.split import stable_hash; print(stable_hash('tests/test_ü.py', 1000))"
    found = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert found == {str(stable_hash("tests/test_ü.py", 1000))}


def test_parts_of_ids() -> None:
    assert family("TestA::test_x[a::b[c]]") == "TestA::test_x"
    assert atom("TestA::TestInner::test_x[1]") == "TestA"
    assert atom("test_x[a::b]") == "test_x"


def test_the_longest_claim_wins() -> None:
    claims = {"unit": ["tests"], "integration": ["tests/integration", "tests/test_end.py"]}
    assert gate_of("tests/integration/test_a.py", claims, "unit") == "integration"
    assert gate_of("tests/integration_helpers/test_a.py", claims, "quality") == "unit"
    assert gate_of("tests/test_end.py", claims, "quality") == "integration"
    assert gate_of("src/test_a.py", claims, "quality") == "quality"
    assert gate_of("anything", {"contract": ["."]}, "unit") == "contract"


@given(pieces)
def test_what_is_new_goes_where_all_that_is_known_of_it_is(planned: list[list[str]]) -> None:
    cut = Cut("a.py", planned)
    known = {test: rank for rank, piece in enumerate(planned) for test in piece}
    for name in {home for test in known for home in homes(test)}:
        ranks = {rank for test, rank in known.items() if name in homes(test)}
        for new in (f"{name}[quite new]", f"{name}::quite_new"):
            if len(ranks) == 1 and new not in known and name in homes(new):
                assert cut.owner(new) in ranks


def test_an_unknown_test_follows_its_group() -> None:
    cut = Cut("a.py", [["test_a", "test_b"], ["test_c"]], grouped=True)
    cut.join({"test_c": "db", "test_new": "db", "test_x": "far", "test_y[1]": "far", "test_y[2]": "far"})
    assert cut.owner("test_new") == 1
    assert len({cut.owner(test) for test in ("test_x", "test_y[1]", "test_y[2]")}) == 1
    assert cut.owner("test_a") == 0
    holders = [Cut("a.py", [["test_a", "test_b"], ["test_c"]]) for _ in range(2)]
    groups = {"test_new[1]": "db", "test_new[2]": "db"}
    holders[0].join(groups)
    holders[1].join(groups | {"test_c": "db"})  # the plan knew no groups, and only the one that has test_c made it
    assert len({cut.owner(test) for cut in holders for test in groups}) == 1


def test_where_classes_stay_whole_parameters_of_an_opened_function_go_by_its_hash() -> None:
    planned = [["test_f[1]", "test_f[2]"], ["test_f[3]"], ["TestA::test_x[1]", "TestA::test_y"]]
    cut = Cut("a.py", planned, whole_classes=True, grouped=True)
    cut.join({"test_f[1]": "db", "test_f[new to db]": "db"})
    assert {cut.owner(f"test_f[{new}]") for new in "abc"} == {stable_hash("a.py::test_f", 3)}
    assert cut.owner("test_f[new to db]") == 0
    assert {cut.owner(f"TestA::{new}") for new in ("test_x[2]", "test_new", "test_new[1]")} == {2}


@given(pieces, st.text("abc", min_size=1), st.lists(names, min_size=1))
def test_a_class_that_nobody_knew_stays_whole_where_that_is_asked(
    planned: list[list[str]], name: str, methods: list[str]
) -> None:
    cut = Cut("a.py", planned, whole_classes=True)
    assert len({cut.owner(f"New{name}::{method}") for method in methods}) == 1
