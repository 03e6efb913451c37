"""What the record of a shard says so far, as its parent needs to know while it runs: who runs what, what is left."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from thebes.codec import UNDECODABLE, decode_line
from thebes.model import (
    Collected,
    Collecting,
    Crash,
    Deselected,
    End,
    Finish,
    Limit,
    Outcome,
    Process,
    Renamed,
    Session,
    Start,
)

RED = frozenset({Outcome.FAILED, Outcome.ERROR, Outcome.CRASHED})
SAMPLE = b'{"kind":"sample"'  # written by us, whatever the tests do
SKIPPED = (b'{"kind":"phase"', b'{"kind":"note"', SAMPLE, b'{"kind":"file"', b'{"kind":"leak"')


@dataclass(slots=True, kw_only=True)
class Running:
    """A test that runs, or a file that is being collected (`test` is false). `since`: when we first saw it, by our
    own clock, because the tests may change theirs; `at`: what they said. `limits`: how often the record says that it
    went over a limit."""

    id: str
    worker: str
    since: float
    at: float = 0.0
    limit: float = 0.0
    limits: int = 0
    test: bool = True


@dataclass(slots=True)
class Ledger:
    """Reads a growing record. Ids are those that were collected, whatever a plug-in renamed them to. `active`: when
    the processes that run tests last did something."""

    path: Path
    offset: int = 0
    processes: dict[str, int] = field(default_factory=dict)
    collected: dict[str, Collected] = field(default_factory=dict)
    deselected: set[str] = field(default_factory=set)
    names: dict[str, str] = field(default_factory=dict)
    running: dict[str, Running] = field(default_factory=dict)
    collecting: dict[str, Running] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    crashes: int = 0
    red: int = 0
    finish: Finish | None = None
    maxfail: int = 0
    here: bool = False
    active: float = field(default_factory=time.monotonic)

    def session(self) -> None:
        """A further session begins: what the one before was doing does not count any more."""
        self.processes.clear()
        self.running.clear()
        self.collecting.clear()
        self.crashes, self.finish, self.here = 0, None, False
        self.active = time.monotonic()

    def poll(self) -> None:
        """Read what is new."""
        try:
            with self.path.open("rb") as file:
                file.seek(self.offset)
                new = file.read()
        except FileNotFoundError:
            return
        whole = new[: new.rfind(b"\n") + 1]
        self.offset += len(whole)
        now = time.monotonic()
        for raw in whole.splitlines():
            if not raw.startswith(SAMPLE):
                self.active = now
            if not raw.startswith(SKIPPED):
                self._take(raw, now)

    def _take(self, raw: bytes, now: float) -> None:
        try:
            line = decode_line(raw)
        except UNDECODABLE:
            return  # merging will name it
        match line:
            case Start():
                test = self.names.get(line.id, line.id)
                self.running[test] = Running(id=test, worker=line.worker, since=now, at=line.at, limit=line.limit)
            case End():
                self._end(line, now)
            case Collecting():
                # One worker tells what it collects; another, only because that one died.
                self.collecting = {line.worker: Running(id=line.file, worker=line.worker, since=now, test=False)}
            case Collected():
                self.collecting.pop(line.worker, None)
                self.collected.setdefault(line.file, line)
                self.here = True
            case Limit():
                if running := self.running.get(self.names.get(line.id, line.id)):
                    running.limits += 1
            case Crash():
                self.crashes += 1
            case _:
                self._take_rare(line)

    def _take_rare(self, line: object) -> None:
        match line:
            case Deselected():
                self.deselected.update(line.ids)
            case Renamed():
                self.names.update(line.ids)
            case Process():
                self.processes[line.worker] = line.pid
            case Session():
                self.maxfail = line.maxfail
            case Finish():
                self.finish = line

    def _end(self, line: End, now: float) -> None:
        test = self.names.get(line.id, line.id)
        known = self.running.pop(test, None)
        if line.rerun:
            if known:
                self.running[test] = Running(id=test, worker=known.worker, since=now, at=line.at, limit=known.limit)
            return
        self.ended.add(test)
        self.red += line.outcome in RED or bool(known and known.limits)

    def doing(self) -> list[Running]:
        """What each worker does now. A test that a worker ran before is over, though its end may not be here yet."""
        latest = self.collecting | {running.worker: running for running in self.running.values()}
        return list(latest.values())

    def left(self) -> list[str]:
        """Selected tests that have not ended, in the order of their collection."""
        return [test for test in self._selected() if test not in self.ended]

    def done(self) -> list[str]:
        """Selected tests that have ended."""
        return [test for test in self._selected() if test in self.ended]

    def finished(self) -> list[str]:
        """Files of which nothing is left."""
        unfinished = {test.partition("::")[0] for test in self.left()}
        return [file for file in self.collected if file not in unfinished]

    def _selected(self) -> Iterable[str]:
        for file, line in self.collected.items():
            ids = line.ids if line.own is None else [line.ids[i] for i in line.own if 0 <= i < len(line.ids)]
            for test in ids:
                full = f"{file}::{test}" if test else file
                if full not in self.deselected:
                    yield full
