"""LCOV's tracefile, which genhtml and most editors read."""

from collections.abc import Iterator, Sequence
from typing import TextIO

from thebes.publish.text import one_line

from .sources import Source


class Lcov:
    def __init__(self, out: TextIO, _suites: Sequence[str]) -> None:
        self._out = out

    def add(self, source: Source) -> None:
        self._out.writelines(f"{line}\n" for line in _record(source))

    def close(self) -> None: ...


def _record(source: Source) -> Iterator[str]:
    found = source.figures
    yield f"SF:{one_line(source.path, 4000)}"
    for line, hit in source.hits.items():
        yield f"DA:{line},{int(hit)}"
    if found.statements:
        yield f"LF:{found.statements}"
        yield f"LH:{found.executed}"
    yield from _functions(source)
    for line, ways in source.ways.items():
        # "-": the line was never reached, or always raised.
        no = "0" if any(taken for _, taken in ways) else "-"
        for end, taken in sorted(ways, key=lambda way: (way[0] < 0, way)):
            what = "exit" if end < 0 else f"jump to line {end}"
            yield f"BRDA:{line},0,{what},{'1' if taken else no}"
    if found.branches:
        yield f"BRF:{found.branches}"
        yield f"BRH:{found.taken}"
    yield "end_of_record"


def _functions(source: Source) -> Iterator[str]:
    """A function counts as executed if anything in it below its first line was."""
    names: set[str] = set()
    count = reached = 0
    for first, last, name in source.detail.functions:
        inside = [source.hits[line] for line in range(first + 1, last + 1) if line in source.hits]
        if not inside:
            continue
        told = one_line(name, 1000).replace(",", ";")
        told = f"{told}@{first}" if told in names else told
        names.add(told)
        count, reached = count + 1, reached + any(inside)
        yield f"FN:{first},{last},{told}"
        yield f"FNDA:{int(any(inside))},{told}"
    if count:
        yield f"FNF:{count}"
        yield f"FNH:{reached}"
