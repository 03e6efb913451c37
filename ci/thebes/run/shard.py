"""A shard of tests, as a series of pytest sessions: when one dies, the next runs what is left.

The record is append-only and knows what has ended, so going on after a crash, a hang or a test that ate the memory
is one and the same: name the test that ran, start pytest anew without the tests that have ended. It costs nothing
while nothing dies, and needs nothing of the tests' environment. Where xdist replaces a worker by itself, the session
goes on, and only what xdist left undone is run anew.
"""

import json
import tempfile
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

import msgspec

from thebes.model import Value
from thebes.plugin.thebes_plugin.aftermath import (
    captured,
    count_oom_kills,
    how_it_died,
    phase_of,
    place_of,
    stacks,
    without_pytest,
)
from thebes.plugin.thebes_plugin.record import RECORD_FAILED, Record, bounded
from thebes.plugin.thebes_plugin.split import file_key

from .child import End, Stop, run_child
from .flame import Flames
from .ledger import Ledger, Running
from .watcher import OUTPUT_LIMIT, Limits, Watcher

LOST = "a process that died, or was ended, took along what it had measured since its start"
GAVE_UP = {3, 4}  # pytest's exit codes for an internal error and wrong usage, before its session begins


class Isolation(StrEnum):
    """What gets a process of its own."""

    MODULE = "module"
    TEST = "test"


class Session(Value, frozen=True, kw_only=True):
    """How the sessions of a shard are started. `instructions` for the plug-in, without what changes in between;
    `again`: arguments of each session but the first; `measured`: they measure coverage; `files`: those of the plan,
    each for a process of its own where `isolate` says so; `foreground`, `sampler`: see Attempt."""

    command: tuple[str, ...]
    folder: Path
    environment: dict[str, str]
    instructions: dict[str, object]
    to: Path
    log: Path
    record: Path
    limit: float
    limits: Limits
    again: tuple[str, ...] = ()
    measured: bool = False
    isolate: Isolation | None = None
    foreground: bool = False
    sampler: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


def run_shard(session: Session, record: Record, stop: Stop, tick: Callable[[], None]) -> End:
    """Run sessions until nothing is left, or one makes no headway. OSError: pytest could not be started.

    With isolation, each file has sessions of its own; a last one takes files that the plan does not know.
    """
    with tempfile.TemporaryDirectory(
        prefix="thebes-", ignore_cleanup_errors=True
    ) as traces:  # where pytest captures, too
        return _sessions(session, Shard(session, record, Path(traces), stop, tick), record)


def _sessions(session: Session, shard: "Shard", record: Record) -> End:
    parts: list[str | None] = [*session.files, None] if session.isolate else [None]
    end = shard.run(parts.pop(0))
    while shard.again or (parts and not shard.over):
        record.put("resume", at=time.time(), done=len(shard.ledger.done()))
        shard.ledger.session()
        end = shard.run(shard.part if shard.again else parts.pop(0))
    return end


class Shard:
    """A shard while it runs. After each session: `again` says that something of its part is left, `over` that the
    whole shard is to end."""

    def __init__(self, session: Session, record: Record, traces: Path, stop: Stop, tick: Callable[[], None]) -> None:
        self.ledger = Ledger(session.record)
        self.part: str | None = None
        self.again = self.over = False
        self._session = session
        self._record = record
        self._traces = traces
        self._stop = stop
        self._tick = tick
        self._broken: dict[str, str] = {}
        self._began = time.monotonic()
        self._sessions = 0

    def run(self, part: str | None) -> End:
        """One session, for one file or, None, for all that is left."""
        session, ledger = self._session, self.ledger
        self.part = part
        before = self._headway()
        self._instruct()
        flames = Flames(session.sampler, session.log.parent)
        limits = Limits(watched=False) if session.foreground else session.limits
        watcher = Watcher(self._record, self._traces, ledger, limits, self._tick, flames)
        oom_kills = count_oom_kills()
        end = run_child(
            [*session.command, *(session.again if self._sessions else ())],
            session.folder,
            session.environment,
            session.log,
            max(0.0, self._began + session.limit - time.monotonic()),
            self._stop,
            watcher,
            foreground=session.foreground,
        )
        flames.end()
        self._sessions += 1
        self._broken |= watcher.broken
        self._name_the_guilty(end, oom_kills, named=bool(watcher.broken) or watcher.gave_up)
        ledger.poll()
        if not end.stopped and ledger.maxfail and ledger.red >= ledger.maxfail:
            end = msgspec.structs.replace(end, stopped=None if ledger.finish else "maxfail")
            self.over = True
        self.over = self.over or bool(end.stopped or (ledger.finish and ledger.finish.stopped))
        self.again = not self.over and self._headway() != before and self._anything_left(before[1])
        return msgspec.structs.replace(end, seconds=time.monotonic() - self._began)

    def _headway(self) -> tuple[int, int]:
        return len(self.ledger.ended), len(self._broken)

    def _instruct(self) -> None:
        changing = {
            "traces": str(self._traces),
            "done": self.ledger.done(),
            "finished": self.ledger.finished(),
            "broken": self._broken,
            "failed_before": self.ledger.red,
            "part": self.part,
            "one": self._session.isolate == Isolation.TEST and self.part is not None,
        }
        self._session.to.write_text(json.dumps(self._session.instructions | changing), "utf-8")

    def _name_the_guilty(self, end: End, oom_kills: int, *, named: bool) -> None:
        ledger = self.ledger
        aftermath = Aftermath(self._record, ledger, self._traces, self._broken)
        if ledger.finish is None and self._session.measured:
            self._record.put("note", code="coverage-lost", text=LOST)
        if end.stopped or named or end.exit == RECORD_FAILED or (end.exit in GAVE_UP and not ledger.doing()):
            return  # nobody's fault, or named already, or merging names it
        if ledger.finish is None:
            aftermath.of_a_death(how_it_died(-end.signal if end.signal else end.exit, oom_kills))
        elif not ledger.here and not ledger.finish.stopped:
            aftermath.of_a_collection("a worker of xdist died")
        elif end.exit != ledger.finish.exit:
            how = how_it_died(-end.signal if end.signal else end.exit, oom_kills)
            text = f"pytest finished with {ledger.finish.exit}, then {how}"
            self._record.put("note", code="exit-after-finish", text=text)

    def _anything_left(self, broken_before: int) -> bool:
        """Of this part, because something died, or because it takes several sessions."""
        left = [test for test in self.ledger.left() if self.part in {None, file_key(test)}]
        if self._session.isolate == Isolation.TEST and self.part is not None:
            return bool(left)
        finish = self.ledger.finish
        return len(self._broken) > broken_before or bool(left and (finish is None or self.ledger.crashes))


class Aftermath:
    """Writes down whose fault it was that a session died."""

    def __init__(self, record: Record, ledger: Ledger, folder: Path, broken: dict[str, str]) -> None:
        self._record = record
        self._ledger = ledger
        self._folder = folder
        self._broken = broken

    def of_a_death(self, how: str) -> None:
        doing = self._ledger.doing()
        if any(self._ledger.processes):  # named workers: their controller died, and took them with it
            self._record.put("crash", id="", text=f"the controller of xdist: {how}", worker="")
        elif not doing:
            self._record.put("crash", id="", text=how, worker="")
        elif doing[0].test:
            self._of_a_test(doing[0], how)
        else:
            self.of_a_collection(how)

    def of_a_collection(self, how: str) -> None:
        for collecting in self._ledger.collecting.values():
            told = stacks(self._folder, collecting.worker)
            self._broken.setdefault(
                collecting.id, f"{how} while this file was being imported\n\n{without_pytest(told)}"
            )

    def _of_a_test(self, running: Running, how: str) -> None:
        test = running.id
        if not running.limits:
            self._tell_crash(test, how)
        self._record.put(
            "end",
            id=test,
            outcome="failed" if running.limits else "crashed",
            durations=[0.0, round(time.monotonic() - running.since, 6), 0.0],
            at=running.at,
            worker="",
        )

    def _tell_crash(self, test: str, how: str) -> None:
        told = stacks(self._folder, "")
        path, line = place_of(told)
        self._record.put("crash", id=test, text=how, worker="")
        self._record.put(
            "phase",
            id=test,
            when=phase_of(told),
            outcome="crashed",
            text=bounded(without_pytest(told)),
            message=how,
            path=path,
            line=line,
            output={name: bounded(text, OUTPUT_LIMIT) for name, text in captured(self._folder, "").items()},
        )
