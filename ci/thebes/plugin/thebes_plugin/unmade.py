"""Spares making tests of a function with parameters that are known to be another shard's.

The function's parameters are worked out in full all the same, so that every shard knows, and tells, all ids of a cut
file; but a test is made of each that is the shard's own, or new. Making tests of thousands of parameters takes longer
than running the shard's part of them.
"""

from collections.abc import Generator
from itertools import compress
from typing import Any

import pytest

from .shard import Shard

# Hooks that see tests as they are made, or all of them. What they do with one may depend on another.
SEEING = ("pytest_pycollect_makeitem", "pytest_itemcollected", "pytest_collection_modifyitems")
# Packages whose hooks take each test by itself, or put tests into an order of their own.
KNOWN = frozenset(
    {
        *("_pytest", __name__.partition(".")[0], "xdist", "_hypothesis_pytestplugin", "pytest_asyncio", "anyio"),
        *("pytest_randomly", "pytest_django"),
    }
)


class Unmade:
    """What was not made of the files that the shard has pieces of."""

    def __init__(self, config: pytest.Config, shard: Shard) -> None:
        self._config = config
        self._shard = shard
        self._tests: dict[str, list[str]] = {}

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_generate_tests(self, metafunc: Any) -> Generator[None]:
        yield
        file, _, name = metafunc.definition.nodeid.partition("::")
        calls = getattr(metafunc, "_calls", None)  # pytest has no public name for them; without, all are made
        if file not in self._shard.cuts or type(calls) is not list:
            return
        tests = [f"{name}[{call.id}]" for call in calls]
        keep = [not self._shard.leaves(file, test) for test in tests]
        unique = len({*tests}) == len(tests)  # others can't be told apart
        if all(keep) or not unique or any(map(_reorders, calls)) or self._seen():
            return
        keep[0] |= not any(keep)  # without any, there would be a test without parameters
        metafunc._calls = [*compress(calls, keep)]  # noqa: SLF001  (read above: pytest has no public way)
        self._tests.setdefault(file, []).extend(test for test, kept in zip(tests, keep, strict=True) if not kept)

    def _seen(self) -> bool:
        """Does anybody look on who might miss a test?"""
        hooks = (getattr(self._config.hook, name).get_hookimpls() for name in SEEING)
        return any(hook.function.__module__.partition(".")[0] not in KNOWN for found in hooks for hook in found)

    def of(self, file: str) -> list[str]:
        """Tests that are there, and were not made."""
        return self._tests.get(file, [])


def _reorders(call: Any) -> bool:
    """Does pytest put tests with the same parameter of wider scope together, by all that it makes?"""
    return any(getattr(scope, "value", "") != "function" for scope in getattr(call, "_arg2scope", {}).values())
