"""Runs tasks; each leaves its record."""

from .attempt import Attempt, attempt_folder, free_attempt
from .child import End, Stop
from .local import Listener, run_all
from .shard import Isolation
from .task import run_task
from .watch import Watch
from .watcher import Limits

__all__ = [
    "Attempt",
    "End",
    "Isolation",
    "Limits",
    "Listener",
    "Stop",
    "Watch",
    "attempt_folder",
    "free_attempt",
    "run_all",
    "run_task",
]
