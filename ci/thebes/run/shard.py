"""A shard of tests, as a series of pytest sessions: when one dies, the next runs what is left.

The record is append-only and knows what has ended, so going on after a crash, a hang or a test that ate the memory
is one and the same: name the test that ran, start pytest anew without the tests that have ended. It costs nothing
while nothing dies, and needs nothing of the tests' environment. Where xdist replaces a worker by itself, the session
goes on, and only what xdist left undone is run anew.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path

from thebes.model import Value
from thebes.plugin.thebes_plugin.aftermath import (
    captured,
    count_oom_kills,
    forget,
    how_it_died,
    phase_of,
    place_of,
    stacks,
    without_pytest,
)
from thebes.plugin.thebes_plugin.record import RECORD_FAILED, Record, bounded

from .child import End, Stop, run_child
from .ledger import Ledger, Running
from .watcher import OUTPUT_LIMIT, Limits, Watcher

GAVE_UP = {3, 4}  # pytest's exit codes for an internal error and wrong usage, before its session begins


class Session(Value, frozen=True, kw_only=True):
    """How the sessions of a shard are started. `instructions` for the plug-in, without what changes in between."""

    command: tuple[str, ...]
    folder: Path
    environment: dict[str, str]
    instructions: dict[str, object]
    to: Path
    log: Path
    record: Path
    limit: float
    limits: Limits


def run_shard(session: Session, record: Record, stop: Stop, tick: Callable[[], None]) -> End:
    """Run sessions until nothing is left, or one makes no headway. OSError: pytest could not be started."""
    ledger = Ledger(session.record)
    broken: dict[str, str] = {}
    began = time.monotonic()
    while True:
        done = ledger.done()
        changing = {
            "done": done,
            "finished": ledger.finished(),
            "broken": broken,
            "failed_before": ledger.red,
        }
        session.to.write_text(json.dumps(session.instructions | changing), "utf-8")
        before = (len(done), len(broken))
        watcher = Watcher(record, session.record.parent, ledger, session.limits, tick)
        oom_kills = count_oom_kills()
        end = run_child(
            session.command,
            session.folder,
            session.environment,
            session.log,
            max(0.0, began + session.limit - time.monotonic()),
            stop,
            watcher,
        )
        broken |= watcher.broken
        aftermath = Aftermath(record, ledger, session.record.parent, broken)
        if end.stopped or watcher.broken or end.exit == RECORD_FAILED:
            pass  # nobody's fault, or named already
        elif end.exit in GAVE_UP and not ledger.processes:
            pass  # merging names it
        elif ledger.finish is None:
            aftermath.of_a_death(how_it_died(-end.signal if end.signal else end.exit, oom_kills))
        elif not ledger.here and not ledger.finish.stopped:
            aftermath.of_a_collection("a worker of xdist died")
        ledger.poll()
        end = _in_all(end, ledger, time.monotonic() - began)
        if end.stopped or before == (len(ledger.done()), len(broken)) or not _goes_on(ledger, before[1], broken):
            break
        record.put("resume", at=time.time(), done=len(ledger.done()))
        _say(session.log, f"thebes: {len(ledger.left()) or 'some'} tests are left; pytest is started anew for them")
        ledger.session()
    forget(session.record.parent)
    return end


def _goes_on(ledger: Ledger, broken_before: int, broken: dict[str, str]) -> bool:
    """Is anything left, because something died?"""
    if len(broken) > broken_before:
        return True
    if ledger.finish is None:
        return bool(ledger.left())
    return bool(ledger.crashes and ledger.left() and not ledger.finish.stopped)


def _in_all(end: End, ledger: Ledger, seconds: float) -> End:
    """The end of the shard, as far as it has come. A limit on failures holds over all sessions."""
    stopped = end.stopped
    if not stopped and ledger.finish is None and ledger.maxfail and ledger.red >= ledger.maxfail:
        stopped = "maxfail"
    return End(exit=end.exit, signal=end.signal, stopped=stopped, seconds=seconds)


def _say(log: Path, text: str) -> None:
    with log.open("a", encoding="utf-8") as file:
        file.write(f"\n{text}\n")


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
        limited = test in self._ledger.limits
        if not limited:
            self._tell_crash(test, how)
        self._record.put(
            "end",
            id=test,
            outcome="failed" if limited else "crashed",
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
