"""What is known of one source's coverage, and the figures that follow from it. Pure."""

import zlib
from collections.abc import Collection, Iterable
from typing import NamedTuple, Self

import msgspec

LEVEL = 3  # of deflate: run.db is written once and seldom kept


class Detail(msgspec.Struct, kw_only=True):
    """Statements of a source and the ways out of those that branch, each with the suites that executed it.

    Suites are numbers, see table coverage_suite; `sets` are sets of them, and `covers` (one for each of
    `statements`) and the last part of `arcs` (from line, to line; a negative one leaves the function) refer to
    `sets` by number. `exits`: how many ways out a line has. `functions`: first line, last line, name. `changed`:
    statements that the change touched, None where nobody asked. `contexts`: by line.
    """

    measured: list[int]
    sets: list[list[int]]
    statements: list[int]
    covers: list[int]
    excluded: list[int]
    exits: dict[int, int]
    arcs: list[tuple[int, int, int]]
    functions: list[tuple[int, int, str]] = []
    changed: list[int] | None = None
    contexts: dict[int, list[str]] = {}


class Figures(NamedTuple):
    """Sums over statements and branches; `changed` is None where nobody asked for it."""

    statements: int = 0
    executed: int = 0
    branches: int = 0
    taken: int = 0
    changed: int | None = None
    changed_executed: int | None = None

    def __add__(self, other: Self) -> "Figures":  # type: ignore[override]
        return Figures(
            self.statements + other.statements,
            self.executed + other.executed,
            self.branches + other.branches,
            self.taken + other.taken,
            _sum(self.changed, other.changed),
            _sum(self.changed_executed, other.changed_executed),
        )

    @property
    def percent(self) -> float:
        """Of statements and branches together, as coverage.py has it."""
        return share(self.executed + self.taken, self.statements + self.branches)

    @property
    def changed_percent(self) -> float | None:
        """Of the changed statements; None where there are none, or nobody asked."""
        return share(self.changed_executed or 0, self.changed) if self.changed else None


def _sum(mine: int | None, theirs: int | None) -> int | None:
    return theirs if mine is None else mine if theirs is None else mine + theirs


def share(part: int, whole: int) -> float:
    """In percent with two decimals. 0 and 100 are only ever the truth, never rounded to."""
    if part in {0, whole}:
        return 0.0 if whole and not part else 100.0
    return min(99.99, max(0.01, round(100 * part / whole, 2)))


def figures(detail: Detail, among: Collection[int]) -> Figures:
    """What these suites together executed of a source."""
    hit = reached(detail, among)
    known = dict(zip(detail.statements, detail.covers, strict=True))
    branches = sum(detail.exits.values())
    return Figures(
        statements=len(known),
        executed=sum(hit[cover] for cover in detail.covers),
        branches=branches,
        taken=branches - sum(not hit[by] for _, _, by in detail.arcs),
        changed=None if detail.changed is None else len(detail.changed),
        changed_executed=None if detail.changed is None else sum(hit[known[line]] for line in detail.changed),
    )


def reached(detail: Detail, among: Collection[int]) -> list[bool]:
    """For each of the sets: is one of `among` in it?"""
    return [any(suite in among for suite in suites) for suites in detail.sets]


def together(details: Iterable[Detail]) -> Detail:
    """One detail of the same source as several projects see it: what any of them executed is executed.

    What only one of them counts as a statement is one, and what one of them excludes but another counts, counts.
    """
    first, *rest = details
    if not rest:
        return first
    made = _Union()
    for detail in (first, *rest):
        made.add(detail)
    return made.detail(first.functions)


class _Union:
    def __init__(self) -> None:
        self.measured: set[int] = set()
        self.lines: dict[int, set[int]] = {}
        self.arcs: dict[tuple[int, int], set[int]] = {}
        self.exits: dict[int, int] = {}
        self.excluded: set[int] = set()
        self.changed: set[int] | None = None
        self.contexts: dict[int, set[str]] = {}

    def add(self, detail: Detail) -> None:
        self.measured.update(detail.measured)
        for line, cover in zip(detail.statements, detail.covers, strict=True):
            self.lines.setdefault(line, set()).update(detail.sets[cover])
        for begin, end, by in detail.arcs:
            self.arcs.setdefault((begin, end), set()).update(detail.sets[by])
        for line, count in detail.exits.items():
            self.exits[line] = max(count, self.exits.get(line, 0))
        self.excluded.update(detail.excluded)
        if detail.changed is not None:
            self.changed = (self.changed or set()) | set(detail.changed)
        for line, names in detail.contexts.items():
            self.contexts.setdefault(line, set()).update(names)

    def detail(self, functions: list[tuple[int, int, str]]) -> Detail:
        numbers: dict[tuple[int, ...], int] = {}

        def number(suites: set[int]) -> int:
            return numbers.setdefault(tuple(sorted(suites)), len(numbers))

        lines = sorted(self.lines)
        return Detail(
            measured=sorted(self.measured),
            statements=lines,
            covers=[number(self.lines[line]) for line in lines],
            excluded=sorted(self.excluded - self.lines.keys()),
            exits=dict(sorted(self.exits.items())),
            arcs=[(*arc, number(by)) for arc, by in sorted(self.arcs.items())],
            functions=functions,
            changed=None if self.changed is None else sorted(self.changed),
            contexts={line: sorted(names) for line, names in sorted(self.contexts.items())},
            sets=[list(suites) for suites in numbers],
        )


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Detail)


def pack(detail: Detail) -> bytes:
    return zlib.compress(_encoder.encode(detail), LEVEL)


def unpack(data: bytes) -> Detail:
    return _decoder.decode(zlib.decompress(data))
