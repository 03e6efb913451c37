"""Progress of a local run: one changing block on a terminal, plain lines elsewhere."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

from thebes.model import Task
from thebes.run import End, Watch

from .text import amount, clean, lasting, on_terminal, say

if TYPE_CHECKING:
    from rich.live import Live

SHOWN_FAILURES = 20


class Progress:
    """Hears what happens to the tasks and tells it on standard error."""

    def __init__(self, total: int, *, live: bool = True, collect: bool = False) -> None:
        self.total = total
        self.live = live
        self.collect = collect
        self.done = 0
        self.told = 0
        self.running: dict[str, tuple[Task, Watch, float]] = {}
        self.tests = self.failures = 0
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if self.live and on_terminal():
            from rich.console import Console  # noqa: PLC0415  (costs 40 ms; only a terminal needs it)
            from rich.live import Live  # noqa: PLC0415

            self._live = Live(console=Console(stderr=True), refresh_per_second=8, transient=True)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def started(self, task: Task, watch: Watch) -> None:
        self.running[task.id] = (task, watch, time.monotonic())
        self.ticked()

    def ticked(self) -> None:
        if self._live:
            from rich.text import Text  # noqa: PLC0415

            self._live.update(Text("\n".join(self._block())))

    def _block(self) -> list[str]:
        now = time.monotonic()
        lines = []
        for task, watch, began in self.running.values():
            count = f"{watch.ended:,} of {watch.selected:,}" if watch.selected else "collecting"
            if not task.pieces:
                count = "running"
            lines.append(f"  {task.id}  {count}  {lasting(now - began)}  {clean(watch.running, 60)}")
        ended = self.tests + sum(watch.ended for _, watch, _ in self.running.values())
        lines.append(f"{self.done} of {self.total} tasks, {amount(ended, 'test')}, {self.failures} failed")
        return lines

    def failed(self, task: Task, tests: Sequence[str]) -> None:
        self.failures += len(tests)
        for test in tests:
            self.told += 1
            if self.told <= SHOWN_FAILURES:
                self._say(f"failed: {clean(test)} ({task.id})")
            elif self.told == SHOWN_FAILURES + 1:
                self._say("further failures are in the report")

    def ended(self, task: Task, watch: Watch, end: End) -> None:
        self.done += 1
        self.tests += watch.ended
        self.running.pop(task.id, None)
        tests = f"{amount(watch.selected, 'test')} collected" if self.collect else amount(watch.ended, "test")
        what = tests if task.pieces else f"exit code {end.exit}"
        if watch.red:
            what += f", {len(watch.red)} failed"
        if end.stopped:
            what += f", stopped by {end.stopped}"
        elif end.signal:
            what += f", died of signal {end.signal}"
        self._say(f"[{self.done}/{self.total}] {task.id}: {what}, {lasting(end.seconds)}")
        self.ticked()

    def _say(self, text: str) -> None:
        if self._live:
            self._live.console.print(text, markup=False, highlight=False)
        else:
            say(text)
