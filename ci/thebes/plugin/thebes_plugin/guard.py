"""Tells the parent what it needs to end a test that hangs, and leaves traces for the case that the process dies.

Only in processes that run tests: pytest itself, or the workers of xdist. The parent watches from outside, so that
code which never gives the interpreter back can be ended, too.
"""

import faulthandler
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from time import time
from types import FrameType
from typing import IO, Any

import pytest

from .aftermath import STACKS_END, STACKS_SIGNAL, keep_captured, stacks_file
from .record import RECORD_FAILED, Record, RecordError, quoted
from .shard import Shard

# What pytest-timeout is given to end a test in its own, gentler way, before the process is ended.
GRACE = 5.0


class Guard:
    """`folder`: where the traces go; `limit`: seconds for each test; None: as its marker or pytest-timeout says;
    `default`: where they say nothing."""

    def __init__(self, config: pytest.Config, record: Record, worker: str, shard: Shard) -> None:
        self.config = config
        self.record = record
        self.worker = worker
        self.folder = Path(shard.traces)
        self.limit = shard.test_limit
        self.default = shard.default_limit
        self.limits: dict[str, float] = {}
        self._tail = f',"worker":{quoted(worker)}}}\n' if worker else "}\n"
        self._stacks: IO[str] | None = None
        self._captures = False

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        self.record.put("process", pid=os.getpid(), worker=self.worker, at=time())
        self._stacks = stacks_file(self.folder, self.worker).open("w", encoding="utf-8", errors="backslashreplace")
        self.config.add_cleanup(self._close)
        if self.config.pluginmanager.has_plugin("faulthandler"):  # as the project says, only to another file
            faulthandler.enable(self._stacks)
        if signal.getsignal(STACKS_SIGNAL) in {signal.SIG_DFL, None}:
            _on_signal(STACKS_SIGNAL, _teller(self._stacks))
            faulthandler.register(STACKS_SIGNAL, self._stacks, all_threads=True, chain=True)

    @pytest.hookimpl(tryfirst=True)
    def pytest_make_collect_report(self, collector: pytest.Collector) -> None:
        """The first place where pytest captures."""
        if not self._captures and isinstance(collector, pytest.File):
            self._captures = True
            keep_captured(self.folder, self.worker)

    def _close(self) -> None:
        faulthandler.unregister(STACKS_SIGNAL)
        if self._stacks:
            self._stacks.close()

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        gentle = self.config.pluginmanager.has_plugin("timeout")
        default = self.limit or _of_pytest_timeout(self.config) or self.default
        of_parents: dict[int, float | None] = {}
        for item in session.items:
            limit = _own_mark(item) if item.own_markers else None
            if limit is None and item.parent is not None:
                if id(item.parent) not in of_parents:
                    of_parents[id(item.parent)] = _closest_mark(item.parent)
                limit = of_parents[id(item.parent)]
            if limit is None:
                limit = default
            elif limit and gentle:
                limit += GRACE
            if limit:
                self.limits[item.nodeid] = limit

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logstart(self, nodeid: str) -> None:
        limit = f',"limit":{self.limits[nodeid]:g}' if nodeid in self.limits else ""
        try:
            self.record.write(f'{{"kind":"start","id":{quoted(nodeid)},"at":{time():.6f}{limit}{self._tail}')
        except RecordError as error:
            pytest.exit(f"thebes: cannot write the record: {error}", RECORD_FAILED)


def _closest_mark(node: Any) -> float | None:
    """What the closest `@pytest.mark.timeout` of a class, module or folder says."""
    limits = (_own_mark(parent) for parent in reversed(node.listchain()))
    return next((limit for limit in limits if limit is not None), None)


def _own_mark(node: Any) -> float | None:
    """What `@pytest.mark.timeout(…)` on this very node says; 0 switches limits off. None: there is none."""
    for marker in node.own_markers:
        if marker.name == "timeout" and not marker.kwargs.get("func_only"):
            value = marker.args[0] if marker.args else marker.kwargs.get("timeout")
            if isinstance(value, int | float):  # pytest-timeout, where it is there, refuses anything else
                return max(0.0, float(value))
    return None


def _of_pytest_timeout(config: pytest.Config) -> float | None:
    """When the process is to be ended where pytest-timeout has a limit for all tests and can't enforce it."""
    limit = getattr(config, "_env_timeout", None)
    return float(limit) + GRACE if limit and not getattr(config, "_env_timeout_func_only", False) else None


def _on_signal(number: int, handler: Callable[[int, FrameType | None], Any]) -> None:
    try:
        signal.signal(number, handler)
    except ValueError:  # not the main thread: then there are the stacks alone
        return


def _teller(file: IO[str]) -> Callable[[int, FrameType | None], None]:
    """A handler for after faulthandler's own: what only a running interpreter can tell."""

    def tell(_number: int, _frame: FrameType | None) -> None:
        try:
            for task in _asyncio_tasks():
                file.write("\n")
                task.print_stack(file=file)
        except Exception as error:  # noqa: BLE001  (in the middle of anything; the stacks are there already)
            file.write(f"asyncio tasks can't be told: {error!r}\n")
        file.write(f"\n{STACKS_END}\n")
        file.flush()

    return tell


def _asyncio_tasks() -> list[Any]:
    """Unfinished tasks of every event loop that runs, in whatever thread."""
    if "asyncio" not in sys.modules:
        return []
    import asyncio  # noqa: PLC0415
    import gc  # noqa: PLC0415

    loops = [found for found in gc.get_objects() if issubclass(type(found), asyncio.AbstractEventLoop)]
    return [task for loop in loops if loop.is_running() for task in asyncio.all_tasks(loop)]
