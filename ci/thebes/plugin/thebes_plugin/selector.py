"""Selects the tests of one shard, and records which there were to select from."""

from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from time import perf_counter, time

import pytest

from .arguments import named_files
from .groups import Groups
from .positional import positional_hooks
from .record import RECORD_FAILED, Record, RecordError
from .shard import Shard
from .split import file_key
from .unmade import Unmade


class Selector:
    """Empties the files of other shards, deselects what others run, and tells what is left."""

    def __init__(self, config: pytest.Config, shard: Shard, record: Record | None, worker: str) -> None:
        self.config = config
        self.shard = shard
        self.record = record
        self.worker = worker
        self.selected = 0
        self._named = named_files(config)
        self._elsewhere = shard.foreign_paths() - {str(path) for path in self._named}
        self._strangers: set[str] = set()
        self._seconds: dict[str, float] = {}
        self._began: tuple[str, float] | None = None
        self._before: list[tuple[pytest.Item, str]] = []
        self._later: frozenset[str] = frozenset()
        self._groups = Groups(shard.markers)
        self._unmade = Unmade(config, shard)
        if shard.cuts and not self._named:  # single tests that are named pytest looks for by their ids
            config.pluginmanager.register(self._unmade, "thebes-unmade")

    @pytest.hookimpl(tryfirst=True)
    def pytest_ignore_collect(self, collection_path: Path) -> bool | None:
        """Saves making and emptying a collector for a file that is known to be another shard's."""
        return True if str(collection_path) in self._elsewhere else None

    @pytest.hookimpl(tryfirst=True)
    def pytest_make_collect_report(self, collector: pytest.Collector) -> pytest.CollectReport | None:
        if not isinstance(collector, pytest.File) or isinstance(collector, pytest.Package):
            return None
        key = file_key(collector.nodeid)
        if not self.shard.holds(key, collector.path):
            if collector.path in self._named:
                self._strangers.add(key)
                return None
            return pytest.CollectReport(collector.nodeid, "passed", None, [])
        self._seconds.setdefault(key, 0.0)
        if key in self.shard.broken:
            return pytest.CollectReport(collector.nodeid, "failed", self.shard.broken[key], [])
        if self.record:
            self.record.put("collecting", file=key, at=time(), worker=self.worker)
        self._began = (collector.nodeid, perf_counter())
        return None

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if self._began and self._began[0] == report.nodeid:
            self._seconds[file_key(report.nodeid)] += perf_counter() - self._began[1]
            self._began = None

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> Generator[None, None, None]:
        self._before = [(item, item.nodeid) for item in items]
        if self.shard.speeds.names:
            for item, nodeid in self._before:
                item.add_marker(self.shard.speeds.of(nodeid))
        yield
        if self.record and len(items) < len(self._before):
            for name in positional_hooks(self.config, [item for item, _ in self._before]):
                self.record.put(
                    "note",
                    code="positional-deselection",
                    text=f"{name} deselects tests by their position, which differs from shard to shard",
                    worker=self.worker,
                )
        if self.shard.cuts:
            self._join()
        if self.shard.narrows or self._strangers:
            self._narrow(items)

    def _narrow(self, items: list[pytest.Item]) -> None:
        names = {id(item): nodeid for item, nodeid in self._before}
        self._drop(items, names, lambda test: not self.shard.is_asked_for(test))
        if self.shard.cuts or self._strangers:
            self._drop(items, names, lambda test: not self._is_mine(test))
        if self.shard.done:
            self._drop(items, names, self.shard.done.__contains__)
        if self.shard.one and items:
            first = id(items[0])
            self._later = frozenset(names.get(id(item), item.nodeid) for item in items if id(item) != first)
            self._drop(items, names, self._later.__contains__)

    def _join(self) -> None:
        """Tests of a cut file that nobody knew go where their group is."""
        found: dict[str, dict[str, str]] = {}
        for item, nodeid in self._before:
            file, _, test = nodeid.partition("::")
            if file in self.shard.cuts and (group := self._groups.of(item)):
                found.setdefault(file, {})[test] = group
        for file, groups in found.items():
            self.shard.cuts[file].join(groups)

    def _drop(self, items: list[pytest.Item], names: dict[int, str], other: Callable[[str], bool]) -> None:
        """Take out the tests that `other` says are not for this session."""
        kept: list[pytest.Item] = []
        gone: list[pytest.Item] = []
        for item in items:
            (gone if other(names.get(id(item), item.nodeid)) else kept).append(item)
        if gone:
            items[:] = kept
            self.config.hook.pytest_deselected(items=gone)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Everything that could change the selection has run: tell what there was and what is left."""
        self.selected = len(session.items)
        before, self._before = self._before, []  # what stays, the collector of garbage goes through again and again
        if not self.record:
            return
        try:
            self._tell(self.record, before, session.items)
        except RecordError as error:
            pytest.exit(f"thebes: cannot write the record: {error}", RECORD_FAILED)

    def _tell(self, record: Record, before: list[tuple[pytest.Item, str]], selected: list[pytest.Item]) -> None:
        names = {id(item): nodeid for item, nodeid in before}
        added = [(item, item.nodeid) for item in selected if id(item) not in names]
        tests: dict[str, list[str]] = {file: [] for file in self._seconds}
        groups: dict[str, dict[int, str]] = {}
        for item, nodeid in [*before, *added]:
            file, _, test = nodeid.partition("::")
            if file in self._strangers:
                continue
            ids = tests.setdefault(file, [])
            if group := self._groups.of(item):
                groups.setdefault(file, {})[len(ids)] = group
            ids.append(test)
        for file, made in tests.items():
            ids = [*made, *self._unmade.of(file)]
            record.put(
                "collected",
                file=file,
                ids=ids,
                own=self._own(file, ids),
                seconds=round(self._seconds.get(file, 0.0), 6),
                worker=self.worker,
                **({"groups": groups[file]} if file in groups else {}),
            )
        left = {id(item) for item in selected}
        gone = [nodeid for item, nodeid in before if id(item) not in left and self._is_mine(nodeid)]
        gone = [nodeid for nodeid in gone if nodeid not in self.shard.done and nodeid not in self._later]
        if gone:
            record.put("deselected", ids=gone, worker=self.worker)
        renamed = {item.nodeid: names[id(item)] for item in selected if names.get(id(item), item.nodeid) != item.nodeid}
        if renamed:  # `--dist loadgroup` appends the group to the id
            record.put("renamed", ids=renamed, worker=self.worker)

    def _own(self, file: str, ids: Iterable[str]) -> list[int] | None:
        if file not in self.shard.cuts:
            return None
        return [position for position, test in enumerate(ids) if self.shard.runs(file, test)]

    def _is_mine(self, nodeid: str) -> bool:
        file, _, test = nodeid.partition("::")
        return self._is_own(file, test)

    def _is_own(self, file: str, test: str) -> bool:
        return file not in self._strangers and self.shard.runs(file, test)
