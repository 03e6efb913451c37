"""Sets one process of a shard up: pytest itself, xdist's controller, or a worker of xdist."""

import json
import os
import re
from pathlib import Path

import pytest

from .clock import FixtureClock, WorkerClock
from .guard import Guard
from .memory import MemoryMeter
from .neutral import neutralize
from .record import Record
from .recorder import Recorder, Running
from .selector import Selector
from .shard import Shard

# --maxfail was chosen for this very run, not by the project: as an option, or as x among flags as in -vx.
CHOSEN = re.compile(r"-[lqsv]*x|--exitfirst|--maxfail")

PEER = "benchmark"  # the name that pytest-benchmark has among plug-ins
GROUPED = ("loadfile", "loadscope", "loadgroup")


def install(config: pytest.Config, path: str) -> None:
    shard = Shard(json.loads(Path(path).read_text("utf-8")))
    record = Record(shard.record)
    config.add_cleanup(record.close)
    worker = getattr(config, "workerinput", {})
    name = worker.get("workerid", "")
    _refuse(config, shard, record)
    _adjust(config, shard)
    if worker and os.environ.get("THEBES_TRACED"):
        from .__main__ import allow_tracing  # noqa: PLC0415  (only beside a profiler)

        allow_tracing()
    for marker in shard.speeds.names:
        config.addinivalue_line("markers", f"{marker}: tests that took so long in past runs")
    clock = FixtureClock(record, name, all_here=not (shard.done or shard.one))
    config.pluginmanager.register(clock, "thebes-clock")
    # Every worker collects the same; the first tells, or the one that replaces it.
    tells = not worker or name == "gw0" or int(name.removeprefix("gw") or 0) >= worker["workercount"]
    selector = Selector(config, shard, record if tells else None, name)
    config.pluginmanager.register(selector, "thebes-selector")
    runs_tests = bool(worker) or not _distributes(config)  # the controller of xdist runs none
    if config.pluginmanager.has_plugin("_cov"):
        from .covering import CoverageKeeper  # noqa: PLC0415  (only where coverage is measured)

        config.pluginmanager.register(CoverageKeeper(config, record, name, runs_tests=runs_tests), "thebes-coverage")
    if runs_tests:
        if shard.measure_memory:
            config.pluginmanager.register(MemoryMeter(record, name, shard.memory_limit), "thebes-memory")
        if config.pluginmanager.hasplugin(PEER):
            from .benchmarks import Benchmarks  # noqa: PLC0415  (only beside its peer)

            config.pluginmanager.register(Benchmarks(config, record), "thebes-benchmarks")
        if shard.leaks:
            from .leaks import LeakFinder  # noqa: PLC0415  (only where it is asked for)

            config.pluginmanager.register(LeakFinder(config, record, name, fails=shard.leaks == "fail"), "thebes-leaks")
        config.pluginmanager.register(Guard(config, record, name, shard), "thebes-guard")
    if worker:
        config.pluginmanager.register(WorkerClock(clock), "thebes-worker")
    else:
        running = Running() if _distributes(config) else None
        if running:
            config.pluginmanager.register(running, "thebes-running")
        config.pluginmanager.register(Recorder(config, record, clock, selector, running), "thebes-recorder")


def _distributes(config: pytest.Config) -> bool:
    """Is this the controller of xdist?"""
    return getattr(config.option, "dist", "no") != "no" and bool(config.option.tx)


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
    option.collectonly = option.collectonly or shard.collect
    if shard.maxfail is not None:
        option.maxfail = shard.maxfail
    elif not any(CHOSEN.match(str(given)) for given in config.invocation_params.args):
        option.maxfail = 0
    if option.maxfail:
        option.maxfail = max(1, option.maxfail - shard.failed_before)
    if getattr(option, "dist", "no") in GROUPED and option.maxworkerrestart is None:
        # With a worker that dies, xdist would lose or repeat tests of its groups; we run the rest anew instead.
        option.maxworkerrestart = "0"
    if shard.marker:
        option.markexpr = f"({option.markexpr}) and ({shard.marker})" if option.markexpr else shard.marker
