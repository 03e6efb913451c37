"""Tells the record what pytest-benchmark measured, as soon as a test has ended: what is known survives any death.

Its own file (`--benchmark-json`) comes at the end of the session, asks for a path, and begins with a look at the
processor that takes a second.
"""

from collections.abc import Iterable
from math import isfinite
from typing import Any

import pytest

from .record import Record, RecordError
from .recorder import give_up

SESSION = "_benchmarksession"  # where it keeps its measurements, since its version 3


class Benchmarks:
    """In the process that runs tests. With pytest-xdist, pytest-benchmark measures nothing."""

    def __init__(self, config: pytest.Config, record: Record) -> None:
        self.config = config
        self.record = record
        self.told = 0

    def pytest_runtest_logfinish(self) -> None:
        found = getattr(getattr(self.config, SESSION, None), "benchmarks", ())
        new, self.told = found[self.told :], len(found)
        try:
            for fields in _measurements(new):
                self.record.put("benchmark", **fields)
        except RecordError as error:
            give_up(error)


def _measurements(found: Iterable[Any]) -> Iterable[dict[str, object]]:
    """Fields of a line for each that came to its end; one whose function raised is told as a failed test."""
    for one in found:
        if one.has_error or not one.stats.data:
            continue
        stats = one.stats
        times = {
            "minimum": float(stats.min),
            "median": float(stats.median),
            "mean": float(stats.mean),
            "deviation": float(stats.stddev),
        }
        if all(map(isfinite, times.values())):
            yield {"id": str(one.fullname), "group": str(one.group or ""), **times, "rounds": int(stats.rounds)}
