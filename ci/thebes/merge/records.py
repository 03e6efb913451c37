"""Finds records and reads them, however they ended. Records are other people's bytes: bounded, never trusted."""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

from thebes.codec import UNDECODABLE, decode_line
from thebes.model import (
    FORMAT,
    Benchmark,
    Closing,
    Collected,
    Crash,
    Deselected,
    End,
    FileResult,
    Finding,
    Finish,
    Header,
    Leak,
    Limit,
    Measuring,
    Note,
    Outcome,
    Output,
    Phase,
    Renamed,
    Resume,
    Sample,
    Session,
    Shared,
    Start,
)
from thebes.run.attempt import RECORD

ATTEMPT_FOLDER = re.compile(r"thebes-(?P<task>.+)-a(?P<attempt>\d{1,9})")
LINE_LIMIT = 16 << 20
RED = frozenset({Outcome.FAILED, Outcome.ERROR, Outcome.CRASHED})

T = TypeVar("T")


class Place(NamedTuple):
    """A record, or a folder that should hold one (`record` is None)."""

    folder: Path
    record: Path | None


def find(folders: Iterable[Path]) -> list[Place]:
    """Records and attempt folders below `folders`, sorted. Symbolic links are not followed: artifacts are hostile."""
    found: dict[Path, Place] = {}
    for top in folders:
        for name, _, files in os.walk(top):
            folder = Path(name)
            record = folder / RECORD
            if RECORD in files and not record.is_symlink():
                found[folder] = Place(folder, record)
            elif ATTEMPT_FOLDER.fullmatch(folder.name):
                found[folder] = Place(folder, None)
    return [found[folder] for folder in sorted(found)]


def header(path: Path) -> Header | str:
    """The first line of a record, or why it is none."""
    try:
        with path.open("rb") as file:
            first = file.readline(LINE_LIMIT)
        line = decode_line(first)
    except OSError as error:
        return error.strerror or "can't be read"
    except UNDECODABLE as error:
        return f"its first line is not a header: {error}"
    if not isinstance(line, Header):
        return f"its first line is of kind {type(line).__name__.lower()}, not header"
    if line.schema != FORMAT:
        return f"format {line.schema}, this version reads format {FORMAT}"
    return line


def fingerprint(path: Path) -> bytes:
    """Tells two records with the same header apart."""
    digest = blake2b(digest_size=16)
    with path.open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.digest()


@dataclass(kw_only=True, slots=True)
class Facts:
    """What one record says. Texts of phases, findings, samples and leaks went to their sinks and are not kept.

    `leaking`: tests that are errors for what they left behind.
    `died`: the last session of pytest died, and the record says of what. `done`: how many tests had ended before the
    last session of pytest, where there were several.
    """

    header: Header
    session: Session | None = None
    measuring: Measuring | None = None
    shared: list[Shared] = field(default_factory=list)
    collected: dict[str, Collected] = field(default_factory=dict)
    disagreeing: list[str] = field(default_factory=list)
    deselected: set[str] = field(default_factory=set)
    files: list[FileResult] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    running: dict[str, float] = field(default_factory=dict)
    ended: dict[str, End] = field(default_factory=dict)
    earlier: dict[str, list[End]] = field(default_factory=dict)
    crashes: list[Crash] = field(default_factory=list)
    limited: set[str] = field(default_factory=set)
    limits: dict[str, Limit] = field(default_factory=dict)
    benchmarks: dict[str, Benchmark] = field(default_factory=dict)
    leaking: set[str] = field(default_factory=set)
    died: bool = False
    done: int = 0
    finish: Finish | None = None
    finishes: list[Finish] = field(default_factory=list)
    output: str = ""
    closing: Closing | None = None
    broken: str | None = None


class Sinks(NamedTuple):
    """Where the lines go that are not kept: a phase with the number of its attempt, findings, samples, leaks."""

    phase: Callable[[str, int, Phase], None]
    finding: Callable[[Finding], None]
    sample: Callable[[Sample], None]
    leak: Callable[[str, Leak], None]


def read(path: Path, first: Header, sinks: Sinks) -> Facts:
    """Everything the record says, up to wherever it breaks off."""
    facts = Facts(header=first)
    names: dict[str, str] = {}
    count = 0
    with path.open("rb") as file:
        for count, raw in enumerate(_lines(file.readline)):
            try:
                line = decode_line(raw if raw.endswith(b"\n") else b"")  # a line is whole with its line feed
            except UNDECODABLE as error:
                facts.broken = facts.broken or f"line {count + 1}: {error}"
                continue
            if isinstance(line, Start):
                facts.running[names.get(line.id, line.id)] = line.at
            elif isinstance(line, End):
                _end(facts, names.get(line.id, line.id), line)
            elif isinstance(line, Phase | Finding | Sample | Leak):
                _pass_on(facts, line, names, sinks)
            elif isinstance(line, Renamed):
                names.update(line.ids)
            elif not isinstance(line, Header):
                _rest(facts, line, names)
    _fail_for_leaks(facts)
    if facts.closing and facts.closing.lines != count and not facts.broken:
        facts.broken = f"{count} lines before the closing line, which counted {facts.closing.lines}"
    return facts


def _fail_for_leaks(facts: Facts) -> None:
    """At the end, because what a test left may be known long after its own end."""
    for test in facts.leaking & facts.ended.keys():
        if facts.ended[test].outcome not in RED:
            facts.ended[test] = msgspec.structs.replace(facts.ended[test], outcome=Outcome.ERROR)


def _pass_on(facts: Facts, line: Phase | Finding | Sample | Leak, names: dict[str, str], sinks: Sinks) -> None:
    match line:
        case Phase():
            test = names.get(line.id, line.id)
            if line.outcome == Outcome.CRASHED and test in facts.limits:
                return  # the process was killed for the limit, which has its phase already
            running = test in facts.running or test not in facts.ended  # what a test left may be told after its end
            sinks.phase(test, _attempts(facts, test) + running, line)
        case Finding():
            sinks.finding(line)
        case Sample():
            sinks.sample(line)
        case Leak():
            test = names.get(line.id, line.id)
            sinks.leak(test, line)
            if line.fails:
                facts.leaking.add(test)


def _lines(readline: Callable[[int], bytes]) -> Iterator[bytes]:
    while line := readline(LINE_LIMIT):
        yield line


def _attempts(facts: Facts, test: str) -> int:
    return len(facts.earlier.get(test, ())) + (test in facts.ended)


def _end(facts: Facts, test: str, line: End) -> None:
    started = facts.running.pop(test, None)
    if line.outcome == Outcome.CRASHED and started and not any(line.durations):  # xdist does not tell
        line = msgspec.structs.replace(line, at=started, durations=(0.0, max(0.0, line.at - started), 0.0))
    if facts.limits.pop(test, None):
        facts.died = True
        line = msgspec.structs.replace(line, outcome=Outcome.FAILED)
    if (before := facts.ended.get(test)) is not None:
        facts.earlier.setdefault(test, []).append(before)
    facts.ended[test] = line
    if line.rerun:
        facts.running[test] = line.at


def _rest(facts: Facts, line: object, names: dict[str, str]) -> None:
    match line:
        case Collected():
            _collected(facts, line)
        case Deselected():
            facts.deselected.update(line.ids)
        case FileResult():
            _once(facts.files, line)
        case Note():
            _once(facts.notes, line)
        case Limit():
            facts.limits[names.get(line.id, line.id)] = line
            facts.limited.add(line.worker)
        case Benchmark():
            facts.benchmarks[line.id] = line  # of several attempts the last
        case Shared():
            facts.shared.append(_collected_names(line, names))
        case Crash():
            _crash(facts, msgspec.structs.replace(line, id=names.get(line.id, line.id)))
        case _:
            _whole(facts, line)


def _collected_names(line: Shared, names: dict[str, str]) -> Shared:
    """With the ids that tests had when they were collected."""
    if not names:
        return line
    users = {
        file: tests and tuple(names.get(f"{file}::{test}", test).removeprefix(f"{file}::") for test in tests)
        for file, tests in line.users.items()
    }
    return msgspec.structs.replace(line, test=names.get(line.test, line.test), users=users)


def _whole(facts: Facts, line: object) -> None:
    """What a line says of a session of pytest, or of the task."""
    match line:
        case Session():
            facts.session = line
        case Measuring():
            facts.measuring = line
        case Resume():
            facts.running.clear()
            if facts.finish:
                facts.finishes.append(facts.finish)
            facts.done, facts.finish, facts.died = line.done, None, False
        case Finish():
            facts.finish = line
        case Output():
            facts.output = line.text
        case Closing():
            facts.closing = line


def _crash(facts: Facts, line: Crash) -> None:
    """A process that was killed for a limit did not crash, also where the test came to its end just then."""
    facts.died = True
    if line.id not in facts.limits and (line.id or not line.worker or line.worker not in facts.limited):
        facts.crashes.append(line)


def _once(known: list[T], line: T) -> None:
    """Each session of pytest says it anew."""
    if line not in known:
        known.append(line)


def _collected(facts: Facts, line: Collected) -> None:
    """A worker that replaced the first collects again: the same tests, or the file is not stable."""
    known = facts.collected.get(line.file)
    if known is None:
        facts.collected[line.file] = line
    elif set(known.ids) != set(line.ids):
        facts.disagreeing.append(line.file)
