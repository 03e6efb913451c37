"""Coverage of all tasks together: any line that any task executed counts.

The data is combined by coverage.py itself, in processes of its own, with the project's own configuration.
"""

import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ..model import Plan
from ..run.task import COVERAGE

Row = tuple[str, str, float | None, str]


def combine(plan: Plan, folders: Mapping[str, Path], out: Path, repository: Path) -> Iterable[Row]:
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
        name = COVERAGE if (project, gate) == (".", "") else f"{COVERAGE}.{position}"
        percent, text = _total(files, out / name, repository / project)
        yield project, gate, percent, text


def _total(files: Sequence[Path], target: Path, folder: Path) -> tuple[float | None, str]:
    """Percentage over `files`, or None and why it can't be told."""
    if not files:
        return None, "no task left coverage data; is pytest-cov installed where the tests run?"
    paths = [str(file.resolve()) for file in files]
    done = _coverage(folder, "combine", "--keep", "-q", f"--data-file={target.resolve()}", *paths)
    if done.returncode:
        return None, _last_line(done.stdout)
    done = _coverage(
        folder, "report", "--format=total", "--precision=2", "--fail-under=0", f"--data-file={target.resolve()}"
    )
    try:
        return float(done.stdout.strip().rpartition("\n")[2]), ""
    except ValueError:
        return None, _last_line(done.stdout)


def _coverage(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "coverage", *arguments],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )


def _last_line(text: str) -> str:
    return text.strip().rpartition("\n")[2][:500] or "coverage said nothing"
