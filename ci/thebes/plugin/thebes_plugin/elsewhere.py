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
from .split import Cut, homes


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
        file, _, inside = collector.nodeid.partition("::")
        if (cut := self._cut(file, collector)) is None:
            return None
        full = f"{inside}::{name}" if inside else name
        home = cut.home(full)
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
        cut = self._cut(file, metafunc.definition)
        calls = getattr(metafunc, "_calls", None)  # pytest has no public name for them; without, all are made
        if cut is None or not calls or not cut.is_split(name) or not all(call.id for call in calls):
            return
        tests = {f"{name}[{call.id}]": call for call in calls}
        if len(tests) < len(calls):  # ids that are not unique can't be told apart
            return
        own = [test for test in tests if self._shard.runs(file, test)]
        made = {test: tests[test] for test in own or [next(iter(tests))]}  # without any, there would be one without id
        self._unmade.setdefault(file, []).extend(test for test in tests if test not in made)
        metafunc._calls = [*made.values()]  # noqa: SLF001

    def _cut(self, file: str, node: Any) -> Cut | None:
        """How the file is shared out; None: it is not, or pytest looks for single tests in it."""
        cut = self._shard.cuts.get(file)
        return None if cut is None or node.path in self._named else cut

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
