"""The oldest supported pytest and plug-ins: the same flow, the same answers."""

import json
from pathlib import Path

import pytest

from integration.test_flow import EVERY_OUTCOME
from support.project import REPOSITORY, Project

OLDEST = REPOSITORY / ".venv-oldest"


@pytest.fixture
def oldest() -> Path:
    """Made by `make test`; its absence is a mistake in the set-up, never a reason to skip."""
    python = OLDEST / "bin" / "python"
    assert python.exists(), "no .venv-oldest; `make .venv-oldest/ready` makes it"
    return python


@pytest.mark.parametrize("workers", ["0", "2"])
def test_every_outcome(project: Project, oldest: Path, workers: str) -> None:
    project.write(EVERY_OUTCOME)
    environment = {"VIRTUAL_ENV": str(OLDEST)}
    assert project.run("--shards", "2", "--workers", workers, env=environment).exit == 1
    old = project.outcomes()
    assert project.run("--shards", "2", "--workers", workers).exit == 1
    assert project.outcomes() == old


def test_groups_of_xdist_and_reruns(project: Project, oldest: Path) -> None:
    """Before pytest 9, `--dist loadgroup` appends the group to the ids."""
    project.write(
        {
            "pytest.ini": "[pytest]\naddopts = --reruns 1 --dist loadgroup\n",
            "tests/test_a.py": """
            import time, pytest
            @pytest.fixture(scope="module")
            def costly(): time.sleep(0.2)  # a fixture that is told with its users takes 0.1 s
            @pytest.mark.xdist_group("one")
            @pytest.mark.parametrize("n", ["a@b", "c"])
            def test_grouped(n, costly): pass
            def test_fails(): assert 0
            """,
        }
    )
    assert project.run("--shards", "2", "--workers", "2", env={"VIRTUAL_ENV": str(OLDEST)}).exit == 1
    assert project.outcomes() == {
        "tests/test_a.py::test_grouped[a@b]": "passed",
        "tests/test_a.py::test_grouped[c]": "passed",
        "tests/test_a.py::test_fails": "failed",
    }
    [(users,)] = project.query("SELECT users FROM shared")
    assert sorted(json.loads(users)["tests/test_a.py"]) == ["test_grouped[a@b]", "test_grouped[c]"]
    assert project.query("SELECT attempts FROM test WHERE outcome = 'failed'") == [(2,)]
