"""The history: what a run puts in, what the planner gets out, and pytest-split's format in between."""

import sqlite3
from pathlib import Path

import pytest

from thebes.errors import FormatError, InputError
from thebes.history.durations import read_durations, write_durations
from thebes.history.facts import Facts
from thebes.history.read import Stamp
from thebes.history.store import KEPT_RUNS, History
from thebes.merge.store import SCHEMA


def stamp(at: float) -> Stamp:
    return Stamp(at=at, commit="c0ffee", branch="main", machine="m", verdict="PASS")


def test_runs_come_back_oldest_first_and_old_ones_go(tmp_path: Path) -> None:
    with History(str(tmp_path / "deep" / "history.db")) as history:
        for number in range(KEPT_RUNS + 3):
            history.add_durations({"a.py::test": float(number), f"a.py::test_{number}": 1.0}, stamp(float(number)))
        assert len(history.stamps()) == KEPT_RUNS
        runs = history.runs(".", limit=2)
        assert [run.tests["a.py::test"] for run in runs] == [KEPT_RUNS + 1.0, KEPT_RUNS + 2.0]
        assert history.runs("other") == []


def whole(*tests: str, left_out: tuple[str, ...] = ()) -> Facts:
    """A run of these tests."""
    return Facts(
        [(".", "unit", test, "passed", 1.0, 0.0, 1, False) for test in tests],
        [(".", "unit", file, 0.1, 0.0) for file in {test.partition("::")[0] for test in tests}],
        left_out=[(".", test) for test in left_out],
    )


def test_of_older_runs_only_what_newer_ones_lack_is_read(tmp_path: Path) -> None:
    """Three times of a test are enough; everything but the times of tests is known of all runs."""
    with History(str(tmp_path / "history.db")) as history:

        def known() -> list[list[str]]:
            return [sorted(run.tests) for run in history.runs(".")]

        for at in range(4):
            history.add(stamp(at), whole("a.py::x", "b.py::y"))
        both = ["a.py::x", "b.py::y"]
        assert known() == [[], both, both, both]
        assert [sorted(run.files) for run in history.runs(".")] == [["a.py", "b.py"]] * 4
        for at in range(4, 8):  # parts: of b.py as many runs are wanted as before
            history.add(stamp(at), whole("a.py::x"))
        assert known() == [[], both, both, both, [], *[["a.py::x"]] * 3]


def test_a_file_that_newer_runs_could_not_collect_is_known_from_older_ones(tmp_path: Path) -> None:
    with History(str(tmp_path / "history.db")) as history:
        history.add(stamp(0), whole("a.py::x", "b.py::y"))
        broken = whole("a.py::x")._replace(
            files=[(".", "unit", file, 0.1, 0.0) for file in ("a.py", "b.py")], red=[(".", "b.py")]
        )
        for at in range(1, 6):
            history.add(stamp(at), broken)
        assert sorted(history.runs(".")[0].tests) == ["a.py::x", "b.py::y"]


def test_a_test_that_newer_runs_left_out_is_known_from_older_ones(tmp_path: Path) -> None:
    with History(str(tmp_path / "history.db")) as history:
        history.add(stamp(0), whole("a.py::x", "a.py::y"))
        for at in range(1, 6):
            history.add(stamp(at), whole("a.py::x", left_out=("a.py::y",)))
        assert [sorted(run.tests) for run in history.runs(".")] == [["a.py::x", "a.py::y"], *[["a.py::x"]] * 5]
    with History(str(tmp_path / "always.db")) as history:
        for at in range(6):  # no run ever timed it
            history.add(stamp(at), whole("a.py::x", left_out=("a.py::y",)))
        assert [sorted(run.tests) for run in history.runs(".")] == [[], [], [], *[["a.py::x"]] * 3]


def test_durations_there_and_back(tmp_path: Path) -> None:
    durations = {"b.py::test[ü]": 0.25, "a.py::test": 1e-7}
    write_durations(tmp_path / "d.json", durations)
    assert read_durations(tmp_path / "d.json") == durations


@pytest.mark.parametrize("text", ["", "[]", '{"a": "b"}', '{"a": -1}', '{"a": NaN}'])
def test_what_is_no_durations_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "d.json"
    path.write_text(text)
    with pytest.raises(FormatError, match=r"d\.json: "):
        read_durations(path)


@pytest.mark.parametrize("url", ["postgresql://nobody:secret@127.0.0.1:1/none", "nonsense://x", "/dev/null/history.db"])
def test_a_history_that_cannot_be_opened_is_one_line_without_secrets(url: str) -> None:
    with pytest.raises(InputError) as caught:
        History(url)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def merged(*shards: str) -> sqlite3.Connection:
    """A run.db of one suite with these shards, and nothing in them."""
    db = sqlite3.connect(":memory:")
    db.executescript(SCHEMA.read_text("utf-8"))
    db.execute("INSERT INTO suite VALUES ('unit', '.', 'unit', '3.11', '{}')")
    for shard in shards:
        db.execute("INSERT INTO task VALUES (?, 'unit', 'pytest', 1, 1, 1, 1, '[]', 1, 1)", [shard])
        attempt = "INSERT INTO task_attempt VALUES (?, 1, 1, 0, NULL, NULL, 100, 10, '{}', '', '', 0)"
        db.execute(attempt, [shard])
    return db


def ran(db: sqlite3.Connection, shard: str, file: str, tests: dict[str, float]) -> None:
    """Say that a shard ran these tests of a file, none of which took any time beside its fixtures."""
    db.execute("INSERT INTO file VALUES ('unit', ?, ?, 1, ?, 0.5, 'collected', '')", [file, shard, len(tests)])
    db.executemany(
        "INSERT INTO test VALUES ('unit', ?, ?, ?, 'passed', ?, 0, 0, ?, 0, '', 1, 0, NULL, NULL)",
        [(f"{file}::{name}", file, shard, took, took) for name, took in tests.items()],
    )


def test_cheap_fixtures_of_a_cut_file_cost_what_one_shard_pays_for_them(tmp_path: Path) -> None:
    """Each shard sets them up, and the planner counts them for each shard: not the sum of all shards."""
    db = merged("one", "two", "three")
    ran(db, "one", "cut.py", {"a": 0.06, "b": 0.03})
    ran(db, "two", "cut.py", {"c": 0.08, "d": 0.0})
    ran(db, "three", "cut.py", {"e": 0.0})
    ran(db, "three", "whole.py", {"a": 0.02, "b": 0.03})
    with History(str(tmp_path / "history.db")) as history:
        history.feed(db, stamp(1.0))
        (run,) = history.runs(".")
    fixtures = {file: round(seconds, 9) for file, (_, seconds) in run.files.items()}
    assert fixtures == {"cut.py": 0.09, "whole.py": 0.05}


def test_files_whose_tests_differ_between_processes_are_remembered(tmp_path: Path) -> None:
    db = merged("one")
    ran(db, "one", "a.py", {"a": 0.0})
    problem = "INSERT INTO problem VALUES (?, 'unit', 'unit', NULL, ?, '')"
    db.executemany(problem, [("ids-unstable", "a.py"), ("ids-unstable", "a.py"), ("file-repeated", "b.py")])
    with History(str(tmp_path / "history.db")) as history:
        history.feed(db, stamp(1.0))
        history.add(stamp(2.0), whole("a.py::a"))
        assert [run.unstable for run in history.runs(".")] == [{"a.py"}, frozenset()]


def test_a_test_costs_what_passes_until_the_next_begins(tmp_path: Path) -> None:
    """Making the report of a failure is in none of pytest's durations. Workers may wait, so theirs count alone."""
    db = sqlite3.connect(":memory:")
    db.executescript(SCHEMA.read_text("utf-8"))
    db.execute("INSERT INTO suite VALUES ('unit', '.', 'unit', '3.11', '{}')")
    for task, workers, seconds in (("one", ("",) * 4, 10.0), ("two", ("gw0", "gw1", "gw0", "gw1"), 6.0)):
        db.execute("INSERT INTO task VALUES (?, 'unit', 'pytest', 1, 1, 1, 1, '[]', 1, 1)", [task])
        attempt = "INSERT INTO task_attempt VALUES (?, ?, ?, 0, NULL, NULL, ?, ?, '{}', '', '', 0)"
        db.execute(attempt, [task, 1, True, 100.0, seconds])
        began = (100.0, 101.0, 105.0, 108.0)
        db.executemany(
            "INSERT INTO test VALUES ('unit', ?, 'f.py', ?, 'passed', 0, ?, 0, ?, ?, ?, ?, 0, NULL, NULL)",
            [
                (f"{task}::{name}", task, took, 0.25 if name == "b" else 0, at, worker, 2 if name == "d" else 1)
                for name, took, at, worker in zip("abcd", (1.0, 2.0, 0.5, 1.5), began, workers, strict=True)
            ],
        )
        first = "INSERT INTO attempt VALUES ('unit', ?, ?, 1, 1, 'failed', 0, 1, 0, ?, ?)"
        db.execute(first, [f"{task}::d", task, 106.0, workers[3]])
        db.execute(first.replace(", 1, 1, 'failed'", ", 9, 1, 'failed'"), [f"{task}::d", task, 104.0, workers[3]])
    with History(str(tmp_path / "history.db")) as history:
        history.feed(db, stamp(1.0))
        (run,) = history.runs(".")
    assert run.tests == {
        "one::a": 1.0,
        "one::b": 3.75,
        "one::c": 1.0,
        "one::d": 1.5,
        "two::a": 1.0,
        "two::b": 1.75,
        "two::c": 0.5,
        "two::d": 1.5,
    }
    assert run.start == pytest.approx(10.0 - (1.0 + 4.0 + 1.0 + 2.0 + 1.5))


def test_the_core_that_measures_fastest_is_found_by_trying(tmp_path: Path) -> None:
    """Coverage.py's own choice first, then what was never tried, then the faster by what both ran; not for a little."""
    with History(str(tmp_path / "history.db")) as history:

        def run(at: float, core: str, seconds: float, cores: str = "ctrace sysmon") -> str:
            tests = [(".", "unit", f"t.py::{at}", "passed", 9.0, 0.0, 1, False)]  # of this run alone: does not count
            tests += [(".", "unit", "t.py::test", "passed", seconds, 0.0, 1, False)]
            history.add(stamp(at), Facts(tests, cores=[("unit", core, cores)]))
            return history.cores(".").get("unit", "")

        assert history.cores(".") == {}
        assert run(1.0, "ctrace", 5.0) == "sysmon"
        assert run(2.0, "sysmon", 4.8) == "sysmon"
        assert run(3.0, "sysmon", 5.3) == "ctrace"
        assert run(4.0, "ctrace", 5.2) == "ctrace"
        assert run(5.0, "ctrace", 0.2) == "ctrace"
        assert run(6.0, "ctrace", 0.2, cores="") == ""
        assert run(7.0, "ctrace", 6.0) == "sysmon"
        assert history.cores("other") == {}
