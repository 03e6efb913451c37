"""Measures what each test does to the memory of its process, where that is asked for.

Linux: the kernel keeps the peak of resident memory (VmHWM) and is told to begin anew before each test (proc(5),
clear_refs); so a peak is exact, however short. Elsewhere, or where /proc can't be written, the highest peak of the
process so far (getrusage) is all there is: it is right for a test that goes beyond all before it.
"""

import os
import resource
import sys
from time import time
from typing import Any

import pytest

from .record import Record, amount, beyond

PAGE = os.sysconf("SC_PAGE_SIZE")
RESET_PEAK = b"5"
PEAK_UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss


class MemoryMeter:
    """Puts `thebes_memory`, peak and growth in bytes, into the last report of each attempt.

    A peak over `limit` that was too short to be seen from outside fails its test here. The process may go on: it has
    survived.
    """

    def __init__(self, record: Record, worker: str, limit: int | None) -> None:
        self._record = record
        self._worker = worker
        self._limit = limit
        self._before = 0
        self._status = self._statm = self._clear = -1

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        session.config.add_cleanup(self._close)
        try:
            self._statm = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
            self._status = os.open("/proc/self/status", os.O_RDONLY | os.O_CLOEXEC)
            self._clear = os.open("/proc/self/clear_refs", os.O_WRONLY | os.O_CLOEXEC)
            os.write(self._clear, RESET_PEAK)
        except OSError:
            self._close()

    def _close(self) -> None:
        for descriptor in {self._status, self._statm, self._clear} - {-1}:
            os.close(descriptor)
        self._status = self._statm = self._clear = -1

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logstart(self) -> None:
        if self._clear >= 0:
            os.write(self._clear, RESET_PEAK)
        self._before = self._now()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when == "teardown":
            peak = self._peak()
            report.thebes_memory = [peak, self._now() - self._before]
            if self._limit and peak > self._limit and self._clear >= 0:  # else it may be another test's peak
                self._tell(
                    report,
                    f"used {beyond(peak, self._limit)}, limit {amount(self._limit)}; {amount(self._before)} before it",
                )

    def _tell(self, report: Any, message: str) -> None:
        path, line, _ = report.location
        self._record.put("limit", id=report.nodeid, what="memory", at=time(), worker=self._worker)
        self._record.put(
            "phase",
            id=report.nodeid,
            when="call",
            outcome="failed",
            text=message,
            message=message,
            path=path,
            line=(line or -1) + 1,
        )

    def _now(self) -> int:
        if self._statm < 0:
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * PEAK_UNIT
        return int(os.pread(self._statm, 128, 0).split()[1]) * PAGE

    def _peak(self) -> int:
        if self._status < 0:
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * PEAK_UNIT
        text = os.pread(self._status, 4096, 0)
        position = text.index(b"VmHWM:")
        return int(text[position + 6 : text.index(b"kB", position)]) * 1024
