"""`thebes plan` as scripts use it."""

import json
import sys
import time

from support.project import Project
from thebes.cli import COMMANDS

OLD = {f"tests/test_{file}.py::test_{test}": 1.0 for file in "abcd" for test in range(5)}
NEW = {**OLD, "tests/test_a.py::test_0": 3.0, "tests/test_new.py::test_it[1]": 2.0}


def durations(project: Project) -> None:
    project.write({"old.json": json.dumps(OLD), "new.json": json.dumps(NEW), "empty.json": "{}"})


def test_from_durations_alone(project: Project) -> None:
    durations(project)
    done = project.thebes("plan", "--from-durations", "--shards", "3", "--durations", "old.json", "--out", "p.json")
    assert done.exit == 0, done.stderr
    plan = json.loads((project.root / "p.json").read_bytes())
    assert [task["id"] for task in plan["tasks"]] == ["unit-1of3", "unit-2of3", "unit-3of3"]
    assert {piece["file"] for task in plan["tasks"] for piece in task["pieces"]} == {
        f"tests/test_{file}.py" for file in "abcd"
    }


def test_against_tells_what_each_shard_would_have_taken(project: Project) -> None:
    durations(project)
    arguments = ("plan", "--from-durations", "--shards", "3", "--durations", "old.json", "--against", "new.json")
    told = json.loads(project.thebes(*arguments, "--json").stdout)
    assert sorted(told) == ["loads", "lower_bound", "total"]
    assert told["total"] == sum(told["loads"]) == sum(NEW.values())
    assert told["lower_bound"] == round(sum(NEW.values()) / 3, 6)
    assert "times the lower bound" in project.thebes(*arguments).stdout


def test_options_that_would_do_nothing_are_refused(project: Project) -> None:
    durations(project)
    for arguments, text in {
        ("--against", "new.json"): "--against: only with --from-durations",
        ("--from-durations",): "needs --durations",
        ("--from-durations", "--durations", "empty.json"): "empty.json: no test in it",
        ("--from-durations", "--durations", "old.json", "--gate", "unit"): "--gate: not with --from-durations",
        ("--from-durations", "--durations", "old.json", "--coverage"): "--coverage: not with --from-durations",
    }.items():
        done = project.thebes("plan", *arguments)
        assert done.exit == 2
        assert text in done.stderr


def test_neither_database_nor_pytest_is_imported_for_it(project: Project) -> None:
    durations(project)
    code = (
        "import sys; from thebes.cli import cli;"
        "cli(['plan', '--from-durations', '--durations', 'old.json', '--out', 'p.json'], standalone_mode=False);"
        "print(sorted({name.partition('.')[0] for name in sys.modules} & {'sqlalchemy', 'pytest', 'jinja2', 'rich'}))"
    )
    assert project.command(sys.executable, "-c", code).stdout.strip() == "[]"


def test_no_command_imports_pytest(project: Project) -> None:
    """It belongs to the environment of the tests, which may be another one, and takes long to import."""
    code = (
        "import sys; from thebes.cli import COMMANDS, cli;"
        "[cli.get_command(None, name) for name in COMMANDS];"
        "print(len(COMMANDS), sorted({'pytest', '_pytest'} & sys.modules.keys()))"
    )
    assert project.command(sys.executable, "-c", code).stdout.strip() == f"{len(COMMANDS)} []"


def test_explained_for_people_and_for_machines(project: Project) -> None:
    durations(project)
    project.write({f"tests/test_{file}.py": "def test_0(): pass\n" for file in "abcd"})
    arguments = ("plan", "--explain", "--shards", "3", "--durations", "old.json", "--out", "p.json")
    for more in ((), ("--from-durations",)):
        done = project.thebes(*arguments, *more)
        assert done.exit == 0, done.stderr
        assert "times the lower bound" in done.stdout
        view = json.loads(project.thebes(*arguments, *more, "--json").stdout)["suites"][0]
        plan = json.loads((project.root / "p.json").read_bytes())
        assert [shard["seconds"] for shard in view["shards"]] == [task["estimate"] for task in plan["tasks"]]


def test_a_renamed_file_keeps_its_times_and_a_run_is_held_against_its_plan(project: Project) -> None:
    project.write(
        {
            "tests/test_a.py": "def test_0(): pass\ndef test_1(): pass\n",
            "tests/test_b.py": "def test_2(): pass\n",
            ".gitignore": "out\n__pycache__\n",
        }
    )
    project.commit()
    assert "longest shard" not in project.run("--shards", "1").stderr  # nothing was known to estimate from
    project.git("mv", "tests/test_a.py", "tests/test_moved.py")
    project.commit()
    view = json.loads(project.thebes("plan", "--explain", "--json").stdout)["suites"][0]
    assert sum(shard["tests"] for shard in view["shards"]) == 3
    assert not any(file["new"] for file in view["unsure"])
    done = project.run("--shards", "1")
    assert "longest shard: " in done.stderr
    assert ", estimated " in done.stderr
    (estimate,) = project.query("SELECT estimate FROM task")[0]
    assert estimate > 0.05  # the start of Python and of pytest is part of it


GROUPED = """
import time
import pytest
{tests}
"""
GROUP = "@pytest.mark.xdist_group('db')\ndef test_{0}(): time.sleep(0.05)\n"
MARKED = "@pytest.mark.broker\ndef test_{0}(): time.sleep(0.05)\n"
FREE = "def test_{0}(): time.sleep(0.05)\n"


def test_groups_and_markers_stay_together_also_where_they_are_new(project: Project) -> None:
    tests = [GROUP.format(n) for n in (0, 7)] + [MARKED.format(n) for n in (1, 6)] + [FREE.format(n) for n in (2, 3, 4)]
    options = '[tool.pytest.ini_options]\nmarkers = ["broker"]\n[tool.thebes.plan]\ntogether = ["@broker"]\n'
    project.write({"pyproject.toml": options, "tests/test_a.py": GROUPED.format(tests="\n".join(tests))})
    assert project.run("--shards", "1").exit == 0
    # The file is cut now; five tests of each group that no plan has seen could go anywhere by their hash.
    tests += [GROUP.format(f"new_db_{n}") for n in range(5)] + [MARKED.format(f"new_broker_{n}") for n in range(5)]
    project.write({"tests/test_a.py": GROUPED.format(tests="\n".join(tests))})
    assert project.run("--shards", "3").exit == 0
    homes = dict(project.query("SELECT id, task FROM test"))
    assert len(homes) == 17
    assert len(set(homes.values())) == 3
    for names in (("0", "7", *(f"new_db_{n}" for n in range(5))), ("1", "6", *(f"new_broker_{n}" for n in range(5)))):
        assert len({homes[f"tests/test_a.py::test_{name}"] for name in names}) == 1


def test_one_machine_has_one_speed_whatever_runners_are_configured(project: Project) -> None:
    """Else one test would be known to take half or twice of what it took, and more shards than speeds be refused."""
    project.write(
        {
            "pyproject.toml": "[tool.thebes.plan]\nrunner-speeds = [2.0, 0.5]\n",
            "tests/test_a.py": "def test_a():\n    pass\n",
            "tests/test_b.py": "def test_b():\n    pass\n",
            "tests/test_c.py": "def test_c():\n    pass\n",
        }
    )
    assert project.thebes("run", "--shards", "3", "--out", "run").exit == 0
    speeds = [task.get("speed", 1.0) for task in json.loads((project.root / "run/plan.json").read_bytes())["tasks"]]
    assert speeds == [1.0, 1.0, 1.0]
    assert "3 speeds" not in project.thebes("doctor").stderr
    planned = json.loads(project.thebes("plan", "--shards", "2").stdout)
    assert planned["tasks"][0]["speed"] == 2.0  # the other machine may be too slow to be of use


def test_globs_that_no_file_matches_are_told(project: Project) -> None:
    project.write(
        {
            "pyproject.toml": "[tool.thebes.plan]\nserial = ['tests/port']\nwhole = ['tests/ports/**']\n",
            "tests/ports/test_a.py": "def test_a():\n    pass\n",
        }
    )
    note = "tool.thebes.plan.serial: no test file is 'tests/port'; did you mean 'tests/ports'?"
    for command in (("plan", "--out", "p.json"), ("run", "--out", "run")):
        told = project.thebes(*command)
        assert (told.exit, told.stderr.count(f"thebes: .: {note}\n")) == (0, 1), told.stderr
        assert "tool.thebes.plan.whole" not in told.stderr
    assert note in project.thebes("doctor").stdout
    assert "no test file" not in project.thebes("plan", "--out", "p.json", "--", "tests/ports").stderr  # a part of it


def test_serial_files_run_last_alone_and_without_workers(project: Project) -> None:
    project.write(
        {
            "pyproject.toml": "[tool.pytest.ini_options]\naddopts = '-n 2'\n"
            "[tool.thebes.plan]\nserial = ['tests/ports']\n",
            "tests/ports/test_p.py": "def test_one(): pass\ndef test_two(): pass\n",
            "tests/test_a.py": "def test_a(): pass\n",
            "tests/test_b.py": "def test_b(): pass\n",
        }
    )
    told = project.thebes("plan", "--shards", "2", "--out", "plan.json", "--explain").stdout
    assert "-3of3: " in told
    assert "1 file alone on its machine" in told
    assert project.run("--shards", "2", "--workers", "2").exit == 0
    workers = dict(project.query("SELECT id, worker FROM test"))
    assert {test for test, worker in workers.items() if not worker} == {
        "tests/ports/test_p.py::test_one",
        "tests/ports/test_p.py::test_two",
    }
    began = dict(project.query("SELECT task, began FROM task_attempt"))
    ended = dict(project.query("SELECT task, began + seconds FROM task_attempt"))
    alone = f"unit-py3.{sys.version_info.minor}-3of3"
    assert began[alone] >= max(ended[task] for task in ended if task != alone)


def test_what_a_job_took_before_its_task_is_measured(project: Project) -> None:
    project.write({"tests/test_a.py": "def test_a(): pass\n"})
    plan = project.root / "plan.json"
    assert project.thebes("plan", "--out", str(plan)).exit == 0
    for number, (said, found) in enumerate((("", 0), ("nonsense", 0), ("-1", 0), (str(time.time() - 40), 40)), 1):
        done = project.thebes(
            *("task", "--plan", str(plan), "1/1", "--out", str(project.root / "records"), "--attempt", str(number)),
            env={"THEBES_JOB_BEGAN": said},
        )
        assert done.exit == 0
        record = project.root / "records" / f"thebes-unit-py3.{sys.version_info.minor}-1of1-a{number}" / "record.jsonl"
        header = json.loads(record.read_bytes().partition(b"\n")[0])
        assert found <= header["waited"] < found + 30
