"""Sees to it that coverage is not lost without a word, in a process that measures with pytest-cov.

Python processes that tests start are measured although the project's configuration does not say `patch =
["subprocess"]`; what can't be mended is noted: workers without data, processes and greenlets that nothing measures.
"""

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from .cores import NAMED, OPEN, core_of
from .record import Record, current_test

HERE = os.path.realpath(Path(__file__).parent)
PROCESS = "COVERAGE_PROCESS_CONFIG"  # coverage.py's own way to tell a process that it is to be measured
TOLD = (PROCESS, "COVERAGE_PROCESS_START", "COV_CORE_SOURCE")  # of coverage.py before 7.10, of pytest-cov before 7
STARTUP = "a1_coverage.pth"  # what coverage.py installs beside itself, so that a process starts measuring
GREENLETS = ("sqlalchemy.ext.asyncio", "gevent", "eventlet")
OWN = f"a Python process that a test starts with an environment of its own is not measured: pass on {PROCESS}"
OLD = "Python processes that tests start are not measured: coverage.py 7.10 or newer is needed"
FORKED = "a process that a test forks does not save what it measured: name multiprocessing in coverage's `concurrency`"
MISSED = "lines that greenlets execute may be missed: name greenlet and thread in coverage's `concurrency`"


class CoverageKeeper:
    """`runs_tests`: this is pytest itself or a worker of xdist, not its controller."""

    def __init__(self, config: pytest.Config, record: Record, worker: str, *, runs_tests: bool) -> None:
        self._config = config
        self._record = record
        self._worker = worker
        self._runs_tests = runs_tests
        self._mended = False
        self._follows: set[str] = set()
        self._told: set[str] = set()

    @pytest.hookimpl(trylast=True)
    def pytest_sessionstart(self) -> None:
        measuring = _measuring(self._config)
        if measuring is not None and not self._worker:
            cores = self._config.stash.get(OPEN, ())
            self._record.put("measuring", core=core_of(measuring), cores=cores, plugin=HERE)
        if measuring is None or not self._runs_tests:
            return
        self._follows = {*measuring.config.concurrency, *getattr(measuring.config, "patch", ())}
        self._mended = any(name in os.environ for name in TOLD) or _measure_children(measuring)
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        """At once, because the test that does it may take the process along."""
        if event == "subprocess.Popen":
            if _is_python(arguments) and not (self._mended and _is_told(arguments)):
                self._tell("started", OWN if self._mended else OLD)
        elif event == "os.fork" and not self._follows & {"multiprocessing", "fork", "_exit"}:
            self._tell("forked", FORKED)

    def _tell(self, what: str, text: str) -> None:
        if what not in self._told:
            self._told.add(what)
            self._lost(f"{text}. The first was {what} by {current_test() or 'pytest, outside of a test'}")

    def _lost(self, text: str) -> None:
        self._record.put("note", code="coverage-lost", text=text, worker=self._worker)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self) -> Any:
        measuring = _measuring(self._config)  # afterwards there is another, which combines
        result = yield
        if measuring is not None and self._runs_tests:
            greenlets = any(name in sys.modules for name in GREENLETS) and not self._follows & NAMED
            if greenlets and core_of(measuring) != "sysmon":  # which does not care which stack a line runs on
                self._lost(MISSED)
        elif measuring is not None:
            for name in _without_data(self._config):
                self._lost(f"worker {name} left no coverage data")
        return result


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


def _without_data(config: pytest.Config) -> list[str]:
    """In xdist's controller: workers that gave nothing back."""
    controller = getattr(config.pluginmanager.get_plugin("_cov"), "cov_controller", None)
    return [getattr(node.gateway, "id", "?") for node in getattr(controller, "failed_workers", ())]
