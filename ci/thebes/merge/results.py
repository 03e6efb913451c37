"""Results of other tools → run.db: JUnit XML, SARIF, pytest-benchmark's JSON, Cobertura's coverage XML.

They come from the folder `results` that a task was given, or by name from anywhere else. What is intact is kept; what
is not makes the gate INVALID.
"""

import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple, Protocol

from thebes import foreign
from thebes.errors import FormatError
from thebes.foreign import Case, Kind
from thebes.model import Finding
from thebes.run.attempt import RESULTS

from .proof import Problem

FILES = 1000  # of one task
BATCH = 500
BATCH_TEXT = 4 << 20
SUBJECTS = 1000


class Given(NamedTuple):
    """A file of results, and the suite and task that it belongs to."""

    suite: str
    task: str
    attempt: int
    path: Path


class Sink(Protocol):
    """Takes the rows of run.db."""

    def cases(self, given: Given, cases: Iterable[tuple[str, str, Case]]) -> None: ...
    def finding(self, task: str, line: Finding) -> None: ...
    def benchmarks(self, given: Given, found: Iterable[foreign.Benchmark]) -> None: ...


def of_task(suite: str, task: str, attempt: int, folder: Path) -> Iterator[Given]:
    """The files that a task left in its folder for results, sorted. Links are not followed: artifacts are hostile."""
    top = folder / RESULTS
    if top.is_symlink():
        return
    for name, folders, files in os.walk(top):
        folders.sort()
        for file in sorted(files):
            path = Path(name, file)
            if path.suffix.lower() in foreign.SUFFIXES and path.is_file() and not path.is_symlink():
                yield Given(suite, task, attempt, path)


def is_coverage(given: Given) -> bool:
    try:
        return foreign.kind_of(given.path) == Kind.COBERTURA
    except (FormatError, OSError):
        return False


def read(given: Iterable[Given], sink: Sink) -> Iterator[tuple[Given, Problem]]:
    """Hand over what the files hold, and yield what is wrong with them or in them. Coverage is only looked through."""
    given = iter(given)
    for one in islice(given, FILES):
        try:
            yield from ((one, problem) for problem in _read(one, sink))
        except (FormatError, OSError) as error:
            yield one, _broken(one, str(error))
    if left := next(given, None):
        yield left, _broken(left, f"more than {FILES} files of results")


def _broken(given: Given, text: str) -> Problem:
    return Problem("results-broken", given.task, given.path.name[:200], text[:500])


def _read(given: Given, sink: Sink) -> Iterator[Problem]:
    path = given.path
    match foreign.kind_of(path):
        case Kind.JUNIT:
            with path.open("rb") as stream:
                yield from _cases(given, sink, foreign.junit(stream, path.name))
        case Kind.COBERTURA:
            with path.open("rb") as stream:
                for _ in foreign.cobertura(stream, path.name):
                    pass
        case Kind.SARIF:
            yield from _sarif(given, sink, foreign.sarif(path.read_bytes(), path.name))
        case Kind.BENCHMARKS:
            sink.benchmarks(given, foreign.benchmarks(path.read_bytes(), path.name))


def _cases(given: Given, sink: Sink, cases: Iterator[Case]) -> Iterator[Problem]:
    """FormatError comes after what is intact."""
    some = False
    for batch in _batches(cases):
        some = True
        sink.cases(given, [(*_names(case, given), case) for case in batch])
    if not some:
        yield Problem("results-broken", given.task, given.path.name[:200], "no test in it")


def _batches(cases: Iterator[Case]) -> Iterator[list[Case]]:
    """Some cases at a time, fewer where they have a lot to say. What came before a FormatError is handed out first."""
    batch: list[Case] = []
    size = 0
    broken: FormatError | None = None
    while not broken:
        try:
            case = next(cases, None)
        except FormatError as error:
            broken, case = error, None
        if case:
            batch.append(case)
            size += len(case.text) + len(case.output)
        if batch and (case is None or len(batch) >= BATCH or size >= BATCH_TEXT):
            yield batch
            batch, size = [], 0
        if case is None:
            break
    if broken:
        raise broken


def _names(case: Case, given: Given) -> tuple[str, str]:
    """File and id of a case. An id begins with its file, or with whatever comes nearest to one."""
    file = case.file or case.classname or case.suite or given.path.name
    inner = case.classname if case.file and not _is_module(case) else ""
    return file, "::".join(filter(None, (file, inner, case.name or "(no name)")))


def _is_module(case: Case) -> bool:
    """Does the class name only repeat the file, as in `tests.test_a` of `tests/test_a.py`?"""
    stem, dot, suffix = case.file.rpartition(".")
    return case.classname.replace(".", "/") in {case.file, stem if dot and "/" not in suffix else case.file}


def _sarif(given: Given, sink: Sink, found: foreign.Sarif) -> Iterator[Problem]:
    """An error fails the gate; a tool that did not come to its own end proves nothing."""
    for finding in found.findings:
        sink.finding(given.task, finding)
    errors = [finding for finding in found.findings if finding.severity == "error"]
    for finding in errors[:SUBJECTS]:
        place = f"{finding.file}:{finding.line}" if finding.line else finding.file
        yield Problem("finding-error", given.task, place[:500], f"{finding.rule} {finding.text}"[:300])
    if len(errors) > SUBJECTS:
        yield Problem("finding-error", given.task, given.path.name[:200], f"{len(errors) - SUBJECTS:,} more")
    for tool in found.failed:
        yield _broken(given, f"{tool[:200] or 'the tool'} did not come to its own end")
