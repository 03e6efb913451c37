"""Coverage of all tasks together: any line that any task executed counts.

The user's own Python combines the data and tells the statements and branches of every source, see `theirs`: its
coverage.py has the plug-ins and reads the configuration. Each source is parsed once; totals, gates, the page and all
files for other tools follow from that.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple, Protocol

import msgspec

from thebes.errors import FormatError
from thebes.model import Plan, Project, Suite
from thebes.run.attempt import COVERAGE

from .detail import Detail, Figures, figures, pack, reached, share, together, unpack
from .reports import Report, read_reports, text_of

__all__ = ["Detail", "Figures", "Left", "Report", "cover", "figures", "reached", "share", "together", "unpack"]

THEIRS = Path(__file__).with_name("theirs.py")
DATA = re.compile(r"\.coverage(\.[^/]+)?")
MOST_PARTS = 8
NOT_A_PATH = re.compile(r"[*?\[\]{}\\]")

Changed = Mapping[str, Sequence[tuple[int, int]]]


class Left(NamedTuple):
    """What a task's deciding attempt left: its folder, the root directory that pytest had there, and where our plug-in
    was."""

    folder: Path
    rootdir: str
    plugin: str = ""


class Sink(Protocol):
    """Takes the rows of run.db."""

    def coverage(self, project: str, gate: str, found: Figures | None, text: str) -> None: ...
    def coverage_suites(self, suites: Sequence[str]) -> None: ...
    def coverage_file(self, project: str, file: str, found: Figures, detail: bytes, source: str) -> None: ...


def cover(
    plan: Plan,
    left: Mapping[str, Left],
    out: Path,
    sink: Sink,
    *,
    repository: Path,
    pythons: Mapping[str, str],
    changed: Changed | None = None,
    reports: Sequence[Report] = (),
) -> None:
    """Combine the coverage data that the tasks left, and give rows to `sink`: one for each gate and project that
    measured or should have, one for each source. Leaves the combined data of each project in `out`.

    `changed`: lines that the change touched, by path in the repository; None where nobody asked.
    `reports`: what other tools measured; it counts beside the data for the project and the gate of its suite.
    """
    files = _data(plan, left)
    suites = _suites(plan, files, reports)
    numbers = {suite.id: number for number, suite in enumerate(suites)}
    sink.coverage_suites(list(numbers))
    known = {project.path: project for project in plan.projects}
    root = Project(path=".", rootdir=".", inipath=None)
    for position, path in enumerate(dict.fromkeys((*known, "."))):
        mine = {numbers[suite.id]: suite for suite in suites if suite.project == path}
        if not mine:
            continue
        project = known.get(path, root)
        task = _Task(
            project=project,
            # Not .coverage.N: coverage.py takes that for a part of .coverage.
            name=COVERAGE if path == "." else f"{COVERAGE}-{position}",
            data={number: files[suite.id] for number, suite in mine.items() if suite.id in files},
            reports=[(numbers[report.suite], report) for report in reports if numbers[report.suite] in mine],
            out=out,
            repository=repository,
            python=pythons.get(path),
            changed=changed,
            elsewhere=_elsewhere(project, plan, left),
            ours=sorted(_ours(left, repository)),
        )
        _cover_project(task, {number: suite.gate for number, suite in mine.items()}, sink)


def _suites(plan: Plan, files: Mapping[str, object], reports: Sequence[Report]) -> list[Suite]:
    """The suites that measured or should have; a report may be of one that the plan does not know."""
    reported = {report.suite: report.gate for report in reports}
    suites = [suite for suite in plan.suites if suite.id in files or suite.coverage or suite.id in reported]
    planned = {suite.id for suite in suites}
    others = [(suite, gate) for suite, gate in sorted(reported.items()) if suite not in planned]
    return [*suites, *(Suite(id=suite, project=".", gate=gate, python="") for suite, gate in others)]


def _cover_project(task: "_Task", gate_of: Mapping[int, str], sink: Sink) -> None:
    """Rows for one project: its sources, then all gates together, then each gate."""
    measured = set(task.data) | {number for number, _ in task.reports}
    gates = {"": measured} | {
        gate: {number for number in measured if gate_of[number] == gate} for gate in sorted(set(gate_of.values()))
    }
    totals: dict[str, Figures] = {}
    problem = ""
    try:
        for path, detail, source in _sources(task):
            sink.coverage_file(task.project.path, path, figures(detail, measured), pack(detail), source)
            for gate, among in gates.items():
                if among.intersection(detail.measured):
                    totals[gate] = totals.get(gate, Figures()) + figures(detail, among)
    except (_CoverageError, FormatError) as error:
        problem = str(error)[:500]
    for gate, among in gates.items():
        why = problem or _why_not(among, totals.get(gate))
        sink.coverage(task.project.path, gate, None if why else totals[gate], why)


def _sources(task: "_Task") -> Iterator[tuple[str, Detail, str]]:
    """Path, detail and text of every source, whoever measured it."""
    reported = read_reports(task.reports, task.repository, task.project.path, task.changed)
    for line in _analysed(task):
        _hold_against(line, figures(line, task.data))
        detail = _bare(line)
        yield line.file, together([detail, reported.pop(line.file)]) if line.file in reported else detail, line.source
    for path, detail in reported.items():
        yield path, detail, text_of(task.repository, path)


class _CoverageError(Exception):
    """Coverage of a project can't be told."""


def _hold_against(line: "_Line", found: Figures) -> None:
    """Two ways of counting must agree; a coverage.py that counts otherwise shows here, not in a wrong figure."""
    if found[:4] != tuple(line.total):
        raise _CoverageError(f"{line.file}: {found[:4]} counted here, {line.total} by coverage.py")


class _Line(Detail, kw_only=True):
    """What `theirs` tells of one source; `total` is what coverage.py itself counts for all suites together."""

    file: str
    source: str
    total: list[int]


class _End(msgspec.Struct):
    end: str | None
    parts: int


class _Task(NamedTuple):
    """The data of one project by number of the suite, and where everything is."""

    project: Project
    name: str
    data: Mapping[int, Sequence[Path]]
    reports: Sequence[tuple[int, Report]]
    out: Path
    repository: Path
    python: str | None
    changed: Changed | None
    elsewhere: Sequence[str]
    ours: Sequence[str]


def _bare(line: _Line) -> Detail:
    return Detail(**{name: getattr(line, name) for name in Detail.__struct_fields__})


def _why_not(among: set[int], found: Figures | None) -> str:
    if not among:
        return "no task left coverage data; is pytest-cov installed where the tests run?"
    return "" if found else "no source was measured; see coverage's `source`, `include` and `omit`"


def _data(plan: Plan, left: Mapping[str, Left]) -> dict[str, list[Path]]:
    """Data files by suite. Parts that a killed worker left uncombined count too, if anything is in them; links are
    not followed."""
    found: dict[str, list[Path]] = {}
    for task in plan.tasks:
        if task.id not in left:
            continue
        for path in sorted(left[task.id].folder.glob(f"{COVERAGE}*")):
            part = path.name != COVERAGE
            if DATA.fullmatch(path.name) and _is_own_file(path) and not (part and _is_leftover(path)):
                found.setdefault(task.suite, []).append(path.resolve())
    return found


def _is_own_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _is_leftover(path: Path) -> bool:
    return path.name.endswith("-journal") or not path.stat().st_size


def _elsewhere(project: Project, plan: Plan, left: Mapping[str, Left]) -> list[str]:
    """Where other machines had the repository, as far as the root directory that pytest told there shows it."""
    suites = {suite.id for suite in plan.suites if suite.project == project.path}
    roots = {left[task.id].rootdir for task in plan.tasks if task.suite in suites and task.id in left}
    found = {_above(root, project.rootdir) for root in roots}
    return sorted(root for root in found if len(PurePosixPath(root).parts) > 2 and not NOT_A_PATH.search(root))


def _ours(left: Mapping[str, Left], repository: Path) -> set[str]:
    """Folders of our plug-in, which coverage.py takes for the project's where that measures whatever it meets; but not
    those that are a part of the repository."""
    folders = {one.plugin for one in left.values() if one.plugin}
    inside = str(repository.resolve()) + os.sep
    return {folder for folder in folders if not folder.startswith(inside) or "site-packages" in folder}


def _above(rootdir: str, inner: str) -> str:
    """`rootdir` without its last part `inner`; empty if it does not end so."""
    if inner == ".":
        return rootdir
    return rootdir.removesuffix(f"/{inner}") if rootdir.endswith(f"/{inner}") else ""


def _analysed(task: _Task) -> Generator[_Line]:
    """The sources of a project. _CoverageError: they can't be told, or not all of them."""
    if not task.data:
        return
    data = (task.out / task.name).resolve()
    data.unlink(missing_ok=True)  # of an earlier merge
    here = str(task.repository.resolve())
    with tempfile.TemporaryDirectory(prefix="thebes-coverage-") as scratch:
        told = {
            "data": str(data),
            "scratch": scratch,
            "suites": [[number, [str(file) for file in files]] for number, files in task.data.items()],
            "repository": here,
            "elsewhere": [root for root in task.elsewhere if root != here],
            "ours": task.ours,
            "changed": task.changed,
            "parts": min(MOST_PARTS, _processors()),
        }
        instructions = Path(scratch, "told.json")
        instructions.write_text(json.dumps(told), "utf-8")
        done = subprocess.run(
            [_python(task.python), str(THEIRS), str(instructions)],
            cwd=task.repository / task.project.path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        number, parts = 0, 1
        while number < parts:
            end = yield from _read(Path(scratch, f"part-{number}.jsonl"), done.stderr)
            if end.end is not None:
                raise _CoverageError(end.end)
            number, parts = number + 1, max(parts, end.parts)


def _read(path: Path, said: str) -> Generator[_Line, None, _End]:
    """The sources in one file of `theirs`; returns its last line."""
    sources = msgspec.json.Decoder(_Line)
    last = b""
    try:
        with path.open("rb") as file:
            for raw in file:
                if last:
                    yield sources.decode(last)
                last = raw
        return msgspec.json.decode(last, type=_End)
    except (msgspec.MsgspecError, UnicodeDecodeError, FileNotFoundError):
        raise _CoverageError(_last_line(said)) from None


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _python(theirs: str | None) -> str:
    if theirs:
        probe = subprocess.run([theirs, "-c", "import coverage"], capture_output=True, check=False)
        if probe.returncode == 0:
            return theirs
    return sys.executable


def _last_line(text: str) -> str:
    return text.strip().rpartition("\n")[2][:500] or "coverage said nothing"
