"""Tests that crash, hang or never let go: each costs itself and nothing else, and is named with its cause."""

import os
import re
import shutil
import sys
from collections import Counter

import pytest

from support.project import Project

CRASHES = """
    import ctypes, os, signal
    def test_before(): pass
    def test_segfault():
        print("about to read")
        os.write(2, b"said from C")
        ctypes.string_at(0)
    def test_abort(): os.abort()
    def test_leaves(): os._exit(0)
    def test_is_killed(): os.kill(os.getpid(), signal.SIGKILL)
    def test_after(): pass
"""
# Code that neither answers signals nor gives the interpreter's lock back: a mutex, locked twice.
HANGS = """
    import asyncio, ctypes, pytest, threading
    def test_loop():
        while True: pass
    def test_in_c():
        mutex = ctypes.create_string_buffer(64)
        lock = ctypes.PyDLL(None).pthread_mutex_lock
        lock(mutex), lock(mutex)
    async def waits_for_ever():
        await asyncio.Event().wait()
    @pytest.mark.timeout(5)
    def test_tasks():
        async def main():
            await asyncio.create_task(waits_for_ever())
        asyncio.run(main())
    @pytest.fixture
    def endless():
        threading.Event().wait()
    def test_fixture(endless): pass
    @pytest.fixture
    def endless_teardown():
        yield
        threading.Event().wait()
    def test_teardown(endless_teardown): pass
    def test_between(): pass
    @pytest.mark.timeout(0)
    def test_unlimited():
        threading.Event().wait(2)
"""
QUIET = ("-p", "no:randomly", "-p", "no:timeout", "-W", "ignore::pytest.PytestUnknownMarkWarning")


def phases(project: Project) -> dict[str, tuple[str, str, str, str]]:
    """Phase, message, text and output of every test that did not plainly pass, by the test's own name."""
    rows = project.query("SELECT id, phase, message, text, output FROM phase WHERE decides")
    found = {test.partition("::")[2]: (when, message, text, output) for test, when, message, text, output in rows}
    assert len(found) == len(rows), "a test has several phases"
    return found


@pytest.mark.parametrize(
    "options", [["--workers", "0"], ["--workers", "2"], ["--workers", "2", "--", "--dist", "loadfile"]]
)
def test_crashes_cost_only_themselves(project: Project, options: list[str]) -> None:
    project.write(
        {"tests/test_a.py": CRASHES, "tests/test_b.py": "def test_other(): pass\ndef test_fails(): assert 0\n"}
    )
    more = ["-p", "no:randomly"] if "--" in options else ["--", "-p", "no:randomly"]
    assert project.run("--shards", "1", *options, *more).exit == 1
    outcomes = {test.partition("::")[2]: outcome for test, outcome in project.outcomes().items()}
    crashed = {"test_segfault", "test_abort", "test_leaves", "test_is_killed"}
    assert {test for test, outcome in outcomes.items() if outcome == "crashed"} == crashed
    assert {test for test, outcome in outcomes.items() if outcome == "failed"} == {"test_fails"}
    assert {test for test, outcome in outcomes.items() if outcome == "passed"} == {
        "test_before",
        "test_after",
        "test_other",
    }
    told = phases(project)
    assert {test: told[test][1] for test in crashed} == {
        "test_segfault": "signal 11 (SIGSEGV)",
        "test_abort": "signal 6 (SIGABRT)",
        "test_leaves": "the process ended with exit code 0",
        "test_is_killed": "signal 9 (SIGKILL)",
    }
    _, _, stacks, output = told["test_segfault"]
    assert "in test_segfault" in stacks
    assert "frames of pytest" in stacks
    assert "about to read" in output
    assert "said from C" in output


@pytest.mark.parametrize("workers", ["0", "2"])
def test_hangs_cost_only_themselves(project: Project, workers: str) -> None:
    project.write({"tests/test_a.py": HANGS})
    assert project.run("--shards", "1", "--workers", workers, "--test-limit", "1s", "--", *QUIET).exit == 1
    outcomes = {test.partition("::")[2]: outcome for test, outcome in project.outcomes().items()}
    assert outcomes == {
        **dict.fromkeys(("test_loop", "test_in_c", "test_tasks", "test_fixture", "test_teardown"), "failed"),
        **dict.fromkeys(("test_between", "test_unlimited"), "passed"),
    }
    told = phases(project)
    assert {test: when for test, (when, *_) in told.items()} == {
        "test_loop": "call",
        "test_in_c": "call",
        "test_tasks": "call",
        "test_fixture": "setup",
        "test_teardown": "teardown",
    }
    for test, (_, message, text, _) in told.items():
        assert message.startswith("still running after "), test
        assert message.endswith(", limit 5 s" if test == "test_tasks" else ", limit 1 s"), test
        assert (test if told[test][0] == "call" else "endless") in text
    assert "coro=<waits_for_ever()" in told["test_tasks"][2]
    assert set(project.reasons()) == {"test-failed"}


def test_limits_by_marker_gate_and_project(project: Project) -> None:
    """Each wins over the next; pytest-timeout, where it is there, has the first word."""
    project.write(
        {
            "pyproject.toml": """
            [tool.thebes]
            test-limit = "none"
            [tool.thebes.gates.integration]
            test-limit = "1s"
            """,
            "tests/unit/test_a.py": """
            import time, pytest
            @pytest.mark.timeout(0.3)
            def test_marked(): time.sleep(60)
            def test_free(): time.sleep(1.5)
            """,
            "tests/integration/test_b.py": "import time\ndef test_slow(): time.sleep(60)\ndef test_fast(): pass\n",
        }
    )
    assert project.run("--shards", "1", "--jobs", "2").exit == 1
    assert project.outcomes() == {
        "tests/unit/test_a.py::test_marked": "failed",
        "tests/unit/test_a.py::test_free": "passed",
        "tests/integration/test_b.py::test_slow": "failed",
        "tests/integration/test_b.py::test_fast": "passed",
    }
    told = phases(project)
    assert "from pytest-timeout" in told["test_marked"][1]
    assert "limit 1 s" in told["test_slow"][1]


def test_pytest_timeout_that_cannot_end_a_test_is_helped(project: Project) -> None:
    """Its signal does not reach code that holds the interpreter's lock."""
    body = HANGS.partition("async def")[0].replace("def test_in_c", "@pytest.mark.timeout(0.5)\n    def test_in_c")
    project.write({"tests/test_a.py": body.replace("while True: pass", "pass")})
    assert project.run("--", "-p", "no:randomly").exit == 1
    assert project.outcomes() == {"tests/test_a.py::test_loop": "passed", "tests/test_a.py::test_in_c": "failed"}
    assert phases(project)["test_in_c"][1].endswith("limit 5.5 s")


@pytest.mark.parametrize("workers", ["0", "2"])
def test_files_whose_import_crashes_or_hangs(project: Project, workers: str) -> None:
    project.write(
        {
            "pyproject.toml": '[tool.thebes]\ncollect-limit = "4s"\n',
            "tests/test_a.py": "def test_it(): pass\n",
            "tests/test_b.py": "import os\nos._exit(3)\ndef test_it(): pass\n",
            "tests/test_c.py": "import threading\nthreading.Event().wait()\ndef test_it(): pass\n",
            "tests/test_d.py": "def test_it(): pass\n",
        }
    )
    assert project.run("--shards", "1", "--workers", workers).exit == 1
    assert project.outcomes() == {"tests/test_a.py::test_it": "passed", "tests/test_d.py::test_it": "passed"}
    files = dict(project.query("SELECT file, text FROM file WHERE outcome = 'failed'"))
    assert files.keys() == {"tests/test_b.py", "tests/test_c.py"}
    assert "while this file was being imported" in files["tests/test_b.py"]
    assert 'test_c.py", line 2 in <module>' in files["tests/test_c.py"]
    assert len(project.reasons()["collection-failed"]) == 2


def test_a_worker_that_dies_between_two_tests(project: Project) -> None:
    """xdist blames the test before, or the one that would have been next, which has not run, so it is run."""
    project.write(
        {
            "conftest.py": """
            import os, pathlib
            def dies(nodeid, name):
                if nodeid.endswith(name) and "PYTEST_XDIST_WORKER" in os.environ:
                    os._exit(7)
            def pytest_runtest_logfinish(nodeid):
                dies(nodeid, "test_0")
            def pytest_runtest_protocol(item):
                mark = pathlib.Path("died")
                if not mark.exists() and item.name == "test_19":
                    mark.touch()
                    dies(item.nodeid, "test_19")
            """,
            "tests/test_a.py": "".join(f"def test_{n}(): pass\n" for n in range(20)),
        }
    )
    assert project.run("--shards", "1", "--workers", "2", "--", "-p", "no:randomly").exit == 0
    assert set(project.outcomes().values()) == {"passed"}
    told = [text for (text,) in project.query("SELECT text FROM problem WHERE code = 'worker-crashed'")]
    assert len(told) == 2
    assert all(text.endswith("died between two tests: the process ended with exit code 7") for text in told)


def test_a_worker_that_dies_before_xdist_knows(project: Project) -> None:
    """Then xdist sends it further tests, as it does when two workers die at the same time. Here a child of the worker
    keeps the pipe open that would tell, until the controller has sent more, which it does after test_3."""
    project.write(
        {
            "conftest.py": """
            import os, pathlib, threading
            met, over = pathlib.Path("met"), pathlib.Path("over")
            def pytest_runtest_logreport(report):
                if report.when == "teardown" and report.nodeid.endswith("test_3") and hasattr(report, "node"):
                    met.read_text()
                    report.node.gateway._io.popen.kill()
                    report.node.gateway._io.popen.wait()
            def pytest_runtest_logstart(nodeid):
                if nodeid.endswith("test_4") and "PYTEST_XDIST_WORKER" not in os.environ:
                    over.write_text("")
            def pytest_runtest_call(item):
                if item.name == "test_4":
                    plugins = item.config.pluginmanager.get_plugins()
                    worker = next(found for found in plugins if type(found).__name__ == "WorkerInteractor")
                    if not os.fork():
                        os.close(worker.channel.gateway._io.infile.fileno())
                        over.read_text()
                        os._exit(0)
                    met.write_text("")
                    threading.Event().wait()
            """,
            "tests/test_a.py": "".join(f"def test_{n}(): pass\n" for n in range(40)),
        }
    )
    os.mkfifo(project.root / "met")
    os.mkfifo(project.root / "over")
    assert project.run("--shards", "1", "--", "-p", "no:randomly", "-n", "1", "--dist", "load").exit == 1
    outcomes = project.outcomes()
    assert outcomes.pop("tests/test_a.py::test_4") == "crashed"
    assert Counter(outcomes.values()) == {"passed": 39}
    assert set(project.reasons()) == {"test-crashed", "worker-crashed"}


def test_a_crash_counts_for_maxfail(project: Project) -> None:
    """Asked to stop at the first failure, nothing is started anew."""
    project.write({"tests/test_a.py": CRASHES})
    assert project.run("--", "-x", "-p", "no:randomly").exit == 1
    outcomes = list(project.outcomes().values())
    assert sorted(outcomes) == ["cancelled"] * 4 + ["crashed", "passed"]


def test_a_test_that_is_run_again_has_its_limit_for_each_attempt(project: Project) -> None:
    project.write(
        {
            "pytest.ini": "[pytest]\naddopts = --reruns 1\n",
            "tests/test_a.py": """
            import time
            attempts = []
            def test_slow_twice():
                attempts.append(1)
                time.sleep(1.2)
                assert len(attempts) > 1
            """,
        }
    )
    assert project.run("--test-limit", "2s").exit == 0
    assert project.reasons()["test-flaky"] == ["tests/test_a.py::test_slow_twice"]


MEMORY = """
    import subprocess, sys
    kept = []
    def test_small(): pass
    def test_peak():
        block = bytearray(100 << 20)
        del block
    def test_keeps(): kept.append(bytearray(40 << 20))
    def test_eats():
        while True: kept.append(bytearray(1 << 20))
    def test_child_eats():
        subprocess.run([sys.executable, "-c", "kept = []\\nwhile True: kept.append(bytearray(1 << 20))"])
    def test_short_peak():
        block = bytearray(600 << 20)
        del block
    def test_after(): pass
"""
MIB = 1 << 20


@pytest.mark.parametrize("workers", ["0", "2"])
def test_memory_limit(project: Project, workers: str) -> None:
    project.write({"tests/test_a.py": MEMORY})
    options = ("--shards", "1", "--workers", workers, "--memory-limit", "512MiB")
    assert project.run(*options, "--", "-p", "no:randomly").exit == 1
    outcomes = {test.partition("::")[2]: outcome for test, outcome in project.outcomes().items()}
    assert {test for test, outcome in outcomes.items() if outcome == "failed"} == {
        "test_eats",
        "test_child_eats",
        "test_short_peak",
    }
    assert sorted(outcomes.values()) == ["failed"] * 3 + ["passed"] * 4
    for when, message, *_ in phases(project).values():
        assert when == "call"
        used = re.fullmatch(r"used ([0-9.]+) (MiB|GiB)(?: and (\d+) KiB)?, limit 512 MiB; \d+ MiB before it", message)
        assert used, message
        assert float(used[1]) * (1 if used[2] == "MiB" else 1024) + int(used[3] or 0) / 1024 > 512
    rows = project.query("SELECT id, peak, growth FROM test WHERE peak IS NOT NULL")
    memory = {test.partition("::")[2]: (peak, growth) for test, peak, growth in rows}
    assert memory.keys() >= {"test_small", "test_peak", "test_keeps", "test_after"}
    assert memory["test_peak"][0] - memory["test_small"][0] > 95 * MIB
    assert memory["test_peak"][1] < 10 * MIB
    assert memory["test_keeps"][1] > 35 * MIB
    assert all(size > MIB for (size,) in project.query("SELECT memory FROM sample"))


def test_memory_limit_of_all_workers_together(project: Project) -> None:
    """None of them is over a limit of its own: the largest is ended."""
    project.write(
        {
            "pyproject.toml": '[tool.thebes]\ntask-memory-limit = "512MiB"\n',
            "tests/test_a.py": "def test_eats():\n    kept = []\n    while True: kept.append(bytearray(1 << 20))\n",
            "tests/test_b.py": "kept = bytearray(60 << 20)\ndef test_keeps(): pass\n",
        }
    )
    assert project.run("--shards", "1", "--workers", "2", "--", "--dist", "loadfile", "-p", "no:randomly").exit == 1
    assert project.outcomes() == {"tests/test_a.py::test_eats": "failed", "tests/test_b.py::test_keeps": "passed"}
    message = phases(project)["test_eats"][1]
    told = re.fullmatch(
        r"used (\d+) MiB of (\d+) MiB( and \d+ KiB)?, limit for all workers 512 MiB; \d+ MiB before it", message
    )
    assert told, message
    assert int(told[1]) < int(told[2]), "there are two workers"
    assert int(told[2]) > 512 or told[3]


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_session_that_does_not_end_after_its_last_test(project: Project, workers: str) -> None:
    """It can't be waited for, and what it would have done is in doubt."""
    project.write(
        {
            "pyproject.toml": '[tool.thebes]\ncollect-limit = "4s"\n',
            "conftest.py": """
            import threading
            def pytest_sessionfinish(session):
                if not session.config.option.collectonly: threading.Event().wait()
            """,
            "tests/test_a.py": "def test_it(): pass\n",
        }
    )
    assert project.run("--shards", "1", "--workers", workers).exit == 3
    assert project.outcomes() == {"tests/test_a.py::test_it": "passed"}
    ((text,),) = project.reasons().values()
    assert text.endswith("the process died outside of any test: did not end within 4 s after its last test")


STATE = """
    import os, {other}
    seen = []
    def test_first(): seen.append(1)
    def test_second():
        seen.append(1)
        assert len(seen) == {expected}
    def test_dies(): os._exit(0)
    def test_third(): pass
"""


@pytest.mark.parametrize(("isolate", "expected"), [("module", 2), ("test", 1)])
def test_isolation(project: Project, isolate: str, expected: int) -> None:
    """Modules of other files are not there, and with `test` neither is what other tests did."""
    other = "sys; assert 'test_b' not in sys.modules"
    project.write(
        {
            "tests/test_a.py": STATE.format(other=other, expected=expected),
            "tests/test_b.py": STATE.format(other="sys; assert 'test_a' not in sys.modules", expected=expected),
        }
    )
    assert project.run("--shards", "1", "--isolate", isolate, "--workers", "0", "--", "-p", "no:randomly").exit == 1
    outcomes = project.outcomes()
    assert {test for test, outcome in outcomes.items() if outcome == "crashed"} == {
        "tests/test_a.py::test_dies",
        "tests/test_b.py::test_dies",
    }
    assert sorted(outcomes.values()) == ["crashed"] * 2 + ["passed"] * 6
    assert set(project.reasons()) == {"test-crashed"}


def test_workers_chosen_from_the_machine_and_past_runs(project: Project) -> None:
    """The second run knows what a worker used in the first; a --dist of the project's own is left to it."""
    project.write({"tests/test_a.py": "import time\ndef test_one(): time.sleep(1.5)\ndef test_two(): pass\n"})
    first = project.run("--workers", "auto")
    assert first.exit == 0
    assert "512 MiB each, as nothing is known yet" in first.stderr
    second = project.run("--workers", "auto")
    assert "each in past runs" in second.stderr
    project.write({"conftest.py": "def pytest_configure(config): print('dist is', config.option.dist)\n"})
    assert project.run("--workers", "auto").exit == 0
    assert "dist is worksteal" in next(project.out.glob("thebes-*/output.log")).read_text()
    grouped = "import pytest\n@pytest.mark.xdist_group('a')\ndef test_in_group(): pass\n"
    project.write({"tests/test_b.py": grouped})
    assert project.run("--workers", "auto").exit == 0  # and knows of the group from now on
    assert project.run("--workers", "auto").exit == 0
    assert "dist is loadgroup" in next(project.out.glob("thebes-*/output.log")).read_text()
    project.write({"pytest.ini": "[pytest]\naddopts = --dist loadscope\n"})
    assert project.run("--workers", "auto").exit == 0
    assert "dist is loadscope" in next(project.out.glob("thebes-*/output.log")).read_text()


MEASURED = {
    "pyproject.toml": """
    [tool.coverage.run]
    source = ["shop"]
    branch = true
    """,
    "shop/__init__.py": "",
    "shop/price.py": "def price(n):\n    if n > 10:\n        return n * 0.9\n    return n\n",
    "shop/tax.py": "def tax(n):\n    if n < 0:\n        raise ValueError(n)\n    return n * 0.2\n",
    "shop/label.py": "def label(n):\n    return str(n)\ndef never():\n    return 1\n",
    "shop/__main__.py": "from .label import label\nif __name__ == '__main__':\n    print(label(1))\n",
    "shop/serve.py": "import threading\nprint('ready', flush=True), threading.Event().wait()\n",
    "tests/test_a.py": "from shop.price import price\ndef test_low(): price(1)\ndef test_high(): price(11)\n",
    "tests/test_b.py": "from shop.tax import tax\ndef test_tax(): tax(1)\n",
    "tests/test_c.py": "import subprocess, sys\n"
    "def test_it(): subprocess.run([sys.executable, '-m', 'shop'], check=True)\n"
    "def test_server():\n"
    "    with subprocess.Popen([sys.executable, '-m', 'shop.serve'], stdout=subprocess.PIPE) as server:\n"
    "        server.stdout.readline()\n"
    "        server.terminate()\n",
}


def test_coverage_is_the_same_however_tests_are_run(project: Project) -> None:
    """Statements and branches, also those that only a process started by a test executes, although nothing in the
    project's configuration sees to that."""
    project.write(MEASURED)
    found = {}
    for options in ("--workers 0 --shards 1", "--workers 2 --shards 1", "--workers 0 --shards 3", "--isolate test"):
        assert project.run("--coverage", *options.split()).exit == 0
        found[options] = project.query("SELECT percent FROM coverage WHERE gate = 'unit'")
        executed = dict(project.query("SELECT file, executed FROM coverage_file"))
        assert (executed["shop/label.py"], executed["shop/serve.py"]) == (3, 2), options
    ((first,),) = found["--workers 0 --shards 1"]
    assert 70 < first < 100
    assert set(map(str, found.values())) == {str([(first,)])}, found
    assert "coverage-lost" not in project.reasons()


CORE = "SELECT json_extract(environment, '$.coverage_core') FROM task_attempt"


@pytest.mark.parametrize("workers", ["0", "2"])
def test_the_core_that_measures_is_found_by_trying(project: Project, workers: str) -> None:
    """Where sys.monitoring can do it, the second run tries it. What the project names, or needs, is left alone. Our
    own plug-in, which is none of the project's code, is not counted."""
    project.write({"pyproject.toml": "", "shop.py": "def price(n):\n    return n\n", "conftest.py": ""})
    project.write({"tests/test_a.py": "import shop\ndef test_a(): shop.price(1)\n"})
    run = ("--coverage", "--workers", workers, "--shards", "1", "--history")
    cores = ["ctrace"]
    if sys.version_info >= (3, 12):
        cores.insert(sys.version_info < (3, 14), "sysmon")  # coverage.py's own choice from 3.14 on
    for core in cores:
        assert project.run(*run, "history.db").exit == 0
        assert project.query(CORE) == [(core,)]
        assert project.query("SELECT file, executed FROM coverage_file ORDER BY file") == [
            ("conftest.py", 0),
            ("shop.py", 2),
            ("tests/test_a.py", 2),
        ]
    for config, *arguments in (
        ['core = "ctrace"'],
        ["branch = true"],
        ["", "--cov-context=test"],
        ['concurrency = ["thread", "greenlet"]'],
    ):
        project.write({"pyproject.toml": f"[tool.coverage.run]\n{config}\n"})
        shutil.copy(project.root / "history.db", project.root / "once.db")
        assert project.run(*run, "once.db", "--", *arguments, "-W", "error", "-p", "no:randomly").exit == 0
        assert project.query(CORE) == [("ctrace",)], config or arguments


@pytest.mark.parametrize("workers", ["0", "2"])
def test_coverage_that_is_lost_is_told(project: Project, workers: str) -> None:
    project.write(
        {
            "shop/__init__.py": "",
            "tests/test_a.py": """
            import multiprocessing, os, subprocess, sys
            import sqlalchemy.ext.asyncio
            def test_own_environment(): subprocess.run([sys.executable, "-c", "pass"], env={"PATH": "/bin"}, check=True)
            def test_forks():
                process = multiprocessing.get_context("fork").Process(target=print)
                process.start()
                process.join()
            def test_dies(): os._exit(1)
            def test_after(): pass
            """,
        }
    )
    project.run(
        "--coverage", "--shards", "1", "--workers", workers, "--", "--cov=shop", "-p", "no:randomly", "-W", "ignore"
    )
    texts = "\n".join(project.reasons()["coverage-lost"])
    assert "The first was started by tests/test_a.py::test_own_environment" in texts
    assert "The first was forked by tests/test_a.py::test_forks" in texts
    assert "lines that greenlets execute may be missed" in texts
    assert ("left no coverage data" if workers == "2" else "took along what it had measured") in texts


def test_coverage_run_around_workers_is_refused(project: Project) -> None:
    checks = '[tool.thebes.gates.quality]\nchecks = ["python -m coverage run -m pytest{}"]\n'
    project.write({"pyproject.toml": checks.format(" -n 2"), "tests/test_a.py": "def test_it(): pass\n"})
    refused = project.run()
    assert refused.exit == 2
    assert "tool.thebes.gates.quality.checks: 'python -m coverage run -m pytest -n 2' would lose" in refused.stderr
    project.write({"pytest.ini": "[pytest]\naddopts = -n 2\n", "pyproject.toml": checks.format("")})
    assert project.thebes("plan", "--out", "plan.json").exit == 2
    project.write({"pyproject.toml": checks.format(" -n0")})
    assert project.thebes("plan", "--out", "plan.json").exit == 0
