"""Coverage XML in Cobertura's form, as coverage.py, JaCoCo's converters, Istanbul and gocover write it."""

import re
from collections.abc import Iterator
from typing import BinaryIO

from thebes.errors import FormatError

from . import xml
from .model import FileCoverage

_CONDITION = re.compile(r"\((\d{1,9})/(\d{1,9})\)")
LINE = 1_000_000  # no source has more; it bounds what one class can hold


def cobertura(stream: BinaryIO, source: str) -> Iterator[FileCoverage]:
    """The files of a coverage report, as they come. A DOCTYPE that names Cobertura's DTD is fine; it is never read."""
    reader = _Reader()
    yield from xml.read(stream, source, reader, reader.ready, doctype=True)
    if not reader.known:
        raise FormatError(f"{source}: no element `coverage` in it; expected Cobertura's XML")


class _Reader(xml.Handlers):
    def __init__(self) -> None:
        self.known = False
        self._path: str | None = None
        self._lines: dict[int, int] = {}
        self._branches: dict[int, tuple[int, int]] = {}
        self._done: list[FileCoverage] = []

    def ready(self) -> list[FileCoverage]:
        done, self._done = self._done, []
        return done

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "coverage":
            self.known = True
        elif name == "class":
            self._path, self._lines, self._branches = attributes.get("filename", ""), {}, {}
        elif name == "line" and self._path is not None:
            self._line(attributes)

    def _line(self, attributes: dict[str, str]) -> None:
        number, hits = _number(attributes.get("number", "")), _number(attributes.get("hits", ""))
        if not 0 < number <= LINE:
            return
        # A line stands in its method and in its class: the same line, not twice as many hits.
        self._lines[number] = max(hits, self._lines.get(number, 0))
        if condition := _CONDITION.search(attributes.get("condition-coverage", "")):
            self._branches[number] = (int(condition[1]), int(condition[2]))

    def end(self, name: str) -> None:
        if name == "class" and self._path is not None:
            self._done.append(FileCoverage(path=self._path, lines=self._lines, branches=self._branches))
            self._path = None


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0
