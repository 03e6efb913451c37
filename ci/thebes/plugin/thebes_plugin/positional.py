"""Finds hooks that deselect tests by position (`items[::2]`): a shard sees other positions than a plain run."""

from collections.abc import Iterator
from typing import Any

import pytest

BUILT_IN = ("_pytest.", "xdist.", "thebes_plugin.", "pytest_randomly", "pytest_rerunfailures")


def positional_hooks(config: pytest.Config, items: list[pytest.Item]) -> list[str]:
    """The places of hooks that, shown the same tests without the first, decide otherwise about the rest.

    Called only where tests were deselected. A hook that can't be asked twice is given the benefit of the doubt.
    """
    return [name for name, function in _foreign_hooks(config) if _by_position(config, function, items)]


def _foreign_hooks(config: pytest.Config) -> Iterator[tuple[str, Any]]:
    for hook in config.hook.pytest_collection_modifyitems.get_hookimpls():
        module = getattr(hook.function, "__module__", "") or ""
        if hook.hookwrapper or hook.wrapper or module.startswith(BUILT_IN):
            continue
        code = hook.function.__code__
        yield f"{code.co_filename}:{code.co_firstlineno}", hook


def _by_position(config: pytest.Config, hook: Any, items: list[pytest.Item]) -> bool:
    if len(items) < 2:
        return False
    try:
        whole = _kept(config, hook, items)
        if len(whole) == len(items):
            return False
        return _kept(config, hook, items[1:]) != whole - {id(items[0])}
    except Exception:  # noqa: BLE001  (somebody else's code, called once more than it expects)
        return False


def _kept(config: pytest.Config, hook: Any, items: list[pytest.Item]) -> set[int]:
    left = list(items)
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    told = list(reporter.stats.get("deselected", ())) if reporter else []
    given = {"config": config, "items": left, "session": items[0].session}
    try:
        hook.function(*(given[name] for name in hook.argnames))
    finally:
        if reporter and told:
            reporter.stats["deselected"] = told
        elif reporter:
            reporter.stats.pop("deselected", None)
    return {id(item) for item in left}
