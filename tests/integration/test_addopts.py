"""Every row of the table in docs/configuration.md: who wins against a project's own `addopts`, by real runs."""

import json
import os
import re
import shlex
import sys
from collections.abc import Callable

import pytest

from support.project import REPOSITORY, Project, Result

Check = Callable[[Project], None]
ROWS: dict[str, Check] = {}

A, B = "tests/test_one.py::test_a", "tests/test_one.py::test_b"
C, D = "tests/test_two.py::test_c", "tests/test_two.py::test_d"
PASSED = dict.fromkeys((A, B, C, D), "passed")

FILES = {
    "pkg/__init__.py": """
        def one():
            return 1


        def two():
            return 2
        """,
    "tests/test_one.py": """
        import pytest
        from pkg import one


        def test_a():
            assert one() == 1


        @pytest.mark.slow
        def test_b():
            pass
        """,
    "tests/test_two.py": """
        from pkg import two


        def test_c():
            assert two() == 2


        def test_d():
            pass
        """,
}
FAILING = {"tests/test_two.py": FILES["tests/test_two.py"].replace("== 2", "== 3")}


def row(*options: str) -> Callable[[Check], Check]:
    """The row of the table whose first cell names these options."""

    def register(check: Check) -> Check:
        ROWS[", ".join(options)] = check
        return check

    return register


def run(project: Project, addopts: str, *arguments: str, more: str = "", shards: int = 2) -> Result:
    project.write(
        {
            "pyproject.toml": f"""
[tool.pytest.ini_options]
addopts = '''-p no:randomly -p no:hypothesispytest {addopts}'''
testpaths = ["tests"]
markers = ["slow: takes long", "quick: does not"]
{more}
"""
        }
    )
    return project.run("--shards", str(shards), *arguments)


def workers(project: Project) -> set[str]:
    return {worker for (worker,) in project.query("SELECT worker FROM test")}


def deselected(project: Project) -> list[str]:
    return [test for (test,) in project.query("SELECT id FROM deselected ORDER BY id")]


def percent(project: Project) -> float:
    ((found,),) = project.query("SELECT percent FROM coverage WHERE gate = ''")
    assert isinstance(found, float)
    return found


@row("-n")
def _workers(project: Project) -> None:
    assert run(project, "-n 2", shards=1).exit == 0  # `--dist load` is xdist's default
    assert project.outcomes() == PASSED
    assert workers(project) == {"gw0", "gw1"}
    assert run(project, "-n 2", "--workers", "0").exit == 0
    assert workers(project) == {""}
    assert run(project, "-n auto").exit == 0
    assert project.outcomes() == PASSED
    share = max(1, len(os.sched_getaffinity(0)) // 2)
    assert workers(project) <= {f"gw{number}" for number in range(share)}


@row("--dist load", "--dist worksteal")
def _dist(project: Project) -> None:
    assert run(project, "-n 2 --dist worksteal", shards=1).exit == 0
    assert project.outcomes() == PASSED
    assert workers(project) == {"gw0", "gw1"}


@row("--dist loadfile", "--dist loadscope")
def _dist_by_file(project: Project) -> None:
    for dist in ("loadfile", "loadscope"):
        assert run(project, f"-n 2 --dist {dist}", shards=1).exit == 0
        assert project.outcomes() == PASSED
        files = project.query("SELECT file, count(DISTINCT worker) FROM test GROUP BY file")
        assert dict(files) == {"tests/test_one.py": 1, "tests/test_two.py": 1}


@row("--dist loadgroup")
def _dist_by_group(project: Project) -> None:
    mark = "import pytest\npytestmark = pytest.mark.xdist_group('g')\n"
    project.write({"tests/test_two.py": mark + "def test_c(): pass\ndef test_d(): pass\n"})
    assert run(project, "-n 2 --dist loadgroup", shards=1).exit == 0
    assert project.outcomes() == PASSED  # not test_c@g, as xdist calls it with pytest 8


@row("--dist each")
def _dist_each(project: Project) -> None:
    assert run(project, "-n 2 --dist each").exit == 3
    refused = project.reasons()
    assert refused.keys() == {"shard-refused"}
    assert all("--dist each runs every test in every worker" in one for one in refused["shard-refused"])
    assert project.outcomes() == {}


@row("--cov")
def _cov(project: Project) -> None:
    threshold = "[tool.thebes.gates.unit]\ncoverage = 90"
    assert run(project, "--cov=pkg", more=threshold).exit == 0
    assert project.verdict()["gates"]["unit"]["coverage"] == percent(project) == 100.0  # of pkg, not of the tests
    singles = project.query("SELECT count(*) FROM task WHERE kind = 'pytest'")
    assert singles == [(2,)]  # each of which has executed but three of the four lines
    assert not (project.root / ".coverage").exists()


@row("--cov-fail-under")
def _cov_fail_under(project: Project) -> None:
    assert run(project, "--cov=pkg --cov-fail-under=90").exit == 0  # 75 % in each shard, 100 % together
    project.write({"tests/test_two.py": "def test_c(): pass"})
    assert run(project, "--cov=pkg", more="[tool.coverage.report]\nfail_under = 90").exit == 1
    assert project.reasons() == {"coverage-low": ["75.00 %, the project's fail_under is 90 %"]}


@row("--cov-report")
def _cov_report(project: Project) -> None:
    assert run(project, "--cov=pkg --cov-report=xml --cov-report=html").exit == 0
    assert not (project.root / "coverage.xml").exists()
    assert not (project.root / "htmlcov").exists()
    coverage = (sys.executable, "-m", "coverage", "report", f"--data-file={project.out / '.coverage'}")
    assert project.command(*coverage, "--format=total").stdout == "100\n"


@row("-m")
def _marker(project: Project) -> None:
    assert run(project, "-m 'not slow'").exit == 0
    assert project.outcomes() == {A: "passed", C: "passed", D: "passed"}
    assert deselected(project) == [B]
    both = {"tests/test_one.py": FILES["tests/test_one.py"].replace("@pytest.mark.slow", "@pytest.mark.quick")}
    project.write(both)
    gate = "[tool.thebes.gates.unit]\npaths = ['tests']\nmarker = 'quick'"
    assert run(project, "-m 'not slow'", more=gate).exit == 0
    assert project.outcomes() == {B: "passed"}
    assert deselected(project) == [A, C, D]


@row("-k")
def _keyword(project: Project) -> None:
    assert run(project, "-k 'test_a or test_c'").exit == 0
    assert project.outcomes() == {A: "passed", C: "passed"}
    assert deselected(project) == [B, D]
    assert run(project, "-k nothing").exit == 3
    assert set(project.reasons()) == {"nothing-selected"}


@row("-p")
def _plugins(project: Project) -> None:
    plugin = "def pytest_collection_modifyitems(items):\n    items[:] = [i for i in items if i.name != 'test_a']\n"
    project.write({"ours.py": plugin})
    assert run(project, "-p ours -p no:cacheprovider -p no:terminal").exit == 0
    assert project.outcomes() == {B: "passed", C: "passed", D: "passed"}
    assert deselected(project) == [A]
    assert not (project.root / ".pytest_cache").exists()


@row("-x", "--exitfirst", "--maxfail")
def _maxfail(project: Project) -> None:
    project.write(FAILING)
    red = PASSED | {C: "failed"}
    assert run(project, "-x", shards=1).exit == 1
    assert project.outcomes() == red
    for arguments in (("--maxfail", "1"), ("--", "-vx")):
        assert run(project, "-x", *arguments, shards=1).exit == 1
        assert project.outcomes() == red | {D: "cancelled"}
        assert project.reasons() == {"test-failed": [C], "test-cancelled": [D]}


@row("--reruns")
def _reruns(project: Project) -> None:
    project.write({"tests/test_two.py": "runs = []\ndef test_c():\n    runs.append(1)\n    assert len(runs) > 1\n"})
    assert run(project, "--reruns 2").exit == 0
    assert project.outcomes() == {A: "passed", B: "passed", C: "passed"}
    assert project.query("SELECT attempts, flaky FROM test WHERE id = ?", C) == [(2, 1)]
    assert project.query("SELECT number, outcome FROM attempt WHERE id = ?", C) == [(1, "failed")]
    assert project.reasons() == {"test-flaky": [C]}


@row("--timeout")
def _timeout(project: Project) -> None:
    hanging = "import threading\ndef test_c():\n    threading.Event().wait(60)\ndef test_d(): pass\n"
    project.write({"tests/test_two.py": hanging})
    assert run(project, "--timeout=0.3 --timeout-method=signal", shards=1).exit == 1
    assert project.outcomes() == PASSED | {C: "failed"}
    assert run(project, "--timeout=0.3 --timeout-method=thread", shards=1).exit == 1  # ends the process
    assert project.outcomes() == PASSED | {C: "crashed"}


@row("--junitxml")
def _junit(project: Project) -> None:
    assert run(project, "--junitxml=own.xml").exit == 0
    assert not (project.root / "own.xml").exists()
    merged = (project.out / "junit.xml").read_text("utf-8")
    assert all(f'name="{test.rpartition("::")[2]}"' in merged for test in PASSED)


@row("--lf", "--sw")
def _last_failed(project: Project) -> None:
    project.write(FAILING)
    for _ in range(2):  # the second time there is something that failed last
        assert run(project, "--lf --sw").exit == 1
        assert project.outcomes() == PASSED | {C: "failed"}


@row("--ff", "--nf")
def _failed_first(project: Project) -> None:
    project.write(FAILING)  # which is also the newest file
    orders = []
    for option in ("-p no:randomly", "--ff", "--nf"):
        assert run(project, option, shards=1).exit == 1
        assert project.outcomes() == PASSED | {C: "failed"}
        orders.append([test for (test,) in project.query("SELECT id FROM test ORDER BY at")])
    assert orders == [[A, B, C, D], [C, A, B, D], [C, D, A, B]]


@row("--keep-duplicates")
def _keep_duplicates(project: Project) -> None:
    assert run(project, "--keep-duplicates").exit == 3
    refused = project.reasons()
    assert refused.keys() == {"shard-refused"}
    assert all("--keep-duplicates runs tests more than once" in one for one in refused["shard-refused"])
    assert project.outcomes() == {}


@row("-q", "-v", "--durations")
def _output(project: Project) -> None:
    assert run(project, "-qq").exit == 0
    assert project.outcomes() == PASSED
    assert run(project, "-vv --durations=1 --durations-min=0", shards=1).exit == 0
    assert project.outcomes() == PASSED
    ((output,),) = project.query("SELECT output FROM task_attempt")
    assert "slowest 1 durations" in output


@row("--deselect", "--ignore")
def _deselect(project: Project) -> None:
    assert run(project, f"--deselect {A} --ignore=tests/test_two.py").exit == 0
    assert project.outcomes() == {B: "passed"}
    assert deselected(project) == [A]


@row("--collect-only")
def _collect_only(project: Project) -> None:
    assert run(project, "--collect-only").exit == 3
    assert project.outcomes() == dict.fromkeys(PASSED, "missing")


@pytest.mark.parametrize("options", ROWS)
def test_row(options: str, project: Project) -> None:
    project.write(FILES)
    ROWS[options](project)


def test_every_row_of_the_table_is_tested() -> None:
    text = (REPOSITORY / "docs" / "configuration.md").read_text("utf-8")
    table = text.partition("| in `addopts` |")[2].partition("\n\n")[0]
    documented = [", ".join(re.findall(r"`([^`]+)`", line.split("|")[1])) for line in table.splitlines()[2:]]
    assert documented == list(ROWS)


@pytest.mark.parametrize("place", ["PYTEST_ADDOPTS", "args"])
def test_options_count_wherever_they_stand(place: str, project: Project) -> None:
    project.write(FILES | FAILING)
    options = ["-k", "not test_d", "--lf", "--cov=pkg", "--cov-report=xml"]
    in_args = f"[tool.thebes]\nargs = {json.dumps(options)}" if place == "args" else ""
    run(project, "", more=in_args, shards=1)
    environment = {"PYTEST_ADDOPTS": shlex.join(options)} if place == "PYTEST_ADDOPTS" else {}
    assert project.run("--shards", "1", env=environment).exit == 1
    assert project.outcomes() == {A: "passed", B: "passed", C: "failed"}
    assert deselected(project) == [D]
    assert percent(project) == 100
    assert not (project.root / "coverage.xml").exists()


def test_maxfail_in_args_holds_for_each_shard(project: Project) -> None:
    project.write(FILES | FAILING)
    assert run(project, "", more='[tool.thebes]\nargs = ["-x"]', shards=1).exit == 1
    assert project.outcomes() == PASSED | {C: "failed", D: "cancelled"}
