"""All tasks of a plan as local processes, a few at a time."""

import queue
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from thebes.model import Plan, Task

from .attempt import RECORD, Attempt
from .child import End, Stop
from .task import run_task
from .watch import Watch


class Listener(Protocol):
    """Hears what happens, always from the thread that called `run_all`."""

    def started(self, task: Task, watch: Watch) -> None: ...
    def ticked(self) -> None: ...
    def failed(self, task: Task, tests: Sequence[str]) -> None: ...
    def ended(self, task: Task, watch: Watch, end: End) -> None: ...


_Event = tuple[str, Task, object]


def run_all(
    plan: Plan,
    attempts: Callable[[Task], Attempt],
    jobs: int,
    maxfail: int,
    stop: Stop,
    listener: Listener,
) -> None:
    """Run every task of `plan`, at most `jobs` at a time, the longest first; each leaves its record. Those that must be
    alone come last, one after the other.

    `maxfail`: ask all to stop once so many tests have failed over all tasks; 0 for never.
    """
    waiting = sorted(plan.tasks, key=lambda task: (task.alone, -task.estimate, task.id))
    events: queue.SimpleQueue[_Event] = queue.SimpleQueue()
    watches: dict[str, Watch] = {}
    failures = 0

    def work(task: Task, attempt: Attempt) -> None:
        try:
            end: object = run_task(plan, task, attempt, stop, lambda: events.put(("tick", task, None)))
        except BaseException as error:  # noqa: BLE001  (raised again where run_all was called)
            end = error
        events.put(("end", task, end))

    running = 0
    while waiting or running:
        while waiting and running < (1 if waiting[0].alone else jobs):
            task = waiting.pop(0)
            attempt = attempts(task)
            watches[task.id] = Watch(attempt.folder / RECORD)
            listener.started(task, watches[task.id])
            threading.Thread(target=work, args=(task, attempt), daemon=True).start()
            running += 1
        kind, task, value = events.get()
        watch = watches[task.id]
        if tests := watch.poll():
            failures += len(tests)
            listener.failed(task, tests)
        # A task that has so many failures by itself stops by itself, and tells what it has to tell.
        by_itself = running == 1 and kind != "end" and len(watch.red) >= maxfail
        if maxfail and failures >= maxfail and not by_itself and not stop.reason:
            stop.request("maxfail")
        if kind == "end":
            running -= 1
            if isinstance(value, BaseException):
                stop.request("an error")
                raise value
            assert isinstance(value, End)  # noqa: S101  (for the type checker)
            listener.ended(task, watch, value)
        else:
            listener.ticked()
