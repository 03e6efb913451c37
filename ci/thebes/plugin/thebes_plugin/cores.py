"""Which of coverage.py's cores measures, where the project leaves that open."""

import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import coverage
import pytest

CORES = {"CTracer": "ctrace", "SysMonitor": "sysmon", "PyTracer": "pytrace"}
OPEN = pytest.StashKey[tuple[str, ...]]()
VARIABLE = "COVERAGE_CORE"  # also for workers and for processes that tests start
NAMED = {"greenlet", "gevent", "eventlet"}  # what `concurrency` may name, and sysmon can't follow
MONITORING, BRANCHES = (3, 12), (3, 14)  # Pythons in which sysmon measures statements, and branches, too


def choose_core(config: pytest.Config, path: str) -> None:
    """Before pytest-cov begins to measure: have the core that the instructions in `path` wish for do it."""
    config.stash[OPEN] = cores = _open_cores(config.known_args_namespace)
    wish = json.loads(Path(path).read_text("utf-8"))["core"] if cores else ""
    if wish in cores:
        os.environ[VARIABLE] = wish


def _open_cores(options: Any) -> tuple[str, ...]:
    """The cores that give what the project asks of coverage.py, if it names none itself and there is a choice."""
    if VARIABLE in os.environ or sys.version_info < MONITORING or sys.implementation.name != "cpython":
        return ()
    try:
        settings = coverage.Coverage(config_file=options.cov_config).config
    except coverage.CoverageException:  # pytest-cov will say it
        return ()
    if not hasattr(settings, "core"):  # coverage.py is too old to have a choice
        return ()
    contexts = getattr(options, "cov_context", None) or settings.dynamic_context
    branches = options.cov_branch or settings.branch
    if settings.core or settings.timid or contexts or settings.plugins or NAMED.intersection(settings.concurrency):
        return ()
    if branches and sys.version_info < BRANCHES:
        return ()
    return ("ctrace" if find_spec("coverage.tracer") else "pytrace", "sysmon")


def core_of(measuring: Any) -> str:
    """The core that a running coverage.Coverage has; empty: not known."""
    tracer = getattr(getattr(measuring, "_core", None), "tracer_class", type(None))
    return CORES.get(tracer.__name__, "")
