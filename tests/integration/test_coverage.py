"""Coverage of many tasks held against coverage.py's own reports, on real packages and on odd ones."""

import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from support.project import Project
from thebes.merge import open_run
from thebes.merge.covering import Left, cover
from thebes.merge.store import Store
from thebes.model import Piece, Plan, Suite, Task, TaskKind
from thebes.model import Project as PlanProject
from thebes.publish.coverage import files

SUITES = ("unit-py3.11", "unit-py3.12", "integration-py3.12")

# What each suite does with a package: different parts of it, some of them twice.
NETWORKX = {
    "unit-py3.11": "import networkx as nx; g = nx.path_graph(9); nx.shortest_path(g, 0, 8); nx.density(g)",
    "unit-py3.12": "import networkx as nx; nx.degree_histogram(nx.star_graph(4))",
    "integration-py3.12": "import networkx as nx; nx.max_weight_matching(nx.cycle_graph(7)); nx.wheel_graph(5)",
}
MARKDOWN = {
    "unit-py3.11": "import markdown_it; markdown_it.MarkdownIt().render('# a\\n\\n* b\\n  - c\\n\\n> d `e` <f>')",
    "unit-py3.12": "import markdown_it; markdown_it.MarkdownIt('js-default').render('a|b\\n-|-\\n1|2\\n\\n[a](b)')",
    "integration-py3.12": "import markdown_it; markdown_it.MarkdownIt('zero').parse('1. x\\n```\\ny\\n```\\n&amp;')",
}


def plan() -> Plan:
    suites = [
        Suite(id=name, project=".", gate=name.partition("-")[0], python=name.rpartition("py")[2], coverage=True)
        for name in SUITES
    ]
    tasks = [
        Task(id=f"{name}-1of1", suite=name, kind=TaskKind.PYTEST, wave=1, estimate=1.0, pieces=(Piece(file="t.py"),))
        for name in SUITES
    ]
    project = PlanProject(path=".", rootdir=".", inipath=None, measured=True)
    return Plan(commit="", projects=(project,), suites=tuple(suites), tasks=tuple(tasks))


def measure(folder: Path, scripts: Mapping[str, str], *options: str, root: Path | None = None) -> dict[str, Left]:
    """Run every script under coverage.py, as a task of its own would."""
    left = {}
    for name, script in scripts.items():
        own = folder / f"thebes-{name}-1of1-a1"
        own.mkdir(parents=True)
        (own / "script.py").write_text(script, "utf-8")
        command = [sys.executable, "-m", "coverage", "run", f"--data-file={own / '.coverage'}", *options]
        where = root or folder
        environment = {**os.environ, "PYTHONPATH": str(where)}
        subprocess.run([*command, str(own / "script.py")], check=True, capture_output=True, cwd=where, env=environment)
        left[f"{name}-1of1"] = Left(own, str(root or folder))
    return left


def merged(folder: Path, left: Mapping[str, Left], **options: Any) -> sqlite3.Connection:
    made = plan()
    out = folder / "out"
    out.mkdir(exist_ok=True)
    with Store(out / "run.db") as store:
        store.plan(made, ())
        cover(made, left, out, store, repository=folder, pythons={".": sys.executable}, **options)
    return open_run(out)


def theirs(folder: Path, *command: str) -> str:
    tool = [sys.executable, "-m", "coverage", command[0], "--data-file=out/.coverage", *command[1:]]
    done = subprocess.run(tool, check=False, capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith(("COV_", "COVERAGE"))]:
        monkeypatch.delenv(name)
    return tmp_path.resolve()


@pytest.fixture(params=["branches", "lines"])
def options(request: pytest.FixtureRequest) -> tuple[str, ...]:
    return ("--branch",) if request.param == "branches" else ()


@pytest.mark.parametrize(
    ("package", "scripts"),
    [("networkx.utils,networkx.drawing", NETWORKX), ("markdown_it", MARKDOWN)],
    ids=["networkx", "markdown-it"],
)
def test_every_line_and_branch_is_as_coverage_reports_it(
    folder: Path, package: str, scripts: dict[str, str], options: tuple[str, ...]
) -> None:
    left = measure(folder, scripts, f"--source={package}", *options)
    db = merged(folder, left)
    assert db.execute("SELECT percent, text FROM coverage WHERE gate = ''").fetchone()[1] == ""
    files(db, folder)
    ours = json.loads((folder / "coverage.json").read_bytes())
    theirs(folder, "json", "-o", "their.json")
    known = json.loads((folder / "their.json").read_bytes())
    assert len(ours["files"]) > 15
    assert {_inside(folder, path) for path in ours["files"]} == {_inside(folder, path) for path in known["files"]}
    for path, file in known["files"].items():
        mine = ours["files"][_ours(folder, path, ours["files"])]
        for key in ("executed_lines", "missing_lines", "excluded_lines"):
            assert mine[key] == file[key], (path, key)
        for key in ("executed_branches", "missing_branches"):
            assert sorted(mine[key]) == sorted(file.get(key, [])), (path, key)
    for key, value in known["totals"].items():
        if isinstance(value, int):
            assert ours["totals"][key] == value, key
    percent = theirs(folder, "report", "--format=total", "--precision=2").strip()
    assert db.execute("SELECT percent FROM coverage WHERE gate = ''").fetchone()[0] == float(percent)
    _hold_lcov(folder)
    _hold_xml(folder)
    db.close()


def _inside(folder: Path, path: str) -> str:
    return os.path.relpath(folder / path, folder)


def _ours(folder: Path, path: str, known: Mapping[str, object]) -> str:
    return next(name for name in known if _inside(folder, name) == _inside(folder, path))


def _hold_lcov(folder: Path) -> None:
    theirs(folder, "lcov", "-o", "their.lcov")

    def records(name: str) -> dict[str, list[str]]:
        found = (record.strip().split("\n") for record in (folder / name).read_text("utf-8").split("end_of_record"))
        return {
            _inside(folder, lines[0][3:]): sorted(_plain(line) for line in lines[1:]) for lines in found if lines[1:]
        }

    assert records("coverage.lcov") == records("their.lcov")


def _plain(line: str) -> str:
    """The words for a way out of a function differ: coverage.py names the function."""
    return re.sub(r"^(BRDA:\d+,0,)(?!jump to line).*(,.)$", r"\1exit\2", line)


def _hold_xml(folder: Path) -> None:
    theirs(folder, "xml", "-o", "their.xml")
    ours, known = (ET.parse(folder / name).getroot() for name in ("coverage.xml", "their.xml"))  # noqa: S314  (ours)
    for key in ("lines-valid", "lines-covered", "branches-valid", "branches-covered", "line-rate", "branch-rate"):
        assert ours.get(key) == known.get(key), key
    mine, other = (sorted(str([line.attrib for line in one]) for one in root.iter("lines")) for root in (ours, known))
    assert mine == other


def test_a_gate_has_the_figure_that_its_own_data_gives(folder: Path) -> None:
    left = measure(folder, MARKDOWN, "--source=markdown_it", "--branch")
    with closing(merged(folder, left)) as db:
        found = dict(db.execute("SELECT gate, percent FROM coverage").fetchall())
    for gate in ("unit", "integration"):
        data = [str(one.folder / ".coverage") for task, one in left.items() if task.startswith(gate)]
        (folder / "out" / ".coverage").unlink()
        theirs(folder, "combine", "--keep", "-q", *data)
        assert found[gate] == float(theirs(folder, "report", "--format=total", "--precision=2"))


SOURCE = '''
def sign(value):
    """Say it."""
    if value > 0:
        return "plus"
    if value < 0:
        return "minus"
    return (
        "nothing"
    )


def debug():  # pragma: no cover
    return 1
'''
USE = "import sys; sys.path.insert(0, {root!r}); import app; app.sign({value})"


def test_machines_that_have_the_repository_elsewhere(folder: Path) -> None:
    left: dict[str, Left] = {}
    for suite, place, value in zip(SUITES, ("work/one", "b/two", "c/d/three"), (1, -1, 1), strict=True):
        root = folder / place
        root.mkdir(parents=True)
        (root / "app.py").write_text(SOURCE, "utf-8")
        use = {suite: USE.format(root=str(root), value=value)}
        left |= measure(folder / f"left-{suite}", use, "--branch", "--include=*/app.py", root=root)
    (folder / "app.py").write_text(SOURCE, "utf-8")
    with closing(merged(folder, left, changed={"app.py": [(6, 8)]})) as db:
        rows = db.execute("SELECT file, statements, executed, branches, taken FROM coverage_file").fetchall()
        assert [tuple(row) for row in rows] == [("app.py", 6, 5, 4, 3)]  # line 8 and the way to it are left
        assert tuple(db.execute("SELECT changed, changed_executed FROM coverage WHERE gate = ''").fetchone()) == (3, 2)
        files(db, folder)
    found = json.loads((folder / "coverage.json").read_bytes())["files"]["app.py"]
    assert found["missing_lines"] == [8]
    assert found["missed_by"] == {
        "unit-py3.11": [6, 7, 8],
        "unit-py3.12": [5, 8],
        "integration-py3.12": [6, 7, 8],
    }


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "empty"),
        (b"SQLite format 3\0 and then nothing of the kind", "not a database|Couldn't"),
        (b"\xff" * 5000, "not a database|Couldn't"),
    ],
    ids=["empty", "cut", "noise"],
)
def test_data_that_is_none_makes_no_figure(folder: Path, data: bytes, told: str) -> None:
    left = measure(folder, MARKDOWN, "--source=markdown_it")
    (left["unit-py3.12-1of1"].folder / ".coverage").write_bytes(data)
    with closing(merged(folder, left)) as db:
        rows = db.execute("SELECT gate, percent, text FROM coverage ORDER BY gate").fetchall()
    assert [row["percent"] for row in rows] == [None, None, None]
    assert all(re.search(told, row["text"]) for row in rows), [row["text"] for row in rows]


def test_sources_that_are_gone_are_named(folder: Path) -> None:
    (folder / "app.py").write_text(SOURCE, "utf-8")
    left = measure(folder, {SUITES[0]: USE.format(root=str(folder), value=1)}, "--include=*/app.py")
    (folder / "app.py").unlink()
    with closing(merged(folder, left)) as db:
        row = db.execute("SELECT percent, text FROM coverage WHERE gate = ''").fetchone()
    assert row["percent"] is None
    assert "app.py" in row["text"]


PLUGIN = """
import coverage

class Plugin(coverage.CoveragePlugin):
    def configure(self, config):
        config.set_option("report:exclude_lines", ["value < 0"])

def coverage_init(registry, options):
    registry.add_configurer(Plugin())
"""


def test_the_plugins_of_the_project_count(folder: Path) -> None:
    """They lie in its folder, and nobody but its own coverage.py can tell what they do."""
    (folder / "plug.py").write_text(PLUGIN, "utf-8")
    (folder / ".coveragerc").write_text("[run]\nplugins = plug\n", "utf-8")
    (folder / "app.py").write_text(SOURCE, "utf-8")
    left = measure(folder, {SUITES[0]: USE.format(root=str(folder), value=1)}, "--include=*/app.py")
    with closing(merged(folder, left)) as db:
        assert db.execute("SELECT text FROM coverage WHERE gate = ''").fetchone()[0] == ""
        files(db, folder)
    found = json.loads((folder / "coverage.json").read_bytes())["files"]["app.py"]
    assert found["excluded_lines"] == [6, 7]


def test_links_in_artifacts_are_not_followed(folder: Path) -> None:
    left = measure(folder, MARKDOWN, "--source=markdown_it")
    own = left["unit-py3.12-1of1"].folder / ".coverage"
    own.rename(folder / "elsewhere")
    own.symlink_to(folder / "elsewhere")
    with closing(merged(folder, left)) as db:
        measured = {number for (number,) in db.execute("SELECT number FROM coverage_suite")}
        texts = dict(db.execute("SELECT gate, text FROM coverage").fetchall())
    assert measured == {0, 1, 2}
    assert texts == {"": "", "unit": "", "integration": ""}


PROJECT = {
    "pyproject.toml": """
        [tool.pytest.ini_options]
        addopts = "--cov=app --cov-branch --cov-context=test"
        pythonpath = "."
        [tool.coverage.json]
        show_contexts = true
        [tool.thebes.gates.unit]
        changed-coverage = 90
        """,
    "app.py": SOURCE,
    "tests/test_one.py": "from app import sign\ndef test_plus(): assert sign(1) == 'plus'\n",
    "tests/test_two.py": "from app import sign\ndef test_minus(): assert sign(-1) == 'minus'\n",
}


@pytest.fixture
def changing(project: Project) -> Project:
    project.write(PROJECT)
    project.commit()
    project.write({"app.py": SOURCE.replace('"nothing"', '"zero"')})
    return project


def test_changed_lines_have_a_threshold_of_their_own(changing: Project) -> None:
    assert changing.run("--shards", "2").exit == 0  # without a base there is nothing to hold
    codes = {one["code"] for one in changing.verdict()["gates"]["unit"]["reasons"]}
    assert codes == {"changed-coverage-open"}
    assert changing.run("--shards", "2", "--base", "main").exit == 1
    told = "0.00 %, 0 of 1 changed statements; at least 90 % is asked for"
    assert changing.reasons() == {"changed-coverage-low": [told]}
    assert "`app.py`: changed and never executed: line 7" in (changing.out / "summary.md").read_text("utf-8")
    changing.write({"tests/test_two.py": "from app import sign\ndef test_no(): assert sign(0) == 'zero'\n"})
    assert changing.run("--shards", "2", "--base", "main").exit == 0
    assert changing.verdict()["gates"]["unit"]["changed_coverage"] == 100.0
    assert changing.run("--base", "nowhere").exit == 2


def test_contexts_are_kept(changing: Project) -> None:
    assert changing.run("--shards", "2").exit == 0
    found = json.loads((changing.out / "coverage.json").read_bytes())["files"]["app.py"]
    assert found["contexts"]["4"] == ["tests/test_one.py::test_plus|run"]
    assert found["contexts"]["6"] == ["tests/test_two.py::test_minus|run"]
    with closing(sqlite3.connect(changing.out / ".coverage")) as db:
        assert {"tests/test_one.py::test_plus|run"} <= {name for (name,) in db.execute("SELECT context FROM context")}


def test_merge_without_coverage_leaves_no_files(project: Project) -> None:
    project.write({"tests/test_one.py": "def test_one(): pass\n"})
    assert project.run().exit == 0
    assert not list(project.out.glob("coverage.*"))
