"""Which tests share a shard: those of one `xdist_group`, and those with a marker that the configuration names."""

from collections.abc import Iterable

import pytest

NAME_LIMIT = 200
XDIST = "xdist_group"


class Groups:
    """Asked for a test, tells its group. What a test inherits is looked up once for each class and file."""

    def __init__(self, markers: Iterable[str]) -> None:
        self._markers = tuple(markers)
        self._wanted = {XDIST, *self._markers}
        self._inherited: dict[int, str] = {}  # by the collector's id(), which is found faster than its hash

    def of(self, item: pytest.Item) -> str:
        """The name of its group; empty: it has none."""
        if item.own_markers and any(mark.name in self._wanted for mark in item.own_markers):
            return self._group(item)
        parent = item.parent
        if parent is None:
            return ""
        group = self._inherited.get(id(parent))
        if group is None:
            group = self._inherited[id(parent)] = self._group(parent)
        return group

    def _group(self, node: pytest.Item | pytest.Collector) -> str:
        for marker in self._markers:
            if node.get_closest_marker(marker):
                return f"@{marker}"
        names = [mark.args[0] if mark.args else mark.kwargs.get("name", "default") for mark in node.iter_markers(XDIST)]
        return "_".join(map(str, names))[:NAME_LIMIT]
