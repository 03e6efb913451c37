"""Coverage that other tools measured (Cobertura's XML), in the same terms as coverage.py's data."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from thebes.foreign import FileCoverage, cobertura

from .detail import Detail, together

UNTOLD = -1_000_000_000  # a way out of a line that leads nobody knows where; the next is one less
LONG = 200_000  # characters of a source that are handed on for showing
DEPTH = 40

Ranges = Mapping[str, Sequence[tuple[int, int]]]


class Report(NamedTuple):
    """A coverage report that another tool wrote, for a suite."""

    suite: str
    gate: str
    path: Path


def read_reports(
    reports: Iterable[tuple[int, Report]], repository: Path, project: str, changed: Ranges | None
) -> dict[str, Detail]:
    """What the reports of a project's suites (by number) say of each source. FormatError names a report that breaks
    off."""
    found: dict[str, list[Detail]] = {}
    for number, report in reports:
        with report.path.open("rb") as stream:
            for file in cobertura(stream, report.path.name):
                path = located(file.path, repository, project)
                found.setdefault(path, []).append(_detail(file, number, None if changed is None else changed.get(path)))
    return {path: together(details) for path, details in found.items()}


def located(path: str, repository: Path, project: str) -> str:
    """The path in the repository that a report most likely means: the longest end of it that is a file here."""
    parts = [part for part in PurePosixPath(path.replace("\\", "/")).parts if part not in {"/", ".", ".."}][-DEPTH:]
    for start in range(len(parts)):
        for top in dict.fromkeys((project, ".")):
            name = PurePosixPath(top, *parts[start:])
            if (repository / name).is_file():
                return str(name)
    return str(PurePosixPath(*parts)) if parts else "(no name)"


def text_of(repository: Path, path: str) -> str:
    """The source, if it lies in the repository and is not too long to be shown."""
    file = (repository / path).resolve()
    if not file.is_relative_to(repository.resolve()) or not file.is_file() or file.stat().st_size > LONG:
        return ""
    return file.read_text("utf-8", "replace")


def _detail(file: FileCoverage, suite: int, ranges: Sequence[tuple[int, int]] | None) -> Detail:
    lines = sorted(file.lines)
    arcs = []
    for line, (taken, total) in sorted(file.branches.items()):
        arcs += [(line, UNTOLD - way, 1 if way < taken else 0) for way in range(min(total, 1000))]
    touched = None if ranges is None else [line for line in lines if any(a <= line <= b for a, b in ranges)]
    return Detail(
        measured=[suite],
        sets=[[], [suite]],
        statements=lines,
        covers=[1 if file.lines[line] else 0 for line in lines],
        excluded=[],
        exits={line: min(total, 1000) for line, (_, total) in sorted(file.branches.items()) if total},
        arcs=arcs,
        changed=touched,
    )
