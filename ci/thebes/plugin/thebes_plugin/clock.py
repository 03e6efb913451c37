"""Time that goes into fixtures which serve more than one test: it belongs to no single test."""

from collections.abc import Generator
from time import perf_counter
from typing import Any

import pytest

from .record import Record, current_test
from .split import file_key

COSTLY = 0.1  # seconds from which a fixture is told by name, with the tests that need it
MOST = 1000  # fixtures that a process tells of


class FixtureClock:
    """Measures them all, and tells of the costly ones. `all_here`: the session has all that its shard has of a file."""

    def __init__(self, record: Record, worker: str, *, all_here: bool) -> None:
        self.spent = 0.0
        self._all_here = all_here
        self._depth = 0
        self._record = record
        self._worker = worker
        self._told = 0

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any, request: Any) -> Generator[None, Any, Any]:
        if self._depth or fixturedef.scope == "function":
            return (yield)
        self._depth = 1
        began = perf_counter()
        try:
            return (yield)
        finally:
            self._depth = 0
            took = perf_counter() - began
            self.spent += took
            if took >= COSTLY and self._told < MOST:
                self._tell(fixturedef, request, took)

    def _tell(self, fixturedef: Any, request: Any, took: float) -> None:
        self._told += 1
        place = "" if fixturedef.scope == "session" else f"@{request.node.nodeid}"
        variant = f"[{request.param_index}]" if fixturedef.params else ""
        self._record.put(
            "shared",
            fixture=f"{fixturedef.baseid}::{fixturedef.argname}{variant}{place}",
            seconds=round(took, 6),
            test=current_test(),
            users=self._users(fixturedef, request),
            worker=self._worker,
        )

    def _users(self, fixturedef: Any, request: Any) -> dict[str, list[str] | None]:
        """By file: the tests that need the fixture, without its key; None: all that the shard has of the file."""
        users: dict[str, list[str]] = {}
        every: dict[str, int] = {}
        for item in request.session.items:
            file = file_key(item.nodeid)
            every[file] = every.get(file, 0) + 1
            if _needs(item, fixturedef, request):
                users.setdefault(file, []).append(item.nodeid.removeprefix(file).removeprefix("::"))
        return {file: None if self._all_here and len(tests) == every[file] else tests for file, tests in users.items()}

    def take(self) -> float:
        spent, self.spent = self.spent, 0.0
        return spent


def _needs(item: Any, fixturedef: Any, request: Any) -> bool:
    name = fixturedef.argname
    known = getattr(getattr(item, "_fixtureinfo", None), "name2fixturedefs", {}).get(name, ())
    if not any(one is fixturedef for one in known):
        return False
    if fixturedef.params and getattr(item, "callspec", None) and item.callspec.indices.get(name) != request.param_index:
        return False
    return fixturedef.scope == "session" or request.node in item.listchain()


class WorkerClock:
    """In a worker of xdist: sends the fixture time to the controller with the test's report."""

    def __init__(self, clock: FixtureClock) -> None:
        self.clock = clock

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if self.clock.spent and (report.when == "teardown" or is_rerun(report)):
            report.thebes_fixtures = self.clock.take()  # type: ignore[attr-defined]


def is_rerun(report: Any) -> bool:
    return bool(report.outcome == "rerun")  # pytest-rerunfailures' own word
