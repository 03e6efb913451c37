"""Profiles and the options of daily work, each on a real run."""

import json
import os
import pty
import select
import subprocess
import sys
from pathlib import Path

from support.project import REPOSITORY, Project, Result

STRICT = """
[tool.pytest.ini_options]
addopts = ["--strict-markers", "-p", "no:randomly", "-p", "no:cacheprovider"]
"""
IMPORTED = "import os, pathlib; pathlib.Path(os.environ['IMPORTED'], __name__).touch()\n"
SPEEDS = {
    "tests/unit/test_a.py::test_quick": 0.01,
    "tests/unit/test_a.py::test_middle": 0.2,
    "tests/unit/test_a.py::test_slow[a]": 3.0,
    "tests/unit/test_b.py::test_fast_too": 0.02,
    "tests/integration/test_i.py::test_i": 0.03,
}
TIMED = {
    "pyproject.toml": STRICT,
    ".test_durations": json.dumps(SPEEDS),
    "tests/unit/test_a.py": """
        import pytest
        def test_quick(): pass
        def test_middle(): pass
        @pytest.mark.parametrize("p", ["a"])
        def test_slow(p): pass
        def test_new(): pass
        """,
    "tests/unit/test_b.py": IMPORTED + "def test_fast_too(): pass\n",
    "tests/integration/test_i.py": IMPORTED + "def test_i(): pass\n",
}


def refused(result: Result, text: str, code: int = 3) -> None:
    assert result.exit == code, result
    assert result.stdout == ""
    *told, last = result.stderr.splitlines()
    assert all(line.startswith("thebes: profile ") for line in told)
    assert text in last


def names(project: Project) -> set[str]:
    return {test.rpartition("::")[2] for test in project.outcomes()}


def gates(project: Project) -> set[str]:
    return {name for name, gate in project.verdict()["gates"].items() if gate["verdict"]}


def test_tests_are_selected_by_how_long_they_take(project: Project, tmp_path: Path) -> None:
    """Before the run, in workers too, with strict markers; what nobody timed is fast."""
    project.write(TIMED)
    seen = tmp_path / "imported"
    seen.mkdir()
    env = {"IMPORTED": str(seen), "THEBES_HISTORY": str(tmp_path / "untouched.db")}
    timed = ("--durations", ".test_durations")
    slow = project.run("--profile", "slow", *timed, env=env)
    assert slow.exit == 0, slow
    assert "thebes: profile slow: --speed slow" in slow.stderr
    assert names(project) == {"test_slow[a]"}
    assert gates(project) == {"unit"}
    assert not list(seen.iterdir()), "files without a slow test were imported"
    assert "PASS: 1 gate holds, only a part of the tests was asked for (1 test" in slow.stdout
    assert project.run("--fast", "--shards", "1", "--workers", "2", *timed, env=env).exit == 0
    assert names(project) == {"test_quick", "test_new", "test_fast_too", "test_i"}
    assert gates(project) == {"unit", "integration"}
    marked = project.run("--gate", "unit", *timed, "--", "-m", "medium or slow", env=env)
    assert marked.exit == 0, marked
    assert names(project) == {"test_middle", "test_slow[a]"}
    nothing = project.run("--speed", "slow", "--module", "tests/integration", *timed, env=env)
    refused(nothing, "INVALID: --module tests/integration --speed slow: none of the 5 tests that past runs know (slow")


def test_a_marker_of_the_projects_own_keeps_its_meaning(project: Project) -> None:
    project.write(
        {
            "pyproject.toml": STRICT,
            ".test_durations": json.dumps({"tests/test_a.py::test_lasting": 2.0, "tests/test_a.py::test_marked": 0.0}),
            "tests/conftest.py": """
                def pytest_configure(config):
                    config.addinivalue_line("markers", "slow(why): what the team calls slow")
                """,
            "tests/test_a.py": """
                import pytest
                def test_lasting(): pass
                @pytest.mark.slow("always")
                def test_marked(): pass
                """,
        }
    )
    for arguments, test in (
        (("--", "-m", "slow"), "test_marked"),
        (("--speed", "slow"), "test_lasting"),
    ):
        result = project.run("--durations", ".test_durations", *arguments)
        assert result.exit == 0, result
        assert names(project) == {test}


FAILING = {
    "pyproject.toml": STRICT + "[tool.thebes.gates.unit]\ncoverage = 100\n",
    "tests/test_a.py": """
        import os, pytest
        @pytest.fixture
        def broken(): raise ValueError
        def test_good(): pass
        def test_bad(): assert 0
        def test_error(broken): pass
        def test_crash(): os._exit(3)
        """,
    "tests/test_b.py": "def test_other(): assert 0\ndef test_good_too(): pass\n",
    "tests/test_broken.py": "import nothing_of_that_name\n",
    "tests/test_good.py": "def test_fine(): pass\n",
}


def test_what_failed_last_runs_again_until_it_passes(project: Project) -> None:
    """Runs of a part in between change only what they ran; a threshold for all tests is not held against a part."""
    project.write(FAILING)
    refused(project.run("--profile", "failed"), "INVALID: --failed: no past run is known; `thebes run` makes one")
    assert project.run("--shards", "1", "--", "--no-cov").exit == 3  # no coverage, although a threshold asks for it
    project.write({"tests/test_b.py": "def test_other(): pass\ndef test_good_too(): pass\n"})
    one = project.run("--module", "test_b", "--coverage", "--parallel", "1")
    assert one.exit == 0, one
    assert project.verdict()["gates"]["unit"]["coverage"] is not None
    assert names(project) == {"test_other", "test_good_too"}
    again = project.run("--profile", "failed", "--shards", "2")
    assert again.exit == 1, again
    assert names(project) == {"test_bad", "test_error", "test_crash"}
    assert project.reasons()["collection-failed"][0].startswith("tests/test_broken.py")
    assert project.query("SELECT DISTINCT id FROM deselected") == [("tests/test_a.py::test_good",)]
    healed = FAILING["tests/test_a.py"].replace("assert 0", "pass").replace("raise ValueError", "pass")
    project.write(
        {"tests/test_a.py": healed.replace("os._exit(3)", "pass"), "tests/test_broken.py": "def test_x(): 1\n"}
    )
    assert project.run("--failed").exit == 0
    assert names(project) == {"test_bad", "test_error", "test_crash", "test_x"}
    refused(project.run("--failed"), "INVALID: --failed: nothing to do: no test failed when it last ran")


def test_a_module_that_names_nothing_is_invalid(project: Project) -> None:
    project.write({"tests/unit/test_queue.py": "def test_put(): pass\n", "helpers/queue.py": ""})
    refused(project.run("--module", "tests/unit/test_quue.py"), "did you mean 'tests/unit/test_queue.py'?")
    refused(project.run("--module", "helpers"), "--module helpers: pytest collects no test file there")
    refused(project.run("--module", "a.py::test"), "expected a file or folder; name tests after --", 2)
    refused(project.run("--profile", "fats"), "thebes: --profile: no profile 'fats'; did you mean 'fast'?", 2)
    refused(project.run("--fast", "--profile", "slow"), "one profile at a time", 2)
    refused(project.run("--gate", "database"), "INVALID: --gate database: nothing is configured or found for it")


LIMITED = {
    "pyproject.toml": STRICT.replace("--strict-markers", '-n", "3", "--strict-markers')
    + '[tool.thebes.gates.integration]\ntest-limit = "60s"\n',
    "tests/unit/test_a.py": """
        import time, pytest
        def test_hangs(): time.sleep(600)
        @pytest.mark.timeout(60)
        def test_takes_its_time(): time.sleep(1.5)
        def test_quick(): pass
        """,
    "tests/integration/test_i.py": """
        import time, pytest
        @pytest.mark.parametrize("n", range(4))
        def test_waits(n): time.sleep(0.7 + n / 5)
        """,
}


def test_gates_limits_and_processes(project: Project) -> None:
    """The profiles unit, integration, ci and full; a default limit is for tests that have none, `--parallel` for all
    processes together, whatever the project asks for."""
    project.write(LIMITED)
    ci = project.run("--profile", "ci", "--default-test-limit", "1s", "--parallel", "2")
    assert ci.exit == 1, ci
    assert gates(project) == {"unit", "integration"}
    assert [test for test, outcome in project.outcomes().items() if outcome == "failed"] == [
        "tests/unit/test_a.py::test_hangs"
    ]
    assert "limit 1 s" in project.query("SELECT message FROM phase")[0][0]
    workers = project.query("SELECT DISTINCT worker FROM test WHERE file LIKE '%test_i.py' ORDER BY 1")
    assert workers == [("gw0",), ("gw1",)]
    unit = project.run("--profile", "unit", "--parallel", "1", "--", "-k", "quick")
    assert unit.exit == 0, unit
    assert project.query("SELECT id, worker FROM test") == [("tests/unit/test_a.py::test_quick", "")]
    integration = project.run("--profile", "integration", "--", "-k", "waits and 0")
    assert integration.exit == 0, integration
    assert gates(project) == {"integration"}
    full = project.run("--profile", "full", "--module", "test_a", "--", "-k", "quick")
    assert full.exit == 0, full
    assert project.query("SELECT peak > 0 FROM test") == [(1,)]
    assert project.verdict()["gates"]["unit"]["coverage"] is not None


def test_collection_is_proved_without_a_run(project: Project) -> None:
    project.write(
        {
            "tests/test_a.py": "def test_a(): raise SystemExit('it ran')\ndef test_b(): pass\n",
            "tests/test_b.py": "def test_c(): pass\n",
            "tests/integration/test_i.py": "def test_i(): pass\n",
            "pyproject.toml": "[tool.pytest.ini_options]\naddopts = '-n 2'\n"
            f"[tool.thebes.gates.quality]\nchecks = ['{sys.executable} -V']\n",
        }
    )
    result = project.run("--profile", "collect", "--shards", "2")
    assert result.exit == 0, result
    assert "PASS: 2 gates hold, tests were collected, none was run (4 tests collected" in result.stdout
    assert project.verdict()["gates"]["unit"]["counts"] == {"collected": 3}
    assert project.outcomes() == {}
    assert not (project.root / ".thebes" / "history.db").exists() or not project.thebes("history", "show").stdout
    project.write({"tests/test_b.py": "import nothing_of_that_name\n"})
    assert project.run("--collect").exit == 1
    assert project.reasons()["collection-failed"][0].startswith("tests/test_b.py")


def test_a_debugger_has_the_terminal_and_all_time_it_wants(project: Project) -> None:
    """Nothing is captured or ended, and the first failure is the last test."""
    project.write(
        {
            "pyproject.toml": STRICT.replace(
                "[tool", "[tool.thebes]\nmemory-limit = '1MiB'\ntest-limit = '1s'\n[tool", 1
            ).replace('["--strict', '["-n", "2", "--strict'),
            "tests/test_a.py": """
                import time
                import pytest
                pytestmark = pytest.mark.timeout(1)
                def test_a():
                    answer = 6 * 7
                    breakpoint()
                    time.sleep(2.5)
                    assert answer == 43
                def test_b(): pass
                """,
        }
    )
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "thebes", "run", "--out", str(project.out), "--profile", "debug"]
    with subprocess.Popen(
        command, cwd=project.root, env=project.environment(), stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        told = until(ours, b"(Pdb) ")
        os.write(ours, b"print('it is', answer)\n")
        told += until(ours, b"it is 42")
        os.write(ours, b"c\n")
        told += until(ours, b"report: ")
        assert process.wait() == 1
    os.close(ours)
    assert b"stopping after 1 failures" in told
    assert project.outcomes() == {"tests/test_a.py::test_a": "failed", "tests/test_a.py::test_b": "cancelled"}
    ((message,),) = project.query("SELECT message FROM phase")
    assert message.startswith("assert 42 == 43")


def until(descriptor: int, wanted: bytes) -> bytes:
    told = b""
    while wanted not in told:
        assert select.select([descriptor], [], [], 120)[0], told.decode()
        told += os.read(descriptor, 4096)
    return told


BUSY = """
import time
import pytest
@pytest.fixture(scope="module")
def shared():
    time.sleep(0.3)
@pytest.mark.parametrize("n", range(2))
def test_busy(n, shared):
    began = time.process_time()
    while time.process_time() - began < 0.3: spin()
def spin(): sum(range(10_000))
"""


def test_a_profile_tells_where_the_time_goes(project: Project) -> None:
    project.write({"pyproject.toml": STRICT, "tests/test_a.py": BUSY})
    result = project.run("--profile", "profile", "--workers", "2")
    assert result.exit == 0, result
    shown = dict(line.split()[:2] for line in result.stdout.partition("Longest")[0].splitlines() if line[:2] == "  ")
    assert list(shown) == ["start", "import", "set-up", "call", "teardown", "idle", "total"]
    assert float(shown["call"]) > 0.6 * 0.9
    assert float(shown["set-up"]) > 0.3
    parts = sum(float(shown[name]) for name in ("start", "import", "set-up", "call", "teardown", "idle"))
    assert abs(parts - float(shown["total"])) < 0.1
    graph = Path(result.stderr.partition("flame graph: ")[2].partition("\n")[0])
    assert "spin (" in graph.read_text("utf-8")
    hidden = "import sysconfig; sysconfig.get_path = lambda _: '/nowhere'; from thebes.cli import main; main()"
    oldest = str(REPOSITORY / ".venv-oldest" / "bin" / "python")  # which has no py-spy beside it
    bare = project.command(
        *(sys.executable, "-c", hidden, "run", "--flame", "--interpreter", oldest, "--out", str(project.out)),
        env={"PATH": os.defpath},
    )
    assert bare.exit == 0, bare
    assert "no flame graph: py-spy is neither on PATH nor beside the tests' Python" in bare.stderr


def test_a_profiler_that_may_not_look_changes_nothing(project: Project, tmp_path: Path) -> None:
    spy = tmp_path / "bin" / "py-spy"
    project.write({"tests/test_a.py": "def test_a(): pass\n"})
    spy.parent.mkdir()
    spy.write_text('#!/bin/sh\necho >&2 "Permission Denied: Try running again with elevated permissions"\nexit 1\n')
    spy.chmod(0o755)
    result = project.run("--flame", env={"PATH": f"{spy.parent}{os.pathsep}{os.environ['PATH']}"})
    assert result.exit == 0, result
    assert "thebes: no flame graph: py-spy: Permission Denied: Try running again" in result.stderr
