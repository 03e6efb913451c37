"""Cobertura's XML, as coverage.py writes it. Paths are relative to the repository."""

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import TextIO

from thebes import __version__
from thebes.merge.covering import Figures
from thebes.publish.text import xml_attribute

from .sources import Source


class Cobertura:
    def __init__(self, out: TextIO, _suites: Sequence[str]) -> None:
        self._out = out
        self._packages: dict[str, tuple[Figures, list[str]]] = {}

    def add(self, source: Source) -> None:
        package = PurePosixPath(source.path).parent.as_posix().replace("/", ".")
        total, classes = self._packages.get(package, (Figures(), []))
        classes.append(_class(source))
        self._packages[package] = total + source.figures, classes

    def close(self) -> None:
        total = sum((figures for figures, _ in self._packages.values()), Figures())
        self._out.write(
            f'<?xml version="1.0" encoding="utf-8"?>\n<coverage version="Thebes {__version__}" timestamp="0"'
            f' lines-valid="{total.statements}" lines-covered="{total.executed}"'
            f' branches-valid="{total.branches}" branches-covered="{total.taken}" {_rates(total)} complexity="0">\n'
            "<sources><source>.</source></sources>\n<packages>\n"
        )
        for name, (figures, classes) in sorted(self._packages.items()):
            self._out.write(f'<package name="{xml_attribute(name)}" {_rates(figures)} complexity="0"><classes>\n')
            self._out.writelines(classes)
            self._out.write("</classes></package>\n")
        self._out.write("</packages>\n</coverage>\n")


def _class(source: Source) -> str:
    name, path = xml_attribute(PurePosixPath(source.path).name), xml_attribute(source.path)
    head = f'<class name="{name}" filename="{path}" complexity="0" {_rates(source.figures)}><methods/><lines>\n'
    return "".join([head, *_lines(source), "</lines></class>\n"])


def _lines(source: Source) -> list[str]:
    exits, ways = source.detail.exits, source.ways
    made = []
    for line, hit in source.hits.items():
        branch = ""
        if (known := exits.get(line)) is not None:
            missed = [end for end, taken in ways[line] if not taken]
            taken = known - len(missed)
            branch = f' branch="true" condition-coverage="{100 * taken // known}% ({taken}/{known})"'
            if missed:
                named = ",".join("exit" if end < 0 else str(end) for end in missed)
                branch += f' missing-branches="{named}"'
        made.append(f'<line number="{line}" hits="{int(hit)}"{branch}/>\n')
    return made


def _rates(found: Figures) -> str:
    branches = f"{_rate(found.taken, found.branches)}" if found.branches else "0"
    return f'line-rate="{_rate(found.executed, found.statements)}" branch-rate="{branches}"'


def _rate(part: int, whole: int) -> str:
    """Four digits; 0 and 1 are only ever the truth."""
    if part in {0, whole}:
        return "0" if whole and not part else "1"
    return f"{min(max(part / whole, 0.0001), 0.9999):.4g}"
