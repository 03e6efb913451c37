"""Selects the tests of one shard, and records which there were to select from."""

import json
import re
from collections.abc import Generator, Iterable
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest

from .arguments import named_files
from .neutral import neutralize
from .positional import positional_hooks
from .record import RECORD_FAILED, Record, RecordError
from .recorder import FixtureClock, Recorder, WorkerClock
from .split import Cut, file_key, gate_of, stable_hash

# --maxfail was chosen for this very run, not by the project: as an option, or as x among flags as in -vx.
CHOSEN = re.compile(r"-[lqsv]*x|--exitfirst|--maxfail")


class Shard:
    """What `thebes task` asks of this process, and the decision which file and test is whose."""

    def __init__(self, instructions: dict[str, Any]) -> None:
        self.record: str = instructions["record"]
        self.project: str = instructions["project"]
        self.rootdir: str = instructions["rootdir"]
        self.inipath: str | None = instructions["inipath"]
        self.gate: str = instructions["gate"]
        self.default_gate: str = instructions["default_gate"]
        self.claims: dict[str, list[str]] = instructions["claims"]
        self.marker: str | None = instructions["marker"]
        self.maxfail: int | None = instructions["maxfail"]
        self.index: int = instructions["index"]
        self.of: int = instructions["of"]
        self.known = frozenset(instructions["known"])
        self.whole = frozenset(instructions["whole"])
        self.cuts = {file: Cut(file, pieces) for file, (_, pieces) in instructions["cut"].items()}
        self.ranks = {file: rank for file, (rank, _) in instructions["cut"].items()}

    def holds(self, file: str, path: Path) -> bool:
        """Does this shard collect `file`? One that no shard was given goes by its hash within its gate."""
        if file in self.whole or file in self.cuts:
            return True
        if file in self.known:
            return False
        return self._gate_of(path) == self.gate and stable_hash(file, self.of) == self.index

    def runs(self, file: str, test: str) -> bool:
        cut = self.cuts.get(file)
        return cut is None or cut.owner(test) == self.ranks[file]

    def _gate_of(self, path: Path) -> str:
        try:
            relative = path.relative_to(self.project).as_posix()
        except ValueError:
            return self.default_gate
        return gate_of(relative, self.claims, self.default_gate)


def install(config: pytest.Config, path: str) -> None:
    shard = Shard(json.loads(Path(path).read_text("utf-8")))
    record = Record(shard.record)
    config.add_cleanup(record.close)
    worker = getattr(config, "workerinput", {})
    name = worker.get("workerid", "")
    _refuse(config, shard, record)
    _adjust(config, shard)
    clock = FixtureClock()
    config.pluginmanager.register(clock, "thebes-clock")
    # Every worker collects the same; the first tells, or the one that replaces it.
    tells = not worker or name == "gw0" or int(name.removeprefix("gw") or 0) >= worker["workercount"]
    selector = Selector(config, shard, record if tells else None, name)
    config.pluginmanager.register(selector, "thebes-selector")
    if worker:
        config.pluginmanager.register(WorkerClock(clock), "thebes-worker")
    else:
        config.pluginmanager.register(Recorder(config, record, clock, selector), "thebes-recorder")


def _refuse(config: pytest.Config, shard: Shard, record: Record) -> None:
    """Stop before anything runs where the shard's part of the suite would not be what the plan says."""
    problem = None
    rootdir, inipath = str(config.rootpath), str(config.inipath) if config.inipath else None
    if rootdir != shard.rootdir:
        problem = f"rootdir is {rootdir}, the plan was made for {shard.rootdir}"
    elif inipath != shard.inipath:
        problem = f"the ini file is {inipath}, the plan was made for {shard.inipath}"
    elif config.option.keepduplicates:
        problem = "--keep-duplicates runs tests more than once; a suite can't be split with it"
    elif getattr(config.option, "dist", "no") == "each":
        problem = "--dist each runs every test in every worker; a suite can't be split with it"
    if problem:
        record.put("note", code="shard-refused", text=problem)
        raise pytest.UsageError(f"thebes: {problem}")


def _adjust(config: pytest.Config, shard: Shard) -> None:
    """Take over what concerns the whole suite and would be wrong in a part of it (docs/configuration.md)."""
    neutralize(config)
    option = config.option
    if shard.maxfail is not None:
        option.maxfail = shard.maxfail
    elif not any(CHOSEN.match(str(given)) for given in config.invocation_params.args):
        option.maxfail = 0
    if shard.marker:
        option.markexpr = f"({option.markexpr}) and ({shard.marker})" if option.markexpr else shard.marker


class Selector:
    """Empties the files of other shards, deselects what others run, and tells what is left."""

    def __init__(self, config: pytest.Config, shard: Shard, record: Record | None, worker: str) -> None:
        self.config = config
        self.shard = shard
        self.record = record
        self.worker = worker
        self.selected = 0
        self._named = named_files(config)
        self._strangers: set[str] = set()
        self._seconds: dict[str, float] = {}
        self._began: tuple[str, float] | None = None
        self._before: list[tuple[pytest.Item, str]] = []

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
        self._began = (collector.nodeid, perf_counter())
        return None

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if self._began and self._began[0] == report.nodeid:
            self._seconds[file_key(report.nodeid)] += perf_counter() - self._began[1]
            self._began = None

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> Generator[None, None, None]:
        self._before = [(item, item.nodeid) for item in items]
        yield
        if self.record and len(items) < len(self._before):
            for name in positional_hooks(self.config, [item for item, _ in self._before]):
                self.record.put(
                    "note",
                    code="positional-deselection",
                    text=f"{name} deselects tests by their position, which differs from shard to shard",
                    worker=self.worker,
                )
        if self.shard.cuts or self._strangers:
            names = {id(item): nodeid for item, nodeid in self._before}
            self._drop_foreign(items, names)

    def _drop_foreign(self, items: list[pytest.Item], names: dict[int, str]) -> None:
        foreign: list[pytest.Item] = []
        kept: list[pytest.Item] = []
        for item in items:
            file, _, test = names.get(id(item), item.nodeid).partition("::")
            (kept if self._is_own(file, test) else foreign).append(item)
        if foreign:
            items[:] = kept
            self.config.hook.pytest_deselected(items=foreign)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Everything that could change the selection has run: tell what there was and what is left."""
        self.selected = len(session.items)
        if not self.record:
            return
        try:
            self._tell(self.record, session.items)
        except RecordError as error:
            pytest.exit(f"thebes: cannot write the record: {error}", RECORD_FAILED)

    def _tell(self, record: Record, selected: list[pytest.Item]) -> None:
        names = {id(item): nodeid for item, nodeid in self._before}
        added = [(item, item.nodeid) for item in selected if id(item) not in names]
        tests: dict[str, list[str]] = {file: [] for file in self._seconds}
        for _, nodeid in [*self._before, *added]:
            file, _, test = nodeid.partition("::")
            if file not in self._strangers:
                tests.setdefault(file, []).append(test)
        for file, ids in tests.items():
            record.put(
                "collected",
                file=file,
                ids=ids,
                own=self._own(file, ids),
                seconds=round(self._seconds.get(file, 0.0), 6),
                worker=self.worker,
            )
        left = {id(item) for item in selected}
        gone = [nodeid for item, nodeid in self._before if id(item) not in left and self._is_mine(nodeid)]
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
