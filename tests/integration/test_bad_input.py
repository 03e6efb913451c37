"""Bad input: exit code 2, one line that names the place, what was found and what was expected; never a traceback."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from support.project import Project, Result
from support.waiting import eventually
from thebes.cli import main
from thebes.discover import discover
from thebes.errors import InputError
from thebes.interpreter import find

QUIET = "[tool.pytest.ini_options]\naddopts = '-p no:randomly -p no:hypothesispytest'\n"
TESTS = {"tests/test_a.py": "def test_a(): pass\ndef test_b(): pass\n"}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project that has run once, with damaged copies of what that left. Tests change nothing in it."""
    project = Project(tmp_path_factory.mktemp("ran"))
    project.write({"pyproject.toml": QUIET, **TESTS})
    assert project.run().exit == 0
    folder = project.root
    plan = (project.out / "plan.json").read_bytes()
    (folder / "cut.json").write_bytes(plan[:-9])
    (folder / "altered.json").write_bytes(plan.replace(b'"wave":1', b'"wave":2'))
    (folder / "newer.json").write_bytes(plan.replace(b'"schema":1', b'"schema":2'))
    database = (project.out / "run.db").read_bytes()
    damage(folder / "text", b"hello")
    damage(folder / "empty", b"")
    damage(folder / "half", database[: len(database) // 2])
    damage(folder / "flipped", database[:20_000] + bytes(x ^ 255 for x in database[20_000:60_000]) + database[60_000:])
    (folder / "text" / "verdict.json").write_bytes((project.out / "verdict.json").read_bytes()[:-5])
    past = (folder / ".thebes" / "history.db").read_bytes()
    (folder / "text.db").write_bytes(b"hello" * 100)
    (folder / "half.db").write_bytes(past[: len(past) // 2])
    with closing(sqlite3.connect(folder / "foreign.db")) as db:
        db.executescript("CREATE TABLE run (a); CREATE TABLE test (a);")
    (folder / "newer.db").write_bytes(past)
    with closing(sqlite3.connect(folder / "newer.db")) as db:
        db.execute("UPDATE meta SET value = '9'")
        db.commit()
    project.write(
        {
            "text.json": "x",
            "list.json": "[]",
            "negative.json": '{"a": -1}',
            "endless.json": '{"a": 1e308}',
            "word.json": '{"a": "b"}',
        }
    )
    (folder / "latin.json").write_bytes(b'{"\xe9": 1}')
    project.write({"printer": "#!/bin/sh\necho hello\n", "plain": "no program\n"})
    (folder / "printer").chmod(0o755)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", "--symlinks", folder / "bare"], check=True)
    return project


def damage(folder: Path, data: bytes) -> None:
    folder.mkdir()
    (folder / "run.db").write_bytes(data)


def assert_refused(result: Result, text: str) -> None:
    assert result.exit == 2, result
    assert result.stdout == ""
    assert result.stderr.startswith("thebes: ")
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.stderr
    assert text in result.stderr


TASK = "task --plan out/plan.json"
ARGUMENTS = {
    # commands and options
    "rum": "no command 'rum'; did you mean 'run'?",
    "run --shard 2": "No such option '--shard'. Did you mean '--shards'?",
    "run --shards 0": "Invalid value for '--shards': 0 is not in the range 1<=x<=256",
    "run --gate unti": "'unti' is not one of 'unit', 'contract'",
    "run --target 120": "--target: '120' is not a duration; expected a number with its unit",
    "run --workers many": "--workers: 'many' is neither \"auto\" nor a number",
    "run --maxfail 0": "Invalid value for '--maxfail': 0 is not in the range x>=1",
    "plan --python 3.12/x": "--python: '3.12/x' is not a version such as \"3.12\"",
    "run --python 3.99": "python3.99: not on PATH, or without pytest",
    "run --base nowhere": "--base nowhere: no such commit",
    "run -- --nonsense": "pytest can't collect (exit 4): python -m pytest: error: unrecognized arguments: --nonsense",
    "run --workers 2 -- -p no:xdist -p no:xdist.looponfail": ".: workers = 2, and pytest finds no pytest-xdist",
    "run --coverage -- -p no:pytest_cov": ".: coverage is to be measured, and pytest finds no pytest-cov",
    "run -- nowhere.py": "file or directory not found: nowhere.py",
    "-C nowhere run": "-C nowhere: No such file or directory",
    "publish out": "publish: nothing asked for; give --html",
    "merge out --plan out/plan.json --out m --expect x": "--expect x: expected TASK=N",
    # interpreters
    "run --interpreter nowhere/python": "nowhere/python (as configured): can't be run: No such file or directory",
    "run --interpreter bare/bin/python": "bare/bin/python (as configured): has no pytest; install it there",
    "run --interpreter ./printer": "printer (as configured): does not answer as Python 3 would",
    "run --interpreter ./plain": "plain (as configured): can't be run: Permission denied",
    # plans and tasks
    f"{TASK} x --out o": "out/plan.json: no task 'x'; there are unit-py",
    f"{TASK} 1/1 --out o --attempt 0": "Invalid value for '--attempt'",
    f"{TASK} 1/1 --out out --attempt 1": "this attempt has been run already; give --attempt or --out",
    "task --plan nowhere.json x --out o": "File 'nowhere.json' does not exist",
    "task --plan cut.json x --out o": "cut.json: Input data was truncated",
    "merge out --plan altered.json --out m": "altered.json: the plan was changed after it was made",
    "merge out --plan newer.json --out m": "newer.json: format 2, this version reads format 1",
    # run.db and verdict.json
    "judge nowhere": "nowhere: no such file; `thebes merge` makes it",
    "judge text": "text/run.db: not a run.db: file is not a database",
    "judge empty": "empty/run.db: not a run.db: no such table: meta",
    "judge half": "half/run.db: not a run.db: database disk image is malformed",
    "judge flipped": "run.db is damaged: database disk image is malformed; merge again",
    "publish half --html x.html": "half/verdict.json: No such file or directory",
    "publish text --html x.html": "text/verdict.json: Input data was truncated",
    # history and durations
    "plan --history text.db": "history text.db: file is not a database",
    "plan --history half.db": "history half.db: database disk image is malformed",
    "plan --history foreign.db": "history foreign.db: no such column",
    "plan --history newer.db": "history newer.db: format 9, this version reads format 1",
    "plan --history tests": "history tests: unable to open database file",
    "plan --history nodb://u:secret@h/x": "history nodb://u:***@h/x: Can't load plugin",
    "plan --history postgresql://u:secret@h:x/y": "history postgresql://…: invalid literal",
    "plan --durations text.json": "text.json: not a file of test durations: JSON is malformed",
    "plan --durations list.json": "list.json: not a file of test durations: Expected `object`, got `array`",
    "plan --durations word.json": "word.json: not a file of test durations: Expected `float`, got `str`",
    "plan --durations latin.json": "latin.json: not a file of test durations: 'utf-8' codec can't decode",
    "plan --durations negative.json": "negative.json: a: -1.0 is not a duration; expected seconds from 0 to 1",
    "plan --durations endless.json": "endless.json: a: 1e+308 is not a duration; expected seconds from 0 to 1",
    # places that can't be written
    "run --out tests": "--out tests: not empty, and not the folder of an earlier run",
    "run --out plain": "plain: File exists",
    "plan --out plain/plan.json": "plain: File exists",
    "plan --out tests": "tests: Is a directory",
    f"{TASK} 1/1 --out plain": "Not a directory",
    "merge out --plan out/plan.json --out plain": "plain: File exists",
    "publish out --summary nowhere/s.md": "nowhere/s.md: No such file or directory",
}


@pytest.fixture
def here(ran: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """`ran`, with this process made ready to be the command: it starts a few hundred times faster than a new one."""
    for name in os.environ:
        monkeypatch.delenv(name)
    for name, value in ran.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(ran.root)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield ran
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("arguments", ARGUMENTS)
def test_arguments(
    here: Project, arguments: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["thebes", *arguments.split()])
    with pytest.raises(SystemExit) as stop:
        main()
    assert isinstance(stop.value.code, int)
    assert_refused(Result(stop.value.code, *capsys.readouterr()), ARGUMENTS[arguments])


@pytest.mark.parametrize(
    ("variables", "text"),
    [
        ({"VIRTUAL_ENV": "/nowhere"}, "/nowhere/bin/python (the active virtual environment): can't be run"),
        ({"THEBES_HISTORY": "text.db"}, "history text.db: file is not a database"),
    ],
)
def test_environment(ran: Project, variables: dict[str, str], text: str) -> None:
    assert_refused(ran.thebes("plan", env=variables), text)


PROJECTS = {
    "an unknown key": ({"pyproject.toml": "[tool.thebes]\nshard = 2"}, "did you mean 'shards'?"),
    "no TOML": ({"pyproject.toml": "[tool.thebes"}, "pyproject.toml: not TOML"),
    "no such interpreter": ({"pyproject.toml": "[tool.thebes]\ninterpreter = 'x/python'"}, "x/python (as configured)"),
    "no such project": ({"pyproject.toml": "[tool.thebes]\nprojects = ['x']"}, "tool.thebes.projects: no folder 'x'"),
    "a key for the root only": (
        {
            "pyproject.toml": "[tool.thebes]\nprojects = ['api']",
            "api/pyproject.toml": "[tool.thebes]\nworkers = '2'",
        },
        "api/pyproject.toml: tool.thebes.workers: counts in the root only",
    ),
    "a check that is no command": (
        {"pyproject.toml": "[tool.thebes.gates.quality]\nchecks = ['a \"b']"},
        "tool.thebes.gates.quality.checks: 'a \"b': No closing quotation",
    ),
    "a marker that is no expression": (
        {"pyproject.toml": "[tool.thebes.gates.security]\nmarker = 'a b'"},
        "Wrong expression passed to '-m': a b",
    ),
    "unknown addopts": ({"pytest.ini": "[pytest]\naddopts = --nonsense"}, "unrecognized arguments: --nonsense"),
    "a broken ini file": ({"pytest.ini": "[pytest\n"}, "pytest.ini:1: unexpected value continuation"),
    "a broken conftest.py": ({"conftest.py": "import nowhere"}, "ModuleNotFoundError: No module named 'nowhere'"),
    "a conftest.py that ends it all": ({"conftest.py": "import os; os._exit(0)"}, "pytest can't collect (exit 0)"),
    "no test file": ({"tests/test_a.py": "", "pytest.ini": "[pytest]\npython_files = x"}, "pytest finds no test file"),
}


@pytest.mark.parametrize("case", PROJECTS)
def test_projects(project: Project, case: str) -> None:
    files, text = PROJECTS[case]
    project.write(TESTS | files)
    assert_refused(project.run(), text)
    assert not project.out.exists()


def test_no_command_shows_the_help(ran: Project) -> None:
    result = ran.thebes()
    assert result.exit == 2
    assert "thebes run" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_discovery_that_does_not_end(project: Project) -> None:
    """It is ended with all that it started, and the place where it stood is named."""
    project.write(
        {
            "conftest.py": """
            import pathlib, subprocess, threading
            def pytest_sessionfinish():
                child = subprocess.Popen(["sleep", "600"])
                pathlib.Path("child.tmp").write_text(str(child.pid))
                threading.Event().wait()
            """,
            **TESTS,
        }
    )
    environment = project.environment()
    with pytest.raises(InputError, match=r"did not end its collection within 4 s; it was at conftest\.py:5$"):
        discover(project.root, find(project.root, environment), (), environment, limit=4.0)
    child = int((project.root / "child.tmp").read_text())
    eventually(lambda: not Path(f"/proc/{child}").exists(), "the child is gone")
