"""Watches one pytest session from outside: whatever goes over its limit is ended and named, with its stacks.

From outside, because a test may hold the interpreter's lock for ever. A process that is to be ended is stopped
first; only when the record still says that the very same test is running is the limit written down. Then the process
may go on to tell its stacks (faulthandler answers from C), is stopped and looked at once more, and is killed: nothing
but the test that was over its limit is ever ended.
"""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from thebes.model import Value
from thebes.plugin.thebes_plugin.aftermath import (
    STACKS_END,
    STACKS_SIGNAL,
    captured,
    phase_of,
    place_of,
    stacks,
    stacks_file,
    without_pytest,
)
from thebes.plugin.thebes_plugin.record import Record, bounded

from .child import TICK
from .flame import Flames
from .ledger import Ledger, Running
from .memory import QUICK, Memory
from .processes import kill_tree, send, send_to_main_thread

LONG = 60.0
ANSWER = 5.0  # seconds that a process gets for telling its stacks
OUTPUT_LIMIT = 16 * 1024


class Limits(Value, frozen=True, kw_only=True):
    """`test`: seconds for a test that says nothing of its own; None: none. `default`: for one that nothing else has a
    limit for. `collect`: for the import of a file, and for the end of a session. `memory`: bytes for a worker and all
    that it started; `task_memory`: for all together. Not `watched`: a test's own limit does not count either."""

    test: float | None = None
    default: float | None = None
    collect: float | None = None
    memory: int | None = None
    task_memory: int | None = None
    watched: bool = True


@dataclass(slots=True)
class Ending:
    """A process that is to be ended, by the time `until` (None: it is only stopped as yet), where its stacks begin.
    `last`: it has told them, or had its time, and is stopped for the last look."""

    doing: Running
    pid: int
    what: str
    message: str
    until: float | None = None
    offset: int = 0
    last: bool = False


class Watcher:
    """An observer of the child. `broken`: files whose import was given up, with the reason. `gave_up`: the session
    did not end by itself. `long`: seconds after which a test without a limit is worth a word."""

    def __init__(
        self,
        record: Record,
        folder: Path,
        ledger: Ledger,
        limits: Limits,
        tick: Callable[[], None],
        flames: Flames,
        *,
        long: float = LONG,
    ) -> None:
        self.broken: dict[str, str] = {}
        self._flames = flames
        self._record = record
        self._folder = folder
        self._ledger = ledger
        self._limits = limits
        self._tick = tick
        self._long = long
        self._child = 0
        self._endings: dict[str, Ending] = {}
        self._killed: dict[str, Running] = {}
        self._told: set[str] = set()
        self.gave_up = False
        self._memory = Memory(record, limits.memory, limits.task_memory)
        self.every = QUICK if self._memory.limited else TICK

    def started(self, pid: int) -> None:
        self._child = pid
        self._flames.begin(pid)

    def ticked(self) -> None:
        self._flames.ticked()
        self._ledger.poll()
        now = time.monotonic()
        doing = {running.worker: running for running in self._ledger.doing()}
        for worker, ending in list(self._endings.items()):
            if doing.get(worker) is not ending.doing:
                self._let_go(ending)
            else:
                self._go_on(ending, now)
        for running in doing.values():
            self._look_at(running, now)
        if self._memory.limited:
            for running, message in self._memory.over(self._ledger.processes, doing.values()):
                if running.worker not in self._endings:
                    self._begin_to_end(running, "memory", message)
        self._memory.sample(self._ledger.processes, now)
        self._look_for_the_end(now)
        self._tick()

    def expiring(self) -> float:
        """The whole task is over its limit: have the stacks told, for the output."""
        for running in self._ledger.doing():
            send_to_main_thread(self._pid(running), STACKS_SIGNAL)
        return ANSWER if self._ledger.doing() else 0.0

    def ended(self) -> None:
        self._ledger.poll()
        self._tick()

    def _look_at(self, running: Running, now: float) -> None:
        if running.worker in self._endings or not self._limits.watched:
            return
        limit = running.limit if running.test else self._limits.collect
        took = now - running.since
        if limit and took > limit:
            what = "running" if running.test else "being imported"
            self._begin_to_end(running, "time", f"still {what} after {took:.1f} s, limit {limit:g} s")
        elif running.test and not limit and took > self._long and running.id not in self._told:
            self._told.add(running.id)
            self._record.put("note", code="no-limit", text=f"{running.id} ran for more than {self._long:g} s")

    def _begin_to_end(self, running: Running, what: str, message: str) -> None:
        """Stop the process, and look once more at the next tick: what it did may have ended meanwhile."""
        if self._killed.get(running.worker) is running:
            return  # it has not gone yet
        pid = self._pid(running)
        self._endings[running.worker] = Ending(doing=running, pid=pid, what=what, message=message)
        send(pid, signal.SIGSTOP)

    def _go_on(self, ending: Ending, now: float) -> None:
        """It still runs: say that it is over its limit, have the stacks told, then end it."""
        worker = ending.doing.worker
        if ending.until is None and ending.doing.limits:
            self._let_go(ending)  # it has seen it by itself, and is about to end
        elif ending.until is None:
            self._ask_for_stacks(ending, now + (QUICK if ending.what == "memory" else ANSWER))
        elif ending.last:
            self._endings.pop(worker)
            self._killed[worker] = ending.doing
            self._write_down(ending)
            kill_tree(ending.pid if ending.doing.test else self._child)
        elif now >= ending.until or STACKS_END in stacks(self._folder, worker, ending.offset, whole=True):
            send(ending.pid, signal.SIGSTOP)
            ending.last = True

    def _ask_for_stacks(self, ending: Ending, until: float) -> None:
        worker = ending.doing.worker
        path = stacks_file(self._folder, worker)
        if ending.doing.test:
            self._record.put("limit", id=ending.doing.id, what=ending.what, at=time.time(), worker=worker)
        if path.exists():  # the handler stands
            ending.offset = path.stat().st_size
            send_to_main_thread(ending.pid, STACKS_SIGNAL)
        send(ending.pid, signal.SIGCONT)
        ending.until = until

    def _let_go(self, ending: Ending) -> None:
        """It came to its end by itself: in time, or, over its limit, while it told its stacks. Where the record has
        a limit that is not from here, the process wrote down by itself what happened."""
        self._endings.pop(ending.doing.worker)
        send(ending.pid, signal.SIGCONT)
        if ending.until is not None and ending.doing.test and ending.doing.limits < 2:
            self._write_down(ending)

    def _write_down(self, ending: Ending) -> None:
        worker = ending.doing.worker
        told = stacks(self._folder, worker, ending.offset)
        text = f"{without_pytest(told)}\n\n{ending.message}".strip()
        if not ending.doing.test:
            self.broken[ending.doing.id] = text
            return
        path, line = place_of(told)
        self._record.put(
            "phase",
            id=ending.doing.id,
            when=phase_of(told),
            outcome="failed",
            text=bounded(text),
            message=ending.message,
            path=path,
            line=line,
            output={name: bounded(text, OUTPUT_LIMIT) for name, text in captured(self._folder, worker).items()},
        )

    def _look_for_the_end(self, now: float) -> None:
        """A session that ran its last test and does not come to its end."""
        limit, ledger = self._limits.collect, self._ledger
        if (
            self.gave_up
            or not limit
            or not ledger.here
            or ledger.doing()
            or ledger.left()
            or now - ledger.active < limit
        ):
            return
        self.gave_up = True
        self._record.put("crash", id="", text=f"did not end within {limit:g} s after its last test", worker="")
        kill_tree(self._child)

    def _pid(self, running: Running) -> int:
        """The process that does it, if it is one of ours: a number may have been given anew."""
        pid = self._ledger.processes.get(running.worker, self._child)
        try:
            return pid if os.getpgid(pid) == os.getpgid(self._child) else self._child
        except OSError:
            return self._child
