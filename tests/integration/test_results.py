"""Results of other tools: from a task's folder and by name, good, failing and hostile."""

import json
import sys
from pathlib import Path

import pytest

from support.project import REPOSITORY, Project

PYTHON = REPOSITORY / ".venv-agent-memory" / "bin" / "python"  # which has pytest-benchmark
CASES = """<testsuites><testsuite name="web" tests="3" failures="{failures}">
<testcase classname="login" name="shows the form" time="0.5" file="web/login.test.ts"/>
<testcase classname="login" name="refuses &lt;b&gt;" time="0.1" file="web/login.test.ts">{failure}</testcase>
<testcase classname="api" name="retries"><flakyFailure message="timeout"/></testcase>
</testsuite></testsuites>"""
FAILURE = '<failure message="expected 401, got 200" type="AssertionError">at web/login.test.ts:9</failure>'
GOOD, BAD = CASES.format(failures=0, failure=""), CASES.format(failures=1, failure=FAILURE)
SARIF = {
    "version": "2.1.0",
    "runs": [
        {
            "tool": {"driver": {"name": "lint"}},
            "results": [
                {
                    "ruleId": "no-eval",
                    "level": "error",
                    "message": {"text": "eval is evil"},
                    "locations": [
                        {"physicalLocation": {"artifactLocation": {"uri": "web/a.ts"}, "region": {"startLine": 7}}}
                    ],
                }
            ],
        }
    ],
}
BENCHMARKS = {
    "machine_info": {},
    "benchmarks": [
        {
            "name": "test_sort",
            "fullname": "tests/test_speed.py::test_sort",
            "group": None,
            "stats": {"min": 0.001, "median": 0.002, "mean": 0.0021, "stddev": 0.0001, "rounds": 50},
        }
    ],
}
COBERTURA = """<?xml version="1.0"?><coverage><packages><package><classes>
<class filename="/build/machine/web/a.ts"><lines><line number="1" hits="1"/><line number="2" hits="0"/>
<line number="3" hits="4" branch="true" condition-coverage="50% (1/2)"/></lines></class>
</classes></package></packages></coverage>"""


@pytest.fixture
def kit(project: Project) -> Project:
    """A project with a test of its own, and a check that copies results to where they are looked for."""
    copy = "import os, shutil; shutil.copytree('made', os.environ['THEBES_RESULTS'], dirs_exist_ok=True)"
    project.write(
        {
            "tests/test_one.py": "def test_one(): pass\n",
            "web/a.ts": "one\ntwo\nthree\n",
            "pyproject.toml": f'[tool.thebes.gates.quality]\nchecks = ["{sys.executable} leave.py"]\n',
            "leave.py": copy,
            "made/nothing.txt": "not a result\n",
        }
    )
    return project


def codes(project: Project) -> dict[str, list[str]]:
    return {code: subjects for code, subjects in project.reasons().items() if code != "test-flaky"}


def test_what_a_check_leaves_is_merged_and_shown(kit: Project) -> None:
    kit.write({"made/web/junit.xml": GOOD, "made/bench.json": json.dumps(BENCHMARKS), "made/coverage.xml": COBERTURA})
    assert kit.run().exit == 0
    assert kit.outcomes() == {
        "tests/test_one.py::test_one": "passed",
        "web/login.test.ts::login::shows the form": "passed",
        "web/login.test.ts::login::refuses <b>": "passed",
        "api::retries": "passed",
    }
    assert kit.query("SELECT id, attempts FROM test WHERE flaky") == [("api::retries", 2)]
    assert kit.query("SELECT id, round(median, 4) FROM benchmark") == [("tests/test_speed.py::test_sort", 0.002)]
    rows = kit.query("SELECT file, statements, executed, branches, taken FROM coverage_file")
    assert rows == [("web/a.ts", 3, 2, 2, 1)]
    assert kit.query("SELECT gate, percent FROM coverage ORDER BY gate") == [("", 60.0), ("quality", 60.0)]
    assert kit.verdict()["gates"]["quality"]["counts"] == {"passed": 3, "flaky": 1}


def test_what_pytest_benchmark_measures_needs_no_option(project: Project) -> None:
    """Of every shard, also of one whose process died; and once where the shard leaves the same as a file."""
    project.write(
        {
            "tests/test_speed.py": f"""
            import json, os
            def test_sort(benchmark):
                benchmark.pedantic(sorted, args=([3, 1],), rounds=4)
                with open(os.environ["THEBES_RESULTS"] + "/b.json", "w") as file:
                    json.dump({BENCHMARKS!r}, file)
            def test_raises(benchmark):
                benchmark.pedantic(int, args=("x",), rounds=4)
            """,
            "tests/test_b.py": """
            import os, pytest
            @pytest.mark.benchmark(group="ends")
            def test_first(benchmark):
                benchmark.pedantic(sorted, args=([],), rounds=2)
            def test_dies():
                os._exit(3)
            def test_last(benchmark):
                benchmark.pedantic(sorted, args=([],), rounds=3)
            """,
        }
    )
    done = project.run("--shards", "2", env={"VIRTUAL_ENV": str(PYTHON.parents[1])})
    assert done.exit == 1, done.stdout + done.stderr
    assert codes(project)["test-failed"] == ["tests/test_speed.py::test_raises"]
    assert codes(project)["test-crashed"] == ["tests/test_b.py::test_dies"]
    found = project.query("SELECT id, grouped, rounds, minimum > 0 AND mean >= minimum FROM benchmark ORDER BY id")
    assert found == [
        ("tests/test_b.py::test_first", "ends", 2, 1),
        ("tests/test_b.py::test_last", "", 3, 1),
        ("tests/test_speed.py::test_sort", "", 4, 1),
    ]
    assert len({task for (task,) in project.query("SELECT task FROM benchmark")}) == 2


def test_a_foreign_failure_is_a_failure(kit: Project) -> None:
    kit.write({"made/junit.xml": BAD})
    assert kit.run().exit == 1
    assert codes(kit) == {"test-failed": ["web/login.test.ts::login::refuses <b>"]}
    summary = (kit.out / "summary.md").read_text("utf-8")
    assert "expected 401, got 200" in summary
    assert f"{sys.executable} leave.py" in summary


def test_an_error_of_an_analyser_is_a_failure(kit: Project) -> None:
    kit.write({"made/lint.sarif": json.dumps(SARIF)})
    assert kit.run().exit == 1
    assert codes(kit) == {"finding-error": ["web/a.ts:7: no-eval eval is evil"]}
    SARIF["runs"][0]["results"][0]["suppressions"] = [{"kind": "external", "status": "accepted"}]  # type: ignore[index]
    kit.write({"made/lint.sarif": json.dumps(SARIF)})
    assert kit.run().exit == 0


BROKEN = {
    "b.json": ('{"benchmarks": [{"fullname": 3}]}', "Expected"),
    "cut.xml": (GOOD[: GOOD.index('<testcase classname="api"')], "cut.xml: line"),
    "deep.json": ("[" * 100_000, "neither XML nor JSON"),
    "doctype.xml": ('<!DOCTYPE a [<!ENTITY x "y">]>' + GOOD, "a DOCTYPE, which no report needs, is refused"),
    "empty.xml": ("", "neither XML nor JSON"),
    "half.sarif": (json.dumps(SARIF)[:90], "neither XML nor JSON"),
    "hidden.xml": (CASES.format(failures=2, failure=""), "counts 2 failures"),
    "none.xml": ("<testsuites/>", "no test in it"),
    "odd.json": ('{"a": 1}', "neither SARIF nor pytest-benchmark's JSON"),
    "page.xml": ("<html/>", "no testsuite in it"),
}


def test_what_is_not_whole_is_invalid_and_what_is_intact_is_there(kit: Project) -> None:
    kit.write({f"made/{name}": text for name, (text, _) in BROKEN.items()})
    assert kit.run().exit == 3
    said = dict(subject.split(": ", 1) for subject in codes(kit)["results-broken"])
    assert said.keys() == BROKEN.keys()
    for name, (_, told) in BROKEN.items():
        assert told in said[name]
    assert (
        len(kit.query("SELECT id FROM test")) == 1 + 2 + 3
    )  # its own, before the cut, and all of the hidden failures'


def test_links_and_other_files_are_left_alone(kit: Project, tmp_path: Path) -> None:
    (tmp_path / "secret.xml").write_text(BAD, "utf-8")
    link = f"import os; os.symlink({str(tmp_path / 'secret.xml')!r}, os.environ['THEBES_RESULTS'] + '/junit.xml')"
    kit.write({"leave.py": link})
    assert kit.run().exit == 0
    assert kit.outcomes() == {"tests/test_one.py::test_one": "passed"}


def test_results_given_by_name(kit: Project) -> None:
    kit.write({"pyproject.toml": "", "junit.xml": BAD, "lint.sarif": json.dumps(SARIF)})
    assert kit.run().exit == 0
    merge = ("merge", "out", "--plan", "out/plan.json", "--out", "out")
    assert kit.thebes(*merge, "--results", "integration=junit.xml").exit == 0
    assert kit.thebes("judge", "out").exit == 1
    assert kit.verdict()["gates"]["integration"]["verdict"] == "FAIL"
    assert kit.verdict()["gates"]["unit"]["verdict"] == "PASS"
    for wrong in ("integration=", "=junit.xml", "nowhere=junit.xml", "unit=missing.xml", "junit.xml"):
        done = kit.thebes(*merge, "--results", wrong)
        assert done.exit == 2
        assert done.stderr.count("\n") == 1
        assert "--results" in done.stderr


def test_a_million_cases_without_names(kit: Project) -> None:
    """Bounded in memory, and every one of them there."""
    many = 200_000
    text = "<testsuite>" + "<testcase/>" * many + "</testsuite>"
    kit.write({"made/many.xml": text})
    assert kit.run().exit == 0
    assert kit.query("SELECT count(*) FROM test WHERE task LIKE 'quality%'") == [(many,)]


def test_the_exact_command_is_told(project: Project) -> None:
    project.write(
        {
            "pyproject.toml": '[tool.thebes]\nargs = ["-p", "no:randomly", "tests", "--strict-markers"]\n',
            "tests/test_one.py": "def test_no(): assert 0\n",
        }
    )
    assert project.run().exit == 1
    expected = f"python3.{sys.version_info.minor} -m pytest -p no:randomly --strict-markers tests/test_one.py::test_no"
    assert expected in (project.out / "summary.md").read_text("utf-8")
    done = project.command(*expected.split())
    assert "assert 0" in done.stdout


def test_several_runs_become_one(project: Project) -> None:
    project.write(
        {
            "pyproject.toml": "[tool.thebes.gates.unit]\ncoverage = 50\n",
            "app.py": "def sign(value):\n    if value > 0:\n        return 1\n    return 0\n",
            "conftest.py": "",
            "tests/unit/test_one.py": "from app import sign\ndef test_one(): assert sign(1) == 1\n",
            "tests/integration/test_two.py": "from app import sign\ndef test_two(): assert sign(0) == 0\n",
        }
    )
    for out, gate in (("a", "unit"), ("b", "integration"), ("c", "unit")):
        assert project.thebes("run", "--out", out, "--gate", gate, "--", "--cov=app").exit == 0
    assert project.thebes("merge", "a", "b", "c", "--out", "out").exit == 0
    assert project.thebes("judge", "out").exit == 0
    suites = {"unit": "a", "integration": "b", "unit-run2": "c"}
    version = f"py3.{sys.version_info.minor}"
    found = {
        suite.replace(f"-{version}", ""): source for suite, source in project.query("SELECT suite, source FROM origin")
    }
    assert {name.replace("-run3", "-run2"): source for name, source in found.items()} == suites
    assert project.query("SELECT count(*), count(DISTINCT suite) FROM test") == [(3, 3)]
    figures = dict(project.query("SELECT gate, percent FROM coverage"))
    assert figures == {"": 100.0, "unit": 75.0, "integration": 75.0}
    page = (
        "publish",
        "out",
        "--html",
        "out/r.html",
        "--summary",
        "out/s.md",
        "--coverage",
        "out",
        "--json",
        "out/r.json",
    )
    assert project.thebes(*page, "--report-url", "https://example.org/r.html").exit == 0
    assert "3 runs together" in (project.out / "s.md").read_text("utf-8")
    missed = json.loads((project.out / "coverage.json").read_bytes())["files"]["app.py"]["missed_by"]
    assert sorted(missed.values()) == [[3], [4], [4]]
    for arguments, told in (
        (("a", "a"), "the same run"),
        (("a", "tests"), "no run.db"),
        (("a", "b", "--base", "x"), "need --plan"),
    ):
        done = project.thebes("merge", *arguments, "--out", "wrong")
        assert done.exit == 2
        assert told in done.stderr
    assert project.thebes("publish", "out", "--summary", "s", "--report-url", "javascript:1").exit == 2
    project.commit()
    assert project.thebes("run", "--out", "d", "--gate", "unit", "--", "--cov=app").exit == 0
    assert "runs of one commit can be merged" in project.thebes("merge", "a", "d", "--out", "wrong").stderr


def test_the_summary_links_to_each_failure(kit: Project) -> None:
    kit.write({"made/junit.xml": BAD})
    assert kit.run().exit == 1
    url = "https://example.org/run 7/report.html".replace(" ", "-")
    assert kit.thebes("publish", "out", "--summary", "s.md", "--report-url", url).exit == 0
    text = (kit.root / "s.md").read_text("utf-8")
    assert f"[The whole report](<{url}>)" in text
    assert f"[↗](<{url}#tests?open=quality-py3.{sys.version_info.minor}%7Cweb%2Flogin.test.ts%3A%3Alogin" in text
