"""Several projects in one repository, and which gate a file belongs to: by real runs."""

from collections import defaultdict

from support.project import Project

QUIET = "addopts = '-p no:randomly -p no:hypothesispytest'\n"


def by_suite(project: Project) -> dict[str, dict[str, str]]:
    """Outcomes by suite (its name without the Python's version) and node id."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for suite, test, outcome in project.query("SELECT suite, id, outcome FROM test ORDER BY suite, id"):
        assert test not in found[suite.partition("-py")[0]]
        found[suite.partition("-py")[0]][test] = outcome
    return dict(found)


def measured(name: str, fail_under: int) -> dict[str, str]:
    """A project with the same files as its sisters, of which half of the code is tested."""
    return {
        f"{name}/pyproject.toml": f"""
            [tool.pytest.ini_options]
            addopts = "--cov={name} -p no:randomly -p no:hypothesispytest"
            [tool.coverage.report]
            fail_under = {fail_under}
            """,
        f"{name}/{name}.py": "def one():\n    return 1\n\n\ndef two():\n    return 2\n",
        f"{name}/tests/test_it.py": f"from {name} import one\n\n\ndef test_it():\n    assert one()\n",
    }


def test_projects_are_apart_and_judged_together(project: Project) -> None:
    project.write({"pyproject.toml": "[tool.thebes]\nprojects = ['api', 'worker']"})
    project.write(measured("api", 70) | measured("worker", 90))
    assert project.run().exit == 1
    same = {"tests/test_it.py::test_it": "passed"}
    assert by_suite(project) == {"api-unit": same, "worker-unit": same}
    assert project.reasons() == {"coverage-low": ["worker: 75.00 %, the project's fail_under is 90 %"]}
    assert project.query("SELECT path, rootdir, fail_under FROM project ORDER BY path") == [
        ("api", "api", 70.0),
        ("worker", "worker", 90.0),
    ]
    assert project.query("SELECT project, gate, percent FROM coverage ORDER BY project, gate") == [
        ("api", "", 75.0),
        ("api", "unit", 75.0),
        ("worker", "", 75.0),
        ("worker", "unit", 75.0),
    ]
    past = project.thebes("history", "export", "past.json", "--project", "worker")
    assert past.exit == 0, past.stderr
    assert "1 duration in past.json" in past.stderr


def test_each_project_has_its_own_configuration(project: Project) -> None:
    project.write(
        {
            "pyproject.toml": f"""
[tool.thebes]
projects = [".", "api"]
args = ["-k", "not left_out"]
shards = 2
[tool.thebes.gates.quality]
checks = ["test -d api"]
[tool.pytest.ini_options]
testpaths = ["tests"]
{QUIET}
""",
            "tests/test_a.py": "def test_a(): pass\ndef test_left_out(): assert 0\n",
            "tests/test_b.py": "def test_b(): pass\n",
            "api/pyproject.toml": f"""
[tool.thebes]
shards = 1
required-gates = ["security"]
[tool.thebes.gates.contract]
paths = ["checks"]
[tool.thebes.gates.quality]
checks = ["test -d checks"]
[tool.pytest.ini_options]
{QUIET}
""",
            "api/checks/test_c.py": "def test_c(): pass\ndef test_left_out(): pass\n",
            "api/checks/test_d.py": "def test_d(): pass\n",
        }
    )
    assert project.run().exit == 3
    assert by_suite(project) == {
        "unit": {"tests/test_a.py::test_a": "passed", "tests/test_b.py::test_b": "passed"},
        "api-contract": dict.fromkeys(
            ["checks/test_c.py::test_c", "checks/test_c.py::test_left_out", "checks/test_d.py::test_d"], "passed"
        ),
    }
    tasks = project.query("SELECT suite, count(*) FROM task GROUP BY suite")
    assert {suite.partition("-py")[0]: count for suite, count in tasks} == {
        "unit": 2,
        "api-contract": 1,
        "quality": 1,
        "api-quality": 1,
    }
    assert project.reasons() == {"gate-required": ["security"]}


def test_a_project_inside_another_is_collected_by_both_unless_kept_out(project: Project) -> None:
    root = "[tool.thebes]\nprojects = ['.', 'api']\n[tool.pytest.ini_options]\n" + QUIET
    project.write(
        {
            "pyproject.toml": root,
            "tests/test_a.py": "def test_a(): pass",
            "api/pyproject.toml": f"[tool.pytest.ini_options]\n{QUIET}",
            "api/tests/test_b.py": "def test_b(): pass",
        }
    )
    assert project.run().exit == 0
    twice = by_suite(project)
    assert list(twice["unit"]) == ["api/tests/test_b.py::test_b", "tests/test_a.py::test_a"]
    assert list(twice["api-unit"]) == ["tests/test_b.py::test_b"]
    project.write({"pyproject.toml": root + "norecursedirs = ['api']\n"})
    assert project.run().exit == 0
    assert by_suite(project) == {**twice, "unit": {"tests/test_a.py::test_a": "passed"}}


def test_which_gate_a_file_belongs_to(project: Project) -> None:
    project.write(
        {
            "pyproject.toml": f"""
[tool.thebes.gates.security]
marker = "guarded"
[tool.thebes.gates.database]
paths = ["tests/rows", "tests/unit/test_rows.py"]
marker = "not slow"
[tool.pytest.ini_options]
markers = ["guarded: x", "slow: y"]
{QUIET}
""",
            "tests/unit/test_a.py": "import pytest\n@pytest.mark.guarded\ndef test_g(): pass\ndef test_n(): pass\n",
            "tests/unit/test_rows.py": "def test_r(): pass\n",
            "tests/rows/test_d.py": "import pytest\ndef test_d(): pass\n@pytest.mark.slow\ndef test_slow(): pass\n",
            "tests/integration/deep/test_i.py": "def test_i(): pass\n",
            "tests/other/test_o.py": "def test_o(): pass\n",
        }
    )
    assert project.run("--shards", "1").exit == 0
    assert {suite: list(tests) for suite, tests in by_suite(project).items()} == {
        "unit": ["tests/other/test_o.py::test_o", "tests/unit/test_a.py::test_g", "tests/unit/test_a.py::test_n"],
        "security": ["tests/unit/test_a.py::test_g"],
        "database": ["tests/rows/test_d.py::test_d", "tests/unit/test_rows.py::test_r"],
        "integration": ["tests/integration/deep/test_i.py::test_i"],
    }
    assert {test for (test,) in project.query("SELECT id FROM deselected")} == {
        "tests/rows/test_d.py::test_slow",
        "tests/unit/test_a.py::test_n",
    }


def test_quarantine_and_policy_of_the_base(project: Project) -> None:
    entry = "[[tool.thebes.quarantine]]\ntest = 'tests/test_a.py::test_a'\nowner = 'ann'\nexpires = 2999-01-01\n"
    base = f"[tool.thebes]\nrequired-gates = ['security']\n[tool.pytest.ini_options]\n{QUIET}"
    project.write({"pyproject.toml": base, "tests/test_a.py": "def test_a(): assert 0\ndef test_b(): pass\n"})
    commit = project.commit()
    project.write({"pyproject.toml": f"[tool.pytest.ini_options]\n{QUIET}{entry}"})
    assert project.run().exit == 0
    assert project.reasons() == {"quarantined": ["tests/test_a.py::test_a"]}
    assert project.run("--base", commit).exit == 3
    assert project.reasons() == {"test-failed": ["tests/test_a.py::test_a"], "gate-required": ["security"]}
    assert [notice["subjects"] for notice in project.verdict()["notices"]] == [
        ["gate security no longer required", "tests/test_a.py::test_a put into quarantine"]
    ]
