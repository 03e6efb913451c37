"""How other tools would split the same suite: lists of node ids, one per shard.

pytest-split is the real package, driven with stand-ins for pytest's items (it reads `nodeid` and
`str(item)` only). pytest-shard's rule is one line, repeated here: importing the package would register its
pytest options.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from heapq import heapify, heapreplace
from statistics import fmean
from typing import Any

from pytest_split.algorithms import Algorithms

Split = list[list[str]]


class Item:
    """What pytest-split needs of a pytest item."""

    def __init__(self, nodeid: str) -> None:
        self.nodeid = nodeid

    def __str__(self) -> str:
        return f"<Function {self.nodeid.rpartition('::')[2]}>"


def pytest_split(algorithm: str, ids: Sequence[str], durations: Mapping[str, float], shards: int) -> Split:
    items: list[Any] = [Item(name) for name in ids]
    groups = Algorithms[algorithm].value(shards, items, dict(durations))
    return [[item.nodeid for item in group.selected] for group in groups]


def chunks(ids: Sequence[str], durations: Mapping[str, float], shards: int) -> Split:
    return pytest_split("duration_based_chunks", ids, durations, shards)


def least_duration(ids: Sequence[str], durations: Mapping[str, float], shards: int) -> Split:
    return pytest_split("least_duration", ids, durations, shards)


def pytest_shard(ids: Sequence[str], durations: Mapping[str, float], shards: int) -> Split:
    """By hash of the node id, as pytest-shard 0.1.2 does; it knows no durations."""
    del durations
    split: Split = [[] for _ in range(shards)]
    for name in ids:
        split[int.from_bytes(sha256(name.encode()).digest(), "little") % shards].append(name)
    return split


def files_longest_first(ids: Sequence[str], durations: Mapping[str, float], shards: int) -> Split:
    """Whole files; a file without timings counts as the average file."""
    files: dict[str, list[str]] = {}
    for name in ids:
        files.setdefault(name.partition("::")[0], []).append(name)
    known: dict[str, float] = {}
    for name, seconds in durations.items():
        file = name.partition("::")[0]
        known[file] = known.get(file, 0.0) + seconds
    usual = fmean(known.values())
    heap = [(0.0, shard) for shard in range(shards)]
    heapify(heap)
    split: Split = [[] for _ in range(shards)]
    for file in sorted(files, key=lambda file: (-known.get(file, usual), file)):
        seconds, shard = heap[0]
        split[shard].extend(files[file])
        heapreplace(heap, (seconds + known.get(file, usual), shard))
    return split


PEERS = {
    "pytest-split, duration_based_chunks": chunks,
    "pytest-split, least_duration": least_duration,
    "pytest-shard (hash)": pytest_shard,
    "whole files, longest first": files_longest_first,
}
