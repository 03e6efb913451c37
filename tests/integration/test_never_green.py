"""Never green by accident: each way of losing evidence, done for real. The verdict is right, the reason names the
culprit, and what did run is shown."""

import json
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.project import Project

PASSING = {f"tests/test_{name}.py": "def test_one(): pass\ndef test_two(): pass\n" for name in "abcd"}


def invalid(project: Project, code: str) -> list[str]:
    """The subjects of a reason in a verdict that must be INVALID."""
    assert project.verdict()["verdict"] == "INVALID"
    return project.reasons()[code]


def merge_and_judge(project: Project, *more: str) -> int:
    """What CI's last job does; returns the exit code of judging."""
    done = project.thebes("merge", "artifacts", "--plan", "plan.json", "--out", "out", *more)
    assert done.exit == 0, done.stderr
    return project.thebes("judge", "out").exit


@pytest.fixture
def sharded(project: Project) -> Project:
    """A project whose four shards have run, each with its record below `artifacts`."""
    project.write(PASSING)
    assert project.thebes("plan", "--shards", "4", "--out", "plan.json").exit == 0
    for index in range(1, 5):
        assert project.thebes("task", "--plan", "plan.json", f"{index}/4", "--out", "artifacts").exit == 0
    return project


def records(project: Project) -> list[Path]:
    return sorted((project.root / "artifacts").glob("*/record.jsonl"))


# ------------------------------------------------------------------------------------------------ records


def test_all_records_make_a_pass_and_twice_the_same_record_changes_nothing(sharded: Project) -> None:
    assert merge_and_judge(sharded) == 0
    once = sharded.query("SELECT * FROM test ORDER BY id")
    shutil.copytree(records(sharded)[0].parent, sharded.root / "artifacts" / "downloaded again")
    assert merge_and_judge(sharded) == 0
    assert sharded.query("SELECT * FROM test ORDER BY id") == once


def test_a_missing_record(sharded: Project) -> None:
    lost = records(sharded)[1].parent
    shutil.rmtree(lost)
    assert merge_and_judge(sharded) == 3
    assert invalid(sharded, "record-missing") == ["unit-py3.11-2of4: no record of it was found; 1 files"]
    assert len(sharded.outcomes()) == 6


def test_a_record_cut_at_any_place(sharded: Project) -> None:
    """Only the whole record is a pass; every line that is whole is still shown. tests/unit/test_merge.py tries more."""
    record = records(sharded)[2]
    whole = record.read_bytes()
    ends = [position + 1 for position, byte in enumerate(whole) if byte == ord("\n")]
    for position in (0, ends[0], ends[2], ends[-2] - 7, ends[-2], len(whole) - 1):
        record.write_bytes(whole[:position])
        assert merge_and_judge(sharded) == 3, f"cut at byte {position} of {len(whole)}"
        assert sharded.verdict()["verdict"] == "INVALID"
        assert len(sharded.outcomes()) >= 6
        assert set(sharded.reasons()) & {"record-cut", "record-unreadable"}


def test_a_line_lost_in_the_middle(sharded: Project) -> None:
    record = records(sharded)[0]
    lines = record.read_bytes().splitlines(keepends=True)
    record.write_bytes(b"".join(line for line in lines if b'"deselected"' not in line and b'"session"' not in line))
    assert merge_and_judge(sharded) == 3
    assert "lines before the closing line" in invalid(sharded, "record-broken")[0]


def test_a_newer_attempt_without_a_record(sharded: Project) -> None:
    first = records(sharded)[0].parent
    second = first.with_name(first.name.removesuffix("-a1") + "-a2")
    second.mkdir()
    assert merge_and_judge(sharded) == 3
    assert invalid(sharded, "attempt-without-record") == ["unit-py3.11-1of4: attempt 2 left no record"]
    second.rmdir()
    assert merge_and_judge(sharded, "--expect", "unit-py3.11-3of4=2") == 3
    assert invalid(sharded, "attempt-without-record") == ["unit-py3.11-3of4: attempt 2 left no record"]


def test_a_newer_attempt_decides_and_the_older_makes_flaky(project: Project) -> None:
    project.write({"tests/test_a.py": "import os\ndef test_it(): assert os.environ.get('FIXED')\n"})
    assert project.thebes("plan", "--out", "plan.json").exit == 0
    assert project.thebes("task", "--plan", "plan.json", "1/1", "--out", "artifacts").exit == 1
    assert project.thebes("task", "--plan", "plan.json", "1/1", "--out", "artifacts", env={"FIXED": "1"}).exit == 0
    assert merge_and_judge(project) == 0
    assert project.reasons()["test-flaky"] == ["tests/test_a.py::test_it"]
    assert project.query("SELECT task_attempt, outcome FROM attempt") == [(1, "failed")]


def test_a_contradicting_record_of_the_same_attempt(sharded: Project) -> None:
    record = records(sharded)[0]
    other = sharded.root / "artifacts" / "other" / "record.jsonl"
    other.parent.mkdir()
    other.write_bytes(record.read_bytes().replace(b'"passed"', b'"xfailed"'))
    assert merge_and_judge(sharded) == 3
    assert invalid(sharded, "record-conflict")[0].startswith("unit-py3.11-1of4: two different records of attempt 1")


def test_a_record_of_another_plan_or_commit(sharded: Project) -> None:
    plan = json.loads((sharded.root / "plan.json").read_bytes())
    record = records(sharded)[0]
    whole = record.read_bytes()
    record.write_bytes(whole.replace(plan["digest"].encode(), b"f" * 32, 1))
    assert merge_and_judge(sharded) == 3
    assert invalid(sharded, "record-foreign")[0].startswith("thebes-unit-py3.11-1of4-a1: made for plan ffff")
    record.write_bytes(whole.replace(b'"commit":""', b'"commit":"0123abc"', 1))
    assert merge_and_judge(sharded) == 3
    assert "made at commit 0123abc" in invalid(sharded, "record-foreign")[0]


def test_a_plan_that_was_altered_is_refused(sharded: Project) -> None:
    plan = sharded.root / "plan.json"
    plan.write_bytes(plan.read_bytes().replace(b"tests/test_d.py", b"tests/test_a.py"))
    done = sharded.thebes("merge", "artifacts", "--plan", "plan.json", "--out", "out")
    assert done.exit == 2
    assert "changed after it was made" in done.stderr


# ------------------------------------------------------------------------------------------------ processes that die

DYING = """
import os, signal, time, pytest
def test_before(): pass
def test_dies():
    {how}
def test_after(): pass
"""


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("os._exit(0)", "the process ended with exit code 0"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "signal 11 (SIGSEGV)"),
    ],
)
def test_a_process_that_dies_in_a_test(project: Project, how: str, says: str) -> None:
    """The test is named, and a further session of pytest runs what is left."""
    project.write({"tests/test_dying.py": DYING.format(how=how), **PASSING})
    assert project.run("--shards", "2", "--", "-p", "no:randomly").exit == 1
    assert project.verdict()["verdict"] == "FAIL"
    assert project.reasons() == {"test-crashed": ["tests/test_dying.py::test_dies"]}
    outcomes = project.outcomes()
    assert outcomes.pop("tests/test_dying.py::test_dies") == "crashed"
    assert set(outcomes.values()) == {"passed"}
    assert len(outcomes) == 10
    assert project.query("SELECT message FROM phase") == [(says,)]


def test_a_process_that_dies_and_can_do_nothing_else(project: Project) -> None:
    """It dies before anything is collected: nothing is gained by trying again, and what never ran is named."""
    guard = "import os, sys\nif not any('discover' in a for a in sys.argv):\n"
    hook = guard + "    def pytest_collection_modifyitems(): os._exit(0)\n"
    project.write({"conftest.py": hook, **PASSING})
    assert project.run("--shards", "1").exit == 3
    assert "outside of any test" in invalid(project, "pytest-died")[0]
    assert len(project.reasons()["file-not-collected"]) == 4


@pytest.mark.parametrize("how", ["os._exit(0)", "os.kill(os.getpid(), signal.SIGKILL)"])
def test_a_worker_that_dies_in_a_test(project: Project, how: str) -> None:
    """With xdist the others still run: the crash is a failure with a name."""
    project.write({"tests/test_dying.py": DYING.format(how=how), **PASSING})
    assert project.run("--shards", "1", "--workers", "2").exit == 1
    assert project.verdict()["verdict"] == "FAIL"
    assert project.reasons()["test-crashed"] == ["tests/test_dying.py::test_dies"]
    outcomes = project.outcomes()
    assert outcomes.pop("tests/test_dying.py::test_dies") == "crashed"
    assert set(outcomes.values()) == {"passed"}
    assert len(outcomes) == 10


@pytest.mark.parametrize("workers", ["0", "2"])
def test_pytest_exit_with_code_zero(project: Project, workers: str) -> None:
    """It even comes to a regular end; the tests behind it have not run all the same."""
    project.write({"tests/test_dying.py": DYING.format(how="pytest.exit('bye', 0)")})
    assert project.run("--workers", workers, "--", "-p", "no:randomly").exit == 3
    assert "tests/test_dying.py::test_dies" in invalid(project, "test-interrupted")


def waiting(project: Project) -> str:
    """A test that tells that it runs and then waits to be killed."""
    return (
        "import time, pathlib\ndef test_before(): pass\n"
        f"def test_waits():\n    pathlib.Path({str(project.root / 'waiting')!r}).touch()\n    time.sleep(60)\n"
    )


def start_and_await(project: Project, *arguments: str) -> "subprocess.Popen[bytes]":
    """Start thebes, and come back when the waiting test runs."""
    process = project.start(*arguments)
    until((project.root / "waiting").exists, process)
    return process


def until(true: Callable[[], bool], process: "subprocess.Popen[bytes]") -> None:
    """Wait for something that must come while `process` lives, at most a minute."""
    for _ in range(1200):
        if true():
            return
        try:
            process.wait(0.05)
        except subprocess.TimeoutExpired:
            continue
        break
    raise AssertionError("it never came")


def test_a_task_killed_half_way_keeps_what_it_knew_and_leaves_nothing_running(project: Project) -> None:
    project.write({"tests/test_a.py": waiting(project)})
    assert project.thebes("plan", "--out", "plan.json").exit == 0
    process = start_and_await(
        project, "task", "--plan", "plan.json", "1/1", "--out", "artifacts", "--", "-p", "no:randomly"
    )
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert merge_and_judge(project) == 3
    (cut,) = invalid(project, "record-cut")
    assert cut.endswith("breaks off while tests/test_a.py::test_waits was running")
    assert project.outcomes()["tests/test_a.py::test_before"] == "passed"
    assert not list(processes_in(project.root))


def processes_in(folder: Path) -> Iterator[int]:
    """Processes that work in `folder` and are not being reaped; Linux."""
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and (entry / "cwd").readlink() == folder:
                yield int(entry.name)
        except OSError:
            continue


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_still_gives_verdict_and_report(project: Project, number: signal.Signals) -> None:
    project.write({"tests/test_a.py": waiting(project), "tests/test_b.py": "def test_it(): pass\n"})
    process = start_and_await(
        project, "run", "--shards", "2", "--jobs", "2", "--out", str(project.out), "--", "-p", "no:randomly"
    )
    process.send_signal(number)
    assert process.wait(30) == 3
    stopped = invalid(project, "task-stopped")[0]
    assert stopped.endswith(f"stopped by {number.name} while tests/test_a.py::test_waits was running")
    assert project.outcomes()["tests/test_a.py::test_before"] == "passed"
    assert project.outcomes()["tests/test_a.py::test_waits"] == "interrupted"
    assert (project.out / "report.html").exists()
    assert not list(processes_in(project.root))


def test_a_task_over_its_time_limit(project: Project) -> None:
    project.write({"tests/test_a.py": waiting(project)})
    assert project.run("--task-limit", "3s", "--", "-p", "no:randomly").exit == 3
    (stopped,) = invalid(project, "task-stopped")
    assert stopped.endswith("stopped by time limit while tests/test_a.py::test_waits was running")


# ------------------------------------------------------------------------------------------------ recording fails


def test_disk_full_while_recording(project: Project) -> None:
    """A limit on the size of files stands for a full disk: the kernel refuses the write half-way."""
    project.write({"tests/test_a.py": "".join(f"def test_{n}(): pass\n" for n in range(200))})
    assert project.thebes("plan", "--out", "plan.json").exit == 0
    done = subprocess.run(
        [sys.executable, "-m", "thebes", "task", "--plan", "plan.json", "1/1", "--out", "artifacts"],
        cwd=project.root,
        env=project.environment(),
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (16_384, 16_384)),
    )
    assert done.returncode == 3
    assert "the record can't be written" in done.stderr
    assert merge_and_judge(project) == 3
    assert set(project.reasons()) >= {"record-cut", "test-missing"}
    passed = [test for test, outcome in project.outcomes().items() if outcome == "passed"]
    assert 10 < len(passed) < 200


# ------------------------------------------------------------------------------------------------ selection


def plan_by_hand(project: Project, file: str, pieces: list[list[str]], *more: str) -> None:
    """A plan that cuts `file` into the given pieces, made from durations."""
    durations = {f"{file}::{test}": 10.0 for piece in pieces for test in piece}
    project.write({"durations.json": json.dumps(durations)})
    options = ["--shards", str(len(pieces)), "--durations", "durations.json", "--out", "plan.json", *more]
    done = project.thebes("plan", *options)
    assert done.exit == 0, done.stderr


def run_shards(project: Project, count: int) -> list[int]:
    return [
        project.thebes("task", "--plan", "plan.json", f"{index}/{count}", "--out", "artifacts").exit
        for index in range(1, count + 1)
    ]


def test_ids_that_differ_between_processes(project: Project) -> None:
    project.write(
        {
            "tests/test_a.py": "import os, pytest\n"
            "@pytest.mark.parametrize('n', [os.getpid()])\ndef test_unstable(n): pass\n"
            "def test_x(): pass\ndef test_y(): pass\n"
        }
    )
    plan_by_hand(project, "tests/test_a.py", [["test_x"], ["test_y"]])
    run_shards(project, 2)
    assert merge_and_judge(project) == 3
    (reason,) = invalid(project, "ids-unstable")
    assert reason.startswith(
        "tests/test_a.py: 2 tests are not the same in all its shards (tests/test_a.py::test_unstable["
    )


PARAMETERS = """
import pytest
@pytest.mark.parametrize("n", range(3){})
def test_x(n): pass
class TestY:
    def test_y(self): pass
    def test_new(self): pass
"""
TELLS = "def pytest_deselected(items):\n    for item in items: print('not mine', item.nodeid)\n"


@pytest.mark.parametrize(
    ("scope", "watching", "made"),
    [
        ("", "", [1, 2, 2]),  # its own, and a new one
        (", scope='module'", "", [3, 3, 3]),
        ("", "def pytest_collection_modifyitems(items): pass\n", [3, 3, 3]),
    ],
)
def test_parameters_of_another_shard_are_known_and_not_made(
    project: Project, scope: str, watching: str, made: list[int]
) -> None:
    project.write({"tests/test_a.py": PARAMETERS.format(scope), "conftest.py": TELLS + watching})
    plan_by_hand(project, "tests/test_a.py", [["test_x[0]"], ["test_x[1]", "test_x[gone]"], ["TestY::test_y"]])
    assert run_shards(project, 3) == [0, 0, 0]
    assert merge_and_judge(project) == 0
    assert len(project.outcomes()) == 5
    ids = [f"test_x[{n}]" for n in range(3)]
    found = []
    for artifact in project.root.glob("artifacts/*"):
        lines = [json.loads(line) for line in (artifact / "record.jsonl").read_bytes().splitlines()]
        (collected,) = [line for line in lines if line["kind"] == "collected"]
        assert {*ids} <= {*collected["ids"]}
        mine = {collected["ids"][position] for position in collected["own"]}
        output = (artifact / "output.log").read_text("utf-8")
        found.append(len([test for test in ids if test in mine or f"not mine tests/test_a.py::{test}" in output]))
    assert sorted(found) == made


COUNTED = """
import itertools
counter = itertools.count()
def pytest_generate_tests(metafunc): metafunc.parametrize("n", [next(counter), next(counter)])
def test_x(n): assert n < 2
def test_y(n): assert n < 2
"""
PARTNERS = """
def pytest_collection_modifyitems(items):
    names = {item.name.partition("[")[0] for item in items}
    items[:] = [item for item in items if item.name.partition("_slow")[0] in names]
"""
TWICE = """
import pytest
@pytest.hookimpl(wrapper=True)
def pytest_pycollect_makeitem(collector, name):
    found = yield
    if name == "test_x":
        found = [*found, *(pytest.Function.from_parent(collector, name="again", callobj=i.obj) for i in found)]
    return found
"""
LAZY = """
class Lazy:
    def __init__(self, calls): self.calls = calls
    def __iter__(self): return iter(self.calls)
import pytest
@pytest.hookimpl(wrapper=True)
def pytest_generate_tests(metafunc):
    yield
    if metafunc._calls:
        metafunc._calls = Lazy(metafunc._calls)
"""


@pytest.mark.parametrize(
    ("files", "pieces", "arguments"),
    [
        ({"tests/test_a.py": COUNTED}, [["test_x[0]", "test_x[1]"], ["test_y[2]", "test_y[3]"]], []),
        (
            {
                "conftest.py": PARTNERS,
                "tests/test_a.py": "import pytest\n@pytest.mark.parametrize('n', range(2))\ndef test_x(n): pass\n"
                "@pytest.mark.parametrize('n', range(2))\ndef test_x_slow(n): assert n\n",
            },
            [["test_x[0]", "test_x[1]"], ["test_x_slow[0]", "test_x_slow[1]"]],
            [],
        ),
        (
            {"conftest.py": TWICE, "tests/test_a.py": "def test_x(): pass\ndef test_y(): assert 0\n"},
            [["test_x"], ["again", "test_y"]],
            [],
        ),
        ({"conftest.py": LAZY, "tests/test_a.py": PARAMETERS.format("")}, [["test_x[0]"], ["test_x[1]"]], []),
        (
            {"tests/__init__.py": "", "tests/test_a.py": PARAMETERS.format("")},
            [["test_x[0]", "test_x[1]"], ["test_x[2]"]],
            ["--pyargs", "tests.test_a::test_x"],
        ),
    ],
    ids=["generated one after the other", "seen by a hook", "made by a hook", "lazy", "named as a module"],
)
def test_a_cut_file_has_the_outcomes_of_the_plain_run(
    project: Project, files: dict[str, str], pieces: list[list[str]], arguments: list[str]
) -> None:
    project.write(files)
    plain = project.plain(*arguments)
    plan_by_hand(project, "tests/test_a.py", pieces, "--", *arguments)
    run_shards(project, 2)
    assert merge_and_judge(project) == int("failed" in plain.values())
    assert project.outcomes() == plain


HIDDEN = """
import os
if os.environ.get("HIDDEN") != "test_x":
    def test_x(): pass
class TestY:
    def test_y(self): pass
"""


def test_a_function_that_is_missing_in_the_shard_that_has_it(project: Project) -> None:
    """No shard would run it."""
    project.write({"tests/test_a.py": HIDDEN})
    plan_by_hand(project, "tests/test_a.py", [["test_x"], ["TestY::test_y"]])
    plan = json.loads((project.root / "plan.json").read_bytes())
    has = next(task["index"] for task in plan["tasks"] if "test_x" in str(task["pieces"]))
    for index in (1, 2):
        hidden = {"HIDDEN": "test_x" if index == has else ""}
        task = project.thebes("task", "--plan", "plan.json", f"{index}/2", "--out", "artifacts", env=hidden)
        assert task.exit == 0, task.stderr
    assert merge_and_judge(project) == 3
    assert invalid(project, "ids-unstable")[0].startswith(
        "tests/test_a.py: 1 tests are not the same in all its shards (tests/test_a.py::test_x)"
    )


def test_what_has_no_tests_any_more_is_missed_by_nobody(project: Project) -> None:
    project.write({"tests/test_a.py": HIDDEN})
    plan_by_hand(project, "tests/test_a.py", [["test_x"], ["TestY::test_y"]])
    project.write({"tests/test_a.py": "class TestY: pass\ndef test_x(): pass\n"})
    run_shards(project, 2)
    assert merge_and_judge(project) == 0
    assert project.outcomes() == {"tests/test_a.py::test_x": "passed"}


def test_a_file_that_fails_to_import_in_one_shard_only(project: Project) -> None:
    project.write(
        {
            "tests/test_a.py": "from pathlib import Path\n"
            f"once = Path({str(project.root / 'once')!r})\n"
            "if once.exists():\n    raise RuntimeError('the second time')\n"
            "once.touch()\ndef test_x(): pass\ndef test_y(): pass\n"
        }
    )
    plan_by_hand(project, "tests/test_a.py", [["test_x"], ["test_y"]])
    run_shards(project, 2)
    assert merge_and_judge(project) == 1
    assert "the second time" in project.reasons()["collection-failed"][0]


def test_a_collection_error_is_a_failure(project: Project) -> None:
    project.write({**PASSING, "tests/test_a.py": "import nothing_there\n"})
    assert project.run("--shards", "2").exit == 1
    assert "nothing_there" in project.reasons()["collection-failed"][0]
    assert len(project.outcomes()) == 6


def test_everything_skipped(project: Project) -> None:
    project.write({"tests/test_a.py": "import pytest\n@pytest.mark.skip(reason='no server')\ndef test_it(): pass\n"})
    assert project.run().exit == 3
    assert invalid(project, "all-skipped") == ["unit-py3.11"]


def test_every_file_skips_itself(project: Project) -> None:
    project.write({"tests/test_a.py": "import pytest\npytest.importorskip('nothing_there')\n"})
    assert project.run().exit == 3
    assert invalid(project, "nothing-selected") == ["unit-py3.11: 1 files skipped themselves"]


def test_nothing_selected(project: Project) -> None:
    project.write(PASSING)
    assert project.run("--shards", "2", "--", "-k", "no_such_name").exit == 3
    why = "unit-py3.11: every test (8) was deselected, by -m, -k or a hook"
    assert invalid(project, "nothing-selected") == [why]
    assert project.query("SELECT count(*) FROM deselected") == [(8,)]


def test_a_shard_with_nothing_left_is_fine_where_the_rest_explains_it(project: Project) -> None:
    project.write({**PASSING, "tests/test_e.py": "def test_wanted(): pass\n"})
    assert project.run("--shards", "5", "--", "-k", "wanted").exit == 0
    assert project.outcomes() == {"tests/test_e.py::test_wanted": "passed"}


def test_a_configured_gate_without_files(project: Project) -> None:
    project.write({"pyproject.toml": '[tool.thebes.gates.database]\npaths = ["tests/db"]\n', **PASSING})
    assert project.run().exit == 3
    assert invalid(project, "nothing-selected") == ["database-py3.11: no file belongs to it"]


def test_a_required_gate_that_is_absent(project: Project) -> None:
    project.write({"pyproject.toml": '[tool.thebes]\nrequired-gates = ["security"]\n', **PASSING})
    assert project.run().exit == 3
    assert invalid(project, "gate-required") == ["security"]


def test_deselection_by_position(project: Project) -> None:
    project.write({**PASSING, "conftest.py": "def pytest_collection_modifyitems(items):\n    items[:] = items[::2]\n"})
    assert project.run("--shards", "2").exit == 3
    assert "conftest.py:1 deselects tests by their position" in invalid(project, "positional-deselection")[0]


def test_deselection_by_marker_is_no_deselection_by_position(project: Project) -> None:
    hook = "def pytest_collection_modifyitems(items):\n    items[:] = [i for i in items if 'one' in i.name]\n"
    project.write({**PASSING, "conftest.py": hook})
    assert project.run("--shards", "2").exit == 0
    assert len(project.outcomes()) == 4
    assert len(project.query("SELECT id FROM deselected")) == 4


# ------------------------------------------------------------------------------------------------ exit codes


@pytest.mark.parametrize(
    ("conftest", "code"),
    [
        ("def pytest_runtestloop(session):\n    raise KeyboardInterrupt\n", "pytest-interrupted"),
        ("def pytest_runtestloop(session):\n    raise RuntimeError('inside')\n", "pytest-internal-error"),
        ("import pytest\ndef pytest_sessionstart():\n    raise pytest.UsageError('so not')\n", "pytest-usage-error"),
        ("import pytest\ndef pytest_sessionfinish(session):\n    session.exitstatus = 5\n", "exit-after-finish"),
        ("import pytest\ndef pytest_sessionfinish(session):\n    session.exitstatus = 1\n", "exit-after-finish"),
    ],
)
def test_exit_codes_that_mean_something_else(project: Project, conftest: str, code: str) -> None:
    """Only in a shard, not in discovery, so that it comes to a run."""
    guard = "import os, sys\nif not any('discover' in a for a in sys.argv):\n"
    body = "".join(f"    {line}\n" for line in conftest.splitlines())
    project.write({**PASSING, "conftest.py": guard + body})
    result = project.run("--shards", "2")
    assert result.exit == (1 if code == "exit-after-finish" else 3), result.stdout
    assert project.reasons()[code]


# ------------------------------------------------------------------------------------------------ hostile input

NAMES = [
    "new\\nline",
    "::error file=x::boom",
    "<script>alert(1)</script>",
    "\\x1b[31mred",
    "x" * 10_000,
    "\\u202egnp",
    "]]>",
]


def test_hostile_names_and_output(project: Project) -> None:
    """Such names are tests like any other, and nothing that they say is obeyed."""
    names = ", ".join(f'"{name}"' for name in NAMES)
    project.write(
        {
            "tests/test_a.py": f"""
            import pytest
            @pytest.mark.parametrize("name", [{names}], ids=lambda n: n)
            def test_hostile(name):
                print(name)
                assert not name, name
            """
        }
    )
    result = project.run("--shards", "2")
    assert result.exit == 1
    plain = project.plain()
    assert project.outcomes() == plain
    assert len(plain) == len(NAMES)
    for text in (result.stdout, result.stderr):
        assert "\x1b" not in text
        assert not any(line.startswith("::") for line in text.splitlines())
    assert "<script>alert" not in (project.out / "report.html").read_text()


def test_a_clock_that_goes_backwards(project: Project) -> None:
    project.write(
        {
            "tests/test_a.py": """
            import time, pytest
            real = time.time
            def test_first(monkeypatch):
                time.time = lambda: real() - 86_400
            def test_second(): pass
            def test_third():
                time.time = real
            """
        }
    )
    assert project.run("--", "-p", "no:randomly").exit == 0
    assert set(project.outcomes().values()) == {"passed"}
    assert all(seconds >= 0 for row in project.query("SELECT setup, call, teardown FROM test") for seconds in row)


# ------------------------------------------------------------------------------------------------ policy

THRESHOLD = """
[tool.thebes]
required-gates = ["unit"]
[tool.thebes.gates.unit]
coverage = {}
[tool.coverage.run]
source = ["half"]
"""


def test_a_change_that_lowers_its_own_threshold(project: Project) -> None:
    project.write(
        {
            "half/__init__.py": "def used(): return 1\ndef unused():\n    a = 1\n    b = 2\n    return a + b\n",
            "pyproject.toml": THRESHOLD.format(90),
            "tests/test_a.py": "from half import used\ndef test_it(): assert used() == 1\n",
        }
    )
    base = project.commit()
    assert project.run().exit == 1
    assert "at least 90 %" in project.reasons()["coverage-low"][0]
    project.write({"pyproject.toml": THRESHOLD.format(10)})
    project.commit()
    assert project.run().exit == 0
    assert project.run("--base", base).exit == 1
    verdict = project.verdict()
    assert "at least 90 %" in project.reasons()["coverage-low"][0]
    (notice,) = verdict["notices"]
    assert notice["code"] == "policy-relaxed"
    assert notice["subjects"] == ["coverage of unit from 90 % to 10 %"]


def test_quarantine_spares_a_failing_test_until_it_expires(project: Project) -> None:
    entry = '[[tool.thebes.quarantine]]\ntest = "tests/test_a.py::test_bad"\nowner = "team"\nexpires = {}\n'
    project.write({"tests/test_a.py": "def test_bad(): assert 0\ndef test_good(): pass\n"})
    project.write({"pyproject.toml": entry.format("2999-01-01")})
    assert project.run().exit == 0
    assert project.reasons()["quarantined"] == ["tests/test_a.py::test_bad"]
    project.write({"pyproject.toml": entry.format("2020-01-01")})
    assert project.run().exit == 1
    assert project.verdict()["notices"][0]["code"] == "quarantine-expired"


def test_a_check_that_is_not_installed(project: Project) -> None:
    project.write({"pyproject.toml": '[tool.thebes.gates.security]\nchecks = ["no-such-scanner ."]\n', **PASSING})
    assert project.run().exit == 3
    assert invalid(project, "not-started") == ["no-such-scanner: no-such-scanner: No such file or directory"]


def test_coverage_that_nobody_measured(project: Project) -> None:
    """Asked for, but the tests switch it off."""
    project.write({"pyproject.toml": "[tool.thebes.gates.unit]\ncoverage = 50\n", **PASSING})
    assert project.run("--", "--no-cov").exit == 3
    assert "no task left coverage data" in invalid(project, "coverage-missing")[0]
