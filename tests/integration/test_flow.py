"""The whole flow on generated projects: what `thebes run` says equals what a plain pytest does."""

import json
import re
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from support.project import Project
from thebes.history.store import History

EVERY_OUTCOME = {
    "pytest.ini": "[pytest]\nmarkers =\n    slow: takes long\n",
    "tests/conftest.py": """
        import pytest

        @pytest.fixture
        def broken_setup():
            raise ValueError("no set-up")

        @pytest.fixture
        def broken_teardown():
            yield
            raise ValueError("no teardown")
        """,
    "tests/test_outcomes.py": """
        import unittest, pytest

        def test_passes(): pass
        def test_fails(): assert 1 == 2
        def test_skips(): pytest.skip("for a reason")
        @pytest.mark.xfail
        def test_xfails(): assert 0
        @pytest.mark.xfail
        def test_xpasses(): pass
        @pytest.mark.xfail(strict=True)
        def test_xpasses_strictly(): pass
        def test_setup_error(broken_setup): pass
        def test_teardown_error(broken_teardown): pass
        def test_fails_and_teardown_error(broken_teardown): assert 0
        def test_subtests(subtests):
            for i in range(3):
                with subtests.test(i=i):
                    assert i != 1
        class TestUnit(unittest.TestCase):
            def test_sub_tests(self):
                for i in range(3):
                    with self.subTest(i=i):
                        self.assertNotEqual(i, 1)
        @pytest.mark.parametrize("value", ["a", "b::c", "[x]", "new\\nline", "ü"])
        def test_parameters(value): assert value != "b::c"
        """,
    "tests/deep/er/test_other.py": "def test_one(): pass\ndef test_two(tmp_path): assert tmp_path.exists()\n",
    "tests/test_[odd] name.py": "def test_here(): pass\n",
    "tests/test_empty.py": "",
    "tests/test_skipped.py": "import pytest\npytest.skip('not here', allow_module_level=True)\n",
    "tests/test_broken.py": "import nothing_of_that_name\n",
    "tests/test_doc.txt": ">>> 1 + 1\n2\n",
}


@pytest.mark.parametrize("workers", ["0", "2"])
@pytest.mark.parametrize("shards", ["1", "4"])
def test_outcomes_equal_plain_pytest(project: Project, shards: str, workers: str) -> None:
    project.write(EVERY_OUTCOME)
    plain = project.plain("--continue-on-collection-errors")
    result = project.run("--shards", shards, "--workers", workers)
    assert project.outcomes() == plain
    assert len(plain) == 20
    assert result.exit == 1, result.stderr
    assert project.verdict()["verdict"] == "FAIL"
    assert project.reasons()["collection-failed"][0].startswith("tests/test_broken.py:")
    files = dict(project.query("SELECT file, outcome FROM file WHERE outcome != 'collected'"))
    assert files == {"tests/test_broken.py": "failed", "tests/test_skipped.py": "skipped"}


def test_both_phases_of_a_test_are_kept(project: Project) -> None:
    project.write(EVERY_OUTCOME)
    project.run("--shards", "2")
    rows = project.query(
        "SELECT phase, outcome, message, line > 0 FROM phase WHERE id LIKE '%::test_fails_and_teardown_error'"
    )
    assert rows == [("call", "failed", "assert 0", 1), ("teardown", "error", "ValueError: no teardown", 1)]
    assert project.query("SELECT subtest FROM phase WHERE subtest IS NOT NULL AND id LIKE '%::test_subtests'")


def test_a_second_run_cuts_the_long_file_and_loses_nothing(project: Project) -> None:
    """History makes the planner cut; what it does not know yet goes by the hash and runs exactly once."""
    long = "import time, pytest\n" + "".join(f"def test_{n}(): time.sleep(0.02)\n" for n in range(12))
    project.write({"tests/test_long.py": long, "tests/test_short.py": "def test_it(): pass\n"})
    assert project.run("--shards", "3").exit == 0
    more = long + "class TestNew:\n" + "".join(f"    def test_new_{n}(self): pass\n" for n in range(8))
    more += "@pytest.mark.parametrize('n', range(9))\ndef test_family(n): pass\n"
    project.write({"tests/test_long.py": more, "tests/test_added.py": "def test_added(): pass\n"})
    result = project.run("--shards", "3")
    assert result.exit == 0, result.stderr
    assert project.outcomes() == dict.fromkeys(project.plain(), "passed")
    plan = json.loads((project.out / "plan.json").read_bytes())
    holders = [
        task["id"] for task in plan["tasks"] for piece in task["pieces"] if piece["file"] == "tests/test_long.py"
    ]
    assert len(holders) >= 2
    families = project.query("SELECT count(DISTINCT task) FROM test WHERE id LIKE '%::test_family[%'")
    assert families == [(1,)]


def test_a_file_that_appears_after_planning_runs_once(project: Project) -> None:
    project.write({f"tests/test_{n}.py": "def test_it(): pass\n" for n in range(3)})
    assert project.thebes("plan", "--shards", "3", "--out", "plan.json").exit == 0
    project.write({"tests/test_late.py": "def test_late(): pass\n"})
    for shard in ("1/3", "2/3", "3/3"):
        assert project.thebes("task", "--plan", "plan.json", shard, "--out", "out").exit == 0
    assert project.thebes("merge", "out", "--plan", "plan.json", "--out", "out").exit == 0
    assert project.thebes("judge", "out").exit == 0
    assert project.outcomes()["tests/test_late.py::test_late"] == "passed"
    assert len(project.outcomes()) == 4


def test_without_xdist(project: Project) -> None:
    """No worker is wanted: then pytest needs no option for them. Where one is, the reason holds pytest's own words."""
    project.write({"tests/test_a.py": "def test_a(): pass\n"})
    bare = ("--", "-p", "no:xdist", "-p", "no:xdist.looponfail")
    assert project.run("--workers", "0", *bare).exit == 0
    assert project.thebes("plan", "--out", "plan.json", *bare).exit == 0
    assert project.thebes("task", "--plan", "plan.json", "1/1", "--workers", "2", "--out", "art").exit == 3
    assert project.thebes("merge", "art", "--plan", "plan.json", "--out", "out").exit == 0
    judged = project.thebes("judge", "out")
    assert judged.exit == 3
    assert "python -m pytest: error: unrecognized arguments: -n" in judged.stdout + judged.stderr


def test_stages_by_hand_equal_one_run(project: Project) -> None:
    """What CI does, job by job, is what `thebes run` does at once."""
    project.write(EVERY_OUTCOME)
    project.run("--shards", "2")
    at_once, verdict = project.outcomes(), project.verdict()
    assert project.thebes("plan", "--shards", "2", "--out", "plan.json").exit == 0
    plan = json.loads((project.root / "plan.json").read_bytes())
    exits = [project.thebes("task", "--plan", "plan.json", task["id"], "--out", "art").exit for task in plan["tasks"]]
    assert 1 in exits
    assert set(exits) <= {0, 1}
    assert project.thebes("merge", "art", "--plan", "plan.json", "--out", "out").exit == 0
    assert project.thebes("judge", "out").exit == 1
    assert project.outcomes() == at_once
    assert project.verdict()["gates"]["unit"]["counts"] == verdict["gates"]["unit"]["counts"]
    done = project.thebes(
        "publish", "out", "--html", "r.html", "--summary", "s.md", "--junit", "j.xml", "--annotations"
    )
    assert done.exit == 0
    assert "::error" in done.stdout
    assert "tests/test_outcomes.py" in (project.root / "r.html").read_text()
    assert "FAIL" in (project.root / "s.md").read_text()


def test_gates_by_folder_checks_and_skips(project: Project) -> None:
    project.write(
        {
            "pyproject.toml": f"""
            [tool.thebes.gates.quality]
            checks = ["{sys.executable} -c 'print(6 * 7)'", "{sys.executable} -c 'raise SystemExit(4)'"]
            """,
            "tests/unit/test_u.py": "def test_u(): pass\n",
            "tests/integration/test_i.py": "def test_i(): pass\n",
            "tests/test_unclaimed.py": "def test_x(): pass\n",
        }
    )
    assert project.run().exit == 1
    gates = project.verdict()["gates"]
    assert {name for name, gate in gates.items() if gate["absent"]} == {
        "contract", "security", "database", "performance",
    }  # fmt: skip
    assert gates["unit"]["counts"] == {"passed": 2}
    assert gates["integration"]["counts"] == {"passed": 1}
    assert gates["quality"]["verdict"] == "FAIL"
    assert [reason["code"] for reason in gates["quality"]["reasons"]] == ["check-failed"]
    outputs = [path.read_text() for path in project.out.glob("thebes-quality-*/output.log")]
    assert "42\n" in outputs
    assert project.run("--gate", "unit").exit == 0
    assert project.verdict()["gates"]["integration"]["reasons"][0]["subjects"] == ["left out by --gate"]


def test_a_gate_that_only_a_marker_tells_apart(project: Project) -> None:
    project.write(
        {
            "pyproject.toml": """
            [tool.pytest.ini_options]
            markers = ["security: for the security gate"]
            [tool.thebes.gates.security]
            marker = "security"
            """,
            "tests/test_a.py": "import pytest\n@pytest.mark.security\ndef test_safe(): pass\ndef test_plain(): pass\n",
            "tests/test_b.py": "def test_other(): pass\n",
        }
    )
    assert project.run("--gate", "security").exit == 0
    assert project.outcomes() == {"tests/test_a.py::test_safe": "passed"}
    assert project.query("SELECT id FROM deselected") == [("tests/test_a.py::test_plain",)]


def test_failures_across_shards_reach_maxfail(project: Project) -> None:
    """Tests that were not run for that reason are cancelled, by name: FAIL, not INVALID."""
    project.write({f"tests/test_{n}.py": "def test_a(): assert 0\ndef test_b(): assert 0\n" for n in range(6)})
    result = project.run("--shards", "6", "--jobs", "1", "--maxfail", "3")
    assert result.exit == 1, result.stderr
    verdict = project.verdict()
    assert verdict["verdict"] == "FAIL"
    reasons = project.reasons()
    assert len(reasons["test-failed"]) >= 3
    assert len(reasons["file-cancelled"]) >= 2
    assert not any(reason["verdict"] == "INVALID" for reason in verdict["gates"]["unit"]["reasons"])


def test_reruns_are_kept_and_called_flaky(project: Project) -> None:
    project.write(
        {
            "pytest.ini": "[pytest]\naddopts = --reruns 2\n",
            "tests/test_flaky.py": """
            from pathlib import Path
            def test_flaky():
                counter = Path(__file__).with_suffix(".count")
                count = int(counter.read_text()) if counter.exists() else 0
                counter.write_text(str(count + 1))
                assert count == 2
            def test_hopeless(): assert 0
            """,
        }
    )
    assert project.run().exit == 1
    tests = project.query("SELECT id, outcome, attempts, flaky FROM test ORDER BY id")
    assert tests == [
        ("tests/test_flaky.py::test_flaky", "passed", 3, 1),
        ("tests/test_flaky.py::test_hopeless", "failed", 3, 0),
    ]
    assert project.reasons()["test-flaky"] == ["tests/test_flaky.py::test_flaky"]
    assert project.reasons()["test-failed"] == ["tests/test_flaky.py::test_hopeless"]
    assert project.query("SELECT count(*) FROM attempt") == [(4,)]


def test_fixture_and_import_time_stand_apart(project: Project) -> None:
    project.write(
        {
            "tests/test_slow_fixture.py": """
            import time, pytest
            time.sleep(0.2)
            @pytest.fixture(scope="module")
            def database():
                time.sleep(0.3)
            def test_first(database): pass
            def test_second(database): pass
            """
        }
    )
    users = '{"tests/test_slow_fixture.py":null}'
    for workers in ("0", "1"):
        assert project.run("--shards", "1", "--workers", workers).exit == 0
        name = "tests/test_slow_fixture.py::database@tests/test_slow_fixture.py"
        assert project.query("SELECT fixture, users, seconds > 0.3 FROM shared") == [(name, users, 1)]
        (imported,) = project.query("SELECT seconds FROM file")[0]
        other, first = sorted(seconds for (seconds,) in project.query("SELECT fixtures FROM test"))
        assert imported >= 0.2
        assert first >= 0.3
        assert other == 0
    shown = project.thebes("history", "export", "durations.json")
    assert shown.exit == 0
    durations = json.loads((project.root / "durations.json").read_text())
    assert durations["tests/test_slow_fixture.py::test_first"] < 0.3


def test_files_without_tests_are_not_taken_for_new_ones(project: Project) -> None:
    """After a run they are known to take no more than their import."""
    slow = "import time, pytest\n@pytest.mark.parametrize('n', range(4))\ndef test_it(n): time.sleep(0.2)\n"
    project.write(
        {
            "tests/test_slow.py": slow,
            "tests/test_quick.py": "def test_it(): pass\n",
            "tests/test_base.py": "class Base: pass\n",
            "tests/test_skips.py": "import pytest\npytest.skip('no', allow_module_level=True)\n",
            "tests/test_broken.py": "import nowhere\n",
        }
    )
    assert project.run("--shards", "1", "--workers", "0").exit == 1
    explained = project.thebes("plan", "--shards", "2", "--explain", "--json", "--out", "plan.json")
    (suite,) = json.loads(explained.stdout)["suites"]
    unsure = {one["file"]: one["new"] for one in suite["unsure"] if one["new"]}
    assert unsure == {"tests/test_broken.py": True}


def test_costly_fixtures_are_known_with_the_tests_that_need_them(project: Project) -> None:
    """By parameter, too; from one process, from shards that each have a part of the files, from a process for each
    test."""
    project.write(
        {
            "tests/conftest.py": """
            import time, pytest
            @pytest.fixture(scope="session")
            def server(): time.sleep(0.2)
            @pytest.fixture(scope="session", params=["a", "b"])
            def database(request): time.sleep(0.2)
            @pytest.fixture(scope="session", autouse=True)
            def every(): time.sleep(0.2)
            """,
            "tests/test_a.py": "def test_1(server): pass\ndef test_2(): pass\ndef test_3(server): pass\n",
            "tests/test_b.py": "def test_1(server): pass\ndef test_2(database): pass\ndef test_3(database): pass\n",
        }
    )
    for options in ("--shards 1", "--shards 1 -- -n 2", "--shards 3", "--shards 1 --isolate test"):
        assert project.run(*options.split()).exit == 0
        with History(str(project.root / ".thebes" / "history.db")) as history:
            (run,) = history.runs(".", limit=1)
        shared = {name: one for name, one in run.shared.items() if name.startswith("tests::")}
        assert {name: users for name, (_, users) in shared.items()} == {
            "tests::every": {"tests/test_a.py": None, "tests/test_b.py": None},
            "tests::server": {"tests/test_a.py": ["test_1", "test_3"], "tests/test_b.py": ["test_1"]},
            "tests::database[0]": {"tests/test_b.py": ["test_2[a]", "test_3[a]"]},
            "tests::database[1]": {"tests/test_b.py": ["test_2[b]", "test_3[b]"]},
        }, options
        assert all(seconds >= 0.2 for seconds, _ in shared.values())


def test_discovery_imports_nothing_and_finds_what_pytest_collects(project: Project) -> None:
    project.write(EVERY_OUTCOME)
    project.write({"tests/test_bomb.py": "raise SystemExit('imported')\n", "tests/helper.py": "raise SystemError\n"})
    result = project.thebes("discover")
    assert result.exit == 0, result.stderr
    assert sorted(result.stdout.splitlines()) == sorted(
        name for name in EVERY_OUTCOME | {"tests/test_bomb.py": ""} if re.fullmatch(r"tests/.*test_.*\.(py|txt)", name)
    )


def test_discovery_of_a_real_suite_equals_a_full_collection(project: Project) -> None:
    found = find_spec("networkx")
    assert found
    assert found.origin
    folder = Path(found.origin).parent
    arguments = ("--", "-o", "python_files=test_*.py", "-p", "no:cacheprovider", "--rootdir", str(folder))
    project.write({"conftest.py": ""})
    without = project.thebes("-C", str(folder / "algorithms"), "discover", *arguments)
    full = project.thebes("-C", str(folder / "algorithms"), "discover", "--full", *arguments)
    assert without.exit == full.exit == 0, without.stderr
    listed, collected = set(without.stdout.splitlines()), set(full.stdout.splitlines())
    assert len(collected) > 100
    assert collected <= listed
    assert len(listed - collected) < len(collected)  # they skip themselves: what they need is not installed


def test_arguments_that_name_single_tests(project: Project) -> None:
    project.write(
        {
            "pytest.ini": "[pytest]\naddopts = tests/test_a.py::test_one tests/test_b.py\n",
            "tests/test_a.py": "def test_one(): pass\ndef test_two(): pass\n",
            "tests/test_b.py": "def test_three(): pass\n",
        }
    )
    result = project.run("--shards", "2")
    assert "name single tests in 1 files" in result.stderr
    assert project.outcomes() == project.plain()
    assert len(project.outcomes()) == 2
    assert result.exit == 0


def test_what_discovery_cannot_serve_is_collected_once_and_said(project: Project) -> None:
    """A hook that will not have an empty suite."""
    project.write(
        {
            "conftest.py": """
            import pytest
            def pytest_collection_modifyitems(items):
                if not items:
                    raise pytest.UsageError("this suite must not be empty")
            """,
            "tests/test_a.py": "def test_one(): pass\n",
            "tests/test_b.py": "def test_two(): pass\n",
        }
    )
    result = project.run("--shards", "2")
    assert "everything was collected once" in result.stderr
    assert project.outcomes() == project.plain()
    assert result.exit == 0


def test_json_goes_to_standard_output_and_progress_does_not(project: Project) -> None:
    project.write({"tests/test_it.py": "def test_it(): pass\n"})
    result = project.run("--json")
    assert json.loads(result.stdout)["verdict"] == "PASS"
    assert "[1/1]" in result.stderr
    assert "\x1b" not in result.stdout + result.stderr


def test_the_report_of_a_doctor(project: Project) -> None:
    project.write({"tests/test_it.py": "def test_it(): pass\n", "pytest.ini": "[pytest]\naddopts = -n 2 --maxfail 3\n"})
    findings = json.loads(project.thebes("doctor", "--json").stdout)["findings"]
    topics = {finding["topic"] for finding in findings}
    assert {"python", "project", "history", "addopts", "unit", "absent"} <= topics
    assert any("1 test file" in finding["text"] for finding in findings)
    assert project.thebes("doctor").exit == 0
