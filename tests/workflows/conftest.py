"""What the tests of the workflows share: a copy of the kit and the stand-ins, made once; act on a consumer."""

import sysconfig
from pathlib import Path

import pytest

from support.project import Project
from workflows import acting
from workflows.acting import PYTHON, Consumer


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Path], Path]:
    """The kit as fetched, the stand-ins, and caches that one run leaves for the next."""
    place = tmp_path_factory.mktemp("github")
    return acting.kit(place / "kit"), acting.standins(place / "standins"), place / "caches"


@pytest.fixture
def act(tmp_path: Path, made: tuple[Path, dict[str, Path], Path]) -> acting.Act:
    kit, actions, caches = made
    caches.mkdir(exist_ok=True)
    store = tmp_path / "store"
    store.mkdir()
    (store / "caches").symlink_to(caches)
    return acting.Act(tmp_path / "act", kit, actions, store)


# Instead of half a minute of pip: the packages of the environment that these tests run in. One test has real pip.
INSTALL = f"""
import pathlib, sysconfig
pathlib.Path(sysconfig.get_path("purelib"), "here.pth").write_text({sysconfig.get_path("purelib")!r})
"""
CALLER = f"""
on: [pull_request, push, merge_group]
permissions: {{}}
jobs:
  gates:
    uses: {acting.GATES}
    permissions:
      contents: read
      actions: read
"""


@pytest.fixture
def consumer(tmp_path: Path) -> Consumer:
    """Makes a small repository that calls the workflow with the given inputs; two shards and a check."""

    def make(inputs: dict[str, str] | None = None, files: dict[str, str] | None = None) -> Project:
        project = Project(tmp_path / "consumer")
        given = {"install": "python install.py", **(inputs or {})}
        caller = CALLER + "    with:\n" + "".join(f"      {name}: {value}\n" for name, value in given.items())
        project.write(
            {
                ".github/workflows/ci.yml": caller,
                "pyproject.toml": f"""
                    [tool.thebes]
                    python = ["{PYTHON}"]
                    shards = 2
                    [tool.thebes.gates.quality]
                    checks = ["python -m compileall -q tests"]
                    """,
                "install.py": INSTALL,
                "tests/unit/test_a.py": """
                    def test_one():
                        print("::error::this is no command")
                    """,
                "tests/unit/test_b.py": "def test_two(): pass\n",
                ".gitignore": ".venv\n__pycache__\n",
                **(files or {}),
            }
        )
        project.commit()
        return project

    return make
