"""Sees to it that coverage is not lost without a word, in a process that measures with pytest-cov.

Python processes that tests start are measured although the project's configuration does not say `patch =
["subprocess"]`; what can't be mended is noted: workers without data, processes and greenlets that nothing measures.
"""

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from .record import Record

PROCESS = "COVERAGE_PROCESS_CONFIG"  # coverage.py's own way to tell a process that it is to be measured
TOLD = (PROCESS, "COVERAGE_PROCESS_START", "COV_CORE_SOURCE")  # of coverage.py before 7.10, of pytest-cov before 7
STARTUP = "a1_coverage.pth"  # what coverage.py installs beside itself, so that a process starts measuring
GREENLETS = ("sqlalchemy.ext.asyncio", "gevent", "eventlet")
NAMED = {"greenlet", "gevent", "eventlet"}


class CoverageKeeper:
    """`runs_tests`: this is pytest itself or a worker of xdist, not its controller."""

    def __init__(self, config: pytest.Config, record: Record, worker: str, *, runs_tests: bool) -> None:
        self._config = config
        self._record = record
        self._worker = worker
        self._runs_tests = runs_tests
        self._mended = False
        self._started = self._forked = ""

    @pytest.hookimpl(trylast=True)
    def pytest_sessionstart(self) -> None:
        measuring = _measuring(self._config)
        if measuring is None or not self._runs_tests:
            return
        self._mended = any(name in os.environ for name in TOLD) or _measure_children(measuring)
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "subprocess.Popen":
            if not self._started and _is_python(arguments) and not (self._mended and _is_told(arguments)):
                self._started = _doing()
        elif event == "os.fork" and not self._forked:
            self._forked = _doing()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self) -> Any:
        measuring = _measuring(self._config)  # afterwards there is another, which combines
        result = yield
        if measuring is not None:
            for text in self._lost(measuring) if self._runs_tests else _without_data(self._config):
                self._record.put("note", code="coverage-lost", text=text, worker=self._worker)
        return result

    def _lost(self, measuring: Any) -> list[str]:
        known = {*measuring.config.concurrency, *getattr(measuring.config, "patch", ())}
        lost = []
        if self._started:
            lost.append(
                "a Python process that a test starts with an environment of its own is not measured: pass on"
                f" {PROCESS}. The first was started by {self._started}"
                if self._mended
                else "Python processes that tests start are not measured: coverage.py 7.10 or newer is needed."
                f" The first was started by {self._started}"
            )
        if self._forked and not known & {"multiprocessing", "fork", "_exit"}:
            lost.append(
                "a process that a test forks does not save what it measured: name multiprocessing in coverage's"
                f" `concurrency`. The first was forked by {self._forked}"
            )
        if any(name in sys.modules for name in GREENLETS) and not known & NAMED and not _monitors(measuring):
            lost.append(
                "lines that greenlets execute may be missed: name greenlet and thread in coverage's `concurrency`"
            )
        return lost


def _measuring(config: pytest.Config) -> Any:
    """The coverage.Coverage that pytest-cov has running; None: it measures nothing."""
    return getattr(getattr(config.pluginmanager.get_plugin("_cov"), "cov_controller", None), "cov", None)


def _measure_children(measuring: Any) -> bool:
    """Have Python processes measure themselves as this one is measured. False: this coverage.py does not know how."""
    settings = measuring.config
    home = sys.modules["coverage"].__file__
    if not hasattr(settings, "serialize") or home is None or not (Path(home).parents[1] / STARTUP).exists():
        return False
    theirs = settings.copy()
    theirs.parallel = True
    theirs.sigterm = True  # a server is ended so
    os.environ[PROCESS] = theirs.serialize()
    return True


def _is_python(arguments: tuple[Any, ...]) -> bool:
    """Does `subprocess.Popen` (executable, arguments, folder, environment) start Python?"""
    try:
        name = os.fsdecode(arguments[0])
    except (TypeError, IndexError):
        return False
    return name == sys.executable or Path(name).name.startswith(("python", "pypy"))


def _is_told(arguments: tuple[Any, ...]) -> bool:
    environment = arguments[3] if len(arguments) > 3 else None
    try:
        return environment is None or any(os.fsdecode(name) in TOLD for name in environment)
    except TypeError:  # Popen itself will say so
        return True


def _doing() -> str:
    """The test that runs, as pytest itself tells."""
    return os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" (")[0] or "pytest, outside of a test"


def _monitors(measuring: Any) -> bool:
    """sys.monitoring does not care which stack a line runs on."""
    return getattr(getattr(measuring, "_core", None), "tracer_class", type(None)).__name__ == "SysMonitor"


def _without_data(config: pytest.Config) -> list[str]:
    """In xdist's controller: workers that gave nothing back."""
    controller = getattr(config.pluginmanager.get_plugin("_cov"), "cov_controller", None)
    names = [getattr(node.gateway, "id", "?") for node in getattr(controller, "failed_workers", ())]
    return [f"worker {name} left no coverage data" for name in names]
