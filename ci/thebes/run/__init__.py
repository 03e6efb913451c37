"""Runs one task and leaves its record."""

from .child import Stop
from .task import Attempt, attempt_folder, free_attempt, run_task

__all__ = ["Attempt", "Stop", "attempt_folder", "free_attempt", "run_task"]
