"""Tells what a test leaves behind: threads, tasks and loops of asyncio, processes, descriptors, sockets, temporary
files, environment variables, the working directory.

Things are compared from before a test's set-up to after its teardown. What appears while a fixture of wider scope is
set up is that fixture's. What a test leaves while such a fixture of its own is still there (a pool that opened a
connection, a loop that serves a module) may be the fixture's, too: it is looked at again when the fixture is gone.
"""

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from .record import RECORD_FAILED, Record, RecordError, bounded
from .surroundings import Look, Surroundings, Thing, give_time

GRACE = 0.2  # seconds for threads and processes that are about to end
GRACES = 10.0  # for all tests of a process together
MOST = 50  # things of one test that are told
TEXT = 500  # characters
# Fixtures of pytest and its plug-ins that own nothing a test could leave behind.
HARMLESS = frozenset(
    {
        *("pytestconfig", "tmp_path_factory", "tmpdir_factory", "doctest_namespace", "record_testsuite_property"),
        *("worker_id", "testrun_uid", "event_loop_policy", "anyio_backend", "anyio_backend_name"),
    }
)
# The traceback of a test that failed keeps its variables, and so what they hold open.
HELD = frozenset({"descriptor", "socket", "loop"})


class Suspicion(NamedTuple):
    """What a test may have left, to be looked at again when the fixtures `until` are gone."""

    item: pytest.Item
    things: list[Thing]
    until: frozenset[Any]


class LeakFinder:
    """Writes a line for each thing; where it `fails` its test, also what makes the test an error."""

    def __init__(self, config: pytest.Config, record: Record, worker: str, *, fails: bool) -> None:
        self._record = record
        self._worker = worker
        self._fails = fails
        own = config.option.basetemp  # of tmp_path, if it is not where it usually is
        self._around = Surroundings([str(Path(own).absolute())] if own else [])
        self._before: Look | None = None
        self._after: Look | None = None
        self._raised = False
        self._inside = False
        self._patience = GRACES
        self._alive: dict[Any, str] = {}
        self._shared: set[str] = set()
        self._suspicions: list[Suspicion] = []

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, Any, Any]:
        self._raised = False
        self._around.made.clear()
        # Nothing of a test's happens between two tests: where the last look found nothing new, it serves the next one.
        self._before = self._after or self._around.look()
        self._after = None
        result = yield
        found = self._found(self._before)
        self._before = None
        if found:
            until = frozenset(definition for definition, name in self._alive.items() if name in _used_by(item))
            self._suspicions.append(Suspicion(item, found, until))
            self._look_again()
        return result

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self) -> None:
        self._around.find_loops()

    def pytest_runtest_makereport(self, call: pytest.CallInfo[None]) -> None:
        self._raised = self._raised or call.excinfo is not None

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Generator[None, Any, Any]:
        if fixturedef.scope == "function" or self._inside:
            return (yield)
        self._inside = True
        before, made = self._around.look(), len(self._around.made)
        try:
            return (yield)
        finally:
            self._inside = False
            self._leave_to_fixture(before)
            del self._around.made[made:]
            if fixturedef.argname not in HARMLESS:
                self._alive[fixturedef] = fixturedef.argname

    def _leave_to_fixture(self, before: Look) -> None:
        """What appeared since is not the running test's; variables that were set may be set back at any time."""
        appeared = self._around.new(before, self._around.look())
        self._shared.update(thing.name for thing in appeared if thing.name)
        if self._before is None:
            return
        known, now = self._before, self._around.look()
        self._before = known._replace(
            threads=known.threads | (now.threads - before.threads),
            descriptors=known.descriptors | (now.descriptors - before.descriptors),
            children=known.children | (now.children - before.children),
            tasks=known.tasks | (now.tasks - before.tasks),
        )

    @pytest.hookimpl(trylast=True)
    def pytest_fixture_post_finalizer(self, fixturedef: Any) -> None:
        if self._alive.pop(fixturedef, None) is not None:
            self._look_again()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self) -> Generator[None, None, None]:
        yield
        self._alive.clear()
        self._look_again()

    def _found(self, before: Look) -> list[Thing]:
        now = self._around.look()
        if now == before and not self._around.made:
            self._after = now  # nearly always
            return []
        found = [
            thing
            for thing in self._around.new(before, now)
            if thing.name not in self._shared and not (self._raised and thing.what in HELD)
        ]
        if self._patience > 0 and any(thing.wait for thing in found):
            self._patience -= give_time(found, min(GRACE, self._patience))
        return [thing for thing in found if thing.still()]

    def _look_again(self) -> None:
        ripe = [one for one in self._suspicions if not one.until & self._alive.keys()]
        if not ripe:
            return
        self._suspicions = [one for one in self._suspicions if one not in ripe]
        for one in ripe:
            if left := [thing for thing in one.things if thing.still()]:
                try:
                    self._tell(one.item, left)
                except RecordError as error:
                    pytest.exit(f"thebes: cannot write the record: {error}", RECORD_FAILED)

    def _tell(self, item: pytest.Item, things: Sequence[Thing]) -> None:
        for thing in things[:MOST]:
            self._record.put(
                "leak",
                id=item.nodeid,
                what=thing.what,
                text=bounded(thing.text, TEXT),
                worker=self._worker,
                fails=self._fails,
            )
        if self._fails:
            path, line, _ = item.location
            texts = [bounded(thing.text, TEXT) for thing in things[:MOST]]
            self._record.put(
                "phase",
                id=item.nodeid,
                when="teardown",
                outcome="error",
                text="\n".join(["The test left behind:", *texts]),
                message=f"left behind: {'; '.join(texts)}",
                path=path,
                line=(line or -1) + 1,
            )


def _used_by(item: pytest.Item) -> Sequence[str]:
    """Names of the fixtures of a test; other plug-ins' items may have none."""
    names: Sequence[str] = getattr(item, "fixturenames", ())
    return names
