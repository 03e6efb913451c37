"""Where timings come from, and what else past runs tell the next plan: by real runs."""

import json
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from support.project import Project
from thebes.history.facts import Facts
from thebes.history.read import Stamp
from thebes.history.store import KEPT_RUNS, History
from thebes.services import Service, Source, served

QUIET = "[tool.pytest.ini_options]\naddopts = '-p no:randomly'\n"
SLOW = "import time\nimport pytest\n"
TEST = "def test_{0}(): time.sleep(0.05)\n"
GROUP = "@pytest.mark.xdist_group('db')\n"


def plan(project: Project, *arguments: str, folder: str = ".") -> list[dict[str, Any]]:
    """The shards' pieces, by file, of a new plan."""
    done = project.thebes("plan", "--out", "plan.json", *arguments, folder=project.root / folder)
    assert done.exit == 0, done.stderr
    tasks = json.loads((project.root / folder / "plan.json").read_bytes())["tasks"]
    return [{piece["file"]: piece["tests"] for piece in task["pieces"]} for task in tasks]


FILES = {f"tests/test_{name}.py": f"def test_{name}(): pass\n" for name in "abc"}


def timed(*seconds: float) -> str:
    """Durations of their tests."""
    tests = (f"{file}::test_{file[11]}" for file in FILES)
    return json.dumps(dict(zip(tests, seconds, strict=True)))


def estimates(project: Project) -> list[float]:
    assert plan(project, "--shards", "2")
    return [round(task["estimate"]) for task in json.loads((project.root / "plan.json").read_bytes())["tasks"]]


def test_durations_come_in_and_go_out(project: Project) -> None:
    """As pytest-split keeps them; each test's newest goes out."""
    project.write(
        {
            **FILES,
            "old.json": '{"tests/test_a.py::test_a": 10, "tests/test_b.py::test_b": 20.25}',
            "new.json": '{"tests/test_a.py::test_a": 30, "tests/test_c.py::test_c[ü]": 0}',
        }
    )
    for file in ("old", "new"):
        told = project.thebes("history", "import", f"{file}.json")
        assert told.exit == 0, told.stderr
        assert told.stderr == "thebes: 2 durations added\n"
    shown = project.thebes("history", "show").stdout.splitlines()
    assert [line.partition("import of ")[2] for line in shown] == ["new.json", "old.json"]
    told = project.thebes("history", "export", "all.json")
    assert told.exit == 0, told.stderr
    assert told.stderr == "thebes: 3 durations in all.json\n"
    everything = {"tests/test_a.py::test_a": 30, "tests/test_b.py::test_b": 20.25, "tests/test_c.py::test_c[ü]": 0}
    assert json.loads((project.root / "all.json").read_bytes()) == everything
    assert estimates(project) == [30, 20]


def test_durations_belong_to_a_project(project: Project) -> None:
    project.write({"d.json": '{"tests/test_a.py::test_a": 1}'})
    assert project.thebes("history", "import", "d.json", "--project", "api").exit == 0
    assert project.thebes("history", "export", "api.json", "--project", "api").exit == 0
    assert json.loads((project.root / "api.json").read_bytes()) == {"tests/test_a.py::test_a": 1}
    none = project.thebes("history", "export", "none.json")
    assert none.exit == 3
    assert none.stderr == "thebes: project .: no past run knows a test of it\n"
    assert not (project.root / "none.json").exists()


def test_durations_in_the_repository_count_until_there_is_a_history(project: Project) -> None:
    project.write({**FILES, ".test_durations": timed(40, 15, 20)})
    assert estimates(project) == [40, 35]
    project.write({"d.json": timed(10, 10, 30)})
    assert project.thebes("history", "import", "d.json").exit == 0
    assert estimates(project) == [30, 20]
    project.write({".test_durations": "[]"})
    shutil.rmtree(project.root / ".thebes")
    broken = project.thebes("plan")
    assert broken.exit == 2
    assert ".test_durations: not a file of test durations: " in broken.stderr


def test_the_price_of_a_minute_is_told_for_each_number_of_shards(project: Project) -> None:
    project.write({**FILES, ".test_durations": timed(89, 89, 89)})
    explain = ("plan", "--shards", "2", "--explain", "--out", "plan.json")
    assert "minutes begun" not in project.thebes(*explain).stdout
    project.write({"pyproject.toml": '[tool.thebes]\nprice-per-minute = 0.5\njob-start = "30s"\n'})
    told = project.thebes(*explain)
    assert "  2: 3 min 28 s, 5 min 27 s of machines in all, 3 for the minutes begun" in told.stdout
    (suite,) = json.loads(project.thebes(*explain, "--json").stdout)["suites"]
    assert {each["shards"]: each["cost"] for each in suite["alternatives"]} == {1: 2.5, 2: 3.0, 4: 4.0}


def test_a_renamed_file_keeps_groups_and_times_whatever_ran_since(project: Project) -> None:
    """Also where names are relative to a folder above the project's, because the ini file lies there."""
    tests = (("" if number % 6 else GROUP) + TEST.format(number) for number in range(13))
    project.write(
        {
            "pyproject.toml": QUIET,
            "api/tests/test_a.py": SLOW + "".join(tests),
            "api/tests/test_b.py": "def test_b(): pass\n",
            "api/part.json": '{"api/tests/test_b.py::test_b": 0.001}',
            ".gitignore": ".thebes\nrun\n__pycache__\nplan.json\n",
        }
    )
    project.commit()
    api = project.root / "api"
    assert project.thebes("run", "--shards", "1", "--out", "run", folder=api).exit == 0
    for file in ("test_a.py", "test_moved.py"):
        if file == "test_moved.py":
            project.git("mv", "api/tests/test_a.py", "api/tests/test_moved.py")
            project.commit()
        assert project.thebes("history", "import", "part.json", folder=api).exit == 0
        shards = plan(project, "--shards", "3", folder="api")
        held = [shard[f"api/tests/{file}"] for shard in shards]
        assert len(held) == 3
        group = {f"api/tests/{file}::test_{number}" for number in (0, 6, 12)}
        assert sorted(len(group.intersection(each)) for each in held) == [0, 0, 3]


def test_a_file_whose_tests_differ_between_processes_is_not_cut_again(project: Project) -> None:
    unstable = "import os\n@pytest.mark.parametrize('n', [os.getpid()])\ndef test_unstable(n): pass\n"
    file = "tests/test_a.py"
    project.write({"pyproject.toml": QUIET, file: SLOW + unstable + "".join(TEST.format(n) for n in range(6))})
    assert project.run("--shards", "1").exit == 0
    assert project.run("--shards", "2").exit == 3
    assert project.reasons()["ids-unstable"][0].startswith(f"{file}: 2 tests are not the same in all its shards")
    for _ in range(2):  # a run in which it is whole says nothing
        assert project.run("--shards", "2").exit == 0
        assert project.query("SELECT file, count(*) FROM file") == [(file, 1)]


@pytest.mark.parametrize("command", [["history", "feed", "out"], ["github", "decide", "artifacts", "--feed"]])
def test_what_a_part_left_out_stays_known_however_it_is_fed(project: Project, command: list[str]) -> None:
    """To the planner, and to --failed."""
    project.write({"pyproject.toml": QUIET, "tests/test_a.py": "def test_x(): pass\ndef test_y(): assert 0\n"})
    assert project.run("--shards", "1").exit == 1
    for arguments in ((), ("--pytest-args", "-k test_x")):
        assert project.thebes("github", "plan", "--out", "plan.json", *arguments).exit == 0
        task = json.loads((project.root / "plan.json").read_bytes())["tasks"][0]["id"]
        project.thebes("github", "task", task, "--plan", "plan.json", "--out", "artifacts")
        merged = project.thebes("merge", "artifacts", "--plan", "plan.json", "--out", "out")
        assert merged.exit == 0, merged.stderr
        more = ["--plan", "plan.json", "--out", "out"] if "decide" in command else []
        fed = project.thebes(*command, *more)
        assert fed.exit in {0, 1}, fed.stderr
        shutil.rmtree(project.root / "artifacts")
    assert len(project.thebes("history", "show").stdout.splitlines()) == 3
    done = project.thebes("plan", "--failed", "--explain", "--json", "--out", "plan.json")
    assert done.exit == 0, done.stderr
    (suite,) = json.loads(done.stdout)["suites"]
    assert [shard["tests"] for shard in suite["shards"]] == [1]


def test_a_gate_that_a_marker_tells_apart_leaves_the_other_tests_of_its_files_known(project: Project) -> None:
    slow = '[tool.thebes.gates.performance]\nmarker = "slow"\n'
    tests = "import pytest\n@pytest.mark.slow\ndef test_x(): pass\ndef test_y(): pass\n"
    project.write({"pyproject.toml": QUIET + "markers = ['slow']\n" + slow, "tests/test_a.py": tests})
    assert project.run("--shards", "1").exit == 0
    assert project.run("--shards", "1", "--gate", "performance").exit == 0
    assert list(project.outcomes()) == ["tests/test_a.py::test_x"]
    done = project.thebes("plan", "--gate", "unit", "--explain", "--json", "--out", "plan.json")
    (suite,) = json.loads(done.stdout)["suites"]
    assert [shard["tests"] for shard in suite["shards"]] == [2]


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty one."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/history.db"
        return
    folder = Path(tempfile.mkdtemp(prefix="thebes-test-"))  # short, and open to the user that serves
    service = Service(name="postgres", kind="postgres", sources=(Source.EMBEDDED,))
    with served(
        {"postgres": ""}, {"postgres": service}, folder, folder, dict(os.environ), "test", lambda _: None
    ) as up:
        yield up.environment["THEBES_POSTGRES_URL"].replace("postgresql:", "postgresql+psycopg:")
    shutil.rmtree(folder)


def test_names_go_with_the_last_run_that_has_them(database: str) -> None:
    """Also from a history that an earlier version made, which had no index for it."""
    engine = sa.create_engine(database)
    with History(database):
        indexes = sa.inspect(engine).get_indexes("test")
        with engine.begin() as db:
            db.execute(sa.text("DROP INDEX ix_test_name"))
    with History(database) as history:
        for at in range(KEPT_RUNS + 2):
            stamp = Stamp(at=at, commit="", branch="", machine="", verdict="")
            test = (".", "unit", f"a.py::test[{at}]", "passed", 1.0, 0.0, 1, False)
            red = [(".", "b.py"), (".", "a.py::test[0]")] if at == 1 else []
            left_out = [(".", "a.py::test[1]")] if at == 9 else []
            history.add(stamp, Facts([test], [(".", "unit", "a.py", 0.0, 0.0)], red=red, left_out=left_out))
        with engine.connect() as db:
            names = set(db.scalars(sa.text("SELECT text FROM name")))
        assert names == {"a.py", *(f"a.py::test[{at}]" for at in range(1, KEPT_RUNS + 2))}
        assert sa.inspect(engine).get_indexes("test") == indexes
        assert [list(run.tests) for run in history.runs(".", limit=1)] == [[f"a.py::test[{KEPT_RUNS + 1}]"]]
        assert history.cores(".") == {}
        engine.dispose()


def test_runs_that_are_fed_at_the_same_time_are_all_kept(database: str) -> None:
    """Each has names that the other writes for the first time, too, and forgets those of old runs."""
    begin = threading.Barrier(2)
    with History(database):
        pass  # it has its tables

    def feed(machine: str) -> None:
        with History(database) as history:
            begin.wait()
            for at in range(KEPT_RUNS):
                stamp = Stamp(at=at, commit="", branch="", machine=machine, verdict="")
                tests = [(".", "unit", f"a.py::test[{at}-{i}]", "passed", 1.0, 0.0, 1, False) for i in range(20)]
                history.add(stamp, Facts(tests))

    with ThreadPoolExecutor(2) as both:
        list(both.map(feed, ("one", "other")))
    with History(database) as history:
        kept = [stamp.machine for stamp in history.stamps()]
    assert len(kept) == KEPT_RUNS
    assert set(kept) == {"one", "other"}
