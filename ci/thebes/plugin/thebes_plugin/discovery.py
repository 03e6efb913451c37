"""Lists the test files under pytest's own rules, without importing one: every file's own collection is emptied.

Doctest, YAML and other collectors count like Python modules. With THEBES_COLLECT=1 the files are collected in
full, for what only that can tell (tests that no file stands for, markers).
"""

import json
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from .arguments import named_files
from .neutral import neutralize
from .split import file_key, markers_of_speeds

# pytest plug-ins whose presence changes how a shard is run, by distribution.
WATCHED = ("pytest-xdist", "pytest-cov", "pytest-rerunfailures", "pytest-randomly", "pytest-timeout")


def install(config: pytest.Config, path: str) -> None:
    config.option.collectonly = True
    if hasattr(config.option, "numprocesses"):  # the controller of xdist does not collect
        # As asked for: xdist itself replaces "auto" by a number.
        workers, dist = config.known_args_namespace.numprocesses, config.option.dist
        config.option.numprocesses, config.option.dist, config.option.tx = None, "no", []
    else:
        workers, dist = None, "no"
    discoverer = Discoverer(config, path, workers, dist)
    neutralize(config)  # after the options have been noted
    config.pluginmanager.register(discoverer, "thebes-discovery")


class Discoverer:
    """Collects files instead of tests and writes what it saw at the end."""

    def __init__(self, config: pytest.Config, path: str, workers: Any, dist: str) -> None:
        self.config = config
        self.path = path
        self.full = os.environ.get("THEBES_COLLECT") == "1"
        self.options = _options(config, workers, dist)
        self.files: dict[str, str] = {}
        self.tests: dict[str, list[str]] = {}
        self.errors: list[str] = []
        self.named = named_files(config)
        self.declared: list[str] = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_make_collect_report(self, collector: pytest.Collector) -> pytest.CollectReport | None:
        if not isinstance(collector, pytest.File) or isinstance(collector, pytest.Package):
            return None
        self.files.setdefault(file_key(collector.nodeid), str(collector.path))
        if self.full or collector.path in self.named:
            return None
        return pytest.CollectReport(collector.nodeid, "passed", None, [])

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed and not self.full:
            self.errors.append(f"{report.nodeid or '.'}: {report.longreprtext[-2000:]}")

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> Generator[None, None, None]:
        self.declared = declared(self.config)
        for marker in markers_of_speeds(self.declared):  # strict pytest wants to know what an expression names
            self.config.addinivalue_line("markers", f"{marker}: by past runs")
        yield
        for item in items:
            self.tests.setdefault(file_key(item.nodeid), []).append(item.nodeid)
            self.files.setdefault(file_key(item.nodeid), str(item.path))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        config = self.config
        found = {
            "rootdir": str(config.rootpath),
            "inipath": str(config.inipath) if config.inipath else None,
            "pytest": pytest.__version__,
            "plugins": versions(config),
            "options": {**self.options, "markers": self.declared},
            "files": [{"key": key, "path": path} for key, path in sorted(self.files.items())],
            "tests": self.tests,
            "errors": self.errors,
            "named": sorted(str(path) for path in self.named),
        }
        Path(self.path).write_text(json.dumps(found), "utf-8")


def declared(config: pytest.Config) -> list[str]:
    """The names of the markers that the project and its plug-ins declare."""
    return sorted({str(line).partition(":")[0].partition("(")[0].strip() for line in config.getini("markers")})


def versions(config: pytest.Config) -> dict[str, str]:
    """The watched plug-ins that are loaded, with their versions, as pytest itself found them."""
    found = {dist.metadata["Name"].lower(): dist.version for _, dist in config.pluginmanager.list_plugin_distinfo()}
    return {name: found[name] for name in WATCHED if name in found}


def _options(config: pytest.Config, workers: Any, dist: str) -> dict[str, Any]:
    """What the project's configuration asks for. Options of plug-ins that are not there have no value."""
    option = config.option
    coverage = config.pluginmanager.get_plugin("_cov")
    return {
        "workers": None if workers is None else str(workers),
        "dist": dist or "no",
        "coverage": coverage is not None,
        "fail_under": getattr(getattr(coverage, "options", None), "cov_fail_under", None) or None,
        "marker": option.markexpr or "",
        "keyword": option.keyword or "",
        "maxfail": option.maxfail or 0,
        "reruns": getattr(option, "reruns", None) or 0,
    }
