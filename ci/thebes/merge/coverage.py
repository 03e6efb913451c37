"""Coverage of all tasks together: any line that any task executed counts.

The data is combined by coverage.py itself, in processes of its own, with the project's own configuration: by the
coverage of the user's Python where there is one, because that configuration may name plug-ins that only it has.
"""

import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from thebes.model import Plan
from thebes.run.task import COVERAGE

Row = tuple[str, str, float | None, str]


def combine(
    plan: Plan, folders: Mapping[str, Path], out: Path, repository: Path, pythons: Mapping[str, str]
) -> Iterable[Row]:
    """Rows of run.db's table `coverage`: one for each gate and project that measured or should have.

    `folders`: where each task's deciding attempt left its files. Leaves `out`/.coverage and one file for each row.
    """
    suites = {suite.id: suite for suite in plan.suites}
    data: dict[tuple[str, str], list[Path]] = {
        (suite.project, suite.gate): [] for suite in plan.suites if suite.coverage
    }
    for task in plan.tasks:
        file = folders[task.id] / COVERAGE if task.id in folders else None
        if file and file.is_file():
            suite = suites[task.suite]
            for gate in (suite.gate, ""):
                data.setdefault((suite.project, gate), []).append(file)
    for position, ((project, gate), files) in enumerate(sorted(data.items())):
        # Not .coverage.N: coverage.py takes that for a part of .coverage.
        name = COVERAGE if (project, gate) == (".", "") else f"{COVERAGE}-{position}"
        tool = Tool(_python(pythons.get(project)), repository / project, (out / name).resolve())
        percent, text = _total(tool, files)
        yield project, gate, percent, text


class Tool(NamedTuple):
    """coverage.py as a command: the Python that has it, the folder whose configuration counts, the data file."""

    python: str
    folder: Path
    data: Path

    def __call__(self, command: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [self.python, "-m", "coverage", command, f"--data-file={self.data}", *arguments],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )


def _python(theirs: str | None) -> str:
    if theirs:
        probe = subprocess.run([theirs, "-c", "import coverage"], capture_output=True, check=False)
        if probe.returncode == 0:
            return theirs
    return sys.executable


def _total(tool: Tool, files: Sequence[Path]) -> tuple[float | None, str]:
    """Percentage over `files`, or None and why it can't be told."""
    if not files:
        return None, "no task left coverage data; is pytest-cov installed where the tests run?"
    tool.data.unlink(missing_ok=True)  # of an earlier merge
    done = tool("combine", "--keep", "-q", *(str(file.resolve()) for file in files))
    if done.returncode:
        return None, _last_line(done.stdout)
    done = tool("report", "--format=total", "--precision=2", "--fail-under=0")
    try:
        return float(_last_line(done.stdout)), ""
    except ValueError:
        return None, _last_line(done.stdout)


def _last_line(text: str) -> str:
    return text.strip().rpartition("\n")[2][:500] or "coverage said nothing"
