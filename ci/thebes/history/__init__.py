"""Past runs: durations and outcomes per test and per file, in SQLite or any database that SQLAlchemy reaches."""

from .durations import read_durations, write_durations
from .store import History, PastRun, Stamp

__all__ = ["History", "PastRun", "Stamp", "read_durations", "write_durations"]
