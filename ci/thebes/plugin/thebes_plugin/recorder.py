"""Records what happens to each test, as the process knows it that prints pytest's own report."""

import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import suppress
from pathlib import Path
from time import time
from typing import Any

import pytest

from .aftermath import captured, count_oom_kills, how_it_died, phase_of, place_of, stacks, without_pytest
from .clock import FixtureClock, is_rerun
from .discovery import versions
from .record import RECORD_FAILED, Record, RecordError, bounded, quoted
from .selector import Selector
from .split import file_key

OUTPUT_LIMIT = 16 * 1024
PHASES = ("setup", "call", "teardown")


class Running:
    """In the controller of xdist: `tests` that a worker began and that have not ended."""

    def __init__(self) -> None:
        self.tests: set[str] = set()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.tests.add(nodeid)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodeready(self, node: Any) -> None:
        """Where two workers die at the same time, xdist gives the second what the first has left, before it hears of
        its death too, and would itself end of that. Of a dead worker it takes everything back."""
        send = node.sendcommand

        def send_if_alive(name: str, **arguments: object) -> None:
            with suppress(OSError):
                send(name, **arguments)

        node.sendcommand = send_if_alive


class Attempt:
    """An attempt of a test that has not ended. What nearly all have in common stands in the class: it costs nothing."""

    at = 0.0
    setup = 0.0
    call = 0.0
    outcome = "passed"
    rerun = False
    subtest_failed = False


class Recorder:
    """Writes the lines of a record from the first test to the end of the session. `running`: only with xdist."""

    def __init__(
        self, config: pytest.Config, record: Record, clock: FixtureClock, selector: Selector, running: Running | None
    ) -> None:
        self.config = config
        self.record = record
        self.clock = clock
        self.selector = selector
        self.running = running
        self.folder = Path(selector.shard.traces)
        self.oom_kills = count_oom_kills()
        self.open: dict[str, Attempt] = {}
        self.told_files: set[str] = set()
        # Where this process runs the tests itself, the start of the next one is about to be written.
        self._write = record.write if running else record.defer

    def pytest_sessionstart(self) -> None:
        config = self.config
        self._put(
            "session",
            python=".".join(map(str, sys.version_info[:3])),
            pytest=pytest.__version__,
            rootdir=str(config.rootpath),
            inipath=str(config.inipath) if config.inipath else None,
            plugins=versions(config),
            maxfail=config.option.maxfail and config.option.maxfail + self.selector.shard.failed_before,
        )

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A file that skipped itself or could not be collected: these leave no test behind."""
        if report.passed or report.nodeid in self.told_files:
            return
        self.told_files.add(report.nodeid)  # every worker of xdist reports it
        text = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
        self._put("file", file=file_key(report.nodeid), outcome=report.outcome, text=bounded(text))

    @pytest.hookimpl(trylast=True)  # plug-ins may change a report's outcome while it is being logged
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        # Three times for each test, so it counts: a report makes its id anew whenever it is asked, and looking for what
        # is not there takes longest.
        nodeid, when, fields = report.nodeid, report.when, vars(report)
        attempt = self.open.get(nodeid)
        try:
            if attempt is not None and attempt.rerun and when == "setup":
                # pytest-rerunfailures before 16 leaves out the teardown of such an attempt
                self._end(nodeid, attempt, 0.0, fields)
                attempt = None
            if attempt is None:
                attempt = self.open[nodeid] = Attempt()
                attempt.at = report.start
            unusual = report.outcome != "passed" or "context" in fields or "wasxfail" in fields
            if unusual and self._take_unusual(report, attempt):
                return
            if when == "setup":
                attempt.setup = report.duration
            elif when == "call":
                attempt.call = report.duration
            else:
                self._end(nodeid, attempt, report.duration, fields)
        except RecordError as error:
            give_up(error)

    def _take_unusual(self, report: pytest.TestReport, attempt: Attempt) -> bool:
        """Anything but a plain pass. True: nothing is left to do for this report."""
        if hasattr(report, "context"):  # a subtest; its parent reports on its own
            if not report.passed:
                self._phase(report, "failed" if report.failed else "skipped", _describe(report))
            attempt.subtest_failed |= report.failed
            return True
        if report.when not in PHASES:  # "???": xdist lost the worker that ran it
            self._crash(report, attempt)
            return True
        attempt.rerun |= is_rerun(report)
        outcome = _outcome(report)
        if outcome != "xpassed":
            self._phase(report, outcome)
        attempt.outcome = _worse(attempt.outcome, outcome)
        return False

    def _end(self, nodeid: str, attempt: Attempt, teardown: float, fields: Mapping[str, Any]) -> None:
        """`teardown`: seconds; `fields`: of the last report."""
        del self.open[nodeid]
        outcome = attempt.outcome
        if self.running and not attempt.rerun:
            self.running.tests.discard(nodeid)
        if attempt.subtest_failed and outcome in {"passed", "skipped", "xfailed", "xpassed"}:
            outcome = "failed"
        fixtures = fields.get("thebes_fixtures") or (self.clock.spent and self.clock.take())
        worker, memory = fields.get("worker_id"), fields.get("thebes_memory")
        self._write(
            f'{{"kind":"end","id":{quoted(nodeid)},"outcome":"{outcome}",'
            f'"durations":[{attempt.setup:.6f},{attempt.call:.6f},{teardown:.6f}],"at":{attempt.at:.6f}'
            + (f',"fixtures":{fixtures:.6f}' if fixtures else "")
            + (f',"worker":{quoted(worker)}' if worker else "")
            + (f',"memory":{memory}' if memory else "")
            + (',"rerun":true}\n' if attempt.rerun else "}\n")
        )

    def _phase(self, report: pytest.TestReport, outcome: str, subtest: str | None = None) -> None:
        message, path, line = _place(report)
        text = "" if isinstance(report.longrepr, tuple) else report.longreprtext
        self.record.put(
            "phase",
            id=report.nodeid,
            when=report.when,
            outcome=outcome,
            text=bounded(text),
            message=bounded(message, OUTPUT_LIMIT),
            path=path,
            line=line,
            subtest=subtest,
            output={name: bounded(text, OUTPUT_LIMIT) for name, text in report.sections} if report.failed else {},
        )

    def _crash(self, report: pytest.TestReport, attempt: Attempt) -> None:
        gateway = getattr(getattr(report, "node", None), "gateway", None)
        worker = getattr(gateway, "id", "")
        died = _death(gateway, self.oom_kills) or report.longreprtext
        if self.running and report.nodeid not in self.running.tests:  # xdist blames the first that it thinks is left
            self.record.put("crash", id="", text=bounded(died), worker=worker)
            del self.open[report.nodeid]
            return
        told = stacks(self.folder, worker)
        path, line = place_of(told)
        self.record.put("crash", id=report.nodeid, text=bounded(died), worker=worker)
        self.record.put(
            "phase",
            id=report.nodeid,
            when=phase_of(told),
            outcome="crashed",
            text=bounded(without_pytest(told)),
            message=died,
            path=path,
            line=line,
            output={name: bounded(text, OUTPUT_LIMIT) for name, text in captured(self.folder, worker).items()},
        )
        report.worker_id = worker  # type: ignore[attr-defined]
        attempt.outcome = "crashed"
        attempt.at = attempt.at or time()
        self._end(report.nodeid, attempt, 0.0, vars(report))

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        self.selector.selected = len(ids)

    def pytest_internalerror(self, excrepr: Any) -> None:
        self._put("note", code="internal-error", text=bounded(str(excrepr)))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> Generator[None, None, None]:
        try:
            self.record.flush()  # there is no further test
        except RecordError as error:
            give_up(error)
        yield
        controller = self.config.pluginmanager.get_plugin("dsession")
        stopped = session.shouldfail or session.shouldstop or (controller.shouldstop if controller else False) or None
        self._put(
            "finish",
            exit=int(exitstatus),
            selected=self.selector.selected,
            stopped=str(stopped) if stopped else None,
        )

    def _put(self, kind: str, **fields: Any) -> None:
        try:
            self.record.put(kind, **fields)
        except RecordError as error:
            give_up(error)


def give_up(error: RecordError) -> None:
    """Without its record a shard proves nothing: end the session."""
    pytest.exit(f"thebes: cannot write the record: {error}", RECORD_FAILED)


def _death(gateway: Any, oom_kills: int) -> str:
    """How the process of a worker of xdist ended; empty where that can't be told."""
    process = getattr(getattr(gateway, "_io", None), "popen", None)
    if not isinstance(process, subprocess.Popen):
        return ""
    try:
        return how_it_died(process.wait(5), oom_kills)  # its pipe is closed, so it is gone or about to be
    except subprocess.TimeoutExpired:
        return ""


def _outcome(report: pytest.TestReport) -> str:
    """What this phase says of the attempt."""
    if hasattr(report, "wasxfail"):
        return "xfailed" if report.skipped else "xpassed"
    if report.skipped:
        return "skipped"
    return "failed" if report.when == "call" else "error"


RANK = {"passed": 0, "xpassed": 1, "xfailed": 1, "skipped": 1, "error": 2, "failed": 3}


def _worse(one: str, other: str) -> str:
    return other if RANK[other] > RANK[one] else one


def _place(report: pytest.TestReport) -> tuple[str, str, int]:
    """Message, path and line (from 1) of what went wrong, as far as pytest knows."""
    longrepr = report.longrepr
    if isinstance(longrepr, tuple):
        return str(longrepr[2]), str(longrepr[0]), int(longrepr[1])
    message = getattr(report, "wasxfail", "")
    if crash := getattr(longrepr, "reprcrash", None):
        return message or crash.message, str(crash.path), int(crash.lineno)
    path, line, _ = report.location
    return message or (longrepr if isinstance(longrepr, str) else ""), path, (line or -1) + 1


def _describe(report: Any) -> str:
    """A subtest's own description, for the built-in plug-in and for pytest-subtests."""
    return str(getattr(report, "_sub_test_description", lambda: "(<subtest>)")())
