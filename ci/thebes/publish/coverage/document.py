"""The JSON of `coverage json` (its format 2), with what each suite missed beside it."""

from collections.abc import Sequence
from typing import Any, TextIO

import msgspec

from thebes import __version__
from thebes.merge.covering import Figures, share

from .sources import Source

FORMAT = 2  # 3 adds a part for each function and class


class Document:
    def __init__(self, out: TextIO, suites: Sequence[str]) -> None:
        self._out = out
        self._suites = suites
        self._total = Figures()
        self._excluded = 0
        self._partial = 0
        self._begun = False

    def add(self, source: Source) -> None:
        self._out.write("," if self._begun else '{"files":{')
        self._begun = True
        partial, excluded = _partial(source), len(source.detail.excluded)
        self._total, self._partial, self._excluded = (
            self._total + source.figures,
            self._partial + partial,
            self._excluded + excluded,
        )
        value = {**_file(source), "summary": _summary(source.figures, partial, excluded)}
        if len(source.detail.measured) > 1:
            value["missed_by"] = {self._suites[suite]: source.missed_by(suite) for suite in source.detail.measured}
        self._out.write(f"{_text(source.path)}:{_text(value)}")

    def close(self) -> None:
        meta = {
            "format": FORMAT,
            "version": f"Thebes {__version__}",
            "branch_coverage": self._total.branches > 0,
            "suites": self._suites,
        }
        totals = _summary(self._total, self._partial, self._excluded)
        self._out.write(f'}},"totals":{_text(totals)},"meta":{_text(meta)}}}\n')


def _file(source: Source) -> dict[str, Any]:
    detail = source.detail
    made: dict[str, Any] = {
        "executed_lines": [line for line, hit in source.hits.items() if hit],
        "missing_lines": [line for line, hit in source.hits.items() if not hit],
        "excluded_lines": detail.excluded,
        "executed_branches": [[line, end] for line, ways in source.ways.items() for end, taken in ways if taken],
        "missing_branches": [[line, end] for line, ways in source.ways.items() for end, taken in ways if not taken],
    }
    if detail.contexts:
        made["contexts"] = detail.contexts
    if detail.changed is not None:
        made["changed_lines"] = detail.changed
    return made


def _partial(source: Source) -> int:
    """Ways not taken out of lines that were executed."""
    return sum(not taken for line, ways in source.ways.items() if source.hits.get(line) for _, taken in ways)


def _summary(found: Figures, partial: int, excluded: int) -> dict[str, Any]:
    made = {
        "covered_lines": found.executed,
        "num_statements": found.statements,
        "percent_covered": found.percent,
        "missing_lines": found.statements - found.executed,
        "excluded_lines": excluded,
        "percent_statements_covered": share(found.executed, found.statements),
        "num_branches": found.branches,
        "num_partial_branches": partial,
        "covered_branches": found.taken,
        "missing_branches": found.branches - found.taken,
        "percent_branches_covered": share(found.taken, found.branches),
    }
    if found.changed is not None:
        made |= {"changed_lines": found.changed, "changed_lines_covered": found.changed_executed or 0}
    return made


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()
