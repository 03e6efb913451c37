"""A pytest plug-in that writes what a plain run did: one JSON object, node id → how often it ended in which way.

Deliberately not Thebes' own recorder, so that the two can be compared. Usage: `OUTCOME_LOG=FILE pytest -p outcome_log`;
not an option, because pytest takes a path among its arguments for a hint where the root directory is.
"""

import json
import os
from collections import Counter, defaultdict
from pathlib import Path

import pytest


def pytest_configure(config: pytest.Config) -> None:
    path = os.environ.get("OUTCOME_LOG")
    if path and not hasattr(config, "workerinput"):
        config.pluginmanager.register(OutcomeLog(Path(path)))


class OutcomeLog:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.phases: defaultdict[str, Counter[str]] = defaultdict(Counter)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport):  # type: ignore[no-untyped-def]  # noqa: ANN201
        yield
        if hasattr(report, "context"):  # a subtest: its parent tells
            if report.failed:
                self.phases[report.nodeid]["call failed"] += 1
            return
        outcome: str = report.outcome
        if hasattr(report, "wasxfail"):
            outcome = "xfailed" if report.skipped else "xpassed"
        if outcome != "passed" or report.when == "call":
            self.phases[report.nodeid][f"{report.when} {outcome}"] += 1

    def pytest_sessionfinish(self) -> None:
        self.path.write_text(json.dumps({test: _outcome(seen) for test, seen in self.phases.items()}), "utf-8")


def _outcome(seen: "Counter[str]") -> str:
    for phase, outcome in (
        ("??? failed", "crashed"),
        ("call failed", "failed"),
        ("setup failed", "error"),
        ("teardown failed", "error"),
        ("setup skipped", "skipped"),
        ("call skipped", "skipped"),
        ("setup xfailed", "xfailed"),
        ("call xfailed", "xfailed"),
        ("call xpassed", "xpassed"),
    ):
        if seen[phase]:
            return outcome
    return "passed"
