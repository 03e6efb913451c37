"""What ships: the wheel, built once and installed into clean environments, does the whole job there."""

import subprocess
import sys
from pathlib import Path

import pytest

from support.project import REPOSITORY, Project


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(REPOSITORY)]
    subprocess.run(command, check=True, capture_output=True)
    (found,) = folder.glob("*.whl")
    return found


def make_environment(folder: Path, *installed: str) -> Path:
    """A new environment with `installed`; returns its Python."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin" / "python"
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", *installed], check=True, capture_output=True)
    return python


def test_the_wheel_in_an_environment_of_its_own(project: Project, wheel: Path) -> None:
    """Two environments: the command line in one, the user's tests and nothing of ours in the other."""
    tool = make_environment(project.root / "tool", f"{wheel}[cli]")
    user = make_environment(project.root / "user", "pytest")
    project.write(
        {"project/tests/test_a.py": "def test_it(): pass\n", "project/tests/test_b.py": "def test_no(): assert 0\n"}
    )
    command = tool.with_name("thebes")
    done = project.command(
        str(command), "run", "--shards", "2", "--out", str(project.out), "--interpreter", str(user),
        folder=project.root / "project",
    )  # fmt: skip
    assert done.exit == 1, done.stderr
    assert project.outcomes() == {"tests/test_a.py::test_it": "passed", "tests/test_b.py::test_no": "failed"}
    assert (project.out / "report.html").stat().st_size > 1000
    assert project.command(str(command), "--version").stdout.startswith("thebes ")


def test_the_plug_in_alone_needs_only_pytest_and_is_silent(project: Project, wheel: Path) -> None:
    """`pip install thebes` beside the tests changes nothing there, and a run uses its own copy."""
    user = make_environment(project.root / "user", str(wheel))
    listed = project.command(str(user), "-m", "pip", "list", "--format=freeze").stdout
    assert "msgspec" not in listed
    assert "click" not in listed
    project.write(
        {"project/test_a.py": "import sys\ndef test_it(): assert 'thebes_plugin.install' not in sys.modules\n"}
    )
    done = project.command(str(user), "-m", "pytest", "-q", folder=project.root / "project")
    assert done.exit == 0, done.stdout
    # Who calls it there is told what to install, with none of the command line's libraries and with one.
    for missing in ("click", "msgspec"):
        if missing == "msgspec":
            subprocess.run([str(user), "-m", "pip", "install", "--quiet", "click"], check=True)
        for command in ([str(user.with_name("thebes"))], [str(user), "-m", "thebes"]):
            done = project.command(*command, "run", folder=project.root / "project")
            assert done.exit == 2
            assert done.stderr.startswith(
                f"thebes: {missing} is not installed in {user.parents[1]}: the command line needs"
            )
            assert done.stderr.count("\n") == 1
    project.write({"project/test_a.py": "def test_it(): pass\n"})
    done = project.thebes("run", "--out", str(project.out), "--interpreter", str(user), folder=project.root / "project")
    assert done.exit == 0, done.stderr
