"""Makes no more of a cut file than its shard needs: functions and classes whose tests are all another shard's are left
alone, and of a function that is shared out only the shard's own parameters become tests.

To collect a test with all its parameters may take longer than to run the shard's own part of them.
"""

import inspect
from collections.abc import Generator
from typing import Any

import pytest

from .arguments import named_files
from .shard import Shard
from .split import file_key, homes


class Elsewhere:
    """What it left to others is told in the record, see there."""

    def __init__(self, config: pytest.Config, shard: Shard) -> None:
        self._shard = shard
        self._named = named_files(config)
        self._left: dict[str, list[str]] = {}
        self._own: dict[str, list[str]] = {}
        self._unmade: dict[str, list[str]] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_pycollect_makeitem(self, collector: Any, name: str, obj: object) -> list[pytest.Item] | None:
        file = file_key(collector.nodeid)
        if file not in self._shard.cuts or collector.path in self._named:
            return None
        inside = collector.nodeid.removeprefix(file).removeprefix("::")
        full = f"{inside}::{name}" if inside else name
        home = self._shard.cuts[file].home(full)
        if home is None or not _is_test(collector, name, obj):
            return None
        if home == self._shard.ranks[file]:
            self._own.setdefault(file, []).append(full)
            return None
        self._left.setdefault(file, []).append(full)
        return []

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_generate_tests(self, metafunc: Any) -> Generator[None]:
        yield
        file, _, name = metafunc.definition.nodeid.partition("::")
        calls = getattr(metafunc, "_calls", None)  # pytest has no public name for them; without, all are made
        if not calls or file not in self._shard.cuts or not self._shard.cuts[file].is_split(name):
            return
        own, others = [], []
        for call in calls:
            test = f"{name}[{call.id}]"
            if self._shard.runs(file, test):
                own.append(call)
            else:
                others.append(test)
        if own:  # without any, pytest would make a test without parameters
            self._unmade.setdefault(file, []).extend(others)
            metafunc._calls = own  # noqa: SLF001

    def unmade(self, file: str) -> list[str]:
        """Tests that are there, and that this shard did not make."""
        return self._unmade.get(file, [])

    def told(self, file: str, ids: list[str]) -> dict[str, list[str]]:
        """What the record says beside the `ids` that were collected, where there is something to say."""
        found = {"left": self._left.get(file, [])}
        if own := self._own.get(file):
            there = {name for test in ids for name in homes(test)}
            found["empty"] = [name for name in own if name not in there]
        return {field: names for field, names in found.items() if names}


def _is_test(collector: Any, name: str, obj: object) -> bool:
    """As pytest itself tells. What else it may be, plug-ins' kinds of tests for example, is collected everywhere."""
    return bool(collector.istestclass(obj, name) if inspect.isclass(obj) else collector.istestfunction(obj, name))
