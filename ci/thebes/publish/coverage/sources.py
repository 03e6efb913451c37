"""Measured sources, read from run.db: one for each path, whatever number of projects measured it."""

import sqlite3
import zlib
from collections.abc import Iterator
from functools import cached_property
from itertools import groupby

from thebes.merge.covering import Detail, Figures, figures, reached, together, unpack

Row = tuple[str, bytes, bytes]


class Source:
    """A source with what all suites together executed of it. Lines and arcs are sorted."""

    def __init__(self, path: str, detail: Detail, packed: bytes) -> None:
        self.path = path
        self.detail = detail
        self._packed = packed

    @cached_property
    def figures(self) -> Figures:
        return figures(self.detail, self._all)

    @property
    def text(self) -> str:
        return zlib.decompress(self._packed).decode("utf-8", "replace")

    @cached_property
    def _all(self) -> frozenset[int]:
        return frozenset(self.detail.measured)

    @cached_property
    def hits(self) -> dict[int, bool]:
        """For each statement's line: was it executed?"""
        hit = reached(self.detail, self._all)
        return {line: hit[cover] for line, cover in zip(self.detail.statements, self.detail.covers, strict=True)}

    @cached_property
    def ways(self) -> dict[int, list[tuple[int, bool]]]:
        """For each line with several ways out: where they lead, and whether they were taken."""
        hit = reached(self.detail, self._all)
        found: dict[int, list[tuple[int, bool]]] = {line: [] for line in self.detail.exits}
        for begin, end, by in self.detail.arcs:
            found[begin].append((end, hit[by]))
        return found

    def missed_by(self, suite: int) -> list[int]:
        """Lines of statements that a suite, given by number, did not execute."""
        missed = [suite not in suites for suites in self.detail.sets]
        known = zip(self.detail.statements, self.detail.covers, strict=True)
        return [line for line, cover in known if missed[cover]]


def sources(db: sqlite3.Connection, path: str | None = None) -> Iterator[Source]:
    """All of them in the order of their paths, or the one at `path`."""
    cursor = db.cursor()
    cursor.row_factory = None
    rows: Iterator[Row] = cursor.execute(
        "SELECT file, detail, source FROM coverage_file WHERE ?1 IS NULL OR file = ?1 ORDER BY file, project", (path,)
    )
    for name, group in groupby(rows, key=lambda row: row[0]):
        known = list(group)
        yield Source(name, together([unpack(row[1]) for row in known]), known[0][2])
